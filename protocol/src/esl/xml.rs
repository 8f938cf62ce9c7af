//! Events in XML: the one shape in which FreeSWITCH writes them.
//!
//! ```text
//! <event>
//!   <headers>
//!     <Event-Name>BACKGROUND_JOB</Event-Name>
//!   </headers>
//!   <Content-Length>20</Content-Length>
//!   <body>a%b "q" &lt;x&gt;</body>
//! </event>
//! ```
//! No attributes, comments, namespaces or declarations, and no nesting beyond this, so there is no recursion.
//! Header values are percent-encoded under the XML escaping; the body is not.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::Error;
use super::event::Scratch;
use super::headers::{Line, push_line};

/// Reads an event into `scratch` as plain lines and returns where in its text the body lies.
pub(super) fn read(bytes: &[u8], scratch: &mut Scratch) -> Result<Range<usize>, Error> {
    let Scratch { lines, text } = scratch;
    lines.clear();
    text.clear();
    let mut reader = Reader { bytes, position: 0 };
    reader.expect(b"<event>")?;
    reader.expect(b"<headers>")?;
    while !reader.accept(b"</headers>") {
        let start = text.len();
        let name = reader.open_tag()?;
        text.extend_from_slice(name.bytes);
        text.extend_from_slice(b": ");
        reader.content(name, text)?;
        push_line(lines, Line::new(start, start + name.bytes.len(), text.len()))?;
    }
    let mut announced_bytes = None;
    let mut body = 0..0;
    while !reader.accept(b"</event>") {
        let start = text.len();
        let name = reader.open_tag()?;
        reader.content(name, text)?;
        match name.bytes {
            b"body" => body = start..text.len(),
            b"Content-Length" => {
                announced_bytes = str::from_utf8(&text[start..]).ok().and_then(|n| n.parse().ok())
            }
            _ => return Err(reader.error()),
        }
    }
    if reader.peek().is_some() {
        return Err(reader.error());
    }
    Ok(without_indentation(text, body, announced_bytes))
}

/// The printer indents `</body>` if the body ends in a newline. Only white space beyond the announced length is
/// taken for that.
fn without_indentation(text: &[u8], body: Range<usize>, announced_bytes: Option<usize>) -> Range<usize> {
    match announced_bytes {
        Some(length) if length < body.len() && text[body.clone()][length..].trim_ascii().is_empty() => {
            body.start..body.start + length
        }
        _ => body,
    }
}

/// An opening tag.
#[derive(Clone, Copy)]
struct Tag<'a> {
    bytes: &'a [u8],
    /// `<name/>`: there is no content and no closing tag.
    is_empty: bool,
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn error(&self) -> Error {
        Error::InvalidXml { offset: self.position }
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let skipped = self.rest().len() - self.rest().trim_ascii_start().len();
        self.position += skipped;
        self.rest().first().copied()
    }

    /// Passes `tag` if it comes next.
    fn accept(&mut self, tag: &[u8]) -> bool {
        self.peek();
        let found = self.rest().starts_with(tag);
        if found {
            self.position += tag.len();
        }
        found
    }

    fn expect(&mut self, tag: &[u8]) -> Result<(), Error> {
        if self.accept(tag) { Ok(()) } else { Err(self.error()) }
    }

    /// Any bytes but `<` and `>` are a name: FreeSWITCH writes a variable's name as it is.
    fn open_tag(&mut self) -> Result<Tag<'a>, Error> {
        if self.peek() != Some(b'<') {
            return Err(self.error());
        }
        let inside = &self.rest()[1..];
        let length = memchr2(b'<', b'>', inside).filter(|&at| inside[at] == b'>').ok_or(self.error())?;
        let (bytes, is_empty) = match inside[..length].strip_suffix(b"/") {
            Some(name) => (name, true),
            None => (&inside[..length], false),
        };
        if bytes.is_empty() || bytes.starts_with(b"/") || bytes.starts_with(b"!") || bytes.starts_with(b"?") {
            return Err(self.error());
        }
        self.position += length + 2;
        Ok(Tag { bytes, is_empty })
    }

    /// Appends the text up to the closing tag of `tag`, which is passed.
    fn content(&mut self, tag: Tag<'_>, text: &mut Vec<u8>) -> Result<(), Error> {
        if tag.is_empty {
            return Ok(());
        }
        loop {
            let plain = memchr2(b'<', b'&', self.rest()).ok_or(self.error())?;
            text.extend_from_slice(&self.rest()[..plain]);
            self.position += plain;
            if self.rest()[0] == b'<' {
                break;
            }
            self.entity(text)?;
        }
        let close = self.rest().strip_prefix(b"</").and_then(|rest| rest.strip_prefix(tag.bytes));
        if !close.is_some_and(|rest| rest.starts_with(b">")) {
            return Err(self.error());
        }
        self.position += tag.bytes.len() + 3;
        Ok(())
    }

    /// Appends what an entity such as `&lt;` or `&#x17E;` stands for.
    fn entity(&mut self, text: &mut Vec<u8>) -> Result<(), Error> {
        /// `&#x10FFFF;` is the longest that is valid.
        const ENTITY_MAX_BYTES: usize = 10;
        let window = &self.rest()[..self.rest().len().min(ENTITY_MAX_BYTES)];
        let end = memchr(b';', window).ok_or(self.error())?;
        let character = match &window[1..end] {
            b"lt" => '<',
            b"gt" => '>',
            b"amp" => '&',
            b"quot" => '"',
            b"apos" => '\'',
            [b'#', digits @ ..] => numbered(digits).ok_or(self.error())?,
            _ => return Err(self.error()),
        };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.position += end + 1;
        Ok(())
    }
}

/// The character of a number such as `x17E` or `382`; U+FFFD where Unicode has none.
fn numbered(digits: &[u8]) -> Option<char> {
    let digits = str::from_utf8(digits).ok()?;
    let number = match digits.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => digits.parse(),
    };
    Some(char::from_u32(number.ok()?).unwrap_or(char::REPLACEMENT_CHARACTER))
}
