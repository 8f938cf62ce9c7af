//! What the recorded switch is known to do with values, arrays, bodies and forged headers reads the same in every
//! format.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod support;

use fipple_protocol::esl::{Decoder, Error, Event, EventFormat, FrameKind, names};
use support::{OwnedEvent, decode_whole, transcript};

fn events(name: &str) -> Vec<OwnedEvent> {
    let frames = decode_whole(&transcript(name).bytes).frames;
    let events = frames.into_iter().filter(|frame| matches!(frame.kind, FrameKind::Event(_)));
    events.map(|frame| frame.event.unwrap()).collect()
}

/// The first event with this header.
fn event_with(events: &[OwnedEvent], name: &str) -> OwnedEvent {
    events.iter().find(|event| event.get(name).is_some()).unwrap().clone()
}

#[test]
fn awkward_values_are_the_same_in_every_format() {
    let [plain, json, xml] =
        ["plain", "json", "xml"].map(|format| events(&format!("h_encoding_misc/sendevent_values_{format}")));
    let values = event_with(&json, "V0");
    for (name, expected) in [
        ("V2", "%"),
        ("V3", "%41"),
        ("V4", "100%"),
        ("V5", "a%zz"),
        ("V6", "%25"),
        ("V9", "žluťoučký"),
        ("V10", "emoji 😀"),
        ("V12", "quote\"'"),
        ("V13", "<>&"),
        ("V17", "line1\\nline2"),
        ("V19", "back\\slash"),
        ("V21", "trail "),
        ("V22", "lead"),
        ("Dup", "two"),
    ] {
        assert_eq!(values.get(name).unwrap(), expected, "{name} in JSON");
        // FreeSWITCH does not encode a % before two upper-case hex digits, so these two are not told apart.
        let ambiguous = match name {
            "V3" => "A",
            "V6" => "%",
            _ => expected,
        };
        for (format, events) in [("plain", &plain), ("XML", &xml)] {
            assert_eq!(event_with(events, "V0").get(name).unwrap(), ambiguous, "{name} in {format}");
        }
    }
    for events in [&plain, &json, &xml] {
        assert_eq!(event_with(events, "A3").get("A3").unwrap(), "only");
        let with_body = events.iter().find(|event| !event.body.is_empty()).unwrap();
        assert_eq!(String::from_utf8_lossy(&with_body.body), "b1: žluť %41 100%\n\nsecond\n<x>&\n");
    }
}

#[test]
fn bodies_of_jobs_are_the_same_in_every_format() {
    for (format, name, echo) in [
        ("json", "bgapi_json_format", "a%b \"q\" \\ žluť\tTAB"),
        ("xml", "bgapi_xml_format", "a%b \"q\" <x> & žluť"),
    ] {
        let events = events(&format!("c_api_bgapi/{name}"));
        let status =
            events.iter().find(|event| event.get("Job-Command").as_deref() == Some("status")).unwrap();
        assert!(status.body.starts_with(b"UP 0 years"), "{format}");
        // In JSON and plain the length is a header, in XML an element beside the headers.
        if let Some(length) = status.get("Content-Length") {
            assert_eq!(length.parse(), Ok(status.body.len()), "{format}");
        }
        assert!(events.iter().any(|event| event.body == echo.as_bytes()), "{format}");
    }
}

/// Calls `check` with every event of a recording.
fn each_event(name: &str, mut check: impl FnMut(Event<'_>)) {
    let mut decoder = Decoder::new();
    for piece in transcript(name).bytes.chunks(4096) {
        assert_eq!(decoder.feed(piece), piece.len());
        while let Some(mut frame) = decoder.next_frame().unwrap() {
            if let Ok(event) = frame.event() {
                check(event);
            }
        }
    }
}

#[test]
fn arrays_have_the_same_elements_in_every_format() {
    for format in ["plain", "json", "xml"] {
        let mut arrays = Vec::new();
        each_event(&format!("h_encoding_misc/sendevent_values_{format}"), |event| {
            if event.get("A1").is_some() {
                arrays
                    .push(event.headers().elements("A1").map(|e| e.text().into_owned()).collect::<Vec<_>>());
            }
        });
        assert_eq!(arrays, [["a", "b", "c d"]], "in {format}");
    }
}

#[test]
fn a_forged_event_name_does_not_count() {
    for format in ["plain", "json", "xml"] {
        let mut forged = 0;
        each_event(&format!("h_encoding_misc/sendevent_values_{format}"), |event| {
            if event.headers().get_all(names::EVENT_NAME).next().unwrap().is("CHANNEL_ANSWER") {
                forged += 1;
                assert!(event.is_sent_by_client());
                assert_eq!(event.name(), None);
                assert!(event.get(names::EVENT_NAME).unwrap().is("CUSTOM"), "the switch has the last word");
                assert_ne!(event.get(names::CORE_UUID).unwrap().raw(), b"spoof");
            }
        });
        assert_eq!(forged, 1, "in {format}");
    }
    let mut without_stamp = 0;
    each_event("i_log_sendevent/sendevent_two_clients_b", |event| {
        without_stamp += usize::from(event.is_sent_by_client() && event.get(names::EVENT_NAME).is_none());
    });
    assert_eq!(
        without_stamp, 1,
        "a client's event about a live channel has only the name that the client gave it"
    );
}

#[test]
fn a_channels_variables_are_found_by_their_bare_name() {
    let mut found = 0;
    each_event("h_encoding_misc/channel_vars_plain", |event| {
        assert_eq!(event.variable("lab_v12"), event.get("variable_lab_v12"));
        if let Some(value) = event.variable("lab_v12") {
            found += 1;
            assert_eq!(value.text(), "quote\"'");
            assert!(event.name().is_some() && !event.is_sent_by_client());
        }
    });
    assert!(found > 0);
}

#[test]
fn an_event_that_was_fired_anew_has_its_last_name() {
    let events = events("m_transfer/uuid_transfer_inline_broadcast_record_schedhangup");
    let refired = events.iter().filter(|event| event.headers[0].1 == b"COMMAND");
    let refired: Vec<_> = refired.map(|event| event.get("Event-Name").unwrap()).collect();
    assert_eq!(refired, ["PRIVATE_COMMAND", "PRIVATE_COMMAND"]);
}

#[test]
fn a_doubled_length_does_not_cut_the_body() {
    let events = events("g_custom_events/chat_sms");
    let doubled = events.iter().filter(|event| {
        event.headers.iter().filter(|(name, _, _)| name == names::CONTENT_LENGTH.as_bytes()).count() == 2
    });
    let bodies: Vec<_> = doubled.map(|event| String::from_utf8_lossy(&event.body).into_owned()).collect();
    assert_eq!(bodies, ["hello", "hi SMS žluť", "hi SMS žluť"]);
}

#[test]
fn the_connect_block_is_an_event_without_a_body() {
    let frames = decode_whole(&transcript("f_outbound/sync_full").bytes).frames;
    assert_eq!(frames[0].kind, FrameKind::ChannelData);
    let event = frames[0].event.as_ref().unwrap();
    assert_eq!(event.get("Event-Name").unwrap(), "CHANNEL_DATA");
    assert_eq!(event.get("FreeSWITCH-IPv6").unwrap(), "fd00::2");
    assert_eq!(event.get("Reply-Text").unwrap(), "+OK\n");
    assert!(event.body.is_empty());
    assert_eq!(frames[1].kind, FrameKind::CommandReply);
}

#[test]
fn a_background_job_without_a_result_has_no_body() {
    let events = events("c_api_bgapi/bgapi_jobs");
    let is_empty_job = |event: &&OwnedEvent| {
        event.get("Event-Name").as_deref() == Some("BACKGROUND_JOB") && event.get("Content-Length").is_none()
    };
    let empty = events.iter().find(is_empty_job).expect("the recording has a job without a result");
    assert!(empty.body.is_empty());
}

#[test]
fn log_lines_and_the_acls_refusal_keep_their_text() {
    let frames = decode_whole(&transcript("i_log_sendevent/log_events").bytes).frames;
    let line = frames.iter().find(|frame| frame.kind == FrameKind::LogData).unwrap();
    assert!(String::from_utf8_lossy(&line.body).contains("a žluť %41 message"));
    assert!(line.headers.contains(&(b"Log-Level".to_vec(), b"4".to_vec())));
    let frames = decode_whole(&transcript("p_shutdown_acl/acl_rude_rejection").bytes).frames;
    assert_eq!(
        (frames[0].kind, frames[0].body.as_slice()),
        (FrameKind::RudeRejection, b"Access Denied, go away.\n".as_slice())
    );
    assert_eq!(frames[1].kind, FrameKind::DisconnectNotice);
}

fn read(format: EventFormat, body: &[u8]) -> Result<OwnedEvent, Error> {
    let mut wire = format!("Content-Type: text/event-{}\nContent-Length: {}\n\n", format.name(), body.len())
        .into_bytes();
    wire.extend_from_slice(body);
    let mut decoded = decode_whole(&wire);
    assert_eq!(
        (decoded.frames.len(), decoded.end),
        (1, Ok(0)),
        "an event's content never disturbs the framing"
    );
    decoded.frames.remove(0).event
}

#[test]
fn json_keeps_repeated_names_and_raw_bytes() {
    let event = read(
        EventFormat::Json,
        b" {\"a\":\"1\",\"a\":[\"x\\u00e9\",\"y\"],\"b\":\"\xff\\n\",\"e\":[],\"_body\":\"\\u0000\"}\n",
    )
    .unwrap();
    let all: Vec<_> = event.headers.iter().map(|(name, raw, _)| (name.as_slice(), raw.as_slice())).collect();
    let expected: [(&[u8], &[u8]); 4] =
        [(b"a", b"1"), (b"a", "ARRAY::xé|:y".as_bytes()), (b"b", b"\xff\n"), (b"e", b"ARRAY::")];
    assert_eq!(all, expected);
    assert_eq!(event.body, b"\0");
}

#[test]
fn json_of_another_shape_is_an_error_of_that_event_alone() {
    for body in [
        "",
        "[]",
        "\"a\"",
        "{",
        "{\"a\"}",
        "{\"a\":1}",
        "{\"a\":null}",
        "{\"a\":{}}",
        "{\"a\":[[]]}",
        "{\"a\":[1]}",
        "{\"a\":\"b\"}x",
        "{\"a\":\"b\",}",
        "{\"a\":\"\\ud8\"}",
    ] {
        assert!(
            matches!(read(EventFormat::Json, body.as_bytes()), Err(Error::InvalidJson { .. })),
            "{body:?}"
        );
    }
}

#[test]
fn xml_of_another_shape_is_an_error_of_that_event_alone() {
    let event =
        read(EventFormat::Xml, b"<event><headers><a>x%0A&lt;&#233;&#xD800;</a><b/></headers><body/></event>")
            .unwrap();
    assert_eq!(event.get("a").unwrap(), "x\n<é\u{fffd}");
    assert_eq!((event.get("b").unwrap().as_str(), event.body.as_slice()), ("", b"".as_slice()));
    for (content, offset) in [
        ("", 0),
        ("<event>", 7),
        ("<event><headers><a>x</b></headers></event>", 20),
        ("<event><headers><a>&nbsp;</a></headers></event>", 19),
        ("<event><headers><a>&#x;</a></headers></event>", 19),
        ("<event><headers><a>&", 19),
        ("<event><headers><!-- --></headers></event>", 16),
        ("<event><headers></headers><other>x</other></event>", 42),
        ("<event><headers></headers></event>x", 34),
        ("<event><headers><a", 16),
        ("<event><headers><a>", 19),
    ] {
        let expected = Err(Error::InvalidXml { offset });
        assert_eq!(
            read(EventFormat::Xml, content.as_bytes()).map(|event| event.body),
            expected,
            "{content:?}"
        );
    }
}
