//! The extension that is deployed, `deploy/freeswitch/fipple.xml`: what a call has when it comes to fipple, and where it goes
//! when nobody controls it.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::Bench;
use fipple_emulator::{Config, InboundCall, XmlDialplan};

fn groups(bench: &mut Bench) -> Vec<String> {
    let tasks: serde_json::Value = serde_json::from_str(&bench.ask("api show tasks as json")).unwrap();
    let rows = tasks["rows"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| row["task_group"].as_str().unwrap().to_owned()).collect()
}

fn get(bench: &mut Bench, uuid: &str, name: &str) -> String {
    bench.ask(&format!("api uuid_getvar {uuid} {name}"))
}

/// Owner, epoch and where it is.
fn place(bench: &mut Bench, uuid: &str) -> [String; 3] {
    ["fipple_owner", "fipple_epoch", "destination_number"].map(|name| get(bench, uuid, name))
}

/// A switch with the dialplan that fipple asks an operator to install.
fn deployed() -> Config {
    let mut xml_dialplan = XmlDialplan::deployed();
    xml_dialplan.add(include_str!("../../../deploy/freeswitch/fipple.xml"), "default").unwrap();
    Config { xml_dialplan, ..Config::default() }
}

#[test]
fn a_call_that_nobody_claims_goes_to_the_operators_fallback() {
    let mut bench = Bench::connected(deployed());
    bench.say(common::FIRST, "auth ClueCon");
    let claimed = bench.switch.inbound_call(bench.now, &InboundCall::new("100", "5000")).unwrap();
    let unclaimed = bench.switch.inbound_call(bench.now, &InboundCall::new("101", "5000")).unwrap();
    bench.collect();
    assert_eq!(get(&mut bench, &claimed, "fipple_flow"), "welcome");
    bench.ask(&format!("api uuid_setvar_multi {claimed} fipple_owner=n1;fipple_epoch=1"));
    bench.wait_ms(11_000);
    assert_eq!(place(&mut bench, &claimed), ["n1", "1", "5000"]);
    assert_eq!(place(&mut bench, &unclaimed), ["_undef_", "1", "fipple_fallback"]);
}

/// The first second of a call's life, as whoever takes it sees it: before it executed anything.
#[test]
fn a_call_is_complete_before_it_executes_anything() {
    let mut bench = Bench::connected(deployed());
    bench.say(common::FIRST, "auth ClueCon\n\nevent plain CHANNEL_EXECUTE");
    bench.take(common::FIRST);
    let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new("100", "5000")).unwrap();
    bench.wait_ms(1_000);
    let events = bench.events();
    let first = events.iter().find(|event| event.get("Application") == "export").unwrap();
    let value = |name: &str| first.get(&format!("variable_{name}")).to_owned();
    assert_eq!((value("fipple_epoch"), value("fipple_done")), ("0".into(), "0".into()));
    assert!(value("fipple_timer").starts_with("+OK Added"));
    assert_eq!(get(&mut bench, &uuid, "nolocal:fipple_call"), *uuid);
    assert_eq!(get(&mut bench, &uuid, "fipple_call"), "_undef_");
}

#[test]
fn a_call_that_is_taken_before_it_reads_the_dialplan_keeps_what_it_was_given() {
    let mut bench = Bench::connected(deployed());
    bench.say(common::FIRST, "auth ClueCon");
    let early = "{origination_uuid=early,fipple_epoch=1,fipple_owner=n1}";
    assert_eq!(bench.ask(&format!("api originate {early}null/x 5000 XML default")), "+OK early\n");
    assert_eq!(place(&mut bench, "early"), ["n1", "1", "5000"]);
    assert_eq!(get(&mut bench, "early", "fipple_done"), "0");
    // Its owner lives: the timer is for calls that nobody claimed, or that came back.
    assert!(groups(&mut bench).is_empty());
    bench.ask("api uuid_transfer early 5000");
    bench.wait_ms(100);
    assert_eq!(groups(&mut bench), ["fipple-early"]);
}

#[test]
fn the_legs_that_a_call_dials_name_it() {
    let mut bench = Bench::connected(deployed());
    bench.say(common::FIRST, "auth ClueCon");
    let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new("100", "5000")).unwrap();
    bench.wait_ms(100);
    bench.execute(&uuid, "bridge", "sofia/external/1000@host", "\nevent-lock: true");
    bench.wait_ms(6_000);
    let leg = get(&mut bench, &uuid, "bridge_uuid");
    assert_eq!(get(&mut bench, &leg, "fipple_call"), *uuid);
    // It becomes a call of its own when it comes into the extension, and forgets whose leg it was.
    bench.ask(&format!("api uuid_transfer {uuid} -bleg 5000"));
    bench.wait_ms(100);
    assert_eq!(get(&mut bench, &leg, "fipple_call"), "_undef_");
    assert_eq!(get(&mut bench, &leg, "fipple_epoch"), "0");
}

#[test]
fn a_call_that_comes_back_keeps_its_epoch() {
    let mut bench = Bench::connected(deployed());
    bench.say(common::FIRST, "auth ClueCon");
    let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new("100", "5000")).unwrap();
    bench.ask(&format!("api uuid_setvar_multi {uuid} fipple_owner=n1;fipple_epoch=7;fipple_done=3"));
    bench.ask(&format!("api uuid_transfer {uuid} 5000"));
    assert_eq!(place(&mut bench, &uuid), ["n1", "7", "5000"]);
    assert_eq!(get(&mut bench, &uuid, "fipple_done"), "0");
    assert_eq!(get(&mut bench, &uuid, "current_application"), "park");
}

#[test]
fn the_timer_of_a_call_can_be_cancelled_and_nothing_of_the_operators_with_it() {
    let mut bench = Bench::connected(deployed());
    bench.say(common::FIRST, "auth ClueCon");
    let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new("100", "5000")).unwrap();
    bench.ask(&format!("api sched_hangup +100 {uuid}"));
    assert_eq!(bench.ask(&format!("api sched_del fipple-{uuid}")), "+OK Deleted: 1\n");
    bench.wait_ms(1_000);
    assert_eq!(groups(&mut bench), [&*uuid]);
}
