//! Recorded connections, and what the decoder makes of them in a form that can be kept and compared.

#![allow(dead_code, reason = "every test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]
#![expect(clippy::disallowed_methods, reason = "the recordings are files of the real disk")]

use std::fs;
use std::path::{Path, PathBuf};

use fipple_protocol::esl::{Decoder, Error, Event, Frame, FrameKind, Headers};

/// What a switch sent over one connection.
pub(crate) struct Transcript {
    /// `<scenario>/<name>`.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The pieces in which the bytes came; `None` where that was not recorded.
    pub(crate) chunks: Option<Vec<usize>>,
}

/// The recordings that are part of the repository.
pub(crate) fn committed() -> Vec<Transcript> {
    load(&committed_root())
}

/// One of the committed recordings.
pub(crate) fn transcript(name: &str) -> Transcript {
    load_one(&committed_root(), name)
}

/// Every recording under a directory of scenarios, in the order of their names.
pub(crate) fn load(root: &Path) -> Vec<Transcript> {
    let scenarios = sorted_entries(root).into_iter().filter(|path| path.is_dir());
    let files = scenarios.flat_map(|scenario| sorted_entries(&scenario));
    let names = files.filter_map(|file| {
        let name = file.strip_prefix(root).unwrap().to_str().unwrap();
        name.strip_suffix(".s2c.bin").map(str::to_owned)
    });
    let transcripts: Vec<_> = names.map(|name| load_one(root, &name)).collect();
    assert!(!transcripts.is_empty(), "no recordings under {}", root.display());
    transcripts
}

fn load_one(root: &Path, name: &str) -> Transcript {
    let bytes = fs::read(root.join(format!("{name}.s2c.bin"))).unwrap();
    let chunks = fs::read_to_string(root.join(format!("{name}.chunks.jsonl"))).ok();
    Transcript { name: name.to_owned(), bytes, chunks: chunks.map(|lines| chunk_sizes(&lines)) }
}

fn committed_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/freeswitch")
}

fn sorted_entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn chunk_sizes(lines: &str) -> Vec<usize> {
    let chunks = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let from_switch = chunks.filter(|chunk| chunk["dir"] == "s2c");
    from_switch.map(|chunk| usize::try_from(chunk["len"].as_u64().unwrap()).unwrap()).collect()
}

/// A frame that outlives the decoder's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedFrame {
    pub(crate) kind: FrameKind,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) event: Result<OwnedEvent, Error>,
}

/// An event that outlives the decoder's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedEvent {
    /// Names, raw values and decoded values.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl OwnedEvent {
    fn new(event: Event<'_>) -> Self {
        let headers = event.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_vec(), value.raw().to_vec(), value.decode().into_owned()))
            .collect();
        Self { headers, body: event.body().to_vec() }
    }

    /// The last header of a name, decoded.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let header = self.headers.iter().rev().find(|(key, _, _)| key == name.as_bytes())?;
        Some(String::from_utf8_lossy(&header.2).into_owned())
    }
}

impl OwnedFrame {
    fn new(mut frame: Frame<'_>) -> Self {
        Self {
            kind: frame.kind(),
            headers: raw_headers(frame.headers()),
            body: frame.body().to_vec(),
            event: frame.event().map(OwnedEvent::new),
        }
    }
}

fn raw_headers(headers: Headers<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_vec(), value.raw().to_vec())).collect()
}

/// What one decoder makes of a connection's bytes: frames, then an error or the number of bytes left over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) frames: Vec<OwnedFrame>,
    pub(crate) end: Result<usize, Error>,
}

/// Decodes bytes that arrive in pieces of these sizes, over and over; what is left comes in one.
pub(crate) fn decode(bytes: &[u8], pieces: impl IntoIterator<Item = usize>) -> Decoded {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    let mut rest = bytes;
    let mut pieces = pieces.into_iter();
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(pieces.next().unwrap_or(rest.len()).min(rest.len()));
        rest = after;
        while !piece.is_empty() {
            piece = &piece[decoder.feed(piece)..];
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(OwnedFrame::new(frame)),
                    Ok(None) => break,
                    Err(error) => return Decoded { frames, end: Err(error) },
                }
            }
        }
    }
    Decoded { frames, end: Ok(decoder.pending_bytes()) }
}

/// Decodes bytes that arrive at once.
pub(crate) fn decode_whole(bytes: &[u8]) -> Decoded {
    decode(bytes, [])
}
