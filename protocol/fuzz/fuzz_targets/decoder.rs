//! The Event Socket decoder against arbitrary bytes: whatever comes and however it is cut, it does not panic, and it
//! reads the same frames, events and errors as from the bytes in one piece.
//!
//! The first byte of the input is the size of the pieces. Good seeds are the recorded connections:
//! `mkdir -p corpus/decoder && cp ../../tests/fixtures/freeswitch/*/*.s2c.bin corpus/decoder/`.

#![no_main]

use fipple_protocol::esl::{Decoder, Frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&piece_bytes, wire)) = input.split_first() else { return };
    let whole = read(wire, wire.len().max(1));
    let pieces = read(wire, usize::from(piece_bytes).max(1));
    assert_eq!(whole, pieces, "in pieces of {piece_bytes} bytes");
});

/// Everything that can be asked of the decoder about these bytes, as text.
fn read(wire: &[u8], piece_bytes: usize) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let piece = &rest[..piece_bytes.min(rest.len())];
        let taken = decoder.feed(piece);
        assert!(taken > 0, "all frames were taken, so there is room");
        rest = &rest[taken..];
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => seen.push(describe(frame)),
                Ok(None) => break,
                Err(error) => {
                    seen.push(format!("{error:?}"));
                    return seen;
                }
            }
        }
    }
    seen.push(format!("{} bytes left", decoder.pending_bytes()));
    seen
}

fn describe(mut frame: Frame<'_>) -> String {
    let mut scratch = Vec::new();
    let mut text = format!("{:?} {:?}", frame.kind(), frame.body());
    for (name, value) in frame.headers().iter() {
        text.push_str(&format!(" {name:?} {:?}", value.decode_into(&mut scratch)));
    }
    match frame.event() {
        Ok(event) => {
            for (name, value) in event.headers().iter() {
                let elements = value.elements().count();
                text.push_str(&format!(" {name:?} {:?} {elements}", value.text()));
            }
            text.push_str(&format!(" {:?} {:?}", event.name(), event.body()));
        }
        Err(error) => text.push_str(&format!(" {error:?}")),
    }
    text
}
