//! The emulated switch against the transcripts of a real one.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Bench, Event, FIRST, Frame, fixture, frames};
use fipple_emulator::config::{Answer, Destination};
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::{Config, InboundCall, Time};
use fipple_protocol::esl::request::{Request, RequestDecoder};

/// The dialplan of the machine of the transcripts, as far as the tests use it.
fn lab() -> Config {
    let extension = |destination: &str, actions: &[(&str, &str)]| Extension {
        destination: destination.into(),
        actions: actions.iter().map(|(application, argument)| Action::new(*application, *argument)).collect(),
    };
    let hello = ("playback", "silence_stream://2157");
    let dialplan = Dialplan {
        extensions: vec![
            extension("9001", &[("answer", ""), ("park", "")]),
            extension("9002", &[("answer", ""), hello, ("hangup", "NORMAL_CLEARING")]),
            extension("9013", &[("hangup", "USER_BUSY")]),
            extension("9007", &[("park", "")]),
        ],
    };
    let globals = vec![("lab_ip".into(), "127.0.0.1".into())];
    let at_once =
        Answer::Answers { ring_after: Duration::from_millis(1), answer_after: Duration::from_millis(2) };
    let destinations = vec![Destination { pattern: "9999".into(), answer: at_once }];
    Config { dialplan, globals, destinations, ..Config::default() }
}

/// When the controller of a transcript wrote what, by its chunks.
fn controller_chunks(name: &str) -> Vec<(u64, Vec<u8>)> {
    let bytes = fixture(&format!("{name}.c2s.bin"));
    let chunks = String::from_utf8(fixture(&format!("{name}.chunks.jsonl"))).unwrap();
    let mut written = Vec::new();
    for line in chunks.lines() {
        let chunk: serde_json::Value = serde_json::from_str(line).unwrap();
        if chunk["dir"] == "c2s" {
            let at = (chunk["t"].as_f64().unwrap() * 1_000_000.0) as u64;
            let offset = chunk["off"].as_u64().unwrap() as usize;
            let length = chunk["len"].as_u64().unwrap() as usize;
            written.push((at, bytes[offset..offset + length].to_vec()));
        }
    }
    written
}

/// What the emulated switch writes to the controller of a transcript.
fn replay(name: &str) -> Vec<Frame> {
    let mut bench = Bench::connected(lab());
    for (at, bytes) in controller_chunks(name) {
        let wait_micros = Time(at).micros_since(bench.now);
        bench.wait_ms(wait_micros / 1000);
        bench.write(FIRST, &bytes);
    }
    bench.wait_ms(5_000);
    frames(&bench.take(FIRST))
}

/// A frame with everything that differs between any two runs taken out.
fn normalised(frame: &Frame) -> String {
    if frame.content_type() == "text/event-plain" {
        return format!("event {}", frame.event().summary());
    }
    let text = if frame.body.is_empty() { frame.header("Reply-Text") } else { &frame.body };
    let text = text.split_inclusive([' ', '\n']).map(|word| {
        let is_uuid = word.trim().len() == 36 && word.trim().matches('-').count() == 4;
        if is_uuid { "<uuid>" } else { word }
    });
    format!("{}: {}", frame.content_type(), text.collect::<String>())
}

fn assert_replays(name: &str) {
    let expected: Vec<String> = frames(&fixture(&format!("{name}.s2c.bin"))).iter().map(normalised).collect();
    let actual: Vec<String> = replay(name).iter().map(normalised).collect();
    for (index, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
        // Figures in `status` are each machine's own.
        if expected.starts_with("api/response: UP ") && actual.starts_with("api/response: UP ") {
            continue;
        }
        assert_eq!(actual, expected, "frame {index} of {name}");
    }
    assert_eq!(actual.len(), expected.len(), "frames of {name}");
}

#[test]
fn logins_and_refusals_are_the_same() {
    for name in [
        "auth_bad",
        "auth_bytewise",
        "auth_cmd_before_auth",
        "auth_content_length_too_big",
        "auth_crlf",
        "auth_ok",
    ] {
        assert_replays(&format!("a_inbound_auth/{name}"));
    }
}

#[test]
fn subscriptions_and_filters_are_the_same() {
    for name in ["filter", "nixevent_noevents"] {
        let json = |frame: &&Frame| frame.content_type() != "text/event-json";
        let name = format!("e_filter_subscriptions/{name}");
        let expected = frames(&fixture(&format!("{name}.s2c.bin")));
        let actual = replay(&name);
        let names =
            |frames: &[Frame]| -> Vec<String> { frames.iter().filter(json).map(normalised).collect() };
        // The events of two channels that are killed in one breath come in either order.
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(sorted(names(&actual)), sorted(names(&expected)), "{name}");
        let replies = |frames: &[Frame]| -> Vec<String> {
            names(frames).into_iter().filter(|name| !name.starts_with("event")).collect()
        };
        assert_eq!(replies(&actual), replies(&expected), "{name}");
    }
}

/// The commands of api_replies that the emulated switch does not know yet, and why the rest of the list is skipped.
const UNKNOWN_API: &[&str] = &[
    "db",
    "domain_exists",
    "eval",
    "expand",
    "expr",
    "cond",
    "regex",
    "help",
    "limit_usage",
    "list_users",
    "say_string",
    "url_decode",
    "xml_locate",
    "module_exists",
    "bgapi",
    "in_group",
    "sofia_contact",
    "user_exists",
    "user_data",
    "uuid_buglist",
    "json",
    "lua",
    // Names modules and files of the machine.
    "fsctl uptime_usec",
    "global_getvar",
    // In XML; the clock; the machine's own figures.
    "show channels as xml",
    "strftime",
    "strepoch",
    "uptime",
    "status",
    "sched_api",
];

#[test]
fn api_replies_are_the_same() {
    let name = "c_api_bgapi/api_replies";
    let mut decoder = RequestDecoder::new(fipple_emulator::limits::REQUEST);
    decoder.push(&fixture(&format!("{name}.c2s.bin")));
    let mut requests: Vec<Request> = Vec::new();
    while let Some(request) = decoder.next_request().unwrap() {
        requests.push(request);
    }
    // The greeting answers nothing.
    let expected = frames(&fixture(&format!("{name}.s2c.bin")));
    let actual = replay(name);
    assert_eq!(actual.len(), expected.len());
    let mut compared = 0;
    let mut differing = Vec::new();
    for ((request, expected), actual) in requests.iter().zip(&expected[1..]).zip(&actual[1..]) {
        let command = request.command.strip_prefix("api ").unwrap_or(&request.command);
        if UNKNOWN_API.iter().any(|unknown| command == *unknown || command.split(' ').next() == Some(unknown))
        {
            continue;
        }
        compared += 1;
        if normalised(actual) != normalised(expected) {
            differing.push((command, normalised(actual), normalised(expected)));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
    assert!(compared >= 38, "only {compared} replies were compared");
}

/// The events of one channel in a fixture, in their order.
fn events_of(name: &str, uuid_starts: &str) -> Vec<Event> {
    let all = frames(&fixture(&format!("{name}.s2c.bin")));
    let events = all.iter().filter(|frame| frame.content_type() == "text/event-plain").map(Frame::event);
    events.filter(|event| event.get("Unique-ID").starts_with(uuid_starts)).collect()
}

/// Headers that one of two otherwise equal calls has and the other has not, with the reason.
const KNOWN_DIFFERENCES: &[&str] = &[
    // The INVITEs of the transcripts carry a header of their own; those of the emulated callers do not.
    "variable_sip_h_X-Lab-Header",
    // Set by the caller's ACK, which in one recorded call came only after it was parked.
    "variable_sip_to_tag",
    "variable_sip_cseq",
];

/// Compares two lives of a channel: events and states, and header names in their order.
fn assert_same_life(actual: &[Event], expected: &[Event]) {
    let summaries = |events: &[Event]| -> Vec<String> { events.iter().map(Event::summary).collect() };
    assert_eq!(summaries(actual), summaries(expected));
    for (actual, expected) in actual.iter().zip(expected) {
        let known = |name: &&str| KNOWN_DIFFERENCES.contains(name);
        let names = |event: &Event| -> BTreeSet<String> {
            event.header_names().into_iter().filter(|name| !known(name)).map(str::to_owned).collect()
        };
        let (own, real) = (names(actual), names(expected));
        let summary = expected.summary();
        let missing: Vec<_> = real.difference(&own).collect();
        let surplus: Vec<_> = own.difference(&real).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "{summary}: missing {missing:?}, surplus {surplus:?}"
        );
        assert_same_order(actual, expected);
        let ratio = actual.size_bytes as f64 / expected.size_bytes as f64;
        assert!(
            (0.9..1.1).contains(&ratio),
            "{summary}: {} bytes, real {}",
            actual.size_bytes,
            expected.size_bytes
        );
    }
}

/// Headers up to the variables come in the same order; so do the variables of CHANNEL_CREATE. Later events list
/// variables in the order of their last setting, in which the ACK's place differs between recorded calls too.
fn assert_same_order(actual: &Event, expected: &Event) {
    let ordered = |event: &Event| -> Vec<String> {
        let names = event.header_names().into_iter().filter(|name| !KNOWN_DIFFERENCES.contains(name));
        let names = names.filter(|name| event.name() == "CHANNEL_CREATE" || !name.starts_with("variable_"));
        names.map(str::to_owned).collect()
    };
    assert_eq!(ordered(actual), ordered(expected), "{}", expected.summary());
}

fn caller(destination: &str) -> InboundCall {
    InboundCall { caller_id_name: "Žofie Test".into(), ..InboundCall::new("sipp", destination) }
}

#[test]
fn an_incoming_call_that_is_answered_parked_and_hung_up_by_the_caller() {
    let mut bench = Bench::connected(lab());
    bench.say(FIRST, "auth ClueCon\n\nevent plain ALL");
    let uuid = bench.switch.inbound_call(bench.now, &caller("9001")).unwrap();
    bench.wait_ms(1_020);
    bench.switch.caller_hangup(bench.now, &uuid).unwrap();
    bench.collect();
    let actual = bench.events();
    let expected = events_of("b_formats_call_life/sip_call_plain", "a2b5c5cb");
    assert_eq!(actual.len(), 23);
    assert_same_life(&actual, &expected);
}

#[test]
fn an_incoming_call_that_the_dialplan_answers_plays_to_and_hangs_up() {
    let mut bench = Bench::connected(lab());
    bench.say(FIRST, "auth ClueCon\n\nevent plain ALL");
    bench.switch.inbound_call(bench.now, &caller("9002")).unwrap();
    bench.wait_ms(3_000);
    let actual = bench.events();
    assert_same_life(&actual, &events_of("b_formats_call_life/sip_call_plain", "ec23f6f3"));
}

#[test]
fn an_incoming_call_that_is_refused() {
    let mut bench = Bench::connected(lab());
    bench.say(FIRST, "auth ClueCon\n\nevent plain ALL");
    bench.switch.inbound_call(bench.now, &caller("9013")).unwrap();
    bench.collect();
    let actual = bench.events();
    assert_same_life(&actual, &events_of("b_formats_call_life/sip_call_plain", "25a65504"));
}

#[test]
fn a_caller_who_gives_up_before_the_answer() {
    let mut bench = Bench::connected(lab());
    bench.say(FIRST, "auth ClueCon\n\nevent plain ALL");
    let uuid = bench.switch.inbound_call(bench.now, &caller("9007")).unwrap();
    bench.wait_ms(800);
    bench.switch.caller_hangup(bench.now, &uuid).unwrap();
    bench.collect();
    let actual = bench.events();
    assert_same_life(&actual, &events_of("b_formats_call_life/cancel_plain", "492da565"));
}

/// An originated leg on the null endpoint, by its first channel in d_sendmsg/execute_basic: the events to which that
/// controller subscribed, up to the first command.
#[test]
fn commands_of_a_controller() {
    let name = "d_sendmsg/execute_basic";
    let uuid = "11291210-aedf-4b22-bf7b-b5cfbb165e5d";
    let mut bench = Bench::connected(lab());
    bench.say(FIRST, "auth ClueCon");
    bench.say(
        FIRST,
        "event plain CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE CHANNEL_PARK \
         CHANNEL_UNPARK CHANNEL_ANSWER PLAYBACK_START PLAYBACK_STOP CHANNEL_DESTROY",
    );
    bench.ask(&format!("api originate {{origination_uuid={uuid}}}null/lab &park()"));
    bench.wait_ms(20);
    // An unknown application is accepted and hangs the call up.
    assert_eq!(bench.execute(uuid, "nosuchapp", "x", ""), "+OK");
    let actual = bench.events();
    assert_same_life(&actual, &events_of(name, "11291210"));
}
