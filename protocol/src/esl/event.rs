//! One event, read from whichever of the three formats.

use super::encode::EventFormat;
use super::headers::{Line, index_block};
use super::{Error, Headers, Value, json, names, xml};

/// Memory that one event after another is read into. It lives in the decoder, so that it is allocated once.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) lines: Vec<Line>,
    /// JSON and XML events as plain lines: `Name: value` one after the other, and the body.
    pub(super) text: Vec<u8>,
}

impl Scratch {
    /// Gives back memory that an unusually large event left behind.
    pub(super) fn shrink(&mut self, kept_bytes: usize) {
        if self.text.capacity() > kept_bytes {
            self.text = Vec::new();
        }
    }
}

/// An event. Its names, values and body read the same in all three formats.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    pub(super) headers: Headers<'a>,
    pub(super) body: &'a [u8],
}

impl<'a> Event<'a> {
    /// The event's headers.
    pub fn headers(self) -> Headers<'a> {
        self.headers
    }

    /// The last header of this name: see [`Headers`] for why the last.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        self.headers.get(name)
    }

    /// The name of an event that the switch itself fired. An event that a client made has none here, whatever it
    /// calls itself: see [`Event::is_sent_by_client`].
    pub fn name(self) -> Option<Value<'a>> {
        if self.is_sent_by_client() { None } else { self.get(names::EVENT_NAME) }
    }

    /// A channel's variable by its bare name, as of the event.
    pub fn variable(self, name: &str) -> Option<Value<'a>> {
        self.headers.variable(name)
    }

    /// Whether a client made the event with `sendevent`. Such an event is a message and no fact about a channel: it
    /// can bear any name and any `Unique-ID`, and where that is a channel of the switch, FreeSWITCH adds the
    /// channel's headers but no `Event-Name` of its own (transcript i_log_sendevent/sendevent_two_clients_b).
    ///
    /// FreeSWITCH writes the client's command line into the event before the client's own headers, so that no
    /// header of the client can take it away.
    pub fn is_sent_by_client(self) -> bool {
        self.headers.get_all(names::COMMAND).any(|command| command.starts_with("sendevent"))
    }

    /// The event's own body, as raw bytes; empty where it has none.
    ///
    /// In a plain event it is everything after the blank line: the inner `Content-Length`, which a client can
    /// choose and which may stand there twice, is not asked.
    pub fn body(self) -> &'a [u8] {
        self.body
    }
}

/// Reads the body of an event frame.
pub(super) fn read_event<'a>(
    format: EventFormat,
    bytes: &'a [u8],
    scratch: &'a mut Scratch,
) -> Result<Event<'a>, Error> {
    let body = match format {
        EventFormat::Plain => {
            let end = index_block(bytes, &mut scratch.lines)?;
            let headers = Headers::new(bytes, &scratch.lines, true);
            return Ok(Event { headers, body: &bytes[end..] });
        }
        EventFormat::Json => json::read(bytes, scratch)?,
        EventFormat::Xml => xml::read(bytes, scratch)?,
    };
    let encoded = format == EventFormat::Xml;
    let headers = Headers::new(&scratch.text, &scratch.lines, encoded);
    Ok(Event { headers, body: &scratch.text[body] })
}
