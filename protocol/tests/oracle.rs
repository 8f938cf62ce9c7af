//! The same bytes, read by this crate and by freeswitch-esl-tokio, give the same headers and the same body, wherever
//! both define what they are. Where they do not agree, [`DIFFERENCES`] says how often and why.
//!
//! The other crate keeps its parser to itself, so the bytes reach it over a loopback connection. It changes the case
//! of names; [`normalize_header_key`] does the same to ours.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]
#![cfg(target_arch = "x86_64")]
#![expect(clippy::disallowed_methods, reason = "the other crate reads from a real socket only")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fipple_protocol::esl::{EventFormat, FrameKind};
use freeswitch_esl_tokio::{EslClient, EslConnectOptions, EslEvent, EventOverflow, normalize_header_key};
use support::{OwnedEvent, OwnedFrame, committed, decode_whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How the two differ in the committed recordings: in how many places, and why. Any other difference fails the test.
const DIFFERENCES: [(Difference, usize); 3] = [
    // FreeSWITCH percent-encodes the values in XML as it does in plain. The other crate leaves them so.
    (Difference::XmlValueEncoded, 240),
    // An XML body that ends in a newline is followed by the printer's indentation. `Content-Length` says that it is
    // no part of the body; the other crate keeps it.
    (Difference::XmlBodyIndented, 2),
    // An array in JSON is given as FreeSWITCH writes it elsewhere, `ARRAY::a|:b`. The other crate gives JSON.
    (Difference::JsonArray, 3),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    XmlValueEncoded,
    XmlBodyIndented,
    JsonArray,
}

/// A connection whose other end sends `bytes` and, where `awaits_command`, a command has to come first.
async fn connection(bytes: Vec<u8>, awaits_command: bool) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        if awaits_command {
            stream.read_u8().await.unwrap();
        }
        stream.write_all(&bytes).await.unwrap();
        // Until the other crate hangs up, so that what it has not read is not lost.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    TcpStream::connect(address).await.unwrap()
}

fn wire(frame: &OwnedFrame) -> Vec<u8> {
    let lines = frame.headers.iter().map(|(name, value)| [name, b": ".as_slice(), value, b"\n"].concat());
    [lines.collect::<Vec<_>>().concat().as_slice(), b"\n", &frame.body].concat()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Our headers under the names that the other crate gives them; the last of one name counts for both.
fn ours(event: &OwnedEvent) -> BTreeMap<String, String> {
    let headers = event.headers.iter();
    headers.map(|(name, _, value)| (normalize_header_key(&text(name)), text(value))).collect()
}

/// Why one header differs, if it is for a known reason.
fn header_difference(
    format: EventFormat,
    event: &OwnedEvent,
    name: &str,
    theirs: &str,
) -> Option<Difference> {
    let (_, raw, decoded) =
        event.headers.iter().rev().find(|(key, _, _)| normalize_header_key(&text(key)) == name)?;
    match format {
        EventFormat::Xml => (theirs == text(raw) && raw != decoded).then_some(Difference::XmlValueEncoded),
        EventFormat::Json => {
            let array: Vec<String> = serde_json::from_str(theirs).ok()?;
            let joined =
                if array.len() == 1 { array.concat() } else { format!("ARRAY::{}", array.join("|:")) };
            (joined == text(decoded)).then_some(Difference::JsonArray)
        }
        EventFormat::Plain => None,
    }
}

/// Adds the differences between one event of ours and one of theirs.
fn compare(
    format: EventFormat,
    event: &OwnedEvent,
    theirs: &EslEvent,
    found: &mut BTreeMap<Difference, usize>,
) {
    let mut note = |difference: Option<Difference>, what: &dyn Fn() -> String| {
        let difference = difference.unwrap_or_else(|| panic!("an unknown difference: {}", what()));
        *found.entry(difference).or_default() += 1;
    };
    let ours = ours(event);
    assert_eq!(theirs.headers().keys().collect::<BTreeSet<_>>(), ours.keys().collect(), "the names");
    for (name, value) in &ours {
        let other = &theirs.headers()[name];
        if other != value {
            note(header_difference(format, event, name, other), &|| {
                format!("{name}: {value:?}, theirs {other:?}")
            });
        }
    }
    let body = theirs.body().unwrap_or_default();
    if body != text(&event.body) {
        let indented = format == EventFormat::Xml && body.trim_end_matches(' ') == text(&event.body);
        note(indented.then_some(Difference::XmlBodyIndented), &|| format!("the body {body:?}"));
    }
}

#[tokio::test]
async fn events_are_the_same() {
    let frames = committed().into_iter().flat_map(|transcript| decode_whole(&transcript.bytes).frames);
    let frames: Vec<_> = frames.filter(|frame| matches!(frame.kind, FrameKind::Event(_))).collect();
    let stream = connection(frames.iter().flat_map(wire).collect(), false).await;
    let options =
        EslConnectOptions::new().with_event_overflow(EventOverflow::BlockFor(Duration::from_secs(600)));
    let (_client, mut events) = EslClient::adopt_stream_with_options(stream, &[], options).unwrap();
    let mut found = BTreeMap::new();
    for frame in &frames {
        let FrameKind::Event(format) = frame.kind else { unreachable!() };
        let theirs = events.recv().await.unwrap().unwrap();
        compare(format, frame.event.as_ref().unwrap(), &theirs, &mut found);
    }
    assert_eq!(found, BTreeMap::from(DIFFERENCES), "among {} events", frames.len());
}

#[tokio::test]
async fn connect_blocks_are_the_same() {
    let frames = committed().into_iter().flat_map(|transcript| decode_whole(&transcript.bytes).frames);
    let blocks: Vec<_> = frames.filter(|frame| frame.kind == FrameKind::ChannelData).collect();
    assert!(blocks.len() > 3);
    for block in blocks {
        let stream = connection(wire(&block), true).await;
        let (client, _events) = EslClient::accept_outbound_stream(stream);
        let theirs = client.connect_session().await.unwrap();
        let theirs: BTreeMap<_, _> =
            theirs.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        assert_eq!(theirs, ours(block.event.as_ref().unwrap()));
    }
}

#[tokio::test]
async fn replies_are_the_same() {
    let frames = committed().into_iter().flat_map(|transcript| decode_whole(&transcript.bytes).frames);
    let mut compared = 0;
    for frame in frames.filter(|frame| matches!(frame.kind, FrameKind::ApiResponse)) {
        let stream = connection(wire(&frame), true).await;
        let (client, _events) = EslClient::adopt_stream(stream, &[]).unwrap();
        let theirs = client.api("status").await.unwrap();
        assert_eq!(theirs.body().unwrap_or_default(), text(&frame.body));
        compared += 1;
    }
    assert!(compared > 100, "{compared} replies");
}
