//! What the emulated switch said otherwise than the real one, in lines that can be listed.
//!
//! Answers are compared one by one. Events are compared channel by channel, and those of no channel name by name: the
//! order of the real switch's threads among each other is chance (fixtures README "Order"). Where in the row of answers
//! a channel is first heard of is compared, because events never overtake the answer to the command that caused them.

use std::collections::BTreeMap;

use fipple_emulator::limits::REQUEST;
use fipple_protocol::esl::FrameKind;
use fipple_protocol::esl::request::RequestDecoder;

use super::alignment::{common, odd};
use super::frame::{Event, Frame, FrameReader};
use super::normal::{normal, parting};
use super::recording::Recording;
use super::uuids::Uuids;

/// How the size of an event may differ from that of the recorded one.
const SIZE_RATIOS: std::ops::Range<f64> = 0.9..1.1;

/// Differences with how often each was met.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    transcript: String,
    counts: BTreeMap<String, usize>,
    /// By header and what is wrong with it: the kinds of events in which that is so.
    headers: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Differences {
    fn add(&mut self, what: String) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn add_header(&mut self, what: &str, event: &Event) {
        let kinds = self.headers.entry(what.to_owned()).or_default();
        *kinds.entry(event.name().to_owned()).or_default() += 1;
    }

    /// One line for each difference, as the list of the known ones has them.
    pub(crate) fn lines(self) -> Vec<String> {
        let times = |count: usize| if count > 1 { format!(" x{count}") } else { String::new() };
        let headers = self.headers.into_iter().map(|(what, kinds)| {
            let kinds = kinds.into_iter().map(|(kind, count)| format!(" {kind}{}", times(count)));
            format!("{what} in:{}", kinds.collect::<String>())
        });
        let others = self.counts.into_iter().map(|(what, count)| format!("{what}{}", times(count)));
        others.chain(headers).map(|line| format!("{}: {line}", self.transcript)).collect()
    }
}

/// Compares what one connection heard from the two switches.
pub(crate) fn compare(recording: &Recording, emulated: &[Frame], uuids: &Uuids) -> Differences {
    let mut differences = Differences { transcript: recording.name.clone(), ..Differences::default() };
    let recorded: Vec<&Frame> = recording.heard.iter().map(|(_, frame)| frame).collect();
    let emulated: Vec<&Frame> = emulated.iter().collect();
    compare_replies(&mut differences, recording, &recorded, &emulated);
    compare_logs(&mut differences, &recorded, &emulated);
    let (recorded, emulated) = (
        Streams::of(&recorded, |uuid| uuid),
        Streams::of(&emulated, |uuid| uuids.recorded(uuid).unwrap_or(uuid)),
    );
    for (name, stream) in &recorded.streams {
        compare_streams(&mut differences, stream, emulated.streams.get(name));
    }
    for (_, stream) in emulated.streams.iter().filter(|(name, _)| !recorded.streams.contains_key(*name)) {
        differences.add(format!("{} is surplus, with {} events", stream.label, stream.events.len()));
    }
    differences
}

/// The commands of a controller, by which its answers are named.
fn commands(recording: &Recording) -> Vec<String> {
    let mut decoder = RequestDecoder::new(REQUEST);
    recording.written.iter().for_each(|(_, bytes)| decoder.push(bytes));
    let requests = std::iter::from_fn(|| decoder.next_request().ok().flatten());
    requests.map(|request| request.command.chars().take(70).collect()).collect()
}

fn is_reply(frame: &&&Frame) -> bool {
    !frame.is_event() && frame.kind != FrameKind::LogData
}

fn compare_replies(
    differences: &mut Differences,
    recording: &Recording,
    recorded: &[&Frame],
    emulated: &[&Frame],
) {
    let recorded: Vec<_> = recorded.iter().filter(is_reply).collect();
    let emulated: Vec<_> = emulated.iter().filter(is_reply).collect();
    let mut commands = commands(recording).into_iter();
    for (index, recorded) in recorded.iter().enumerate() {
        let is_answer = matches!(
            recorded.kind,
            FrameKind::CommandReply | FrameKind::ApiResponse | FrameKind::ChannelData
        );
        let command =
            if is_answer { commands.next().unwrap_or_default() } else { format!("{:?}", recorded.kind) };
        let label = format!("answer {index} to `{}`", command.trim_end());
        let Some(emulated) = emulated.get(index) else {
            differences.add(format!("{label} is missing"));
            continue;
        };
        if recorded.kind != emulated.kind {
            differences.add(format!("{label}: {:?} is {:?}", recorded.kind, emulated.kind));
            continue;
        }
        if let (FrameKind::ChannelData, Some(one), Some(other)) =
            (recorded.kind, &recorded.event, &emulated.event)
        {
            compare_headers(differences, one, other);
            continue;
        }
        let names =
            |frame: &Frame| -> Vec<String> { frame.headers.iter().map(|(name, _)| name.clone()).collect() };
        if names(recorded) != names(emulated) {
            differences.add(format!("{label}: headers {:?} are {:?}", names(recorded), names(emulated)));
        }
        if let (Some(one), Some(other)) = (dump(&command, recorded), dump(&command, emulated)) {
            compare_headers(differences, &one, &other);
            continue;
        }
        let (one, other) = (normal(&command, recorded.text()), normal(&command, emulated.text()));
        if one != other {
            differences.add(format!("{label}: {}", parting(&one, &other)));
        }
    }
    if emulated.len() > recorded.len() {
        differences.add(format!("{} answers are surplus", emulated.len() - recorded.len()));
    }
}

/// The event that `uuid_dump` answers with.
fn dump(command: &str, answer: &Frame) -> Option<Event> {
    let format =
        match command.strip_prefix("api uuid_dump ")?.split_once(' ').map_or("", |(_, format)| format) {
            format @ ("json" | "xml") => format,
            _ => "plain",
        };
    let frame = format!(
        "Content-Length: {}\nContent-Type: text/event-{format}\n\n{}",
        answer.body.len(),
        answer.body
    );
    let event = FrameReader::new().read(frame.as_bytes()).pop()?.event?;
    (!event.get("Unique-ID").is_empty()).then_some(event)
}

fn compare_logs(differences: &mut Differences, recorded: &[&Frame], emulated: &[&Frame]) {
    let lines = |frames: &[&Frame]| -> Vec<String> {
        let logs = frames.iter().filter(|frame| frame.kind == FrameKind::LogData);
        logs.map(|frame| {
            let names: Vec<&str> = frame.headers.iter().map(|(name, _)| name.as_str()).collect();
            format!("{} {} {}", frame.header("Log-Level"), frame.header("Log-Func"), names.len())
        })
        .collect()
    };
    let odd = odd(&lines(recorded), &lines(emulated));
    for (what, lines) in [("missing", odd.missing), ("surplus", odd.surplus), ("moved", odd.moved)] {
        lines.into_iter().for_each(|line| differences.add(format!("log line {line} is {what}")));
    }
}

/// Events that keep their order.
struct Stream<'a> {
    /// Its name in a difference.
    label: String,
    events: Vec<&'a Event>,
    /// After how many answers it was first heard of.
    after_replies: usize,
}

struct Streams<'a> {
    streams: BTreeMap<String, Stream<'a>>,
}

impl<'a> Streams<'a> {
    /// Splits what a connection heard by the channels' recorded uuids.
    fn of(frames: &[&'a Frame], recorded_uuid: impl Fn(&'a str) -> &'a str) -> Self {
        let mut streams: BTreeMap<String, Stream<'a>> = BTreeMap::new();
        let mut replies = 0;
        let mut channels = 0;
        for frame in frames {
            let Some(event) = frame.event.as_ref().filter(|_| frame.is_event()) else {
                replies += usize::from(frame.kind != FrameKind::LogData);
                continue;
            };
            let uuid = recorded_uuid(event.uuid());
            let of_channel = !event.get("Channel-Name").is_empty();
            let name = if of_channel { uuid } else { event.name() };
            let stream = streams.entry(name.to_owned()).or_insert_with(|| {
                channels += usize::from(of_channel);
                let channel = || {
                    let module = event.get("Channel-Name").split('/').next().unwrap_or_default();
                    let direction = event.get("Call-Direction");
                    format!(
                        "channel {channels} ({direction} {module} {})",
                        event.get("Caller-Destination-Number")
                    )
                };
                let label = if of_channel { channel() } else { format!("{name} of no channel") };
                Stream { label, events: Vec::new(), after_replies: replies }
            });
            stream.events.push(event);
        }
        Self { streams }
    }
}

fn compare_streams(differences: &mut Differences, recorded: &Stream<'_>, emulated: Option<&Stream<'_>>) {
    let label = &recorded.label;
    let Some(emulated) = emulated else {
        return differences.add(format!("{label} is missing, with {} events", recorded.events.len()));
    };
    let summaries =
        |stream: &Stream<'_>| -> Vec<String> { stream.events.iter().map(|event| event.summary()).collect() };
    let (one, other) = (summaries(recorded), summaries(emulated));
    let found = odd(&one, &other);
    for (what, events) in [("missing", found.missing), ("surplus", found.surplus), ("moved", found.moved)] {
        events.into_iter().for_each(|event| differences.add(format!("{label}: {what} {event}")));
    }
    if recorded.after_replies != emulated.after_replies {
        let (one, other) = (recorded.after_replies, emulated.after_replies);
        differences.add(format!("{label} is first heard of after answer {other} instead of {one}"));
    }
    for (index, other) in common(&one, &other) {
        let (real, own) = (recorded.events[index], emulated.events[other]);
        compare_headers(differences, real, own);
        let command = format!("api {}", real.get("Job-Command"));
        let (real, own) = (normal(&command, &real.body), normal(&command, &own.body));
        if real != own {
            differences.add(format!("{label}: body of {}: {}", one[index], parting(&real, &own)));
        }
    }
}

fn compare_headers(differences: &mut Differences, recorded: &Event, emulated: &Event) {
    let names =
        |event: &Event| -> Vec<String> { event.headers.iter().map(|(name, _)| name.clone()).collect() };
    let (one, other) = (names(recorded), names(emulated));
    // A header more or less tells of itself; with the same headers an event must also be about as large.
    let has_same_headers = one.len() == other.len();
    let ratio = emulated.size_bytes as f64 / recorded.size_bytes.max(1) as f64;
    if has_same_headers && recorded.size_bytes > 0 && !SIZE_RATIOS.contains(&ratio) {
        differences.add_header("(size) wrong", recorded);
    }
    if one == other {
        return;
    }
    let found = odd(&one, &other);
    for (what, headers) in [("missing", found.missing), ("surplus", found.surplus), ("moved", found.moved)] {
        headers.iter().for_each(|header| differences.add_header(&format!("{header} {what}"), recorded));
    }
}
