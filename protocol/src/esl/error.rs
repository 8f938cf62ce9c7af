//! What can go wrong in the Event Socket codec.

use thiserror::Error;

use super::FrameKind;

/// Every error of the Event Socket codec.
///
/// The first five come from [`Decoder::next_frame`](super::Decoder::next_frame): from then on nobody knows where a
/// frame begins, so the decoder repeats the error until it is reset, and the connection is to be closed. The next
/// three come from [`Frame::event`](super::Frame::event) and concern that one frame only: its raw body can still
/// be read, and the decoder goes on. The others come from [`Command::write`](super::Command::write), which then
/// has written nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// No blank line ended the header block of a frame within the limit.
    #[error("a frame's header block is larger than {limit_bytes} bytes; the connection must be closed")]
    HeaderBlockTooLarge {
        /// [`ESL_HEADER_BLOCK_MAX_BYTES`](crate::limits::ESL_HEADER_BLOCK_MAX_BYTES).
        limit_bytes: usize,
    },
    /// A header block, or an event, has more headers than the limit. Fatal in the header block of a frame; in an
    /// event only that event is lost.
    #[error("more than {limit} headers in one block")]
    TooManyHeaders {
        /// [`ESL_HEADERS_MAX`](crate::limits::ESL_HEADERS_MAX).
        limit: usize,
    },
    /// `Content-Length` is not a decimal number, or stands there twice with two values.
    #[error(
        "a frame's Content-Length is negative, no number, or contradicts another; the connection must be closed"
    )]
    InvalidContentLength,
    /// `Content-Length` announces more than the limit. Nothing was reserved for it.
    #[error(
        "a frame announces a body of {announced_bytes} bytes, more than {limit_bytes}; the connection must be closed"
    )]
    BodyTooLarge {
        /// What the header says; `u64::MAX` stands for everything that does not fit.
        announced_bytes: u64,
        /// [`ESL_BODY_MAX_BYTES`](crate::limits::ESL_BODY_MAX_BYTES).
        limit_bytes: usize,
    },
    /// A header block without `Content-Type`. FreeSWITCH never sends one, so what was read is not the beginning of
    /// a frame.
    #[error(
        "a frame has no Content-Type, so the position in the stream is lost; the connection must be closed"
    )]
    MissingContentType,

    /// The frame is no event.
    #[error("a frame of the kind {0:?} holds no event")]
    NotAnEvent(FrameKind),
    /// The body of a `text/event-json` frame is not one object of strings and arrays of strings.
    #[error("the JSON of an event is malformed near byte {offset}")]
    InvalidJson {
        /// About where, in bytes from the start of the body's last line.
        offset: usize,
    },
    /// The body of a `text/event-xml` frame is not an event as FreeSWITCH writes it.
    #[error("the XML of an event is malformed at byte {offset}")]
    InvalidXml {
        /// Where, in bytes from the start of the body.
        offset: usize,
    },

    /// An argument holds a byte that would end its line, its word or the C string it becomes in FreeSWITCH.
    #[error("{argument} may not contain the byte {byte:#04x}: nothing was written")]
    ForbiddenByte {
        /// Which argument.
        argument: &'static str,
        /// The first such byte.
        byte: u8,
    },
    /// An argument that FreeSWITCH needs is empty.
    #[error("{argument} may not be empty: nothing was written")]
    EmptyArgument {
        /// Which argument.
        argument: &'static str,
    },
    /// An argument says something that the command's own grammar says elsewhere, such as a `Content-Length` among
    /// the headers of an event.
    #[error("{argument} may not be a reserved word: nothing was written")]
    ReservedArgument {
        /// Which argument.
        argument: &'static str,
    },
    /// A body is larger than what FreeSWITCH accepts before it disconnects.
    #[error("a body of {body_bytes} bytes is larger than {limit_bytes}: nothing was written")]
    CommandTooLarge {
        /// The size of the body that was given.
        body_bytes: usize,
        /// [`ESL_BODY_MAX_BYTES`](crate::limits::ESL_BODY_MAX_BYTES).
        limit_bytes: usize,
    },
}
