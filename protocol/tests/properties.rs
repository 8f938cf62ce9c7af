//! Whatever bytes come, in whatever pieces: no panic, and the same frames and errors. Whatever arguments a command
//! gets: one command, or an error.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod support;

use fipple_protocol::esl::request::{RequestDecoder, RequestLimits};
use fipple_protocol::esl::{Command, EventFormat, Execute, Secret};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{decode, decode_whole, transcript};

/// Bytes that have something of a frame in them.
fn almost_frames() -> impl Strategy<Value = Vec<u8>> {
    let fragments = prop_oneof![
        Just(b"Content-Type: text/event-plain\n".to_vec()),
        Just(b"Content-Type: text/event-json\n".to_vec()),
        Just(b"Content-Type: text/event-xml\n".to_vec()),
        Just(b"Content-Type: command/reply\n".to_vec()),
        Just(b"Event-Name: CUSTOM\n".to_vec()),
        (-3i64..80).prop_map(|length| format!("Content-Length: {length}\n").into_bytes()),
        Just(b"Content-Length: 99999999999999999999\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"{\"a\":[\"b\",\"\\u00e9\"],\"_body\":\"c\"}".to_vec()),
        Just(b"<event><headers><a>&lt;</a></headers><body>x</body></event>".to_vec()),
        vec(any::<u8>(), 0..12),
    ];
    vec(fragments, 0..24).prop_map(|fragments| fragments.concat())
}

/// Text that tries to end lines, words and bodies.
fn hostile_text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[ -~]{0,6}",
        "\\PC{0,3}",
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\0".to_owned()),
        Just("\n\nexit\n\n".to_owned()),
        Just("Content-Length: 5".to_owned()),
        Just(" ".to_owned())
    ];
    vec(pieces, 0..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    // A failing case is printed; it belongs into a test of its own and not into a file beside this one.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_give_the_same_in_any_pieces(bytes in vec(any::<u8>(), 0..400), pieces in vec(1usize..40, 0..40)) {
        let whole = decode_whole(&bytes);
        prop_assert_eq!(&decode(&bytes, pieces), &whole);
        prop_assert_eq!(&decode(&bytes, std::iter::repeat(1)), &whole);
    }

    #[test]
    fn almost_frames_give_the_same_in_any_pieces(bytes in almost_frames(), pieces in vec(1usize..40, 0..40)) {
        let whole = decode_whole(&bytes);
        prop_assert_eq!(&decode(&bytes, pieces), &whole);
        prop_assert_eq!(&decode(&bytes, std::iter::repeat(1)), &whole);
    }

    #[test]
    fn damaged_recordings_never_panic(
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        pieces in vec(1usize..4000, 0..20),
    ) {
        for name in ["h_encoding_misc/sendevent_values_xml", "h_encoding_misc/sendevent_values_json", "f_outbound/async_json_divert"] {
            let mut bytes = transcript(name).bytes;
            for (position, byte) in &damage {
                let position = position.index(bytes.len());
                bytes[position] = *byte;
            }
            prop_assert!(decode(&bytes, pieces.iter().copied()) == decode_whole(&bytes));
        }
    }

    #[test]
    fn a_command_is_one_command(texts in vec(hostile_text(), 4), has_lock: bool, loops: Option<u32>) {
        let [a, b, c, d] = [&*texts[0], &*texts[1], &*texts[2], &*texts[3]];
        let headers = [(a, b), (c, d)];
        let execute =
            Execute { uuid: Some(a), application: b, argument: c, event_lock: has_lock, event_uuid: Some(d), loops };
        let argument = Execute { event_lock: has_lock, loops, ..Execute::new(Some("uuid"), "set", c) };
        for (command, body) in [
            (Command::Auth { password: Secret(a) }, None),
            (Command::UserAuth { user: a, password: Secret(b) }, None),
            (Command::Api(a), None),
            (Command::BackgroundApi { command: a, job_uuid: b }, None),
            (Command::Events { format: EventFormat::Json, names: &[a, b], subclasses: &[c, d] }, None),
            (Command::NixEvents { names: &[a], subclasses: &[b] }, None),
            (Command::Filter { header: a, value: b }, None),
            (Command::FilterDelete { header: a, value: Some(b) }, None),
            (Command::MyEvents { uuid: Some(a), format: EventFormat::Xml }, None),
            (Command::Hangup { uuid: Some(a), cause: b }, None),
            (Command::SendEvent { name: "CUSTOM", headers: &headers, body: &texts[1] }, Some(b)),
            (Command::SendEvent { name: "CUSTOM", headers: &[("a", "b")], body: a }, Some(a)),
            (Command::Execute(execute), Some(c)),
            (Command::Execute(argument), Some(c)),
        ] {
            let mut output = Vec::new();
            if command.write(&mut output).is_err() {
                prop_assert!(output.is_empty());
                continue;
            }
            let mut requests = requests(&output);
            prop_assert_eq!(requests.len(), 1, "{:?} wrote {:?}", command, String::from_utf8_lossy(&output));
            let request = requests.remove(0);
            match (request.body, body) {
                (None, _) => {}
                (Some(read), written) => prop_assert_eq!(Some(read.as_slice()), written.map(str::as_bytes)),
            }
        }
    }
}

/// What the switch makes of it, with one more command after it: a command that swallows the next is two in one too.
fn requests(output: &[u8]) -> Vec<fipple_protocol::esl::request::Request> {
    let mut decoder = RequestDecoder::new(RequestLimits { head_bytes: 1 << 16, body_bytes: 1 << 16 });
    decoder.push(output);
    decoder.push(b"status\n\n");
    let mut requests = Vec::new();
    while let Some(request) = decoder.next_request().unwrap() {
        requests.push(request);
    }
    assert_eq!((decoder.buffered_bytes(), requests.pop().unwrap().command.as_str()), (0, "status"));
    requests
}
