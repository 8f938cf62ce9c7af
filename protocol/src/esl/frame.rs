//! One frame, lent by the decoder.

use super::encode::EventFormat;
use super::event::{Event, Scratch, read_event};
use super::{Error, Headers, Value, names};

/// What a frame is, by its `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// `auth/request`: the switch's greeting.
    AuthRequest,
    /// `command/reply`: the answer to any command but `api`, in [`Frame::reply_text`].
    CommandReply,
    /// A `command/reply` that is an event itself: the answer to an outbound connection's `connect`. One header
    /// block without a body and with encoded values, `Content-Type` and `Reply-Text` at its end.
    ChannelData,
    /// `api/response`: the answer to `api`, in the body, in no fixed form.
    ApiResponse,
    /// `text/event-plain`, `-json` or `-xml`: read it with [`Frame::event`].
    Event(EventFormat),
    /// `log/data`: headers `Log-Level`, `Log-File`, ... and the line as the body.
    LogData,
    /// `text/disconnect-notice`: the switch is about to close the connection, or, where `Content-Disposition` is
    /// `linger`, only the channel's part of it.
    DisconnectNotice,
    /// `text/rude-rejection`: the switch's ACL refuses this address.
    RudeRejection,
    /// A `Content-Type` that FreeSWITCH did not have when this was written.
    Other,
}

impl FrameKind {
    pub(super) fn of(content_type: &[u8], headers: Headers<'_>) -> Self {
        match content_type {
            b"auth/request" => Self::AuthRequest,
            // A plain reply never has an Event-Name.
            b"command/reply" if headers.get(names::EVENT_NAME).is_some() => Self::ChannelData,
            b"command/reply" => Self::CommandReply,
            b"api/response" => Self::ApiResponse,
            b"text/event-plain" => Self::Event(EventFormat::Plain),
            b"text/event-json" => Self::Event(EventFormat::Json),
            b"text/event-xml" => Self::Event(EventFormat::Xml),
            b"log/data" => Self::LogData,
            b"text/disconnect-notice" => Self::DisconnectNotice,
            b"text/rude-rejection" => Self::RudeRejection,
            _ => Self::Other,
        }
    }

    /// Whether the values of the frame's own headers are percent-encoded.
    pub(super) fn has_encoded_headers(self) -> bool {
        self == Self::ChannelData
    }
}

/// One frame. It borrows the decoder's buffer: nothing is copied until somebody asks for a value.
#[derive(Debug)]
pub struct Frame<'a> {
    pub(super) kind: FrameKind,
    pub(super) headers: Headers<'a>,
    pub(super) body: &'a [u8],
    pub(super) scratch: &'a mut Scratch,
}

impl<'a> Frame<'a> {
    /// What kind of frame it is.
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// The frame's own headers. An event's are in [`Frame::event`].
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// The bytes that `Content-Length` announced; empty where there was none.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// What a command was answered: `+OK ...`, `-ERR ...`, or for `getvar` anything.
    pub fn reply_text(&self) -> Option<Value<'a>> {
        self.headers.get(names::REPLY_TEXT)
    }

    /// Whether a command was answered `+OK`. An `api/response` has no such form and is never `+OK` in this sense.
    pub fn is_ok(&self) -> bool {
        self.reply_text().is_some_and(|text| text.starts_with("+OK"))
    }

    /// The event that the frame carries. A plain one is indexed and a JSON or XML one is parsed now, not before.
    ///
    /// # Errors
    /// See [`Error`]. The frame stays readable and the decoder goes on with the next one.
    pub fn event(&mut self) -> Result<Event<'_>, Error> {
        match self.kind {
            FrameKind::Event(format) => read_event(format, self.body, self.scratch),
            FrameKind::ChannelData => Ok(Event { headers: self.headers, body: self.body }),
            kind => Err(Error::NotAnEvent(kind)),
        }
    }
}
