//! The recordings of a real switch: what it said when, and what it was told.

use std::fs;
use std::path::{Path, PathBuf};

use super::frame::{Event, Frame, FrameReader};

/// One connection of the real switch. Times are microseconds since the recording began.
pub(crate) struct Recording {
    /// `<scenario>/<name>`.
    pub(crate) name: String,
    /// What the controller wrote.
    pub(crate) written: Vec<(u64, Vec<u8>)>,
    /// What the switch wrote.
    pub(crate) heard: Vec<(u64, Frame)>,
    /// The wall clock when the recording began, from the stamps of its events; `None` without events.
    pub(crate) began_wall_micros: Option<u64>,
    /// When the last byte went over the connection.
    pub(crate) ended: u64,
    /// The bytes of the controller were recorded.
    pub(crate) has_controller: bool,
}

impl Recording {
    /// Whether the switch called the controller.
    pub(crate) fn is_outbound(&self) -> bool {
        self.written.first().is_some_and(|(_, bytes)| {
            bytes.starts_with(b"connect") || self.name.ends_with("first_not_connect")
        })
    }

    /// The events with the times at which they were fired, by their own stamps.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, &Event)> {
        self.heard.iter().filter_map(|(heard, frame)| {
            let event = frame.event.as_ref()?;
            let fired = stamp_of(event).zip(self.began_wall_micros);
            let fired = fired.map_or(*heard, |(stamp, began)| stamp.saturating_sub(began).min(*heard));
            Some((fired, event))
        })
    }
}

fn stamp_of(event: &Event) -> Option<u64> {
    event.get("Event-Date-Timestamp").parse().ok()
}

/// Every recording, in the order of their names.
pub(crate) fn all() -> Vec<Recording> {
    let root = root();
    let scenarios = sorted_entries(&root).into_iter().filter(|path| path.is_dir());
    let files = scenarios.flat_map(|scenario| sorted_entries(&scenario));
    let names = files.filter_map(|file| {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        name.strip_suffix(".s2c.bin").map(str::to_owned)
    });
    names.map(|name| load(&root, &name)).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/freeswitch")
}

fn sorted_entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A read or a write of the recorded connection.
struct Chunk {
    at: u64,
    from_switch: bool,
    offset: usize,
    length: usize,
}

fn load(root: &Path, name: &str) -> Recording {
    let spoken = fs::read(root.join(format!("{name}.s2c.bin"))).unwrap();
    let told = fs::read(root.join(format!("{name}.c2s.bin")));
    let has_controller = told.is_ok();
    let told = told.unwrap_or_default();
    let chunks = fs::read_to_string(root.join(format!("{name}.chunks.jsonl")));
    let chunks: Vec<Chunk> = match chunks {
        Ok(lines) => lines.lines().map(read_chunk).collect(),
        Err(_) => vec![Chunk { at: 0, from_switch: true, offset: 0, length: spoken.len() }],
    };
    let mut reader = FrameReader::new();
    let mut heard = Vec::new();
    for chunk in chunks.iter().filter(|chunk| chunk.from_switch) {
        let frames = reader.read(&spoken[chunk.offset..chunk.offset + chunk.length]);
        heard.extend(frames.into_iter().map(|frame| (chunk.at, frame)));
    }
    let written = chunks.iter().filter(|chunk| !chunk.from_switch);
    let written =
        written.map(|chunk| (chunk.at, told[chunk.offset..chunk.offset + chunk.length].to_vec())).collect();
    // The event that was read soonest after it was fired tells best how the two clocks lie.
    let began = heard.iter().filter_map(|(at, frame)| Some(stamp_of(frame.event.as_ref()?)? - at));
    Recording {
        name: name.to_owned(),
        written,
        began_wall_micros: began.max(),
        ended: chunks.last().map_or(0, |chunk| chunk.at),
        heard,
        has_controller,
    }
}

fn read_chunk(line: &str) -> Chunk {
    let chunk: serde_json::Value = serde_json::from_str(line).unwrap();
    let number = |field: &str| usize::try_from(chunk[field].as_u64().unwrap()).unwrap();
    Chunk {
        at: (chunk["t"].as_f64().unwrap() * 1_000_000.0) as u64,
        from_switch: chunk["dir"] == "s2c",
        offset: number("off"),
        length: number("len"),
    }
}
