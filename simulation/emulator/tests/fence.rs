//! `fipple_fence.lua` and the commands of `fipple_step.lua`: what each does, and what each refuses.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, Event};
use fipple_emulator::Config;
use fipple_emulator::dialplan::{Action, Extension};

const KEY: &str = "k00112233445566ff";
const OTHER_KEY: &str = "kffeeddccbbaa9988";

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// A switch with an extension `rescue` that parks, and a controller that hears everything.
fn bench() -> Bench {
    let mut config = Config::default();
    let actions = vec![Action::new("park", "")];
    config.dialplan.extensions.insert(0, Extension { destination: "rescue".into(), actions });
    let mut bench = Bench::connected(config);
    bench.say(common::FIRST, "auth ClueCon\n\nevent plain ALL");
    bench
}

/// A parked channel with these variables.
fn call(bench: &mut Bench, uuid: &str, variables: &str) {
    bench.park(uuid);
    bench.ask(&format!("api uuid_setvar_multi {uuid} {variables}"));
}

fn get(bench: &mut Bench, uuid: &str, name: &str) -> String {
    bench.ask(&format!("api uuid_getvar {uuid} {name}"))
}

fn fence(bench: &mut Bench, words: &str) -> String {
    bench.ask(&format!("api lua fipple_fence.lua {words}"))
}

fn run(bench: &mut Bench, calls: &str, key: &str, command: &str, arguments: &str) -> String {
    fence(bench, &format!("run {calls} {key} {command} {}", hex(arguments)))
}

/// A command in the channel; what it said of itself.
fn command(
    bench: &mut Bench,
    uuid: &str,
    epoch: &str,
    key: &str,
    application: &str,
    argument: &str,
) -> String {
    let line = format!("fipple_step.lua {epoch} {key} {application} {}", hex(argument));
    bench.events();
    bench.execute(uuid, "lua", &line, "\nevent-lock: true\nEvent-UUID: command-00112233445566ff");
    bench.wait_ms(100);
    let events = bench.events();
    let told = events.iter().find(|event| event.get("Event-Subclass") == "fipple::step");
    let line = |event: &Event| {
        let [step, result, epoch, current] =
            ["Step", "Result", "Epoch", "Current-Epoch"].map(|name| event.get(name));
        format!("{step} {result} {epoch} {current}").trim_end().to_owned()
    };
    told.map(line).unwrap_or_default()
}

#[test]
fn a_command_runs_once_for_its_key_and_only_in_its_epoch() {
    let mut bench = bench();
    call(&mut bench, "u", "fipple_epoch=3;fipple_done=2");
    let mut set = |epoch: &str, key: &str, value: &str| {
        command(&mut bench, "u", epoch, key, "set", &format!("x={value}"))
    };
    assert_eq!(set("2", KEY, "old"), format!("{KEY} stale 2 3"));
    assert_eq!(set("3", KEY, "a"), format!("{KEY} done 3 3"));
    assert_eq!(set("3", KEY, "b"), format!("{KEY} duplicate 3 3"));
    assert_eq!(set("-", KEY, "c"), format!("{KEY} duplicate - 3"));
    assert_eq!(get(&mut bench, "u", "x"), "a");
    assert_eq!(command(&mut bench, "u", "-", OTHER_KEY, "set", "x=d"), format!("{OTHER_KEY} done - 3"));
    assert_eq!(get(&mut bench, "u", "x"), "d");
    assert_eq!(get(&mut bench, "u", "fipple_keys"), format!("{} {}", &KEY[1..], &OTHER_KEY[1..]));
    // It has nothing to do with the steps.
    assert_eq!([get(&mut bench, "u", "fipple_done"), get(&mut bench, "u", "fipple_run")], ["2", "_undef_"]);
    let fence = bench.switch.ledger().fence("u").unwrap();
    let ran: Vec<_> = fence.commands.iter().map(|run| (run.key.clone().unwrap(), run.epoch)).collect();
    assert_eq!(ran, [(KEY.to_owned(), Some(3)), (OTHER_KEY.to_owned(), None)]);
    assert_eq!(fence.violations(), [""; 0]);
}

#[test]
fn a_command_that_ends_with_its_call_is_interrupted_and_bears_its_key() {
    let mut bench = bench();
    call(&mut bench, "u", "fipple_epoch=1");
    bench.events();
    let line = format!("fipple_step.lua 1 {KEY} playback {}", hex("tone_stream://%(9000,0,440)"));
    bench.execute("u", "lua", &line, "\nevent-lock: true");
    bench.wait_ms(50);
    assert_eq!(get(&mut bench, "u", "fipple_keys"), KEY[1..], "kept before it runs");
    bench.ask("api uuid_kill u");
    let events = bench.events();
    let told = events.iter().find(|event| event.get("Event-Subclass") == "fipple::step").unwrap();
    assert_eq!((told.get("Step"), told.get("Result")), (KEY, "interrupted"));
    let played = events.iter().find(|event| event.get("Application") == "playback").unwrap();
    assert_eq!(played.get("Application-UUID"), format!("u-{KEY}"));
}

#[test]
fn a_channel_keeps_the_last_eight_keys() {
    let mut bench = bench();
    call(&mut bench, "u", "fipple_epoch=1");
    for number in 0..6 {
        command(&mut bench, "u", "1", &format!("k{number:016x}"), "set", "x=1");
        let key = format!("k{:016x}", 100 + number);
        assert_eq!(run(&mut bench, "u:1", &key, "uuid_setvar", "u y 1"), "+OK\n");
    }
    let keys = get(&mut bench, "u", "fipple_keys");
    let keys: Vec<_> = keys.split(' ').collect();
    let expected: Vec<String> =
        (2..6).flat_map(|number| [number, 100 + number]).map(|number| format!("{number:016x}")).collect();
    assert_eq!(keys, expected);
    assert_eq!(bench.switch.ledger().fence("u").unwrap().violations(), [""; 0]);
}

#[test]
fn a_leg_is_in_the_epoch_of_its_call_until_it_has_one_of_its_own() {
    let mut bench = bench();
    call(&mut bench, "a", "fipple_epoch=4;fipple_owner=n1");
    call(&mut bench, "b", "fipple_call=a");
    assert_eq!(command(&mut bench, "b", "0", KEY, "set", "x=1"), format!("{KEY} stale 0 4"));
    assert_eq!(command(&mut bench, "b", "4", KEY, "set", "x=1"), format!("{KEY} done 4 4"));
    assert_eq!(run(&mut bench, "a:4", "-", "uuid_setvar", "b y 1"), "+OK\n");
    assert_eq!(run(&mut bench, "b:4", "-", "uuid_setvar", "b y 2"), "+OK\n");
    assert_eq!(run(&mut bench, "b:0", "-", "uuid_setvar", "b y 3"), "-ERR stale 4\n");
    assert_eq!(get(&mut bench, "b", "y"), "2");
    // As a call it is not commanded with the epoch of another any more.
    assert_eq!(fence(&mut bench, "take n2 b:1"), "+OK b 1\n");
    assert_eq!(
        run(&mut bench, "a:4", "-", "uuid_setvar", "b y 4"),
        "-ERR the command is about another call\n"
    );
    assert_eq!(run(&mut bench, "b:1", "-", "uuid_setvar", "b y 5"), "+OK\n");
    assert_eq!(command(&mut bench, "b", "1", OTHER_KEY, "set", "x=2"), format!("{OTHER_KEY} done 1 1"));
    // Whose call is gone is in no epoch.
    call(&mut bench, "c", "fipple_call=a");
    bench.ask("api uuid_kill a");
    bench.wait_ms(100);
    assert_eq!(command(&mut bench, "c", "0", KEY, "set", "x=1"), format!("{KEY} stale 0"));
    assert_eq!(run(&mut bench, "c:0", "-", "uuid_setvar", "c y 1"), "-ERR gone\n");
    assert_eq!(command(&mut bench, "c", "-", KEY, "set", "x=1"), format!("{KEY} done -"));
}

#[test]
fn a_command_for_two_legs_is_fenced_for_both() {
    let mut bench = bench();
    call(&mut bench, "a", "fipple_epoch=4");
    call(&mut bench, "b", "fipple_epoch=7");
    call(&mut bench, "leg", "fipple_call=b");
    let bridge =
        |bench: &mut Bench, calls: &str, arguments: &str| run(bench, calls, KEY, "uuid_bridge", arguments);
    assert_eq!(bridge(&mut bench, "a:4", "a b"), "-ERR the command is about another call\n");
    assert_eq!(bridge(&mut bench, "a:4,b:6", "a b"), "-ERR stale 7\n");
    assert_eq!(bridge(&mut bench, "a:3,b:7", "a b"), "-ERR stale 4\n");
    assert_eq!(bridge(&mut bench, "a:4,x:7", "a b"), "-ERR gone\n");
    assert_eq!(bridge(&mut bench, "a:4,b:7", "a a"), "-ERR the command is about another call\n");
    assert_eq!(bridge(&mut bench, "a:4,b:7", "a"), "-ERR the command is about another call\n");
    assert_eq!(bridge(&mut bench, "a:4,b:7", "leg a"), "+OK a\n");
    assert_eq!(bridge(&mut bench, "a:4,b:7", "a b"), "-ERR duplicate\n");
    assert_eq!(
        [get(&mut bench, "a", "fipple_keys"), get(&mut bench, "b", "fipple_keys")],
        [&KEY[1..], "_undef_"]
    );
    let ledger = bench.switch.ledger();
    let ran = |uuid: &str| {
        ledger
            .fence(uuid)
            .unwrap()
            .commands
            .iter()
            .map(|run| (run.key.clone(), run.epoch))
            .collect::<Vec<_>>()
    };
    assert_eq!(ran("a"), [(Some(KEY.to_owned()), Some(4))]);
    assert_eq!(ran("b"), [(None, Some(7))]);
}

#[test]
fn a_transfer_of_the_other_leg_is_fenced_for_the_other_leg() {
    let mut bench = bench();
    call(&mut bench, "a", "fipple_epoch=4");
    call(&mut bench, "b", "fipple_epoch=7");
    bench.ask("api uuid_bridge a b");
    bench.wait_ms(500);
    for option in ["-bleg", "-both"] {
        let transfer = format!("a {option} rescue");
        assert_eq!(
            run(&mut bench, "a:4", "-", "uuid_transfer", &transfer),
            "-ERR the command is about another call\n"
        );
    }
    assert_eq!(run(&mut bench, "a:4,b:7", "-", "uuid_transfer", "a -both rescue"), "+OK\n");
}

#[test]
fn a_command_that_the_switch_refuses_may_be_sent_again() {
    let mut bench = bench();
    call(&mut bench, "a", "fipple_epoch=4");
    call(&mut bench, "b", "fipple_epoch=7");
    let gone = "a gone";
    bench.ask("api uuid_setvar gone x 1");
    assert_eq!(run(&mut bench, "a:4", KEY, "uuid_hold", "off a"), "-ERR Operation failed\n");
    assert_eq!(get(&mut bench, "a", "fipple_keys"), "_undef_");
    assert_eq!(run(&mut bench, "a:4", KEY, "uuid_setvar", "a x 1"), "+OK\n");
    assert_eq!(run(&mut bench, "a:4", KEY, "uuid_setvar", "a x 2"), "-ERR duplicate\n");
    assert_eq!(
        run(&mut bench, "a:4", OTHER_KEY, "uuid_bridge", gone),
        "-ERR the command is about another call\n"
    );
    assert_eq!(get(&mut bench, "a", "fipple_keys"), KEY[1..]);
    let fence = bench.switch.ledger().fence("a").unwrap();
    let refused: Vec<bool> = fence.commands.iter().map(|run| run.refused).collect();
    assert_eq!((refused, fence.violations()), (vec![true, false], vec![]));
}

#[test]
fn a_lock_that_somebody_holds_is_told_and_nothing_runs() {
    let mut bench = bench();
    call(&mut bench, "a", "fipple_epoch=4;fipple_owner=n1");
    call(&mut bench, "b", "fipple_epoch=7");
    bench.ask("api hash insert/fipplelock/b/somebody");
    let asked = |bench: &mut Bench, words: &str| {
        bench.take(common::FIRST);
        bench.say(common::FIRST, &format!("api lua fipple_fence.lua {words}"));
        bench.wait_ms(700);
        let frames = common::frames(&bench.take(common::FIRST));
        frames.into_iter().find(|frame| frame.content_type() == "api/response").unwrap().body
    };
    let bridge = format!("run a:4,b:7 {KEY} uuid_bridge {}", hex("a b"));
    assert_eq!(asked(&mut bench, &bridge), "-ERR locked\n");
    assert_eq!(asked(&mut bench, "take n2 a:5 b:8"), "+OK a 5\n-ERR b locked\n");
    assert_eq!(asked(&mut bench, "raise a b"), "+OK a 6\n-ERR b locked\n");
    assert_eq!(asked(&mut bench, "eject b 7 - rescue"), "-ERR locked\n");
    bench.execute("b", "lua", &format!("fipple_step.lua 7 {KEY} set {}", hex("x=1")), "\nevent-lock: true");
    bench.wait_ms(700);
    let events = bench.events();
    let told = events.iter().find(|event| event.get("Event-Subclass") == "fipple::step").unwrap();
    assert_eq!((told.get("Step"), told.get("Result")), (KEY, "locked"));
    assert_eq!([get(&mut bench, "b", "x"), get(&mut bench, "b", "fipple_keys")], ["_undef_", "_undef_"]);
    bench.ask("api hash delete/fipplelock/b");
    assert_eq!(bench.ask("api hash_dump db fipplelock"), "-ERR no reply\n", "no other lock stayed");
}

#[test]
fn a_taker_raises_the_epoch_names_the_owner_and_the_run_of_the_switch() {
    let mut bench = bench();
    call(&mut bench, "u", "fipple_run=1:2");
    call(&mut bench, "recovered", "fipple_epoch=3;fipple_owner=n1;fipple_core=another;fipple_run=2:3");
    let reply = fence(&mut bench, "take n2 u:1 recovered:4 gone:1 recovered:4");
    assert_eq!(reply, "+OK u 1\n+OK recovered 4\n-ERR gone gone\n-ERR recovered epoch 4\n");
    let core = bench.ask("api global_getvar core_uuid");
    let names = ["fipple_epoch", "fipple_owner", "fipple_core", "fipple_format", "fipple_run"];
    assert_eq!(names.map(|name| get(&mut bench, "u", name)), ["1", "n2", &core, "1", "1:2"]);
    // What ran in the last run of the switch runs no more.
    assert_eq!(names.map(|name| get(&mut bench, "recovered", name)), ["4", "n2", &core, "1", "_undef_"]);
    assert_eq!(fence(&mut bench, "take - u:5"), "+OK u 5\n");
    assert_eq!(get(&mut bench, "u", "fipple_owner"), "n2");
}

#[test]
fn raising_gives_claimed_calls_the_next_epoch_and_leaves_the_others() {
    let mut bench = bench();
    call(&mut bench, "mine", "fipple_epoch=3;fipple_owner=n1;fipple_core=another;fipple_run=2:3");
    call(&mut bench, "unclaimed", "fipple_epoch=0");
    call(&mut bench, "foreign", "fipple_owner=n1");
    call(&mut bench, "last", "fipple_owner=n1;fipple_epoch=9007199254740991");
    let reply = fence(&mut bench, "raise mine unclaimed foreign gone last a/b");
    let expected = "+OK mine 4\n-ERR unclaimed unclaimed\n-ERR foreign unclaimed\n-ERR gone gone\n\
                    -ERR last epoch 9007199254740991\n-ERR a/b not a call\n";
    assert_eq!(reply, expected);
    let core = bench.ask("api global_getvar core_uuid");
    let names = ["fipple_epoch", "fipple_owner", "fipple_core", "fipple_format", "fipple_run"];
    assert_eq!(names.map(|name| get(&mut bench, "mine", name)), ["4", "n1", &core, "1", "_undef_"]);
}

#[test]
fn so_many_calls_and_no_more_go_into_one_command() {
    let mut bench = bench();
    let many = |count: u64, suffix: &str| {
        (0..count).map(|number| format!("call-{number}{suffix}")).collect::<Vec<_>>().join(" ")
    };
    let lines = fence(&mut bench, &format!("take n1 {}", many(250, ":1")));
    assert_eq!(lines.lines().filter(|line| line.ends_with(" gone")).count(), 250);
    let lines = fence(&mut bench, &format!("raise {}", many(250, "")));
    assert_eq!(lines.lines().filter(|line| line.ends_with(" gone")).count(), 250);
    assert_eq!(fence(&mut bench, &format!("take n1 {}", many(251, ":1"))), "-ERR too many calls\n");
    assert_eq!(fence(&mut bench, &format!("raise {}", many(251, ""))), "-ERR too many calls\n");
}

#[test]
fn a_call_is_ejected_in_its_epoch_from_its_owner() {
    let mut bench = bench();
    call(&mut bench, "u", "fipple_epoch=3;fipple_owner=n1");
    assert_eq!(fence(&mut bench, "eject u 2 - rescue"), "-ERR stale 3\n");
    assert_eq!(fence(&mut bench, "eject u 3 n2 rescue"), "-ERR owner n1\n");
    assert_eq!(fence(&mut bench, "eject gone 3 n2 rescue"), "-ERR gone\n");
    let now = bench.ask("api strepoch");
    assert_eq!(bench.ask(&format!("api hash insert/fipplelease/n1/{}", now.trim())), "+OK\n");
    bench.wait_ms(2_000);
    assert_eq!(fence(&mut bench, "eject u 3 n1 rescue XML default 9"), "-ERR renewed\n");
    bench.wait_ms(9_000);
    assert_eq!(fence(&mut bench, "eject u 3 n1 rescue XML default 9"), "+OK\n");
    bench.wait_ms(50);
    let names = ["fipple_epoch", "fipple_owner", "destination_number"];
    assert_eq!(names.map(|name| get(&mut bench, "u", name)), ["4", "_undef_", "rescue"]);
    call(&mut bench, "v", "fipple_epoch=8;fipple_owner=n1");
    let reply = fence(&mut bench, "eject u,v,gone - n1 rescue");
    assert_eq!(reply, "-ERR u owner \n+OK v\n-ERR gone gone\n");
    assert_eq!(names.map(|name| get(&mut bench, "v", name)), ["9", "_undef_", "rescue"]);
}

#[test]
fn the_fence_takes_what_it_understands_and_nothing_else() {
    let mut bench = bench();
    call(&mut bench, "u", "fipple_epoch=3;fipple_owner=n1");
    for wrong in [
        "",
        "nonsense",
        "run",
        "run u:3",
        "run u:3 -",
        "run u - uuid_kill 75",
        "run u:03 - uuid_kill 75",
        "run u:x - uuid_kill 75",
        "run u:9007199254740992 - uuid_kill 75",
        "run u:3,u:3 - uuid_kill 75",
        "run a:1,b:1,c:1,d:1,e:1 - uuid_kill 75",
        "run ,: - uuid_kill 75",
        "run u/v:3 - uuid_kill 75",
        "run u:3 k00 uuid_kill 75",
        "run u:3 kzz112233445566ff uuid_kill 75",
        "run u:3 k00112233445566FF uuid_kill 75",
        "run u:3 - uuid_kill 7",
        "run u:3 - uuid_kill 7g",
        "run u:3 - uuid_kill 75 76",
        "take",
        "take me",
        "take a;b u:4",
        "take a/b u:4",
        "raise",
        "eject u",
        "eject u 3 -",
        "eject u 03 - rescue",
        "eject u, 3 - rescue",
        "eject u,,v 3 - rescue",
        "eject u,v;w 3 - rescue",
        "eject u 3 - a;b",
        "eject u 3 - rescue XML default more",
        "eject u 3 - rescue XML default 07",
        "eject u 3 - rescue XML default 7 more",
    ] {
        let reply = fence(&mut bench, wrong);
        assert_eq!(reply, "-USAGE: fipple_fence.lua run|take|raise|flow|eject|version\n", "{wrong}");
    }
    let reply = fence(&mut bench, "take me u u:04 u:x u;v:4 u:9007199254740992 :4");
    assert_eq!(reply.lines().filter(|line| line.ends_with("not a call and an epoch")).count(), 6, "{reply}");
    for wrong in ["Uuid_kill", "uuid_Kill", "hupall", "uuid", "uuid_kill;x", "originate"] {
        let reply = fence(&mut bench, &format!("run u:3 - {wrong} 75"));
        assert_eq!(reply, "-ERR only uuid_* commands are fenced\n", "{wrong}");
    }
    assert_eq!(get(&mut bench, "u", "fipple_epoch"), "3");
    assert_eq!(bench.ask("api hash_dump all"), "-ERR no reply\n");
}

#[test]
fn a_step_takes_what_it_understands_and_nothing_else() {
    let mut bench = bench();
    call(&mut bench, "u", "fipple_epoch=1;fipple_done=0");
    bench.events();
    for wrong in [
        "",
        "1",
        "1 1",
        "01 1 answer",
        "1 01 answer",
        "1 0 answer",
        "- 1 answer",
        "1 -1 answer",
        "1 1.0 answer",
        "1 9007199254740993 answer",
        "1 k0011 answer",
        "1 k00112233445566FF answer",
        "1 K00112233445566ff answer",
        "x k00112233445566ff answer",
        "1 1 an;swer",
        "1 1 answer 7",
        "1 1 answer 7g",
        "1 1 answer 75 76",
    ] {
        bench.execute("u", "lua", &format!("fipple_step.lua {wrong}"), "\nevent-lock: true");
        bench.wait_ms(20);
        let told =
            bench.events().iter().filter(|event| event.get("Event-Subclass") == "fipple::step").count();
        assert_eq!(told, 0, "{wrong}");
    }
    let names = ["fipple_done", "fipple_run", "fipple_keys"];
    assert_eq!(names.map(|name| get(&mut bench, "u", name)), ["0", "_undef_", "_undef_"]);
    assert_eq!(bench.ask("api lua fipple_step.lua 1 1 answer"), "-ERR fipple_step.lua runs in a channel\n");
}
