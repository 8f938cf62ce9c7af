//! Once warm, the decoder allocates nothing: not for a frame, not for its event, not for looking up or decoding.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fipple_protocol::esl::{Decoder, EventFormat, FrameKind, names};
use support::transcript;

thread_local! {
    /// How often this thread has allocated; the threads of the test harness do not count.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // A thread that is ending has no such variable any more, and is not the one that is measured.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What was read, so that nothing of it can be left out.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    events: usize,
    headers: usize,
    decoded_bytes: usize,
    channels: usize,
}

/// Reads a connection in pieces of a size that cuts frames everywhere.
fn read_all(decoder: &mut Decoder, scratch: &mut Vec<u8>, bytes: &[u8]) -> Tally {
    const PIECE_BYTES: usize = 1_447;
    let mut tally = Tally::default();
    for piece in bytes.chunks(PIECE_BYTES) {
        assert_eq!(decoder.feed(piece), piece.len());
        while let Some(mut frame) = decoder.next_frame().unwrap() {
            if !matches!(frame.kind(), FrameKind::Event(EventFormat::Plain | EventFormat::Xml)) {
                continue;
            }
            let event = frame.event().unwrap();
            tally.events += 1;
            tally.headers += event.headers().len();
            tally.channels += usize::from(event.get(names::UNIQUE_ID).is_some());
            assert!(event.name().is_some_and(|name| !name.is("")) || event.is_sent_by_client());
            for name in
                [names::EVENT_DATE_TIMESTAMP, names::CHANNEL_NAME, names::ANSWER_STATE, names::HANGUP_CAUSE]
            {
                let value = event.get(name).map(|value| value.decode_into(scratch).len());
                tally.decoded_bytes += value.unwrap_or_default();
            }
            for (_, value) in event.headers().iter() {
                tally.decoded_bytes += value.decode_into(scratch).len();
            }
        }
    }
    tally
}

fn assert_no_allocation_once_warm(name: &str) {
    let bytes = transcript(name).bytes;
    let mut decoder = Decoder::new();
    let mut scratch = Vec::new();
    ALLOCATIONS.set(0);
    let cold = read_all(&mut decoder, &mut scratch, &bytes);
    assert!(ALLOCATIONS.get() > 0, "the counter counts");
    assert!(cold.events > 5 && cold.decoded_bytes > cold.headers && cold.channels > 0, "{cold:?}");
    ALLOCATIONS.set(0);
    let warm = read_all(&mut decoder, &mut scratch, &bytes);
    assert_eq!(ALLOCATIONS.get(), 0, "{name}: allocations in {} events", warm.events);
    assert_eq!(warm, cold);
}

#[test]
fn plain_events_are_read_without_allocating() {
    assert_no_allocation_once_warm("b_formats_call_life/sip_call_plain");
}

#[test]
fn xml_events_are_read_without_allocating() {
    assert_no_allocation_once_warm("h_encoding_misc/channel_vars_xml");
}
