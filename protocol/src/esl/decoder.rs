//! Bytes in, frames out.

use memchr::memchr_iter;

use super::event::Scratch;
use super::frame::{Frame, FrameKind};
use super::headers::{Line, index_block};
use super::{Error, Headers, names};
use crate::limits::{
    ESL_BODY_MAX_BYTES, ESL_BUFFER_BYTES, ESL_BUFFER_KEPT_BYTES, ESL_BUFFER_MAX_BYTES,
    ESL_HEADER_BLOCK_MAX_BYTES, ESL_READ_MIN_BYTES,
};

/// The Event Socket's bytes, in whatever pieces they come, as frames.
///
/// It does no input or output. Read into [`Decoder::space`], say with [`Decoder::filled`] how much came, then take
/// frames until there is none:
///
/// ```
/// use fipple_protocol::esl::{Decoder, FrameKind};
///
/// let mut decoder = Decoder::new();
/// let wire = b"Content-Type: command/reply\nReply-Text: +OK accepted\n\nContent-Ty";
/// decoder.space()[..wire.len()].copy_from_slice(wire);
/// decoder.filled(wire.len());
/// while let Some(frame) = decoder.next_frame()? {
///     assert_eq!(frame.kind(), FrameKind::CommandReply);
///     assert!(frame.is_ok());
/// }
/// assert_eq!(decoder.pending_bytes(), 10);
/// # Ok::<(), fipple_protocol::esl::Error>(())
/// ```
///
/// A frame lends the decoder's buffer; once buffer and indexes have grown to the size of what arrives, nothing is
/// allocated. The buffer grows as bytes come, never because a `Content-Length` announces them, and never past
/// [`ESL_BUFFER_MAX_BYTES`].
///
/// After an error there is no telling where the next frame begins. The decoder then holds on to that error, and
/// [`Decoder::next_frame`] repeats it, until [`Decoder::reset`] makes it new for the next connection.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes of the wire lie in `start..end`; all of it is initialised, so that a socket can read into the rest.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    state: State,
    lines: Vec<Line>,
    scratch: Scratch,
}

/// What the bytes from `start` on are.
#[derive(Debug, Clone, Copy)]
enum State {
    /// A header block, whose end is not among the first `searched` bytes.
    Head { searched: usize },
    /// A header block that is indexed, and a body that has not come completely.
    Body { kind: FrameKind, head_bytes: usize, body_bytes: usize },
    /// Nothing that can be read any more.
    Failed(Error),
}

impl Default for State {
    fn default() -> Self {
        Self::Head { searched: 0 }
    }
}

impl Decoder {
    /// A decoder for a new connection. It allocates when the first bytes come.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for bytes from the wire: at least [`ESL_READ_MIN_BYTES`] if [`Decoder::next_frame`] has returned `None`
    /// before, and empty if frames are left lying until [`ESL_BUFFER_MAX_BYTES`] are full.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.buffer.len() > ESL_BUFFER_KEPT_BYTES {
                self.buffer = Vec::new();
            }
        }
        if self.buffer.len() - self.end < ESL_READ_MIN_BYTES {
            self.make_room();
        }
        &mut self.buffer[self.end..]
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < ESL_READ_MIN_BYTES {
            let doubled = (self.buffer.len() * 2).clamp(ESL_BUFFER_BYTES, ESL_BUFFER_MAX_BYTES);
            self.buffer.resize(doubled.min(self.enough_bytes()), 0);
        }
    }

    /// The largest buffer that is of use. A frame that is on its way has said how long it is, and a buffer that is larger
    /// than what is kept anyway is given up once that frame has been read.
    fn enough_bytes(&self) -> usize {
        match self.state {
            State::Body { head_bytes, body_bytes, .. } if self.pending_bytes() < head_bytes + body_bytes => {
                (head_bytes + body_bytes + ESL_READ_MIN_BYTES).max(ESL_BUFFER_KEPT_BYTES)
            }
            _ => ESL_BUFFER_MAX_BYTES,
        }
    }

    /// Says that the first `bytes` of [`Decoder::space`] now hold what came; more than there is room for counts as
    /// all of it.
    pub fn filled(&mut self, bytes: usize) {
        self.end = self.buffer.len().min(self.end.saturating_add(bytes));
    }

    /// Copies bytes in and returns how many fitted, for where there is no socket that reads into
    /// [`Decoder::space`]. It is zero only where [`Decoder::next_frame`] has to be called first.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let space = self.space();
        let taken = space.len().min(bytes.len());
        space[..taken].copy_from_slice(&bytes[..taken]);
        self.filled(taken);
        taken
    }

    /// The next complete frame; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The first five of [`Error`]: the connection must be closed. The same error comes again until
    /// [`Decoder::reset`].
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let result = match self.state {
            State::Head { searched } => self.read_head(searched),
            State::Body { .. } => Ok(()),
            State::Failed(error) => Err(error),
        };
        if let Err(error) = result {
            self.state = State::Failed(error);
            return Err(error);
        }
        let State::Body { kind, head_bytes, body_bytes } = self.state else { return Ok(None) };
        if self.end - self.start < head_bytes + body_bytes {
            return Ok(None);
        }
        let (head, body) = self.buffer[self.start..][..head_bytes + body_bytes].split_at(head_bytes);
        self.start += head_bytes + body_bytes;
        self.state = State::default();
        self.scratch.shrink(ESL_BUFFER_KEPT_BYTES);
        let headers = Headers::new(head, &self.lines, kind.has_encoded_headers());
        Ok(Some(Frame { kind, headers, body, scratch: &mut self.scratch }))
    }

    /// How many bytes are held that no frame has yet lent: zero where a connection may end without loss.
    pub fn pending_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Forgets everything but its memory, for a new connection.
    pub fn reset(&mut self) {
        self.start = 0;
        self.end = 0;
        self.state = State::default();
    }

    /// Indexes the header block if all of it is there, and goes on to its body.
    fn read_head(&mut self, searched: usize) -> Result<(), Error> {
        if searched == 0 {
            // Frames follow each other without a separator, except after a `getvar` whose value ends in newlines
            // (transcript e_filter_subscriptions/getvar_injection).
            self.start += self.buffer[self.start..self.end].iter().take_while(|&&byte| byte == b'\n').count();
        }
        let held = &self.buffer[self.start..self.end];
        let Some(head_bytes @ ..=ESL_HEADER_BLOCK_MAX_BYTES) = find_blank_line(held, searched) else {
            if held.len() > ESL_HEADER_BLOCK_MAX_BYTES {
                return Err(Error::HeaderBlockTooLarge { limit_bytes: ESL_HEADER_BLOCK_MAX_BYTES });
            }
            self.state = State::Head { searched: held.len() };
            return Ok(());
        };
        let head = &held[..head_bytes];
        index_block(head, &mut self.lines)?;
        let headers = Headers::new(head, &self.lines, false);
        let content_type = headers.get(names::CONTENT_TYPE).ok_or(Error::MissingContentType)?;
        let kind = FrameKind::of(content_type.raw(), headers);
        let body_bytes = content_length(headers)?;
        self.state = State::Body { kind, head_bytes, body_bytes };
        Ok(())
    }
}

/// Where the first blank line ends, which is not before `searched`.
fn find_blank_line(bytes: &[u8], searched: usize) -> Option<usize> {
    // The last byte searched may be the newline before the blank line.
    let from = searched.saturating_sub(1);
    memchr_iter(b'\n', &bytes[from..])
        .map(|offset| from + offset + 1)
        .find(|&next| bytes.get(next) == Some(&b'\n'))
        .map(|next| next + 1)
}

/// The length of the body that follows, zero where none is announced.
fn content_length(headers: Headers<'_>) -> Result<usize, Error> {
    let mut announced = None;
    for value in headers.get_all(names::CONTENT_LENGTH) {
        let digits = value.raw().trim_ascii();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Error::InvalidContentLength);
        }
        let bytes = digits
            .iter()
            .fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        if announced.is_some_and(|other| other != bytes) {
            return Err(Error::InvalidContentLength);
        }
        announced = Some(bytes);
    }
    match announced {
        Some(bytes) if bytes > ESL_BODY_MAX_BYTES as u64 => {
            Err(Error::BodyTooLarge { announced_bytes: bytes, limit_bytes: ESL_BODY_MAX_BYTES })
        }
        Some(bytes) => Ok(bytes as usize),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ESL_HEADERS_MAX;

    fn feed_all(decoder: &mut Decoder, bytes: &[u8]) {
        assert_eq!(decoder.feed(bytes), bytes.len());
    }

    fn error_of(bytes: &[u8]) -> Error {
        let mut decoder = Decoder::new();
        let mut rest = bytes;
        loop {
            match decoder.next_frame() {
                Err(error) => {
                    assert_eq!(decoder.next_frame().unwrap_err(), error, "the error stays");
                    decoder.reset();
                    assert!(decoder.next_frame().unwrap().is_none());
                    return error;
                }
                Ok(Some(_)) => {}
                Ok(None) => rest = &rest[decoder.feed(rest)..],
            }
        }
    }

    #[test]
    fn frames_follow_each_other_without_a_separator() {
        let mut decoder = Decoder::new();
        feed_all(
            &mut decoder,
            b"Content-Type: api/response\nContent-Length: 9\n\n127.0.0.1Content-Type: auth/request\n\n\n\n\n",
        );
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!((frame.kind(), frame.body()), (FrameKind::ApiResponse, b"127.0.0.1".as_slice()));
        assert_eq!(decoder.next_frame().unwrap().unwrap().kind(), FrameKind::AuthRequest);
        assert!(decoder.next_frame().unwrap().is_none());
        assert_eq!(decoder.pending_bytes(), 0, "newlines between frames are nobody's");
    }

    #[test]
    fn a_frame_waits_for_its_last_byte() {
        let wire = b"Content-Type: log/data\nContent-Length: 3\nLog-Level: 4\n\nab\n";
        let mut decoder = Decoder::new();
        for byte in &wire[..wire.len() - 1] {
            feed_all(&mut decoder, &[*byte]);
            assert!(decoder.next_frame().unwrap().is_none());
        }
        assert_eq!(decoder.pending_bytes(), wire.len() - 1);
        feed_all(&mut decoder, b"\n");
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(frame.headers().get("log-level").unwrap().raw(), b"4");
        assert_eq!(frame.body(), b"ab\n");
    }

    #[test]
    fn lengths_that_no_switch_sends_are_refused() {
        let of =
            |length: &str| error_of(format!("Content-Type: x/y\nContent-Length: {length}\n\n").as_bytes());
        for length in ["-1", "", "+5", "0x10", "12 34", "1e3", "five"] {
            assert_eq!(of(length), Error::InvalidContentLength, "{length:?}");
        }
        assert_eq!(of("5\ncontent-length: 6"), Error::InvalidContentLength);
        for (length, announced_bytes) in [("16777217", 16_777_217), ("99999999999999999999999", u64::MAX)] {
            assert_eq!(of(length), Error::BodyTooLarge { announced_bytes, limit_bytes: ESL_BODY_MAX_BYTES });
        }
        let mut decoder = Decoder::new();
        feed_all(&mut decoder, b"Content-Type: x/y\nContent-Length:  02 \nContent-Length: 2\n\nok");
        assert_eq!(decoder.next_frame().unwrap().unwrap().body(), b"ok");
    }

    #[test]
    fn a_lost_position_is_noticed() {
        assert_eq!(error_of(b"ello\n\nContent-Type: auth/request\n\n"), Error::MissingContentType);
        let many = [b"Content-Type: x/y\n".as_slice(), &b"a:\n".repeat(ESL_HEADERS_MAX), b"\n"].concat();
        assert_eq!(error_of(&many), Error::TooManyHeaders { limit: ESL_HEADERS_MAX });
    }

    #[test]
    fn an_endless_header_block_is_refused_with_and_without_its_end() {
        let expected = Error::HeaderBlockTooLarge { limit_bytes: ESL_HEADER_BLOCK_MAX_BYTES };
        let mut block = vec![b'a'; ESL_HEADER_BLOCK_MAX_BYTES - 1];
        block.extend_from_slice(b"\n\n");
        assert_eq!(error_of(&block), expected);
        assert_eq!(error_of(&vec![b'a'; ESL_HEADER_BLOCK_MAX_BYTES + 1]), expected);
        block.remove(0);
        assert_eq!(error_of(&block), Error::MissingContentType, "a block of exactly the limit is read");
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        let mut decoder = Decoder::new();
        feed_all(&mut decoder, b"Content-Type: x/y\nContent-Length: 16777216\n\n");
        assert!(decoder.next_frame().unwrap().is_none());
        assert!(decoder.space().len() <= ESL_BUFFER_BYTES);
    }

    #[test]
    fn the_buffer_takes_the_largest_frame_and_shrinks_after_it() {
        let mut decoder = Decoder::new();
        feed_all(&mut decoder, b"Content-Type: x/y\nContent-Length: 16777216\n\n");
        let mut left = ESL_BODY_MAX_BYTES;
        while decoder.next_frame().unwrap().is_none() {
            assert!(decoder.space().len() >= ESL_READ_MIN_BYTES);
            let bytes = decoder.space().len().min(left);
            decoder.filled(bytes);
            left -= bytes;
        }
        assert_eq!((left, decoder.pending_bytes()), (0, 0));
        assert_eq!(decoder.space().len(), ESL_BUFFER_BYTES);
    }

    #[test]
    fn the_buffer_grows_to_what_a_large_frame_needs_and_no_further() {
        let head = b"Content-Type: x/y\nContent-Length: 5000000\n\n";
        let frame_bytes = head.len() + 5_000_000;
        let mut decoder = Decoder::new();
        feed_all(&mut decoder, head);
        while decoder.next_frame().unwrap().is_none() {
            let bytes = decoder.space().len().min(frame_bytes - decoder.pending_bytes());
            decoder.filled(bytes);
        }
        assert_eq!(decoder.buffer.len(), frame_bytes + ESL_READ_MIN_BYTES);
    }

    #[test]
    fn a_caller_that_takes_no_frames_is_held_up() {
        let mut decoder = Decoder::new();
        let frame = b"Content-Type: auth/request\n\n";
        let mut held = 0;
        loop {
            let bytes = decoder.feed(frame);
            held += bytes;
            if bytes < frame.len() {
                break;
            }
        }
        assert_eq!(held, ESL_BUFFER_MAX_BYTES);
        assert_eq!(decoder.feed(frame), 0);
        while decoder.next_frame().unwrap().is_some() {}
        assert_eq!(decoder.feed(frame), frame.len());
    }
}
