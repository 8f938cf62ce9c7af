//! Everything that a real FreeSWITCH sent is read, to the last byte, in whatever pieces it comes.
//!
//! The committed recordings are always read. `FIPPLE_TEST_TRANSCRIPTS` may name a directory with more of them, laid
//! out in the same way.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod support;

use std::io::Write;
use std::path::Path;

use fipple_protocol::esl::{EventFormat, FrameKind};
use support::{Decoded, OwnedFrame, Transcript, committed, decode, decode_whole, load};

/// Every way of cutting gives the same frames, none is lost, and every event can be read.
fn check(transcript: &Transcript) -> Decoded {
    let Transcript { name, bytes, chunks } = transcript;
    let whole = decode_whole(bytes);
    assert_eq!(whole.end, Ok(0), "{name}: bytes are left over");
    assert!(whole == decode(bytes, std::iter::repeat(1)), "{name}: byte by byte differs");
    if let Some(chunks) = chunks {
        assert_eq!(chunks.iter().sum::<usize>(), bytes.len(), "{name}: the chunks are all of it");
        assert!(whole == decode(bytes, chunks.iter().copied()), "{name}: by its chunks differs");
    }
    check_that_nothing_is_lost(name, bytes, &whole.frames);
    whole
}

/// The frames, written out again, are the bytes of the wire, but for newlines between frames.
fn check_that_nothing_is_lost(name: &str, bytes: &[u8], frames: &[OwnedFrame]) {
    let mut rest = bytes;
    for (number, frame) in frames.iter().enumerate() {
        let wire = written_out(frame.headers.iter().map(|(name, value)| (name, value)), &frame.body);
        let padding = rest.iter().take_while(|&&byte| byte == b'\n').count();
        rest = rest[padding..].strip_prefix(wire.as_slice()).unwrap_or_else(|| {
            panic!("{name}: frame {number} is not what was sent: {:?}", String::from_utf8_lossy(&wire))
        });
        let event = match (frame.kind, &frame.event) {
            (FrameKind::Event(_) | FrameKind::ChannelData, event) => event.as_ref().unwrap(),
            (_, event) => {
                assert!(event.is_err(), "{name}: frame {number} is no event");
                continue;
            }
        };
        let from_client = event.get("Command").is_some_and(|command| command.starts_with("sendevent"));
        assert!(from_client || event.get("Event-Name").is_some(), "{name}: frame {number} has no name");
        if frame.kind == FrameKind::Event(EventFormat::Plain) {
            let wire = written_out(event.headers.iter().map(|(name, raw, _)| (name, raw)), &event.body);
            assert!(wire == frame.body, "{name}: the event in frame {number} is not what was sent");
        }
    }
    assert!(rest.iter().all(|&byte| byte == b'\n'), "{name}: something follows the last frame");
}

fn written_out<'a>(headers: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>, body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (name, value) in headers {
        wire.extend_from_slice(&[name.as_slice(), b": ", value, b"\n"].concat());
    }
    wire.push(b'\n');
    wire.extend_from_slice(body);
    wire
}

#[test]
fn committed_transcripts_are_read_to_the_last_byte() {
    let mut kinds = Vec::new();
    for transcript in committed() {
        let is_excerpt = transcript.name.starts_with("o_ordering/");
        assert!(
            transcript.chunks.is_some() != is_excerpt,
            "{}: the chunks are committed too",
            transcript.name
        );
        for frame in check(&transcript).frames {
            if !kinds.contains(&frame.kind) {
                kinds.push(frame.kind);
            }
        }
    }
    for kind in [
        FrameKind::AuthRequest,
        FrameKind::CommandReply,
        FrameKind::ChannelData,
        FrameKind::ApiResponse,
        FrameKind::Event(EventFormat::Plain),
        FrameKind::Event(EventFormat::Json),
        FrameKind::Event(EventFormat::Xml),
        FrameKind::LogData,
        FrameKind::DisconnectNotice,
        FrameKind::RudeRejection,
    ] {
        assert!(kinds.contains(&kind), "no committed transcript has a frame of the kind {kind:?}");
    }
    assert!(!kinds.contains(&FrameKind::Other), "FreeSWITCH sent a Content-Type that has no kind");
}

#[test]
fn further_transcripts_are_read_to_the_last_byte() {
    let Ok(directory) = std::env::var("FIPPLE_TEST_TRANSCRIPTS") else {
        // Not println!, which a passing test keeps to itself.
        let why = b"skipped: FIPPLE_TEST_TRANSCRIPTS names no directory of further transcripts\n";
        std::io::stderr().write_all(why).unwrap();
        return;
    };
    let transcripts = load(Path::new(&directory));
    let frames: usize = transcripts.iter().map(|transcript| check(transcript).frames.len()).sum();
    let bytes: usize = transcripts.iter().map(|transcript| transcript.bytes.len()).sum();
    println!("{} transcripts, {frames} frames, {bytes} bytes", transcripts.len());
}
