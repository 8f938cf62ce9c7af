//! The end of a switch, its next start, and what of its calls comes back.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, FIRST, SECOND, frames};
use fipple_emulator::{Error, InboundCall};

/// An answered inbound call that waits in the dialplan, with a variable from before its answer and one from after.
fn answered_call(bench: &mut Bench, number: &str) -> String {
    let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new(number, "9")).unwrap();
    bench.collect();
    bench.ask(&format!("api uuid_setvar {uuid} before yes"));
    bench.ask(&format!("api uuid_answer {uuid}"));
    bench.ask(&format!("api uuid_setvar {uuid} after yes"));
    uuid.to_string()
}

fn log_in(bench: &mut Bench) {
    bench.connect(SECOND);
    bench.say(SECOND, "auth ClueCon");
    bench.take(SECOND);
}

fn second_asks(bench: &mut Bench, command: &str) -> String {
    bench.say(SECOND, command);
    frames(&bench.take(SECOND)).pop().unwrap().body
}

#[test]
fn a_shutdown_hangs_up_and_says_goodbye() {
    let mut bench = Bench::subscribed();
    let uuid = answered_call(&mut bench, "1");
    assert_eq!(bench.ask("api fsctl shutdown_check"), "false");
    assert_eq!(bench.ask("api fsctl shutdown"), "+OK\n");
    bench.events();
    assert_eq!(bench.switch.inbound_call(bench.now, &InboundCall::new("1", "9")), Err(Error::NotTakingCalls));
    bench.wait_ms(800);
    let events = bench.events();
    assert_eq!(events[0].name(), "SHUTDOWN");
    assert_eq!(events[0].get("Event-Info"), "System Shutting Down");
    assert_eq!(bench.switch.ledger().call(&uuid).unwrap().cause, "SYSTEM_SHUTDOWN");
    assert!(!bench.is_closed(FIRST));
    bench.wait_ms(3_500);
    let last = frames(&bench.take(FIRST)).pop().unwrap();
    assert_eq!(
        (last.content_type(), last.body.as_str()),
        ("text/disconnect-notice", "The system is being shut down.\n")
    );
    assert!(bench.is_closed(FIRST) && bench.switch.is_stopped());
    bench.connect(SECOND);
    assert!(bench.is_closed(SECOND), "nobody listens any more");
}

#[test]
fn an_elegant_shutdown_waits_for_the_last_call() {
    let mut bench = Bench::subscribed();
    let uuid = answered_call(&mut bench, "1");
    bench.ask("api fsctl shutdown asap");
    assert_eq!(bench.switch.inbound_call(bench.now, &InboundCall::new("1", "9")), Err(Error::NotTakingCalls));
    bench.ask("api fsctl shutdown cancel");
    let other = answered_call(&mut bench, "2");
    bench.ask("api fsctl shutdown elegant");
    bench.wait_ms(10_000);
    assert!(!bench.switch.is_stopped());
    bench.ask(&format!("api uuid_kill {uuid}"));
    bench.ask(&format!("api uuid_kill {other}"));
    bench.wait_ms(5_000);
    assert!(bench.switch.is_stopped());
    assert_eq!(bench.switch.ledger().call(&other).unwrap().cause, "NORMAL_CLEARING");
}

#[test]
fn a_restart_by_command_comes_back_as_another_core() {
    let mut bench = Bench::subscribed();
    let core = bench.switch.core_uuid().to_owned();
    bench.ask("api fsctl shutdown restart");
    bench.wait_ms(10_000);
    assert!(!bench.switch.is_stopped() && bench.switch.core_uuid() != core);
    log_in(&mut bench);
    assert!(second_asks(&mut bench, "api status").starts_with("UP 0 years, 0 days, 0 hours, 0 minutes, "));
}

#[test]
fn a_crash_loses_calls_and_the_hash_without_a_word() {
    let mut bench = Bench::subscribed();
    let uuid = answered_call(&mut bench, "1");
    bench.ask("api hash insert/a/b/c");
    bench.ask("api db insert/a/b/c");
    bench.take(FIRST);
    let core = bench.switch.core_uuid().to_owned();
    bench.switch.restart(bench.now, 7, false);
    bench.collect();
    assert!(bench.is_closed(FIRST));
    assert_eq!(bench.take(FIRST), b"");
    let call = bench.switch.ledger().call(&uuid).unwrap();
    assert_eq!((call.cause, call.ended.is_some()), ("CRASH", true));
    assert!(bench.switch.core_uuid() != core);
    log_in(&mut bench);
    assert_eq!(second_asks(&mut bench, "api hash select/a/b"), "-ERR no reply\n");
    assert_eq!(second_asks(&mut bench, "api db select/a/b"), "c");
    assert_eq!(second_asks(&mut bench, &format!("api uuid_exists {uuid}")), "false");
}

#[test]
fn recovered_calls_have_the_variables_of_their_answer() {
    let mut bench = Bench::subscribed();
    let uuid = answered_call(&mut bench, "1");
    let ringing = bench.switch.inbound_call(bench.now, &InboundCall::new("2", "9")).unwrap();
    bench.park("null-leg");
    bench.switch.restart(bench.now, 7, true);
    bench.collect();
    log_in(&mut bench);
    // Calls that were not answered, and legs without a phone, are lost.
    assert_eq!(bench.switch.counts().channels, 1);
    assert_eq!(bench.switch.ledger().call(&ringing).unwrap().cause, "CRASH");
    let variable =
        |bench: &mut Bench, name: &str| second_asks(bench, &format!("api uuid_getvar {uuid} {name}"));
    assert_eq!(variable(&mut bench, "before"), "yes");
    assert_eq!(variable(&mut bench, "after"), "_undef_");
    assert_eq!(variable(&mut bench, "recovered"), "true");
    // It goes on with the application that ran in its dialplan.
    assert_eq!(variable(&mut bench, "current_application"), "park");
    assert_eq!(bench.switch.ledger().call(&uuid).unwrap().ended, None);
    bench.switch.caller_hangup(bench.now, &uuid).unwrap();
    assert_eq!(bench.switch.ledger().call(&uuid).unwrap().cause, "NORMAL_CLEARING");
}

#[test]
fn a_recovered_bridge_stands_again() {
    let mut bench = Bench::subscribed();
    let legs = [answered_call(&mut bench, "1"), answered_call(&mut bench, "2")];
    bench.ask(&format!("api uuid_bridge {} {}", legs[0], legs[1]));
    bench.switch.restart(bench.now, 7, false);
    bench.collect();
    log_in(&mut bench);
    assert_eq!(second_asks(&mut bench, "api sofia recover"), "Recovered 2 session(s)\n");
    bench.wait_ms(10);
    assert_eq!(second_asks(&mut bench, &format!("api uuid_getvar {} bridge_to", legs[0])), legs[1]);
    assert_eq!(second_asks(&mut bench, "api sofia recover"), "No sessions to recover.\n");
}

#[test]
fn a_paused_switch_takes_no_calls() {
    let mut bench = Bench::subscribed();
    assert_eq!(bench.ask("api fsctl ready_check"), "true");
    bench.ask("api fsctl pause inbound");
    assert_eq!(bench.ask("api fsctl ready_check"), "false");
    assert_eq!(bench.switch.inbound_call(bench.now, &InboundCall::new("1", "9")), Err(Error::NotTakingCalls));
    bench.park("u");
    bench.ask("api fsctl resume");
    assert!(bench.switch.inbound_call(bench.now, &InboundCall::new("1", "9")).is_ok());
}
