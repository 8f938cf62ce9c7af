//! Scheduled tasks, and the scripts that keep calls from being trapped by a dead control plane.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, Event};
use fipple_emulator::Config;
use fipple_emulator::dialplan::{Action, Extension};

/// The second at which the default switch starts.
const START_SECONDS: u64 = 1_795_406_400;

fn schedule_events(bench: &mut Bench) -> Vec<String> {
    let line = |event: &Event| {
        let runtime: u64 = event.get("Task-Runtime").parse().unwrap();
        format!("{} {} +{}", event.name(), event.get("Task-ID"), runtime - START_SECONDS)
    };
    bench.events().iter().filter(|event| event.name().ends_with("_SCHEDULE")).map(line).collect()
}

fn groups(bench: &mut Bench) -> Vec<String> {
    let tasks: serde_json::Value = serde_json::from_str(&bench.ask("api show tasks as json")).unwrap();
    let rows = tasks["rows"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| row["task_group"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_task_runs_when_the_scheduler_looks_and_its_second_has_come() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.wait_ms(300);
    bench.events();
    assert_eq!(bench.ask("api sched_api +1 none uuid_setvar u ran yes"), "+OK Added: 4\n");
    // Second 1 has come at 1,000 ms; the scheduler looks 500 ms after 300 ms, and again.
    bench.wait_ms(900);
    assert_eq!(bench.ask("api uuid_getvar u ran"), "_undef_");
    bench.wait_ms(100);
    assert_eq!(bench.ask("api uuid_getvar u ran"), "yes");
    assert_eq!(schedule_events(&mut bench), ["ADD_SCHEDULE 4 +1", "DEL_SCHEDULE 4 +1"]);
}

#[test]
fn a_task_repeats_until_it_is_deleted() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    assert_eq!(bench.ask("api sched_api @2 mine uuid_setvar u ran ${nothing}"), "+OK Added: 4\n");
    bench.wait_ms(4_400);
    assert_eq!(bench.ask("api sched_del mine"), "+OK Deleted: 1\n");
    assert_eq!(bench.ask("api sched_del mine"), "+OK Deleted: 0\n");
    assert_eq!(groups(&mut bench), ["mine"]);
    bench.wait_ms(500);
    assert!(groups(&mut bench).is_empty());
    let expected = ["ADD_SCHEDULE 4 +2", "RE_SCHEDULE 4 +4", "RE_SCHEDULE 4 +6", "DEL_SCHEDULE 4 +6"];
    assert_eq!(schedule_events(&mut bench), expected);
}

#[test]
fn tasks_are_deleted_by_number_by_group_and_with_their_channel() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    for group in ["a", "a", "b", "u"] {
        bench.ask(&format!("api sched_api +100 {group} echo x"));
    }
    bench.execute("u", "sched_transfer", "+50 9001", "");
    assert_eq!(bench.ask("api uuid_getvar u last_sched_id"), "8");
    assert_eq!(bench.ask("api sched_hangup +60 u"), "+OK\n");
    assert_eq!(bench.ask("api sched_del 6"), "+OK Deleted: 1\n");
    assert_eq!(bench.ask("api sched_del a"), "+OK Deleted: 2\n");
    assert_eq!(bench.ask("api sched_del nobody"), "+OK Deleted: 0\n");
    assert_eq!(bench.ask("api unsched_api 99"), "-ERR No such id\n");
    bench.wait_ms(500);
    assert_eq!(groups(&mut bench), ["u", "u", "u"]);
    bench.ask("api uuid_kill u");
    bench.wait_ms(500);
    assert!(groups(&mut bench).is_empty());
    let usage = "-ERR Invalid syntax. USAGE: [+@]<time> <group_name> <command_string>[&]\n";
    assert_eq!(bench.ask("api sched_api +1 lonely"), usage);
    assert_eq!(bench.ask("api sched_hangup +1 nobody"), "-ERR No such channel!\n");
}

/// A switch whose extension `rescue` parks a call and leaves its variables alone.
fn with_rescue() -> Bench {
    let mut config = Config::default();
    let actions = vec![Action::new("park", "")];
    config.dialplan.extensions.insert(0, Extension { destination: "rescue".into(), actions });
    let mut bench = Bench::connected(config);
    bench.say(common::FIRST, "auth ClueCon");
    bench.take(common::FIRST);
    bench
}

/// A parked call of a node, in this epoch.
fn owned(bench: &mut Bench, uuid: &str, node: &str, epoch: u64) {
    bench.park(uuid);
    bench
        .ask(&format!("api uuid_setvar_multi {uuid} fipple_epoch={epoch};fipple_done=0;fipple_owner={node};continue_on_fail=true"));
}

fn get(bench: &mut Bench, uuid: &str, name: &str) -> String {
    bench.ask(&format!("api uuid_getvar {uuid} {name}"))
}

/// Owner, epoch and where it is.
fn place(bench: &mut Bench, uuid: &str) -> [String; 3] {
    ["fipple_owner", "fipple_epoch", "destination_number"].map(|name| get(bench, uuid, name))
}

const WATCH: &str = "api sched_api @2 fipple-watchdog-n1 lua fipple_watchdog.lua n1 3 rescue";

#[test]
fn the_calls_of_a_node_that_renews_its_lease_stay() {
    let mut bench = with_rescue();
    owned(&mut bench, "u", "n1", 5);
    bench.ask(WATCH);
    for second in 0..20 {
        bench.ask(&format!("api hash insert/fipplelease/n1/{}", START_SECONDS + second));
        bench.wait_ms(1_000);
    }
    assert_eq!(place(&mut bench, "u"), ["n1", "5", "x"]);
    assert_eq!(bench.ask("api lua fipple_watchdog.lua n1 3 rescue"), "+OK fresh\n");
}

#[test]
fn the_calls_of_a_node_whose_lease_expires_go_to_the_fallback_in_a_higher_epoch() {
    let mut bench = with_rescue();
    owned(&mut bench, "mine", "n1", 5);
    owned(&mut bench, "other", "n2", 5);
    bench.park("nobodys");
    bench.ask(&format!("api hash insert/fipplelease/n1/{START_SECONDS}"));
    bench.ask(WATCH);
    bench.wait_ms(3_900);
    assert_eq!(place(&mut bench, "mine"), ["n1", "5", "x"]);
    bench.wait_ms(100);
    assert_eq!(place(&mut bench, "mine"), ["_undef_", "6", "rescue"]);
    assert_eq!(place(&mut bench, "other"), ["n2", "5", "x"]);
    assert_eq!(place(&mut bench, "nobodys"), ["_undef_", "_undef_", "x"]);
    assert_eq!(bench.ask("api lua fipple_watchdog.lua n1 3 rescue"), "+OK expired, moved 0, left 0\n");
}

#[test]
fn a_call_that_dials_or_is_bridged_is_left_alone_until_it_is_not() {
    let mut bench = with_rescue();
    owned(&mut bench, "u", "n1", 5);
    bench.ask("api sched_api @2 w lua fipple_watchdog.lua n1 3 rescue XML default");
    let dial = "fipple_step.lua 5 1 bridge ".to_owned()
        + &"sofia/external/noanswer1@host".bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    bench.execute("u", "lua", &dial, "\nevent-lock: true");
    bench.wait_ms(6_000);
    assert_eq!(place(&mut bench, "u"), ["n1", "5", "x"], "it dials");
    let channels = bench.ask("api show channels");
    let dialled =
        channels.lines().find(|line| line.contains("noanswer1") && !line.starts_with("u,")).unwrap();
    let dialled = dialled.split(',').next().unwrap();
    bench.ask(&format!("api uuid_kill {dialled} NO_ANSWER"));
    bench.wait_ms(2_500);
    assert_eq!(place(&mut bench, "u"), ["_undef_", "6", "rescue"], "it dials no more");

    owned(&mut bench, "v", "n1", 5);
    bench.execute("v", "bridge", "sofia/external/1000@host", "\nevent-lock: true");
    bench.wait_ms(6_000);
    assert_eq!(place(&mut bench, "v"), ["n1", "5", "x"], "it is bridged");
    let partner = get(&mut bench, "v", "bridge_uuid");
    assert_eq!(bench.ask(&format!("api uuid_kill {partner}")), "+OK\n");
    bench.wait_ms(2_500);
    assert_eq!(place(&mut bench, "v"), ["_undef_", "6", "rescue"], "the bridge is over");
}

#[test]
fn the_fallback_of_one_call_fires_in_its_epoch_alone() {
    let mut bench = with_rescue();
    for (uuid, epoch) in [("u", 3), ("v", 4)] {
        owned(&mut bench, uuid, "n1", epoch);
        bench.ask(&format!(
            "api sched_api +3 fipple-{uuid} lua fipple_fallback.lua {uuid} 3 rescue XML default"
        ));
    }
    bench.wait_ms(3_500);
    assert_eq!(place(&mut bench, "u"), ["_undef_", "4", "rescue"]);
    assert_eq!(place(&mut bench, "v"), ["n1", "4", "x"]);
    assert_eq!(bench.ask("api lua fipple_fallback.lua gone 3 rescue"), "-ERR gone\n");
}

#[test]
fn the_fallback_comes_back_for_a_call_that_was_bridged() {
    let mut bench = with_rescue();
    owned(&mut bench, "u", "n1", 3);
    bench.ask("api sched_api +3 fipple-u lua fipple_fallback.lua u 3 rescue");
    bench.execute("u", "bridge", "sofia/external/1000@host", "");
    bench.wait_ms(4_000);
    assert_eq!(place(&mut bench, "u"), ["n1", "3", "x"]);
    assert_eq!(groups(&mut bench), ["fipple-u"]);
    let partner = get(&mut bench, "u", "bridge_uuid");
    bench.ask(&format!("api uuid_kill {partner}"));
    bench.wait_ms(6_000);
    assert_eq!(place(&mut bench, "u"), ["_undef_", "4", "rescue"]);
}

#[test]
fn the_fallback_comes_back_for_a_call_whose_lock_is_held() {
    let mut bench = with_rescue();
    owned(&mut bench, "u", "n1", 3);
    assert_eq!(bench.ask("api hash insert/fipplelock/u/somebody"), "+OK\n");
    bench.ask("api sched_api +3 fipple-u lua fipple_fallback.lua u 3 rescue");
    bench.wait_ms(5_000);
    assert_eq!(place(&mut bench, "u"), ["n1", "3", "x"]);
    assert_eq!(groups(&mut bench), ["fipple-u"]);
    bench.ask("api hash delete/fipplelock/u");
    bench.wait_ms(6_000);
    assert_eq!(place(&mut bench, "u"), ["_undef_", "4", "rescue"]);
}

#[test]
fn what_would_get_around_the_fence_is_not_run_through_it() {
    let mut bench = with_rescue();
    owned(&mut bench, "u", "n1", 3);
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut run = |command: &str, arguments: &str| {
        bench.ask(&format!("api lua fipple_fence.lua run u:3 - {command} {}", hex(arguments)))
    };
    assert!(
        run("uuid_setvar_multi", "u fipple_epoch=0").starts_with("-ERR variables that begin with fipple_")
    );
    assert!(run("uuid_broadcast", "u tone_stream://x aleg").starts_with("-ERR uuid_broadcast"));
    assert!(run("uuid_setvar", "u FIPPLE_EPOCH 0").starts_with("-ERR variables that begin with fipple_"));
    assert!(run("uuid_transfer", "u set:fipple_epoch=0,park: inline").starts_with("-ERR variables"));
    assert!(run("uuid_transfer", "u unset:fipple_epoch,park: inline").starts_with("-ERR variables"));
    assert!(run("uuid_Setvar", "u fipple_epoch 0").starts_with("-ERR only uuid_"));
    assert!(run("uuid_kill", "v u").starts_with("-ERR the command is about another call"));
    // It gets through, and is told that the call is not held.
    assert_eq!(run("uuid_hold", "off u"), "-ERR Operation failed\n");
    assert_eq!(run("uuid_setvar", "u colour blue"), "+OK\n");
    assert_eq!(get(&mut bench, "u", "fipple_epoch"), "3");
}

/// What the markers and the tasks of the watchdogs say: `<node> <group>` each.
fn watchdogs(bench: &mut Bench) -> Vec<String> {
    let dump = bench.ask("api hash_dump all");
    let lines = dump.lines().filter_map(|line| line.strip_prefix("D/fipplewatchdog_"));
    let groups = groups(bench);
    let mut found: Vec<String> = lines
        .map(|line| {
            let (node, rest) = line.split_once('/').unwrap();
            let group = rest.split(' ').next().unwrap();
            assert_eq!(groups.iter().filter(|present| *present == group).count(), 1, "{line} in {groups:?}");
            format!("{node} {group}")
        })
        .collect();
    assert_eq!(found.len(), groups.len(), "{groups:?}");
    found.sort();
    found
}

#[test]
fn a_renewal_keeps_the_calls_of_its_nodes_and_makes_one_watchdog_for_each() {
    let mut bench = with_rescue();
    owned(&mut bench, "u", "n1", 5);
    owned(&mut bench, "v", "n2", 5);
    let renew = |nodes: &str| format!("api lua fipple_watchdog.lua renew 4 rescue XML default {nodes}");
    assert_eq!(bench.ask(&renew("n1 n2")), "+OK 2\n");
    assert_eq!(bench.ask("api hash select/fipplelease/n2"), START_SECONDS.to_string());
    let made = watchdogs(&mut bench);
    assert_eq!(made.len(), 2);
    for _ in 0..20 {
        bench.wait_ms(1_000);
        bench.ask(&renew("n1"));
    }
    assert_eq!(watchdogs(&mut bench), made[..1], "n1's was made once, and n2 has no calls any more");
    assert_eq!(place(&mut bench, "u"), ["n1", "5", "x"]);
    assert_eq!(place(&mut bench, "v"), ["_undef_", "6", "rescue"], "nobody renewed for n2");
}

#[test]
fn other_arguments_replace_a_watchdog_and_one_that_is_gone_is_missed() {
    let mut bench = with_rescue();
    owned(&mut bench, "u", "n1", 5);
    bench.ask("api lua fipple_watchdog.lua renew 4 rescue XML default n1");
    let first = watchdogs(&mut bench);
    bench.ask("api lua fipple_watchdog.lua renew 6 rescue XML default n1");
    bench.wait_ms(600);
    let second = watchdogs(&mut bench);
    assert_ne!(first, second);
    bench.ask(&format!("api sched_del {}", second[0].split_once(' ').unwrap().1));
    bench.wait_ms(600);
    assert!(groups(&mut bench).is_empty());
    for _ in 0..12 {
        bench.wait_ms(1_000);
        bench.ask("api lua fipple_watchdog.lua renew 6 rescue XML default n1");
    }
    let third = watchdogs(&mut bench);
    assert_ne!(second, third);
    bench.wait_ms(11_000);
    assert_eq!(place(&mut bench, "u"), ["_undef_", "6", "rescue"]);
}

#[test]
fn the_watchdog_of_a_dead_node_without_calls_goes_and_comes_back_with_the_node() {
    let mut bench = with_rescue();
    owned(&mut bench, "u", "n1", 5);
    bench.execute("u", "bridge", "sofia/external/1000@host", "\nevent-lock: true");
    bench.ask("api lua fipple_watchdog.lua renew 4 rescue XML default n1 n2");
    bench.wait_ms(20_000);
    let left: Vec<String> = watchdogs(&mut bench);
    assert!(left.len() == 1 && left[0].starts_with("n1 "), "it has a call that is bridged: {left:?}");
    let partner = get(&mut bench, "u", "bridge_uuid");
    bench.ask(&format!("api uuid_kill {partner}"));
    bench.wait_ms(6_000);
    assert_eq!(place(&mut bench, "u"), ["_undef_", "6", "rescue"]);
    assert!(groups(&mut bench).is_empty());
    bench.ask("api lua fipple_watchdog.lua renew 4 rescue XML default n2");
    let back = watchdogs(&mut bench);
    assert!(back.len() == 1 && back[0].starts_with("n2 "), "{back:?}");
}

#[test]
fn a_watchdog_takes_what_it_understands_and_nothing_else() {
    let mut bench = with_rescue();
    for wrong in [
        "",
        "n1",
        "n1 3",
        "n1 03 rescue",
        "n1 x rescue",
        "n1 -3 rescue",
        "n1 3 rescue XML default more",
        "n1 3 a/b",
        "n1 3 a;b",
        "renew 4 rescue XML default",
        "renew 04 rescue XML default n1",
        "renew 4.5 rescue XML default n1",
        "renew 999999999999 rescue XML default n1",
        "renew 4 rescue XML default n/1",
        "renew 4 rescue XML default n1&",
        "renew 4 res;cue XML default n1",
    ] {
        let reply = bench.ask(&format!("api lua fipple_watchdog.lua {wrong}"));
        assert!(reply.starts_with("-USAGE: fipple_watchdog.lua"), "{wrong}: {reply}");
    }
    assert!(groups(&mut bench).is_empty());
    assert_eq!(bench.ask("api hash_dump all"), "-ERR no reply\n");
    // More nodes than a script has arguments.
    let nodes: Vec<String> = (0..200).map(|number| format!("node-{number}")).collect();
    let renew = format!("api lua fipple_watchdog.lua renew 4 rescue XML default {}", nodes.join(" "));
    assert_eq!(bench.ask(&renew), "+OK 200\n");
    assert_eq!(watchdogs(&mut bench).len(), 200);
    for wrong in ["u", "u 3", "u 03 rescue", "u 3 res;cue", "u/v 3 rescue", "u x rescue", "u 3 a b c d"] {
        let reply = bench.ask(&format!("api lua fipple_fallback.lua {wrong}"));
        assert!(reply.starts_with("-USAGE: fipple_fallback.lua"), "{wrong}: {reply}");
    }
}

#[test]
fn more_calls_than_go_into_one_command_are_moved_at_once() {
    let mut bench = with_rescue();
    let calls: Vec<String> = (0..260).map(|number| format!("call-{number}")).collect();
    calls.iter().for_each(|uuid| owned(&mut bench, uuid, "n1", 5));
    bench.ask("api hash insert/fipplelock/call-7/somebody");
    bench.wait_ms(500);
    bench.take(common::FIRST);
    bench.say(common::FIRST, "api lua fipple_watchdog.lua n1 0 rescue");
    bench.wait_ms(1_000);
    let reply = common::frames(&bench.take(common::FIRST)).remove(0).body;
    assert_eq!(reply, "+OK expired, moved 259, left 1\n");
    assert_eq!(place(&mut bench, "call-7"), ["n1", "5", "x"]);
    assert_eq!(place(&mut bench, "call-259"), ["_undef_", "6", "rescue"]);
}
