//! fipple's own scripts on the emulated switch: a step is checked, run and marked done in the channel's own thread.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, Event, FIRST, SECOND, frames};
use fipple_emulator::{Config, Input};

const TONE: &str = "tone_stream://%(1000,0,440)";

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The `sendmsg` of a fenced step.
fn step(uuid: &str, epoch: u64, number: u64, application: &str, argument: &str) -> String {
    let line = format!("fipple_step.lua {epoch} {number} {application} {}", hex(argument));
    format!(
        "sendmsg {uuid}\ncall-command: execute\nexecute-app-name: lua\nexecute-app-arg: {line}\nevent-lock: true\n\
         Event-UUID: {uuid}-{number}-{epoch}-wrapper"
    )
}

/// A parked call in epoch 1 with nothing done.
fn call(bench: &mut Bench, uuid: &str) {
    bench.park(uuid);
    bench.ask(&format!("api uuid_setvar_multi {uuid} fipple_epoch=1;fipple_done=0"));
}

fn variable(bench: &mut Bench, name: &str) -> String {
    bench.ask(&format!("api uuid_getvar u {name}"))
}

/// `step result epoch done` of the events fipple::step.
fn results(events: &[Event]) -> Vec<String> {
    let steps = events.iter().filter(|event| event.get("Event-Subclass") == "fipple::step");
    let line = |event: &Event| {
        let [step, result, epoch, done] = ["Step", "Result", "Epoch", "Done"].map(|name| event.get(name));
        format!("{step} {result} epoch {epoch} done {done}")
    };
    steps.map(line).collect()
}

#[test]
fn a_step_is_done_once_in_its_order_and_its_epoch() {
    let mut bench = Bench::subscribed();
    call(&mut bench, "u");
    bench.events();
    for (epoch, number, value) in
        [(1, 1, "a"), (1, 1, "again"), (1, 3, "early"), (2, 2, "stranger"), (1, 2, "b")]
    {
        assert_eq!(bench.ask(&step("u", epoch, number, "set", &format!("x{number}={value}"))), "+OK");
        bench.wait_ms(10);
    }
    let events = bench.events();
    let expected = [
        "1 done epoch 1 done 1",
        "1 duplicate epoch 1 done 1",
        "3 gap epoch 1 done 1",
        "2 stale epoch 2 done 1",
        "2 done epoch 1 done 2",
    ];
    assert_eq!(results(&events), expected);
    assert_eq!(["x1", "x2", "x3"].map(|name| variable(&mut bench, name)), ["a", "b", "_undef_"]);
    assert_eq!(variable(&mut bench, "fipple_run"), "_undef_");
}

#[test]
fn arguments_may_hold_anything() {
    let mut bench = Bench::subscribed();
    call(&mut bench, "u");
    let value = r#"a;b|c]d"e'f %41 \x žluť, $x  y"#;
    bench.ask(&step("u", 1, 1, "set", &format!("x={value}")));
    bench.wait_ms(10);
    assert_eq!(variable(&mut bench, "x"), value);
}

#[test]
fn a_call_that_is_hung_up_interrupts_its_step() {
    let mut bench = Bench::subscribed();
    call(&mut bench, "u");
    bench.ask(&step("u", 1, 1, "playback", TONE));
    bench.ask(&step("u", 1, 2, "set", "x=1"));
    bench.wait_ms(300);
    bench.events();
    bench.ask("api uuid_kill u");
    bench.wait_ms(2_000);
    let events = bench.events();
    // What is queued behind it is still looked at, and does not begin.
    assert_eq!(results(&events), ["1 interrupted epoch 1 done 0", "2 gap epoch 1 done 0"]);
    assert_eq!(bench.ask("api uuid_exists u"), "false");
}

#[test]
fn a_step_that_is_queued_on_a_call_that_was_hung_up_does_not_begin() {
    let mut bench = Bench::subscribed();
    call(&mut bench, "u");
    bench.execute("u", "playback", TONE, "\nevent-lock: true");
    bench.ask(&step("u", 1, 1, "set", "x=1"));
    bench.execute("u", "set", "y=1", "\nevent-lock: true");
    bench.wait_ms(300);
    bench.events();
    bench.ask("api uuid_kill u");
    bench.wait_ms(2_000);
    let events = bench.events();
    assert_eq!(results(&events), ["1 interrupted epoch 1 done 0"]);
    let ended = events.iter().find(|event| event.name() == "CHANNEL_HANGUP_COMPLETE").unwrap();
    assert_eq!((ended.get("variable_x"), ended.get("variable_y")), ("", "1"));
    assert!(bench.switch.ledger().fence("u").unwrap().runs.is_empty());
}

#[test]
fn a_step_that_is_broken_off_counts_as_done_and_one_that_is_transferred_away_does_not() {
    let mut bench = Bench::subscribed();
    call(&mut bench, "u");
    bench.events();
    bench.ask(&step("u", 1, 1, "playback", TONE));
    bench.wait_ms(100);
    assert_eq!(bench.ask("api uuid_break u"), "+OK\n");
    bench.wait_ms(100);
    bench.ask(&step("u", 1, 2, "playback", TONE));
    bench.wait_ms(100);
    bench.ask("api uuid_transfer u elsewhere");
    bench.wait_ms(100);
    assert_eq!(results(&bench.events()), ["1 done epoch 1 done 1", "2 interrupted epoch 1 done 1"]);
}

#[test]
fn scripts_that_are_missing_or_broken_are_told_in_the_log() {
    let scripts = [
        ("bad.lua", "local ="),
        ("fails.lua", "stream:write('so far ') error('no')"),
        ("spins.lua", "while true do pcall(function() while true do end end) end"),
    ];
    let scripts = scripts.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let mut bench = Bench::connected(Config { lua_scripts: scripts.into(), ..Config::default() });
    bench.say(FIRST, "auth ClueCon\n\nlog 3");
    bench.park("u");
    bench.take(FIRST);
    for name in ["missing.lua", "bad.lua", "spins.lua"] {
        assert_eq!(bench.ask(&format!("api lua {name}")), "-ERR Cannot execute script\n", "{name}");
    }
    assert_eq!(bench.ask("api lua fails.lua"), "so far -ERR Cannot execute script\n");
    assert_eq!(bench.ask("api lua"), "-ERR no reply\n");
    assert_eq!(bench.ask("api luarun bad.lua"), "+OK\n");
    // In a channel it changes nothing but the log.
    bench.execute("u", "lua", "missing.lua", "");
    bench.wait_ms(10);
    assert_eq!(bench.ask("api uuid_exists u"), "true");
    let log: Vec<_> =
        frames(&bench.take(FIRST)).into_iter().filter(|frame| frame.content_type() == "log/data").collect();
    assert_eq!(log.len(), 6);
    assert!(log[0].body.contains("cannot open missing.lua") && log[2].body.contains("too long"));
}

#[test]
fn the_scripts_say_which_they_are() {
    let mut bench = Bench::logged_in();
    for name in ["fallback", "fence", "step", "watchdog"] {
        assert_eq!(
            bench.ask(&format!("api lua fipple_{name}.lua version")),
            format!("+OK fipple_{name} 2\n")
        );
    }
}

/// The `sendmsg` of a fenced step on a switch without mod_lua.
fn snippet_step(uuid: &str, epoch: u64, number: u64, application: &str, argument: &str) -> String {
    let before = number - 1;
    let line = format!(
        "%;[fipple_run={number}:{epoch};fe={epoch};fd={before};fn={number};fx={application}:{argument}]step XML fipple"
    );
    format!(
        "sendmsg {uuid}\ncall-command: execute\nexecute-app-name: execute_extension\nexecute-app-arg: {line}\n\
         event-lock: true\nEvent-UUID: {uuid}-{number}-{epoch}"
    )
}

#[test]
fn the_snippet_does_without_lua_what_the_script_does() {
    let mut bench = Bench::subscribed();
    call(&mut bench, "u");
    bench.events();
    for (epoch, number, value) in
        [(1, 1, "a"), (1, 1, "again"), (1, 3, "early"), (2, 2, "stranger"), (1, 2, "b")]
    {
        assert_eq!(bench.ask(&snippet_step("u", epoch, number, "set", &format!("x{number}={value}"))), "+OK");
        bench.wait_ms(10);
    }
    let events = bench.events();
    let expected = [
        "1 done epoch 1 done 1",
        "1 duplicate epoch 1 done 1",
        "3 gap epoch 1 done 1",
        "2 stale epoch 2 done 1",
        "2 done epoch 1 done 2",
    ];
    assert_eq!(results(&events), expected);
    assert_eq!(["x1", "x2", "x3"].map(|name| variable(&mut bench, name)), ["a", "b", "_undef_"]);
    assert_eq!(variable(&mut bench, "fipple_run"), "_undef_");
    assert_eq!(variable(&mut bench, "destination_number"), "x");
}

#[test]
fn a_transfer_out_of_a_step_without_lua_finds_its_context() {
    let mut bench = Bench::subscribed();
    for (uuid, target, context) in
        [("u", "9000", "default"), ("v", "9000 XML", "here"), ("w", "9000 XML default", "")]
    {
        call(&mut bench, uuid);
        bench.ask(&format!("api uuid_setvar {uuid} fipple_context {context}"));
        bench.ask(&snippet_step(uuid, 1, 1, "playback", TONE));
        bench.wait_ms(100);
        assert_eq!(bench.ask(&format!("api uuid_transfer {uuid} {target}")), "+OK\n");
        bench.wait_ms(100);
        let place = ["destination_number", "context"]
            .map(|name| bench.ask(&format!("api uuid_getvar {uuid} {name}")));
        assert_eq!(place, ["9000", if context.is_empty() { "default" } else { context }], "{uuid}");
    }
}

/// Starts of applications with the uuids of a step.
fn runs(events: &[Event]) -> Vec<String> {
    let starts = events.iter().filter(|event| event.name() == "CHANNEL_EXECUTE");
    let starts = starts.map(|event| (event.get("Application"), event.get("Application-UUID")));
    starts.filter(|(_, uuid)| uuid.len() < 36).map(|(name, uuid)| format!("{name} {uuid}")).collect()
}

#[test]
fn the_application_of_a_step_carries_the_calls_and_the_steps_name() {
    let mut bench = Bench::subscribed();
    call(&mut bench, "u");
    bench.events();
    bench.ask(&step("u", 1, 1, "playback", TONE));
    bench.wait_ms(1_500);
    assert_eq!(runs(&bench.events()), ["lua u-1-1-wrapper", "playback u-1"]);
    bench.ask(&snippet_step("u", 1, 2, "playback", TONE));
    bench.wait_ms(1_500);
    assert_eq!(runs(&bench.events()), ["execute_extension u-2-1", "playback u-2"]);
}

#[test]
fn the_steps_of_a_dead_controller_run_while_the_epoch_is_theirs_and_no_longer() {
    let mut bench = Bench::subscribed();
    bench.connect(SECOND);
    bench.say(SECOND, "auth ClueCon");
    call(&mut bench, "u");
    bench.events();
    for number in 1..=4 {
        bench.say(SECOND, &step("u", 1, number, "playback", TONE));
    }
    bench.switch.handle(bench.now, Input::Closed(SECOND));
    bench.wait_ms(1_500);
    assert_eq!(results(&bench.events()), ["1 done epoch 1 done 1"]);
    // The taker finds step 2 running, and lets it.
    assert_eq!(bench.ask("api lua fipple_fence.lua take me u:2"), "+OK u 2\n");
    let dump: serde_json::Value = serde_json::from_str(&bench.ask("api uuid_dump u json")).unwrap();
    let read = |name: &str| dump[format!("variable_{name}")].as_str().unwrap().to_owned();
    let read = ["fipple_done", "fipple_run", "fipple_epoch", "fipple_owner", "current_application"].map(read);
    assert_eq!(read, ["1", "2:1", "2", "me", "playback"]);
    bench.events();
    bench.wait_ms(5_000);
    let expected = ["2 done epoch 1 done 2", "3 stale epoch 1 done 2", "4 stale epoch 1 done 2"];
    assert_eq!(results(&bench.events()), expected);
    let fence = bench.switch.ledger().fence("u").unwrap();
    assert!(fence.violations().is_empty());
    assert!(fence.runs.iter().all(|run| run.connection == Some(SECOND)));
}

#[test]
fn the_mark_of_a_step_without_lua_is_a_variable_of_its_scope() {
    let mut bench = Bench::logged_in();
    call(&mut bench, "u");
    bench.ask(&snippet_step("u", 1, 1, "playback", TONE));
    bench.wait_ms(500);
    let dump: serde_json::Value = serde_json::from_str(&bench.ask("api uuid_dump u json")).unwrap();
    assert_eq!(dump["scope_variable_fipple_run"], "1:1");
    assert_eq!(dump["variable_fipple_done"], "0");
    assert_eq!(variable(&mut bench, "fipple_run"), "1:1");
    bench.wait_ms(1_000);
    let dump: serde_json::Value = serde_json::from_str(&bench.ask("api uuid_dump u json")).unwrap();
    assert!(dump["scope_variable_fipple_run"].is_null());
    assert_eq!(dump["variable_fipple_done"], "1");
}

#[test]
fn commands_from_outside_pass_the_fence_in_their_epoch() {
    let mut bench = Bench::logged_in();
    call(&mut bench, "u");
    let mut run = |epoch: u64, command: &str, arguments: &str| {
        bench.ask(&format!("api lua fipple_fence.lua run u:{epoch} - {command} {}", hex(arguments)))
    };
    assert_eq!(run(1, "uuid_setvar", "u x 'a  b'"), "+OK\n");
    assert_eq!(run(2, "uuid_setvar", "u x stale"), "-ERR stale 1\n");
    assert_eq!(run(1, "uuid_getvar", "u x"), "a  b");
    assert_eq!(run(1, "hupall", ""), "-ERR only uuid_* commands are fenced\n");
    assert_eq!(run(1, "uuid_kill", "another"), "-ERR the command is about another call\n");
    assert_eq!(run(1, "uuid_hold", "off u"), "-ERR Operation failed\n");
    // A lock that somebody left is waited for, but not for ever.
    assert_eq!(bench.ask("api hash insert/fipplelock/u/somebody"), "+OK\n");
    bench.take(FIRST);
    bench.say(FIRST, "api lua fipple_fence.lua take me u:2");
    bench.wait_ms(400);
    assert!(bench.take(FIRST).is_empty());
    bench.wait_ms(200);
    assert_eq!(frames(&bench.take(FIRST))[0].body, "-ERR u locked\n");
    assert_eq!(variable(&mut bench, "fipple_epoch"), "1");
}

#[test]
fn many_calls_are_taken_over_in_one_command() {
    let mut bench = Bench::logged_in();
    let calls: Vec<String> = (0..249).map(|number| format!("call-{number}")).collect();
    calls.iter().for_each(|uuid| call(&mut bench, uuid));
    bench.ask("api uuid_setvar call-7 fipple_epoch 9");
    let pairs: Vec<String> =
        calls.iter().chain([&"gone".to_owned()]).map(|uuid| format!("{uuid}:5")).collect();
    let reply = bench.ask(&format!("api lua fipple_fence.lua take me {}", pairs.join(" ")));
    let lines: Vec<&str> = reply.lines().collect();
    assert_eq!(lines.len(), 250);
    assert_eq!(lines[7], "-ERR call-7 epoch 9");
    assert_eq!(lines[249], "-ERR gone gone");
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("+OK call-") && line.ends_with(" 5")).count(),
        248
    );
    for (uuid, epoch, owner) in [("call-6", "5", "me"), ("call-7", "9", "_undef_"), ("call-248", "5", "me")] {
        assert_eq!(bench.ask(&format!("api uuid_getvar {uuid} fipple_epoch")), epoch);
        assert_eq!(bench.ask(&format!("api uuid_getvar {uuid} fipple_owner")), owner);
    }
}

#[test]
fn nothing_runs_between_the_applications_of_an_extension() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    let extension = "'m:|:sleep:100|set:a=1|set:b=2' inline";
    bench.execute("u", "execute_extension", extension, "\nEvent-UUID: outer");
    // Without event-lock it runs inside whatever waits, and only there.
    bench.execute("u", "set", "c=3", "\nEvent-UUID: inside");
    bench.wait_ms(50);
    bench.execute("u", "sleep", "10", "\nEvent-UUID: late");
    bench.wait_ms(200);
    let expected = [
        "+execute_extension outer",
        "+sleep",
        "+set inside",
        "-set inside",
        "+sleep late",
        "-sleep late",
        "-sleep",
        "+set",
        "-set",
        "+set",
        "-set",
        "-execute_extension outer",
    ];
    assert_eq!(bench.executions(), expected);
}
