//! How fast plain events are read, here and by the crate freeswitch-esl-tokio, in one run: `cargo bench -p
//! fipple-protocol`. It prints one JSON line for each way; benches/README.md says what they are.

#![expect(clippy::disallowed_methods, reason = "a benchmark takes the time, reads files and opens sockets")]
#![expect(clippy::print_stdout, reason = "what a benchmark is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run may say so by ending")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fipple_protocol::esl::{Decoder, EventFormat, FrameKind};
use fipple_protocol::limits::ESL_BUFFER_BYTES;

#[path = "../tests/support/mod.rs"]
mod support;

/// How long one way is repeated.
const MEASURED: Duration = Duration::from_secs(3);

/// How often each way is measured; the best counts, because other programs can only slow it down.
const ROUNDS: usize = 3;

fn main() {
    // `cargo test --all-targets` runs this too, without the flag: there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let load = Load::from_transcripts();
    println!(
        r#"{{"load":"plain events of the committed transcripts","events":{},"bytes":{},"mean_event_bytes":{}}}"#,
        load.bodies.len(),
        load.wire.len(),
        load.wire.len() / load.bodies.len()
    );
    let index = measure("fipple, memory: frame and index", &load, index_in_memory);
    let decode = measure("fipple, memory: frame, index and decode every value", &load, decode_in_memory);
    let socket = measure("fipple, loopback socket: frame and index", &load, index_from_socket);
    #[cfg(target_arch = "x86_64")]
    {
        let rival_memory = measure("freeswitch-esl-tokio, memory: parse body", &load, rival::parse_in_memory);
        let rival_socket =
            measure("freeswitch-esl-tokio, loopback socket", &load, rival::receive_from_socket);
        println!(
            r#"{{"ratio":"events/s, fipple to freeswitch-esl-tokio","memory_index":{:.1},"memory_decode":{:.1},"socket":{:.1}}}"#,
            index / rival_memory,
            decode / rival_memory,
            socket / rival_socket
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (index, decode, socket);
}

/// The same events in the two forms that the ways need.
struct Load {
    /// Every plain event of the committed transcripts, framed as on the wire.
    wire: Vec<u8>,
    /// The bodies of those frames.
    bodies: Vec<String>,
}

impl Load {
    fn from_transcripts() -> Self {
        let mut load = Self { wire: Vec::new(), bodies: Vec::new() };
        for transcript in support::committed() {
            for frame in support::decode_whole(&transcript.bytes).frames {
                if frame.kind == FrameKind::Event(EventFormat::Plain) {
                    let length = frame.body.len();
                    write!(load.wire, "Content-Length: {length}\nContent-Type: text/event-plain\n\n")
                        .unwrap();
                    load.wire.extend_from_slice(&frame.body);
                    load.bodies.push(String::from_utf8(frame.body).unwrap());
                }
            }
        }
        load
    }
}

/// Prints and returns the events per second of `run`, which reads the load a number of times over and returns the
/// number of events it saw.
fn measure(name: &str, load: &Load, run: impl Fn(&Load, usize) -> usize) -> f64 {
    let mut best = f64::INFINITY;
    let mut repetitions = 1;
    for _ in 0..ROUNDS {
        loop {
            let start = Instant::now();
            let events = run(load, repetitions);
            let elapsed = start.elapsed();
            assert_eq!(events, load.bodies.len() * repetitions, "{name}: every event is read");
            if elapsed * 2 > MEASURED {
                best = best.min(elapsed.as_secs_f64() / repetitions as f64);
                break;
            }
            let factor = (MEASURED.as_secs_f64() / elapsed.as_secs_f64()).clamp(1.5, 100.0);
            repetitions = (repetitions as f64 * factor).ceil() as usize;
        }
    }
    let events_per_second = load.bodies.len() as f64 / best;
    let megabytes_per_second = load.wire.len() as f64 / best / 1e6;
    println!(
        r#"{{"way":"{name}","events_per_s":{events_per_second:.0},"mb_per_s":{megabytes_per_second:.0}}}"#
    );
    events_per_second
}

/// Takes every frame that has come, indexes its event, and hands the event on.
fn drain(decoder: &mut Decoder, mut use_event: impl FnMut(fipple_protocol::esl::Event<'_>)) -> usize {
    let mut events = 0;
    while let Some(mut frame) = decoder.next_frame().unwrap() {
        use_event(black_box(frame.event().unwrap()));
        events += 1;
    }
    events
}

fn index_in_memory(load: &Load, repetitions: usize) -> usize {
    let mut decoder = Decoder::new();
    let mut events = 0;
    for _ in 0..repetitions {
        let mut rest = load.wire.as_slice();
        while !rest.is_empty() {
            rest = &rest[decoder.feed(rest)..];
            events += drain(&mut decoder, |_| {});
        }
    }
    events
}

fn decode_in_memory(load: &Load, repetitions: usize) -> usize {
    let mut decoder = Decoder::new();
    let mut scratch = Vec::new();
    let mut events = 0;
    for _ in 0..repetitions {
        let mut rest = load.wire.as_slice();
        while !rest.is_empty() {
            rest = &rest[decoder.feed(rest)..];
            events += drain(&mut decoder, |event| {
                for (name, value) in event.headers().iter() {
                    black_box((name, value.decode_into(&mut scratch)));
                }
            });
        }
    }
    events
}

/// Writes the load a number of times over into a loopback connection, from a thread of its own.
fn served(load: &Load, repetitions: usize, read: impl FnOnce(TcpStream) -> usize) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            for _ in 0..repetitions {
                stream.write_all(&load.wire).unwrap();
            }
        });
        read(TcpStream::connect(address).unwrap())
    })
}

fn index_from_socket(load: &Load, repetitions: usize) -> usize {
    served(load, repetitions, |mut stream| {
        let mut decoder = Decoder::new();
        let mut events = 0;
        loop {
            let bytes = stream.read(decoder.space()).unwrap();
            if bytes == 0 {
                assert_eq!(decoder.pending_bytes(), 0);
                return events;
            }
            assert!(bytes <= ESL_BUFFER_BYTES);
            decoder.filled(bytes);
            events += drain(&mut decoder, |_| {});
        }
    })
}

#[cfg(target_arch = "x86_64")]
mod rival {
    use std::hint::black_box;
    use std::time::Duration;

    use freeswitch_esl_tokio::{EslClient, EslConnectOptions, EventOverflow, parse_channel_dump};

    use super::{Load, served};

    /// The parser of its plain events, by the one way in that needs no socket. Framing is not included.
    pub(super) fn parse_in_memory(load: &Load, repetitions: usize) -> usize {
        for _ in 0..repetitions {
            for body in &load.bodies {
                black_box(parse_channel_dump(body).unwrap());
            }
        }
        load.bodies.len() * repetitions
    }

    pub(super) fn receive_from_socket(load: &Load, repetitions: usize) -> usize {
        served(load, repetitions, |stream| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                stream.set_nonblocking(true).unwrap();
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let options = EslConnectOptions::new()
                    .with_event_overflow(EventOverflow::BlockFor(Duration::from_secs(60)));
                let (_client, mut events) =
                    EslClient::adopt_stream_with_options(stream, &[], options).unwrap();
                let mut count = 0;
                while let Some(event) = events.recv().await {
                    black_box(event.unwrap());
                    count += 1;
                }
                count
            })
        })
    }
}
