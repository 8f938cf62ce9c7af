//! Controllers that ask for what would never end: nesting without a bottom, two that wake each other, lengths and waits
//! beyond what a clock can count.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, FIRST};
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::{Config, InboundCall};

const FURTHEST: &str = "18446744073709551615";

/// A switch on which every call runs these applications.
fn with_dialplan(actions: &[(&str, &str)]) -> Bench {
    let actions =
        actions.iter().map(|(application, argument)| Action::new(*application, *argument)).collect();
    let dialplan = Dialplan { extensions: vec![Extension { destination: "*".into(), actions }] };
    let mut bench = Bench::connected(Config { dialplan, ..Config::default() });
    bench.say(FIRST, "auth ClueCon");
    bench.take(FIRST);
    bench
}

#[test]
fn commands_nest_only_so_deep() {
    let mut bench = Bench::logged_in();
    for nested in ["bgapi ", "expand bgapi ", "expand "] {
        bench.say(FIRST, &format!("api {}echo x", nested.repeat(10_000)));
        bench.take(FIRST);
        assert_eq!(bench.ask("api echo alive"), "alive", "{nested}");
    }
}

#[test]
fn a_task_that_adds_itself_runs_once_a_look() {
    let mut bench = Bench::logged_in();
    bench.ask("api global_setvar x=sched_api +0 g expand ${x}");
    bench.ask("api sched_api +0 g expand ${x}");
    bench.wait_ms(2_100);
    // The first that was added is number 4.
    assert_eq!(bench.ask("api sched_api +60 other echo"), "+OK Added: 10\n");
}

#[test]
fn two_channels_that_transfer_each_other_let_the_clock_go_on() {
    let mut bench = with_dialplan(&[
        ("set", "max_forwards=70"),
        ("set", "x=${uuid_transfer(${other} 200)}"),
        ("park", ""),
    ]);
    let mut call = || bench.switch.inbound_call(bench.now, &InboundCall::new("100", "200")).unwrap();
    let (first, second) = (call(), call());
    bench.collect();
    bench.ask(&format!("api uuid_setvar {first} other {second}"));
    bench.ask(&format!("api uuid_setvar {second} other {first}"));
    bench.say(FIRST, &format!("api uuid_transfer {first} 200"));
    bench.wait_ms(5);
    bench.take(FIRST);
    assert_eq!(bench.ask("api echo alive"), "alive");
}

#[test]
fn no_number_is_too_large_for_the_clock() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    bench.execute("u", "playback", &format!("silence_stream://{FURTHEST}"), "");
    bench.execute("u", "sleep", FURTHEST, "");
    bench.say(FIRST, &format!("bgapi msleep {FURTHEST}"));
    bench.wait_ms(10);
    assert_eq!(bench.ask("api uuid_break u all"), "+OK\n");
    bench.say(FIRST, "myevents u");
    bench.say(FIRST, &format!("linger {FURTHEST}"));
    bench.say(FIRST, "api uuid_kill u");
    assert!(bench.heard(FIRST).contains(&"notice linger".to_owned()));
    assert!(bench.switch.next_timeout().is_some_and(|at| at.0 < 1 << 50));
}
