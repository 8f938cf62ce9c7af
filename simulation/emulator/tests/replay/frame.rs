//! Frames of either switch, the real and the emulated one, in a form that can be kept and compared.

use fipple_protocol::esl::{Decoder, FrameKind};

/// A frame that a switch wrote.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The event that it carries, in any of the three formats or as the answer to `connect`.
    pub(crate) event: Option<Event>,
}

impl Frame {
    pub(crate) fn header(&self, name: &str) -> &str {
        value_of(&self.headers, name)
    }

    /// What a command was answered: the body, or the `Reply-Text` where there is none.
    pub(crate) fn text(&self) -> &str {
        if self.body.is_empty() { self.header("Reply-Text") } else { &self.body }
    }

    /// Whether it is an event on its own rather than the answer to a command.
    pub(crate) fn is_event(&self) -> bool {
        matches!(self.kind, FrameKind::Event(_))
    }
}

/// An event, its values decoded.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Its length on the wire.
    pub(crate) size_bytes: usize,
}

impl Event {
    pub(crate) fn get(&self, name: &str) -> &str {
        value_of(&self.headers, name)
    }

    pub(crate) fn name(&self) -> &str {
        self.get("Event-Name")
    }

    pub(crate) fn uuid(&self) -> &str {
        self.get("Unique-ID")
    }

    /// What the event is about, without anything that differs between two runs: name, states, application, outcome.
    pub(crate) fn summary(&self) -> String {
        const TOLD: [&str; 14] = [
            "Event-Subclass",
            "Channel-State",
            "Channel-State-Number",
            "Channel-Call-State",
            "Answer-State",
            "Application",
            "Application-Response",
            "Hangup-Cause",
            "Action",
            "Playback-Status",
            "DTMF-Digit",
            "Task-Desc",
            "API-Command",
            "Job-Command",
        ];
        let told = TOLD.iter().map(|name| self.get(name)).filter(|value| !value.is_empty());
        let name = Some(self.name()).filter(|name| !name.is_empty()).unwrap_or("(no name)");
        std::iter::once(name).chain(told).collect::<Vec<_>>().join(" ").replace('\n', " ")
    }
}

fn value_of<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// Reads frames out of bytes that come in pieces.
pub(crate) struct FrameReader {
    decoder: Decoder,
}

impl FrameReader {
    pub(crate) fn new() -> Self {
        Self { decoder: Decoder::new() }
    }

    /// The frames that these bytes complete.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            bytes = &bytes[self.decoder.feed(bytes)..];
            while let Some(mut frame) = self.decoder.next_frame().unwrap() {
                let pairs = |headers: fipple_protocol::esl::Headers<'_>| -> Vec<(String, String)> {
                    let pair = |(name, value): (&[u8], fipple_protocol::esl::Value<'_>)| {
                        (String::from_utf8_lossy(name).into_owned(), value.text().into_owned())
                    };
                    headers.iter().map(pair).collect()
                };
                let size_bytes = frame.body().len();
                let event = frame.event().ok();
                let event = event.map(|event| Event {
                    headers: pairs(event.headers()),
                    body: String::from_utf8_lossy(event.body()).into_owned(),
                    size_bytes,
                });
                frames.push(Frame {
                    kind: frame.kind(),
                    headers: pairs(frame.headers()),
                    body: String::from_utf8_lossy(frame.body()).into_owned(),
                    event,
                });
            }
        }
        frames
    }
}
