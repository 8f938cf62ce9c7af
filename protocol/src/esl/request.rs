//! What a controller writes to a switch: commands, as the switch reads them.
//!
//! A command is a line, any number of `Name: value` lines, an empty line and, where a `Content-Length` says so,
//! that many bytes. Line ends may be `\n` or `\r\n`, and empty lines before a command are skipped
//! (transcript a_inbound_auth/auth_crlf).

use thiserror::Error;

use super::raw_text;

/// How much a [`RequestDecoder`] holds before it gives up on its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Largest head (command line and headers with their line ends), in bytes.
    pub head_bytes: usize,
    /// Largest body that a `Content-Length` may announce, in bytes.
    pub body_bytes: usize,
}

/// Why a connection's bytes can no longer be read as commands. The decoder holds nothing useful afterwards: a
/// switch ends the connection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No empty line came within the limit.
    #[error("the command's head is larger than {limit_bytes} bytes")]
    HeadTooLarge {
        /// The limit that was passed.
        limit_bytes: usize,
    },
    /// `Content-Length` is negative, larger than the limit, or not a number that fits.
    #[error("Content-Length {value:?} is not between 0 and {limit_bytes}")]
    InvalidContentLength {
        /// What the header said, shortened.
        value: String,
        /// The largest body that is accepted, in bytes.
        limit_bytes: usize,
    },
}

/// One command of a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The first line without its line end; trailing spaces are kept, because `auth ClueCon ` is not
    /// `auth ClueCon`.
    pub command: String,
    /// The headers in the order they came. A header without a value is not there. Bytes that are no UTF-8 are kept as
    /// [`raw_text`] does.
    pub headers: Vec<(String, String)>,
    /// The body, if a `Content-Length` above zero announced one.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// The value of the first header of this name; names are compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Turns the bytes of one connection, in whatever pieces they arrive, into [`Request`]s.
#[derive(Debug)]
pub struct RequestDecoder {
    limits: RequestLimits,
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that requests already returned have used.
    consumed: usize,
    /// Where the search for the end of the head goes on, so that a byte-wise sender costs linear time.
    searched: usize,
    /// A head whose body has not come completely.
    partial: Option<(Request, usize)>,
}

impl RequestDecoder {
    /// An empty decoder.
    pub fn new(limits: RequestLimits) -> Self {
        Self { limits, buffer: Vec::new(), consumed: 0, searched: 0, partial: None }
    }

    /// Adds bytes as they came from the wire. Call [`RequestDecoder::next_request`] until it returns `None`.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.searched -= self.consumed;
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that are held and belong to no request that was returned.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len() - self.consumed
    }

    /// The next complete request, `None` if more bytes are needed.
    pub fn next_request(&mut self) -> Result<Option<Request>, RequestError> {
        if self.partial.is_none() {
            let Some((request, body_bytes)) = self.next_head()? else { return Ok(None) };
            self.partial = Some((request, body_bytes));
        }
        let Some((mut request, body_bytes)) = self.partial.take() else { return Ok(None) };
        if self.buffered_bytes() < body_bytes {
            self.partial = Some((request, body_bytes));
            return Ok(None);
        }
        if body_bytes > 0 {
            let body = self.buffer[self.consumed..self.consumed + body_bytes].to_vec();
            self.consumed += body_bytes;
            request.body = Some(body);
        }
        self.searched = self.consumed;
        Ok(Some(request))
    }

    fn next_head(&mut self) -> Result<Option<(Request, usize)>, RequestError> {
        while matches!(self.buffer.get(self.consumed), Some(b'\n' | b'\r')) {
            self.consumed += 1;
        }
        self.searched = self.searched.max(self.consumed);
        let Some(head_end) = self.find_head_end() else {
            if self.buffered_bytes() > self.limits.head_bytes {
                return Err(RequestError::HeadTooLarge { limit_bytes: self.limits.head_bytes });
            }
            return Ok(None);
        };
        let head = &self.buffer[self.consumed..head_end];
        if head.len() > self.limits.head_bytes {
            return Err(RequestError::HeadTooLarge { limit_bytes: self.limits.head_bytes });
        }
        let request = parse_head(head);
        let body_bytes = self.body_bytes(&request)?;
        self.consumed = head_end;
        self.searched = head_end;
        Ok(Some((request, body_bytes)))
    }

    /// The index after the empty line that ends the head.
    fn find_head_end(&mut self) -> Option<usize> {
        let mut line_start = self.searched;
        while let Some(offset) = memchr::memchr(b'\n', &self.buffer[line_start..]) {
            let line_end = line_start + offset;
            let line = &self.buffer[line_start..line_end];
            if line.is_empty() || line == b"\r" {
                return Some(line_end + 1);
            }
            line_start = line_end + 1;
            self.searched = line_start;
        }
        None
    }

    fn body_bytes(&self, request: &Request) -> Result<usize, RequestError> {
        let Some(value) = request.header("Content-Length") else { return Ok(0) };
        let limit_bytes = self.limits.body_bytes;
        match leading_integer(value) {
            Some(length) if length <= limit_bytes as i64 && length >= 0 => Ok(length as usize),
            None => Ok(0),
            Some(_) => {
                let value = value.chars().take(32).collect();
                Err(RequestError::InvalidContentLength { value, limit_bytes })
            }
        }
    }
}

/// Reads a number as C's `atoi` does: what follows the digits is ignored. Too large a number saturates.
fn leading_integer(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let magnitude = digits[..end].parse::<i64>().unwrap_or(i64::MAX);
    Some(if negative { -magnitude } else { magnitude })
}

fn parse_head(head: &[u8]) -> Request {
    let mut lines = head
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .map(raw_text::from_bytes);
    let command = lines.next().unwrap_or_default();
    let headers = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let value = value.trim_start_matches([' ', '\t']);
            (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        })
        .collect();
    Request { command, headers, body: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits = RequestLimits { head_bytes: 256, body_bytes: 64 };

    fn decode(bytes: &[u8], piece_bytes: usize) -> Result<Vec<Request>, RequestError> {
        let mut decoder = RequestDecoder::new(LIMITS);
        let mut requests = Vec::new();
        for piece in bytes.chunks(piece_bytes) {
            decoder.push(piece);
            while let Some(request) = decoder.next_request()? {
                requests.push(request);
            }
        }
        Ok(requests)
    }

    #[test]
    fn pieces_of_any_size_give_the_same_requests() {
        let bytes = b"\n\nauth ClueCon \r\n\r\nsendmsg u\ncall-command: execute\ncontent-length: 4\nempty:\n\nab\n\napi status\n\n";
        let whole = decode(bytes, bytes.len()).unwrap();
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0].command, "auth ClueCon ");
        assert_eq!(whole[1].header("Call-Command"), Some("execute"));
        assert_eq!(whole[1].header("empty"), None);
        assert_eq!(whole[1].body.as_deref(), Some(b"ab\n\n".as_slice()));
        assert_eq!(whole[2].command, "api status");
        for piece_bytes in 1..bytes.len() {
            assert_eq!(decode(bytes, piece_bytes).unwrap(), whole, "pieces of {piece_bytes} bytes");
        }
    }

    #[test]
    fn lengths_out_of_bounds_end_the_connection() {
        for value in ["-5", "65", "99999999999999999999"] {
            let bytes = format!("api status\nContent-Length: {value}\n\n");
            assert!(matches!(decode(bytes.as_bytes(), 7), Err(RequestError::InvalidContentLength { .. })));
        }
        assert_eq!(decode(b"api status\nContent-Length: 0\n\n", 9).unwrap()[0].body, None);
        assert_eq!(decode(b"api status\nContent-Length: soon\n\n", 9).unwrap()[0].body, None);
    }

    #[test]
    fn a_head_without_an_end_is_bounded() {
        let endless = vec![b'a'; 300];
        assert_eq!(decode(&endless, 50), Err(RequestError::HeadTooLarge { limit_bytes: 256 }));
        let mut long = vec![b'a'; 300];
        long.extend_from_slice(b"\n\n");
        assert_eq!(decode(&long, 400), Err(RequestError::HeadTooLarge { limit_bytes: 256 }));
    }
}
