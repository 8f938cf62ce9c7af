//! How many events a second the emulated switch writes to a real socket, and what that costs its one core.
//!
//! The switch runs on a thread of its own, and calls come in as fast as it takes them: each is answered, plays for a
//! moment and is hung up, which is the mix of events of the transcripts. The reader on the other thread only counts.
#![expect(
    clippy::disallowed_methods,
    reason = "it measures real sockets, real threads and the real processor: nothing here runs in a simulation"
)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::config::{Config, InboundCall};
use crate::dialplan::{Action, Dialplan, Extension};
use crate::server::{SwitchHandle, serve};

/// What a measurement found. Rates count from the moment at which the warm-up was over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Events that the reader received.
    pub events: usize,
    /// Their bytes, with their outer headers.
    pub bytes: usize,
    /// How long that took.
    pub seconds: f64,
    /// Processor time of the switch's thread meanwhile, in seconds; `None` where the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// The system's load average over one minute when it was over; `None` where the system does not tell.
    pub load_average: Option<f64>,
}

impl Measured {
    /// Events a second.
    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    /// The mean size of an event with its outer headers, in bytes.
    pub fn mean_event_bytes(&self) -> f64 {
        self.bytes as f64 / self.events.max(1) as f64
    }

    /// Events that one second of the switch's own core is enough for, whatever else the machine does.
    pub fn events_per_cpu_second(&self) -> Option<f64> {
        self.cpu_seconds.map(|seconds| self.events as f64 / seconds)
    }

    /// The measurement as one JSON object on one line.
    pub fn to_json(&self) -> String {
        let number = |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value:.3}"));
        format!(
            "{{\"events_per_second\":{:.0},\"mean_event_bytes\":{:.0},\"events\":{},\"seconds\":{:.3},\
             \"cpu_seconds\":{},\"events_per_cpu_second\":{},\"load_average\":{}}}",
            self.events_per_second(),
            self.mean_event_bytes(),
            self.events,
            self.seconds,
            number(self.cpu_seconds),
            number(self.events_per_cpu_second()),
            number(self.load_average),
        )
    }
}

/// Events that may be under way before the calls pause: far from filling a listener's queue, and never empty.
const EVENTS_UNDER_WAY_MAX: usize = 4_000;

/// What both threads look at.
#[derive(Debug, Default)]
struct Shared {
    events: AtomicUsize,
    bytes: AtomicUsize,
    over: AtomicBool,
}

/// Measures for `duration` after a warm-up of a fifth of it.
pub fn run(duration: Duration) -> io::Result<Measured> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared::default());
    let (ticks, ticked) = std::sync::mpsc::sync_channel(2);
    let switch = {
        let shared = shared.clone();
        std::thread::spawn(move || serve_calls(&listener, &shared, duration, &ticks))
    };
    let reader = {
        let shared = shared.clone();
        std::thread::spawn(move || count_events(TcpStream::connect(address)?, &shared))
    };
    let ended = || io::Error::other("the switch's thread has ended");
    let first: Tick = ticked.recv().map_err(|_| ended())?;
    let last: Tick = ticked.recv().map_err(|_| ended())?;
    let failed = |_| io::Error::other("a thread of the measurement panicked");
    switch.join().map_err(failed)??;
    reader.join().map_err(failed)??;
    Ok(Measured {
        events: last.events - first.events,
        bytes: last.bytes - first.bytes,
        seconds: (last.at - first.at).as_secs_f64(),
        cpu_seconds: last.cpu_seconds.zip(first.cpu_seconds).map(|(last, first)| last - first),
        load_average: load_average(),
    })
}

/// How things stood at one moment, seen from the switch's thread.
struct Tick {
    at: Instant,
    cpu_seconds: Option<f64>,
    events: usize,
    bytes: usize,
}

impl Tick {
    fn now(shared: &Shared) -> Self {
        Self {
            at: Instant::now(),
            cpu_seconds: thread_cpu_seconds(),
            events: shared.events.load(Ordering::Relaxed),
            bytes: shared.bytes.load(Ordering::Relaxed),
        }
    }
}

fn serve_calls(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    duration: Duration,
    ticks: &std::sync::mpsc::SyncSender<Tick>,
) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let (switch, task) = serve(config(), 7);
        tokio::spawn(task);
        let stream = tokio::net::TcpStream::from_std(stream)?;
        switch.connect(stream).await.map_err(io::Error::other)?;
        let calls = tokio::spawn(place_calls(switch.clone(), shared.clone()));
        tokio::time::sleep(duration / 5).await;
        // Nobody else holds the other end before both ticks are there.
        let _ = ticks.send(Tick::now(shared));
        tokio::time::sleep(duration).await;
        let _ = ticks.send(Tick::now(shared));
        shared.over.store(true, Ordering::Relaxed);
        calls.await.map_err(io::Error::other)??;
        switch.crash().await;
        Ok(())
    })
}

/// A switch whose dialplan ends each call by itself.
fn config() -> Config {
    let actions = [("answer", ""), ("set", "stage=one"), ("sleep", "1"), ("hangup", "NORMAL_CLEARING")];
    let actions = actions.map(|(application, argument)| Action::new(application, argument)).to_vec();
    let dialplan = Dialplan { extensions: vec![Extension { destination: "*".into(), actions }] };
    Config { dialplan, ..Config::default() }
}

async fn place_calls(switch: SwitchHandle, shared: Arc<Shared>) -> io::Result<()> {
    const CALLS_AT_ONCE: usize = 20;
    while !shared.over.load(Ordering::Relaxed) {
        for _ in 0..CALLS_AT_ONCE {
            // All sessions in use: those there are must end first.
            let _ = switch.inbound_call(InboundCall::new("1000", "9001")).await;
        }
        loop {
            let sent = switch.counts().await.map_err(io::Error::other)?.events_sent as usize;
            if sent.saturating_sub(shared.events.load(Ordering::Relaxed)) < EVENTS_UNDER_WAY_MAX
                || shared.over.load(Ordering::Relaxed)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}

/// Logs in, subscribes to everything, and counts event frames until the switch is gone.
fn count_events(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.write_all(b"auth ClueCon\n\nevent plain ALL\n\n")?;
    let mut buffer = vec![0; 1 << 20];
    let mut filled = 0;
    loop {
        let read = match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            // The switch's thread ends without a word.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        };
        filled += read;
        let (mut events, mut bytes, mut at) = (0, 0, 0);
        while let Some((length, is_event)) = frame_length(&buffer[at..filled]) {
            if is_event {
                events += 1;
                bytes += length;
            }
            at += length;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        shared.events.fetch_add(events, Ordering::Relaxed);
        shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The length of the complete frame that `bytes` begin with, and whether it is an event.
fn frame_length(bytes: &[u8]) -> Option<(usize, bool)> {
    let head_end =
        bytes.iter().take(512).zip(bytes.iter().skip(1)).position(|pair| pair == (&b'\n', &b'\n'))?;
    let head = &bytes[..head_end];
    let length = head.strip_prefix(b"Content-Length: ").map(|rest| {
        rest.iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0, |sum, byte| sum * 10 + usize::from(byte - b'0'))
    });
    let frame = head_end + 2 + length.unwrap_or(0);
    (bytes.len() >= frame).then_some((frame, length.is_some()))
}

/// Processor time of the thread that asks.
fn thread_cpu_seconds() -> Option<f64> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = statistics.split_ascii_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

fn load_average() -> Option<f64> {
    let loads = std::fs::read_to_string("/proc/loadavg").ok()?;
    loads.split_ascii_whitespace().next()?.parse().ok()
}
