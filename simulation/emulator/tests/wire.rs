//! What goes over a connection, byte for byte as the real switch wrote it.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, FIRST, Frame, SECOND, fixture, frames};
use fipple_emulator::config::User;
use fipple_emulator::{Config, ConnectionId, Input};

/// The users of the machine of the recordings.
fn lab() -> Config {
    let user = |name: &str, events: Option<&str>, api: Option<&str>, may_log| User {
        name: name.into(),
        domain: "lab.local".into(),
        password: "secret".into(),
        events: events.map(str::to_owned),
        api: api.map(str::to_owned),
        may_log,
    };
    Config {
        users: vec![
            user("ctl", Some("CHANNEL_ANSWER,CHANNEL_HANGUP"), Some("show,status,bgapi"), true),
            user("ctl2", None, None, true),
            user("ctl3", Some("all"), Some("sched_api eval expand bgapi show"), false),
        ],
        globals: vec![("lab_ip".into(), "127.0.0.1".into())],
        ..Config::default()
    }
}

/// `bytes` with every uuid made the same.
fn without_uuids(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_uuid = |text: &str| {
        text.len() == 36
            && text.bytes().enumerate().all(|(index, byte)| match index {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    let mut output = String::new();
    let mut rest = &*text;
    while let Some(first) = rest.chars().next() {
        let (piece, shown) = match rest.get(..36).filter(|piece| is_uuid(piece)) {
            Some(uuid) => (uuid.len(), "<uuid>"),
            None => (first.len_utf8(), &rest[..first.len_utf8()]),
        };
        output.push_str(shown);
        rest = &rest[piece..];
    }
    output
}

/// What the controller of a recording wrote, in the recorded pieces.
fn written(name: &str) -> Vec<Vec<u8>> {
    let bytes = fixture(&format!("{name}.c2s.bin"));
    let chunks = String::from_utf8(fixture(&format!("{name}.chunks.jsonl"))).unwrap();
    let chunks = chunks.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let written = chunks.filter(|chunk| chunk["dir"] == "c2s").map(|chunk| {
        let offset = chunk["off"].as_u64().unwrap() as usize;
        bytes[offset..offset + chunk["len"].as_u64().unwrap() as usize].to_vec()
    });
    written.collect()
}

fn assert_same_bytes(name: &str) {
    let mut bench = Bench::connected(lab());
    for piece in written(name) {
        bench.write(FIRST, &piece);
    }
    bench.wait_ms(3_000);
    assert_eq!(
        without_uuids(&bench.take(FIRST)),
        without_uuids(&fixture(&format!("{name}.s2c.bin"))),
        "{name}"
    );
}

#[test]
fn logins_and_their_refusals() {
    for name in [
        "api_with_body",
        "auth_bad",
        "auth_bytewise",
        "auth_content_length_too_big",
        "auth_dotdotdot",
        "auth_exit_before_auth",
        "auth_pipelined",
        "auth_pipelined_cmd_first",
        "auth_trailing_space",
        "auth_twice_bad_content_length",
        "userauth_bad",
        "userauth_colon_form",
        "userauth_nodomain",
        "userauth_nouser",
    ] {
        assert_same_bytes(&format!("a_inbound_auth/{name}"));
    }
}

#[test]
fn a_user_has_the_rights_of_its_record() {
    let mut bench = Bench::connected(lab());
    bench.write(FIRST, b"userauth ctl@lab.local:secret\n\n");
    let accepted = String::from_utf8(bench.take(FIRST)).unwrap();
    assert!(accepted.ends_with(
        "Reply-Text: +OK accepted\nAllowed-Events: CHANNEL_ANSWER,CHANNEL_HANGUP\n\
         Allowed-API: show,status,bgapi\nAllowed-LOG: true\n\n"
    ));
    assert!(bench.ask("api status").starts_with("UP "));
    assert_eq!(bench.ask("api uptime"), "-ERR permission denied");
    assert_eq!(bench.ask("api bgapi uptime"), "-ERR permission denied");
    assert_eq!(bench.ask("event plain CHANNEL_CREATE"), "-ERR permission denied");
    assert_eq!(bench.ask("event plain CHANNEL_ANSWER"), "+OK event listener enabled plain");
    assert_eq!(bench.ask("log info"), "+OK log level info [6]");
    bench.connect(SECOND);
    bench.write(
        SECOND,
        b"userauth ctl3@lab.local:secret\n\nlog info\n\nevent plain CUSTOM sofia::register\n\n",
    );
    assert_eq!(bench.heard(SECOND)[2..], ["-ERR permission denied", "-ERR permission denied"]);
}

#[test]
fn an_address_that_may_not_connect_is_told_so() {
    let mut bench = Bench::connected(Config::default());
    bench.connect(SECOND);
    bench.take(SECOND);
    bench.switch.handle(bench.now, Input::Refused(SECOND));
    bench.collect();
    assert_eq!(bench.take(SECOND), fixture("p_shutdown_acl/acl_rude_rejection.s2c.bin"));
    assert!(bench.is_closed(SECOND) && !bench.is_closed(FIRST));
}

/// The whole recording but its last word, whose moment differs: a variable's value comes as it is.
#[test]
fn a_variable_can_forge_frames_and_is_cut() {
    assert_same_bytes("e_filter_subscriptions/getvar_injection");
}

#[test]
fn commands_in_pieces_hold_events_back_until_they_are_complete() {
    let mut bench = Bench::subscribed();
    bench.log_in(SECOND, "event plain CUSTOM x");
    bench.write(SECOND, b"api ec");
    bench.say(FIRST, "sendevent CUSTOM\nEvent-Subclass: x");
    assert_eq!(bench.heard(SECOND), [""; 0]);
    bench.write(SECOND, b"ho there\n\n");
    assert_eq!(bench.heard(SECOND), ["there", "CUSTOM"]);
}

#[test]
fn jobs_go_on_without_the_connection_that_began_them() {
    let mut bench = Bench::logged_in();
    bench.log_in(SECOND, "event plain BACKGROUND_JOB");
    bench.say(FIRST, "bgapi msleep 1000\nJob-UUID: orphan");
    bench.drop_connection(FIRST);
    bench.wait_ms(1_000);
    assert_eq!(bench.heard(SECOND), ["BACKGROUND_JOB"]);
    let nobody = ConnectionId(7);
    bench.switch.handle(bench.now, Input::Received(nobody, b"api status\n\n"));
    bench.switch.handle(bench.now, Input::Written(nobody, 5));
    bench.collect();
    assert_eq!(bench.heard(SECOND), [""; 0], "a connection that is not there does nothing");
}

/// What a log frame says apart from the moment and the number of the session.
fn line_of(frame: &Frame) -> String {
    let headers = ["Log-Level", "Text-Channel", "Log-File", "Log-Func", "Log-Line"];
    let headers = headers.map(|name| frame.header(name)).join(" ");
    assert_eq!(frame.header("Content-Length"), frame.body.len().to_string());
    // `2026-11-23 04:12:10.812659 0.00% [NOTICE] ...`
    let stamped = frame.body.starts_with("20");
    let text = if stamped { frame.body.splitn(3, ' ').nth(2).unwrap() } else { &frame.body };
    let text = without_uuids(text.as_bytes());
    let text = text.split(' ').map(|word| if word.parse::<u32>().is_ok() { "<number>" } else { word });
    format!("{headers} {}: {}", frame.header("User-Data").len(), text.collect::<Vec<_>>().join(" "))
}

#[test]
fn the_log_tells_of_a_channels_life() {
    let name = "i_log_sendevent/log_events";
    let mut bench = Bench::connected(lab());
    for piece in written(name) {
        bench.write(FIRST, &piece);
        bench.wait_ms(50);
    }
    let lines = |bytes: &[u8]| -> Vec<String> {
        let frames = frames(bytes);
        frames.iter().filter(|frame| frame.content_type() == "log/data").map(line_of).collect()
    };
    let recorded = lines(&fixture(&format!("{name}.s2c.bin")));
    assert_eq!(recorded.len(), 9);
    assert_eq!(lines(&bench.take(FIRST)), recorded);
}

/// Transcripts h_encoding_misc/sendevent_values_*: what is no UTF-8 goes through, encoded where values are.
#[test]
fn bytes_that_are_no_text_go_through() {
    let recorded = |format: &str| fixture(&format!("h_encoding_misc/sendevent_values_{format}.s2c.bin"));
    for (format, written) in [
        ("plain", &b"\nBad: a%FF%FEb\n"[..]),
        ("json", b"\"Bad\":\"a\xff\xfeb\","),
        ("xml", b"<Bad>a%FF%FEb</Bad>"),
    ] {
        let contains = |bytes: &[u8]| bytes.windows(written.len()).any(|window| window == written);
        assert!(contains(&recorded(format)), "the recording of {format}");
        let mut bench = Bench::logged_in();
        bench.say(FIRST, &format!("event {format} CUSTOM x"));
        bench.write(
            FIRST,
            b"sendevent CUSTOM\nEvent-Subclass: x\nBad: a\xff\xfeb\nContent-Length: 3\n\n\xc5\xbe\x80",
        );
        let bytes = bench.take(FIRST);
        assert!(contains(&bytes), "{format}");
        assert_eq!(frames(&bytes).len(), 3, "the lengths are those of the bytes");
        assert_eq!(bytes.windows(3).any(|window| window == b"\xc5\xbe\x80"), format != "xml");
    }
    let mut bench = Bench::logged_in();
    bench.write(FIRST, b"api echo \xff\n\n");
    assert!(bench.take(FIRST).ends_with(b"Content-Length: 1\n\n\xff"));
}
