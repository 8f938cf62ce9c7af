//! A block of headers, found line by line and otherwise left as it is.

use memchr::{memchr, memchr2};

use super::{Error, Value, names};
use crate::limits::ESL_HEADERS_MAX;

/// Where one `Name: value` line lies in its block, in bytes. Blocks are at most
/// [`ESL_BODY_MAX_BYTES`](crate::limits::ESL_BODY_MAX_BYTES) long, so 32 bits hold every offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    start: u32,
    colon: u32,
    end: u32,
}

impl Line {
    pub(super) fn new(start: usize, colon: usize, end: usize) -> Self {
        Self { start: start as u32, colon: colon as u32, end: end as u32 }
    }
}

/// Fills `lines` with the headers of the block that `bytes` begin with, and returns where the block's blank line
/// ends: at the end of `bytes` if there is none.
///
/// A line without a colon is no header and is passed over, as FreeSWITCH's own client library does: the only way
/// to get one is a variable whose name holds a newline, and the rest of the event is still wanted then.
pub(super) fn index_block(bytes: &[u8], lines: &mut Vec<Line>) -> Result<usize, Error> {
    lines.clear();
    let mut start = 0;
    while let Some(found) = memchr2(b':', b'\n', &bytes[start..]) {
        let colon = start + found;
        if bytes[colon] == b'\n' {
            if found == 0 {
                return Ok(colon + 1);
            }
            start = colon + 1;
            continue;
        }
        let end = memchr(b'\n', &bytes[colon..]).map_or(bytes.len(), |length| colon + length);
        push_line(lines, Line::new(start, colon, end))?;
        start = bytes.len().min(end + 1);
    }
    Ok(bytes.len())
}

/// Adds a line, up to the limit.
pub(super) fn push_line(lines: &mut Vec<Line>, line: Line) -> Result<(), Error> {
    if lines.len() == ESL_HEADERS_MAX {
        return Err(Error::TooManyHeaders { limit: ESL_HEADERS_MAX });
    }
    lines.push(line);
    Ok(())
}

/// The headers of a frame or of an event, in the order of the wire.
///
/// Names are compared without regard to case, as FreeSWITCH does. Where a name stands more than once, the last
/// one counts, for this reason: FreeSWITCH appends what it says itself. In an event that a client made with
/// `sendevent`, the client's headers come first and may name themselves `Event-Name: CHANNEL_ANSWER`; the true
/// `Event-Name: CUSTOM`, `Core-UUID` and `Event-Sequence` follow (transcript h_encoding_misc/sendevent_values_plain),
/// though not in every such event: see [`Event::is_sent_by_client`](super::Event::is_sent_by_client). A channel's
/// event puts the switch's headers first, but names everything that a caller can influence `variable_...` or
/// `Caller-...`.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    lines: &'a [Line],
    encoded: bool,
}

impl<'a> Headers<'a> {
    pub(super) fn new(bytes: &'a [u8], lines: &'a [Line], encoded: bool) -> Self {
        Self { bytes, lines, encoded }
    }

    /// How many header lines there are.
    pub fn len(self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.lines.is_empty()
    }

    /// The last header of this name.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        self.lines.iter().rev().find(|line| self.is_named(line, "", name)).map(|line| self.value(line))
    }

    /// A channel's variable by its bare name: the last header `variable_<name>`.
    pub fn variable(self, name: &str) -> Option<Value<'a>> {
        let prefix = names::VARIABLE_PREFIX;
        self.lines.iter().rev().find(|line| self.is_named(line, prefix, name)).map(|line| self.value(line))
    }

    /// Every header of this name, in the order of the wire.
    pub fn get_all(self, name: &str) -> impl Iterator<Item = Value<'a>> {
        self.lines.iter().filter(move |line| self.is_named(line, "", name)).map(move |line| self.value(line))
    }

    /// The elements of an array, in any format: XML has a header for each, plain and JSON have one for all.
    pub fn elements(self, name: &str) -> impl Iterator<Item = Value<'a>> {
        self.get_all(name).flat_map(Value::elements)
    }

    /// Every header, in the order of the wire.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        self.lines.iter().map(move |line| (self.name(line), self.value(line)))
    }

    fn name(self, line: &Line) -> &'a [u8] {
        &self.bytes[line.start as usize..line.colon as usize]
    }

    fn value(self, line: &Line) -> Value<'a> {
        let text = &self.bytes[line.colon as usize + 1..line.end as usize];
        Value::new(text.strip_prefix(b" ").unwrap_or(text), self.encoded)
    }

    fn is_named(self, line: &Line, prefix: &str, name: &str) -> bool {
        if (line.colon - line.start) as usize != prefix.len() + name.len() {
            return false;
        }
        let (start, end) = self.name(line).split_at(prefix.len());
        end.eq_ignore_ascii_case(name.as_bytes()) && start.eq_ignore_ascii_case(prefix.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> (Vec<(String, String)>, usize) {
        let mut lines = Vec::new();
        let end = index_block(bytes, &mut lines).unwrap();
        let headers = Headers::new(bytes, &lines, true);
        let owned =
            headers.iter().map(|(name, value)| (String::from_utf8_lossy(name).into(), value.text().into()));
        (owned.collect(), end)
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|&(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn a_block_ends_at_its_blank_line() {
        assert_eq!(parse(b"a: 1\nb:2\n\nc: 3\n"), (pairs(&[("a", "1"), ("b", "2")]), 10));
        assert_eq!(parse(b"a: 1\nb: 2\n"), (pairs(&[("a", "1"), ("b", "2")]), 10));
        assert_eq!(parse(b"a: 1\nb: 2"), (pairs(&[("a", "1"), ("b", "2")]), 9));
        assert_eq!(parse(b"\na: 1"), (pairs(&[]), 1));
        assert_eq!(parse(b""), (pairs(&[]), 0));
    }

    #[test]
    fn values_are_split_first_and_decoded_afterwards() {
        let (headers, _) = parse(b"a: x%0AEvent-Name: FORGED\nb:  two: c \n: nameless\nd:\n\n");
        let expected = [("a", "x\nEvent-Name: FORGED"), ("b", " two: c "), ("", "nameless"), ("d", "")];
        assert_eq!(headers, pairs(&expected));
    }

    #[test]
    fn a_line_without_a_colon_is_passed_over() {
        assert_eq!(parse(b"a: 1\nnonsense\nb: 2\nmore").0, pairs(&[("a", "1"), ("b", "2")]));
    }

    #[test]
    fn the_last_of_one_name_counts() {
        let bytes = b"Event-Name: CHANNEL_ANSWER\nUnique-ID: x\nevent-name: CUSTOM\n\n";
        let mut lines = Vec::new();
        index_block(bytes, &mut lines).unwrap();
        let headers = Headers::new(bytes, &lines, true);
        assert!(headers.get("EVENT-NAME").unwrap().is("CUSTOM"));
        let all: Vec<_> = headers.get_all("Event-Name").map(Value::raw).collect();
        assert_eq!(all, [b"CHANNEL_ANSWER".as_slice(), b"CUSTOM"]);
        assert_eq!(headers.get("Event-Nam"), None);
        assert_eq!((headers.len(), headers.is_empty()), (3, false));
    }

    #[test]
    fn headers_are_counted() {
        let mut lines = Vec::new();
        let at_limit = b":\n".repeat(ESL_HEADERS_MAX);
        assert_eq!(index_block(&at_limit, &mut lines), Ok(at_limit.len()));
        let over = b":\n".repeat(ESL_HEADERS_MAX + 1);
        let error = Error::TooManyHeaders { limit: ESL_HEADERS_MAX };
        assert_eq!(index_block(&over, &mut lines), Err(error));
    }
}
