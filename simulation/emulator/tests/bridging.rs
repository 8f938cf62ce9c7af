//! Bridges and transfers: how they begin, and how each of their endings leaves the legs.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use std::time::Duration;

use common::Bench;
use fipple_emulator::InboundCall;
use fipple_emulator::far_end::{Act, Step};

#[test]
fn a_bridge_ends_with_its_b_leg_and_the_caller_waits_again() {
    let mut bench = Bench::subscribed();
    let a = bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
    bench.collect();
    bench.execute(&a, "bridge", "{origination_uuid=b}sofia/external/1000@host", "\nEvent-UUID: step-1");
    bench.wait_ms(500);
    let events = bench.events();
    let bridge = events.iter().find(|event| event.name() == "CHANNEL_BRIDGE").unwrap();
    assert_eq!(bridge.get("Bridge-A-Unique-ID"), &*a);
    assert_eq!(bridge.get("Bridge-B-Unique-ID"), "b");
    assert_eq!(bridge.get("Other-Leg-Unique-ID"), "b");
    assert_eq!(bench.ask("api uuid_getvar b originator"), &*a);
    let calls: serde_json::Value =
        serde_json::from_str(&bench.ask("api show bridged_calls as json")).unwrap();
    assert_eq!(calls["rows"][0]["b_uuid"], "b");
    bench.events();
    bench.switch.caller_hangup(bench.now, "b").unwrap();
    bench.collect();
    let events = bench.events();
    let of_a: Vec<_> =
        events.iter().filter(|event| event.get("Unique-ID") == &*a).map(|event| event.name()).collect();
    assert_eq!(of_a, ["CHANNEL_UNBRIDGE", "CHANNEL_EXECUTE_COMPLETE", "PRIVATE_COMMAND"]);
    assert_eq!(bench.ask(&format!("api uuid_getvar {a} bridge_hangup_cause")), "NORMAL_CLEARING");
    // Who it talked to stays in bridge_uuid; bridge_to is only there while it does (takeover/dumps).
    assert_eq!(bench.ask(&format!("api uuid_getvar {a} bridge_uuid")), "b");
    assert_eq!(bench.ask(&format!("api uuid_getvar {a} bridge_to")), "_undef_");
}

#[test]
fn a_bridge_ends_with_its_a_leg() {
    let mut bench = Bench::subscribed();
    bench.park("a");
    bench.execute("a", "bridge", "{origination_uuid=b}null/b", "");
    assert_eq!(bench.ask("api uuid_exists b"), "true");
    bench.events();
    bench.ask("api uuid_kill a");
    assert_eq!(bench.switch.counts().channels, 0);
    let hangups: Vec<String> = bench
        .events()
        .iter()
        .filter(|event| matches!(event.name(), "CHANNEL_HANGUP" | "CHANNEL_UNBRIDGE"))
        .map(|event| format!("{} {}", event.name(), event.get("Unique-ID")))
        .collect();
    assert_eq!(hangups, ["CHANNEL_HANGUP a", "CHANNEL_HANGUP b", "CHANNEL_UNBRIDGE a"]);
}

#[test]
fn a_failed_bridge_hangs_up_unless_continue_on_fail() {
    let mut bench = Bench::logged_in();
    bench.park("a");
    bench.execute("a", "bridge", "sofia/external/busy@host", "");
    bench.wait_ms(100);
    assert_eq!(bench.ask("api uuid_exists a"), "false");
    assert_eq!(bench.switch.ledger().call("a").unwrap().cause, "USER_BUSY");
    bench.park("b");
    bench.ask("api uuid_setvar b continue_on_fail true");
    bench.execute("b", "bridge", "error/USER_BUSY", "");
    assert_eq!(bench.ask("api uuid_exists b"), "true");
    assert_eq!(bench.ask("api uuid_getvar b originate_disposition"), "USER_BUSY");
    // A caller who leaves while the other side still rings takes the leg along.
    bench.execute("b", "bridge", "{origination_uuid=ringing}sofia/external/noanswer@host", "");
    bench.wait_ms(100);
    bench.ask("api uuid_kill b");
    assert_eq!(bench.switch.ledger().call("ringing").unwrap().cause, "ORIGINATOR_CANCEL");
    assert_eq!(bench.switch.counts().channels, 0);
}

#[test]
fn uuid_bridge_joins_two_and_rebridging_kills_the_old_partner() {
    let mut bench = Bench::logged_in();
    for uuid in ["a", "b", "c"] {
        bench.park(uuid);
    }
    assert_eq!(bench.ask("api uuid_bridge a nobody"), "-ERR Invalid uuid\n");
    assert_eq!(bench.ask("api uuid_bridge a b"), "+OK b\n");
    assert_eq!(bench.ask("api uuid_getvar a bridge_uuid"), "b");
    assert_eq!(bench.ask("api uuid_bridge a c"), "+OK c\n");
    assert_eq!(bench.ask("api uuid_exists b"), "false");
    assert_eq!(bench.ask("api uuid_getvar a bridge_uuid"), "c");
    // Its B leg gone, the A leg has nothing left to do.
    bench.ask("api uuid_kill c");
    assert_eq!(bench.switch.counts().channels, 0);
}

#[test]
fn bridging_a_channel_to_itself_wedges_it() {
    let mut bench = Bench::logged_in();
    bench.park("a");
    assert_eq!(bench.ask("api uuid_bridge a a"), "+OK a\n");
    assert_eq!(bench.execute("a", "set", "x=1", ""), "+OK");
    bench.wait_ms(1_000);
    assert_eq!(bench.ask("api uuid_getvar a x"), "_undef_");
    bench.ask("api uuid_kill a");
    assert_eq!(bench.ask("api uuid_exists a"), "false");
}

#[test]
fn a_transfer_runs_the_queue_first() {
    let mut bench = Bench::subscribed();
    bench.park("u");
    bench.events();
    bench.execute("u", "playback", "silence_stream://60000", "\nEvent-UUID: playing");
    assert_eq!(bench.ask("api uuid_transfer u 9001 XML default"), "+OK\n");
    let executions = bench.executions();
    assert_eq!(executions[..3], ["+playback playing", "-playback playing", "-park"]);
    assert_eq!(executions.last().unwrap(), "+park");
    assert_eq!(bench.ask("api uuid_transfer u 'set:a=1,set:b=2,park:' inline"), "+OK\n");
    assert_eq!(bench.ask("api uuid_getvar u b"), "2");
    assert_eq!(bench.ask("api uuid_transfer nobody 9001"), "-ERR No such channel!\n");
}

#[test]
fn a_transfer_to_nowhere_is_accepted_and_ends_the_call() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    assert_eq!(bench.ask("api uuid_transfer u '' inline"), "+OK\n");
    assert_eq!(bench.switch.ledger().call("u").unwrap().cause, "NO_ROUTE_DESTINATION");
}

#[test]
fn a_dialplan_that_goes_in_circles_ends() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    bench.ask("api uuid_transfer u 'transfer:9' inline");
    bench.ask("api uuid_setvar u max_forwards 2");
    bench.ask("api uuid_transfer u 9");
    bench.ask("api uuid_transfer u 9");
    assert_eq!(bench.switch.ledger().call("u").unwrap().cause, "EXCHANGE_ROUTING_ERROR");
}

/// Two inbound calls in a bridge by `uuid_bridge`, with what was told so far forgotten.
fn bridged(bench: &mut Bench) -> [String; 2] {
    let mut call = |number: &str| {
        let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new(number, "9")).unwrap();
        bench.collect();
        bench.ask(&format!("api uuid_answer {uuid}"));
        uuid.to_string()
    };
    let legs = [call("1"), call("2")];
    bench.ask(&format!("api uuid_bridge {} {}", legs[0], legs[1]));
    bench.events();
    legs
}

#[test]
fn park_after_bridge_keeps_whoever_is_left() {
    for killed in [0, 1] {
        let mut bench = Bench::subscribed();
        let legs = bridged(&mut bench);
        let (gone, left) = (&legs[killed], &legs[1 - killed]);
        bench.ask(&format!("api uuid_setvar {left} park_after_bridge true"));
        bench.ask(&format!("api uuid_kill {gone}"));
        bench.wait_ms(10);
        let parked: Vec<_> = bench
            .events()
            .iter()
            .filter(|event| event.name() == "CHANNEL_PARK")
            .map(|event| event.get("Unique-ID").to_owned())
            .collect();
        assert_eq!(parked, [left.as_str()], "killed {killed}");
        assert_eq!(bench.ask(&format!("api uuid_getvar {left} bridge_hangup_cause")), "NORMAL_CLEARING");
    }
}

#[test]
fn transfer_after_bridge_sends_the_caller_on() {
    let mut bench = Bench::subscribed();
    let [first, second] = bridged(&mut bench);
    bench.ask(&format!("api uuid_setvar {first} transfer_after_bridge 'set:after=yes,park:':inline"));
    bench.ask(&format!("api uuid_setvar {first} transfer_after_bridge 7777:XML"));
    bench.ask(&format!("api uuid_kill {second}"));
    bench.wait_ms(10);
    assert_eq!(
        bench.ask(&format!("api uuid_getvar {first} transfer_source")).split(':').nth(3),
        Some("7777/default/XML")
    );
}

#[test]
fn hangup_after_bridge_ends_the_call_for_the_callees_cause() {
    let mut bench = Bench::subscribed();
    let caller = bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
    bench.collect();
    bench.ask(&format!("api uuid_setvar {caller} hangup_after_bridge true"));
    bench.execute(&caller, "bridge", "{origination_uuid=b}sofia/external/1000@host", "");
    bench.wait_ms(500);
    bench.ask("api uuid_kill b USER_BUSY");
    assert_eq!(bench.switch.ledger().call(&caller).unwrap().cause, "USER_BUSY");
}

#[test]
fn both_legs_of_a_bridge_can_be_transferred() {
    let mut bench = Bench::subscribed();
    let [first, second] = bridged(&mut bench);
    assert_eq!(bench.ask(&format!("api uuid_transfer {first} -both park inline")), "+OK\n");
    bench.wait_ms(10);
    let events = bench.events();
    let told = |name: &str| events.iter().filter(|event| event.name() == name).count();
    assert_eq!((told("CHANNEL_UNBRIDGE"), told("CHANNEL_PARK"), told("CHANNEL_HANGUP")), (1, 2, 0));
    bench.ask(&format!("api uuid_bridge {first} {second}"));
    assert_eq!(
        bench.ask(&format!("api uuid_dual_transfer {first} 8001/XML/default 8002/XML/default")),
        "+OK\n"
    );
    bench.wait_ms(10);
    for (leg, number) in [(&first, "8001"), (&second, "8002")] {
        let source = bench.ask(&format!("api uuid_getvar {leg} transfer_source"));
        assert_eq!(source.split(':').nth(3).unwrap(), format!("{number}/default/XML"));
    }
}

#[test]
fn a_transferred_b_leg_becomes_a_caller_and_its_partner_is_left() {
    let mut bench = Bench::subscribed();
    let caller = bench.switch.inbound_call(bench.now, &InboundCall::new("1", "2")).unwrap();
    bench.collect();
    bench.execute(&caller, "bridge", "{origination_uuid=b}sofia/external/1000@host", "");
    bench.wait_ms(500);
    bench.events();
    bench.ask(&format!("api uuid_transfer {caller} -bleg 9999"));
    bench.wait_ms(10);
    let events = bench.events();
    // As in transcript m_transfer/sip_bridge_blind_transfer_bleg.
    let flipped = events.iter().find(|event| event.name() == "CALL_UPDATE").unwrap();
    assert_eq!((flipped.get("Unique-ID"), flipped.get("Direction")), ("b", "RECV"));
    assert_eq!(flipped.get("Caller-Caller-ID-Number"), "1000");
    assert!(events.iter().all(|event| event.name() != "CHANNEL_HANGUP"));
    let unbridged = events.iter().find(|event| event.name() == "CHANNEL_UNBRIDGE").unwrap();
    assert_eq!(unbridged.get("Unique-ID"), &*caller);
    assert_eq!(bench.ask(&format!("api uuid_getvar {caller} signal_bond")), "_undef_");
}

#[test]
fn intercepting_picks_a_leg_off_its_partner() {
    let mut bench = Bench::subscribed();
    let [first, second] = bridged(&mut bench);
    bench.park("third");
    bench.execute("third", "intercept", "nosuch", "");
    bench.execute("third", "intercept", &first, "");
    bench.wait_ms(10);
    assert_eq!(bench.switch.ledger().call(&second).unwrap().cause, "PICKED_OFF");
    assert_eq!(bench.ask("api uuid_getvar third bridge_to"), first);
    assert_eq!(bench.ask(&format!("api uuid_getvar {first} bridge_to")), "third");
}

#[test]
fn an_attended_transfer_joins_the_other_two() {
    let mut bench = Bench::subscribed();
    let [first, second] = bridged(&mut bench);
    bench.execute(&first, "att_xfer", "{origination_uuid=c}null/c", "");
    bench.wait_ms(10);
    assert_eq!(bench.ask(&format!("api uuid_getvar {first} bridge_to")), "c");
    assert_eq!(bench.ask(&format!("api uuid_exists {second}")), "true");
    bench.ask(&format!("api uuid_kill {first}"));
    bench.wait_ms(10);
    assert_eq!(bench.ask("api uuid_getvar c bridge_to"), second);
    assert_eq!(bench.ask("api uuid_getvar c att_xfer_result"), "success");
    assert_eq!(bench.switch.counts().channels, 2);
}

#[test]
fn an_attended_transfer_that_its_third_party_ends_gives_the_first_call_back() {
    let mut bench = Bench::subscribed();
    let [first, second] = bridged(&mut bench);
    bench.execute(&first, "att_xfer", "{origination_uuid=c}null/c", "");
    bench.ask("api uuid_kill c");
    bench.wait_ms(10);
    assert_eq!(bench.switch.counts().channels, 2);
    bench.ask(&format!("api uuid_kill {first}"));
    assert_eq!(bench.ask(&format!("api uuid_exists {second}")), "false");
}

#[test]
fn a_locked_bridge_holds_back_what_was_queued() {
    for (lock, waits) in [("\nevent-lock: true", true), ("", false)] {
        let mut bench = Bench::subscribed();
        bench.park("a");
        bench.execute("a", "bridge", "{origination_uuid=b}null/b", lock);
        bench.execute("a", "set", "x=1", "");
        let during = bench.ask("api uuid_getvar a x");
        assert_eq!(during == "_undef_", waits);
        bench.ask("api uuid_kill b");
        assert_eq!(bench.ask("api uuid_getvar a x"), "1");
    }
}

#[test]
fn a_refer_sends_the_partner_away() {
    let mut bench = Bench::subscribed();
    let script = vec![
        Step::new(Duration::from_secs(1), Act::Transfers("7777".into())),
        Step::new(Duration::from_secs(1), Act::HangsUp),
    ];
    let call = InboundCall { script, ..InboundCall::new("1", "2") };
    let caller = bench.switch.inbound_call(bench.now, &call).unwrap();
    bench.collect();
    bench.execute(&caller, "bridge", "{origination_uuid=b}sofia/external/1000@host", "");
    bench.wait_ms(1_100);
    // As in transcript m_transfer/sip_refer_blind_bridged: the partner goes, the phone's own leg is left over.
    let source = bench.ask("api uuid_getvar b transfer_source");
    assert_eq!(source.split(':').nth(3), Some("7777/default/XML"));
    assert_eq!(bench.ask("api uuid_getvar b sip_refer_to"), "<sip:7777@127.0.0.1:5080>");
    assert_eq!(bench.ask(&format!("api uuid_getvar {caller} endpoint_disposition")), "BLIND_TRANSFER");
    bench.wait_ms(1_000);
    assert_eq!(bench.switch.ledger().call(&caller).unwrap().cause, "NORMAL_CLEARING");
    assert_eq!(bench.ask("api uuid_exists b"), "true");
}

#[test]
fn a_leg_that_hangs_up_tells_its_partner_why() {
    let mut bench = Bench::subscribed();
    let [first, second] = bridged(&mut bench);
    bench.ask(&format!("api uuid_setvar {first} park_after_bridge true"));
    bench.ask(&format!("api uuid_kill {second} CALL_REJECTED"));
    for variable in ["last_bridge_hangup_cause", "bridge_hangup_cause"] {
        assert_eq!(bench.ask(&format!("api uuid_getvar {first} {variable}")), "CALL_REJECTED");
    }
    let events = bench.events();
    let hangup = events.iter().find(|event| event.name() == "CHANNEL_HANGUP").unwrap();
    assert_eq!(hangup.get("variable_last_bridge_role"), "originatee");
}
