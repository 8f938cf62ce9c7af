//! Calls that wait: for keys, for somebody to take them, or for the end of their time.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use std::time::Duration;

use common::Bench;
use fipple_emulator::InboundCall;
use fipple_emulator::far_end::{Act, Step};

#[test]
fn read_takes_keys_or_times_out() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    bench.execute("u", "read", "2 4 silence_stream://10 pin 1000 #", "");
    bench.wait_ms(50);
    bench.switch.caller_dtmf(bench.now, "u", "123#").unwrap();
    bench.wait_ms(10);
    assert_eq!(bench.ask("api uuid_getvar u pin"), "123");
    assert_eq!(bench.ask("api uuid_getvar u read_result"), "success");
    assert_eq!(bench.ask("api uuid_getvar u read_terminator_used"), "#");
    bench.execute("u", "read", "2 4 silence_stream://10 pin 1000 #", "");
    bench.wait_ms(1_100);
    assert_eq!(bench.ask("api uuid_getvar u read_result"), "timeout");
}

#[test]
fn keys_must_match_the_expression() {
    for (keys, taken) in [("19", "19"), ("29", "_undef_")] {
        let mut bench = Bench::logged_in();
        bench.park("u");
        let files = "silence_stream://1 silence_stream://1";
        bench.execute("u", "play_and_get_digits", &format!("2 2 1 500 # {files} keys ^1[0-9]$"), "");
        bench.wait_ms(10);
        bench.switch.caller_dtmf(bench.now, "u", keys).unwrap();
        bench.wait_ms(1_000);
        assert_eq!(bench.ask("api uuid_getvar u keys"), taken);
    }
}

#[test]
fn a_park_with_a_timeout_ends_the_call() {
    let mut bench = Bench::logged_in();
    let parked = bench.ask("api originate {origination_uuid=u,park_timeout=3:USER_BUSY}null/x &park()");
    assert_eq!(parked, "+OK u\n");
    bench.wait_ms(2_900);
    assert_eq!(bench.ask("api uuid_exists u"), "true");
    bench.wait_ms(200);
    assert_eq!(bench.switch.ledger().call("u").unwrap().cause, "USER_BUSY");
}

#[test]
fn a_fifo_and_a_parking_lot_tell_who_waits() {
    let mut bench = Bench::subscribed();
    for (uuid, application, argument) in
        [("a", "fifo", "queue in"), ("b", "fifo", "queue in"), ("c", "valet_park", "lot auto in 8001 8002")]
    {
        bench.park(uuid);
        bench.execute(uuid, application, argument, "");
    }
    bench.wait_ms(5_000);
    bench.ask("api uuid_kill a");
    bench.ask("api uuid_kill c");
    let events = bench.events();
    let told = |subclass: &str, headers: [&str; 3]| -> Vec<String> {
        let own = events.iter().filter(|event| event.get("Event-Subclass") == subclass);
        own.map(|event| headers.map(|header| event.get(header)).join(" ").trim().to_owned()).collect()
    };
    // As in transcript g_custom_events/fifo_valet.
    let fifo = told("fifo::info", ["Unique-ID", "FIFO-Action", "FIFO-Slot"]);
    assert_eq!(fifo, ["a push 0", "b push 1", "a abort"]);
    let valet = told("valet_parking::info", ["Unique-ID", "Action", "Valet-Extension"]);
    assert_eq!(valet, ["c hold 8001", "c exit 8001"]);
}

#[test]
fn a_message_reaches_only_who_is_registered() {
    let mut bench = Bench::subscribed();
    assert_eq!(bench.ask("api chat sip|1000@lab|1001@lab|hello"), "Error! Message Not Sent");
    assert_eq!(bench.ask("api chat bad"), "Invalid");
    let phone = fipple_emulator::registrar::Phone::new("1001", "lab");
    bench.switch.register(bench.now, &phone).unwrap();
    bench.events();
    assert_eq!(bench.ask("api chat sip|1000@lab|1001@lab|hello"), "Sent");
    let message = bench.events().into_iter().find(|event| event.name() == "MESSAGE").unwrap();
    assert_eq!((message.get("to"), message.get("Delivery-Failure")), ("1001@lab", ""));
}

#[test]
fn keys_by_info_are_reported_and_heard_by_no_application() {
    let mut bench = Bench::subscribed();
    let script = vec![Step::new(Duration::from_millis(500), Act::PressesByInfo("1#".into()))];
    let call = InboundCall { script, ..InboundCall::new("1", "9") };
    let uuid = bench.switch.inbound_call(bench.now, &call).unwrap();
    bench.collect();
    let files = "silence_stream://1 silence_stream://1";
    bench.execute(&uuid, "play_and_get_digits", &format!("1 1 1 1000 # {files} keys"), "");
    bench.wait_ms(2_000);
    let events = bench.events();
    assert_eq!(events.iter().filter(|event| event.name() == "RECV_INFO").count(), 2);
    assert!(events.iter().all(|event| event.name() != "DTMF"));
    assert_eq!(bench.ask(&format!("api uuid_getvar {uuid} read_result")), "timeout");
}
