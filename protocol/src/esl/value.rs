//! One header's value, decoded only when somebody asks.

use std::borrow::Cow;
use std::str::FromStr;

use memchr::memchr;
use memchr::memmem::find;

/// A value as it stands on the wire, and whether it is percent-encoded there.
///
/// FreeSWITCH leaves a `%` that stands before two upper-case hex digits as it is, so in plain and XML events the
/// variable values `%41` and `A` look the same and both decode to `A`. Only JSON is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
    encoded: bool,
}

impl<'a> Value<'a> {
    pub(super) fn new(raw: &'a [u8], encoded: bool) -> Self {
        Self { raw, encoded }
    }

    /// The bytes of the wire.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The decoded bytes; allocates only where there is something to decode.
    pub fn decode(self) -> Cow<'a, [u8]> {
        let mut decoded = Vec::new();
        self.decode_into(&mut decoded);
        // No escape decodes to nothing, so the scratch buffer stays empty only where it was not needed.
        if decoded.is_empty() { Cow::Borrowed(self.raw) } else { Cow::Owned(decoded) }
    }

    /// The decoded bytes, in `scratch` where they differ from those of the wire: with a scratch buffer that has
    /// grown to size this never allocates. What `scratch` held is lost.
    pub fn decode_into<'s>(self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        scratch.clear();
        if !self.encoded || memchr(b'%', self.raw).is_none() {
            return self.raw;
        }
        let mut rest = self.raw;
        while let Some(percent) = memchr(b'%', rest) {
            scratch.extend_from_slice(&rest[..percent]);
            let Some((byte, after)) = take_byte(&rest[percent..]) else { break };
            scratch.push(byte);
            rest = after;
        }
        scratch.extend_from_slice(rest);
        scratch
    }

    /// The decoded value as text. What is not UTF-8 (a caller may send any bytes) becomes U+FFFD.
    pub fn text(self) -> Cow<'a, str> {
        match self.decode() {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The value as a number, or whatever else reads itself from text that needs no encoding.
    pub fn parse<T: FromStr>(self) -> Option<T> {
        std::str::from_utf8(self.raw).ok()?.parse().ok()
    }

    /// Whether the decoded value is `text`. Does not allocate.
    pub fn is(self, text: &str) -> bool {
        self.after_prefix(text).is_some_and(<[u8]>::is_empty)
    }

    /// Whether the decoded value begins with `prefix`. Does not allocate.
    pub fn starts_with(self, prefix: &str) -> bool {
        self.after_prefix(prefix).is_some()
    }

    /// The elements of an array, each to be decoded by itself; a value that is no array is its only element.
    ///
    /// FreeSWITCH joins an array's elements with `|:` and does not escape that in them, so an element that contains
    /// it comes out as two, as it does in FreeSWITCH itself.
    pub fn elements(self) -> Elements<'a> {
        let (prefix, separator): (&[u8], &'static [u8]) =
            if self.encoded { (b"ARRAY%3A%3A", b"%7C%3A") } else { (b"ARRAY::", b"|:") };
        match self.raw.strip_prefix(prefix) {
            Some(elements) => Elements { rest: Some(elements), separator, encoded: self.encoded },
            None => Elements { rest: Some(self.raw), separator: b"", encoded: self.encoded },
        }
    }

    /// What follows on the wire after bytes that decode to `prefix`.
    fn after_prefix(self, prefix: &str) -> Option<&'a [u8]> {
        if !self.encoded {
            return self.raw.strip_prefix(prefix.as_bytes());
        }
        let mut rest = self.raw;
        for &expected in prefix.as_bytes() {
            let (byte, after) = take_byte(rest)?;
            if byte != expected {
                return None;
            }
            rest = after;
        }
        Some(rest)
    }
}

/// The elements of an array: see [`Value::elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: Option<&'a [u8]>,
    /// Empty where the value is no array.
    separator: &'static [u8],
    encoded: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let rest = self.rest.take()?;
        let end = if self.separator.is_empty() { None } else { find(rest, self.separator) };
        let element = match end {
            Some(end) => {
                self.rest = Some(&rest[end + self.separator.len()..]);
                &rest[..end]
            }
            None => rest,
        };
        Some(Value::new(element, self.encoded))
    }
}

/// The first byte that encoded bytes stand for, and what follows it. A `%` without two hex digits stands for itself.
fn take_byte(bytes: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, rest @ ..] = bytes
        && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
    {
        return Some((high << 4 | low, rest));
    }
    bytes.split_first().map(|(&byte, rest)| (byte, rest))
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(raw: &str) -> Value<'_> {
        Value::new(raw.as_bytes(), true)
    }

    #[test]
    fn decodes_only_what_is_encoded() {
        let mut scratch = b"left over".to_vec();
        assert_eq!(encoded("sofia%3A%3Aregister").decode_into(&mut scratch), b"sofia::register");
        assert_eq!(encoded("plain").decode_into(&mut scratch), b"plain");
        assert_eq!(encoded("100%25 a%zz %4").decode_into(&mut scratch), b"100% a%zz %4");
        assert_eq!(encoded("%0A%0d").decode_into(&mut scratch), b"\n\r");
        assert_eq!(Value::new(b"%41", false).decode_into(&mut scratch), b"%41");
        assert!(matches!(encoded("plain").decode(), Cow::Borrowed(b"plain")));
        assert!(matches!(encoded("%41").decode(), Cow::Owned(bytes) if bytes == b"A"));
    }

    #[test]
    fn text_replaces_what_is_not_utf8() {
        assert_eq!(encoded("%C5%BElu%C5%A5").text(), "žluť");
        assert_eq!(encoded("a%FFb").text(), "a\u{fffd}b");
        assert_eq!(Value::new(b"a\xff", false).text(), "a\u{fffd}");
    }

    #[test]
    fn compares_without_decoding() {
        assert!(encoded("%2BOK%0A").is("+OK\n"));
        assert!(encoded("%2BOK%0A").starts_with("+OK"));
        assert!(!encoded("%2BOK").is("+OK\n"));
        assert!(!encoded("").starts_with("a"));
        assert!(encoded("").is(""));
        assert!(!Value::new(b"%2B", false).is("+"));
        assert_eq!(encoded("1795407116992695").parse::<u64>(), Some(1_795_407_116_992_695));
        assert_eq!(encoded("x").parse::<u64>(), None);
    }

    #[test]
    fn arrays_are_split_before_they_are_decoded() {
        let elements = |value: Value<'_>| value.elements().map(|e| e.text().into_owned()).collect::<Vec<_>>();
        assert_eq!(elements(encoded("ARRAY%3A%3Aa%7C%3Ab%7C%3Ac%20d")), ["a", "b", "c d"]);
        assert_eq!(elements(encoded("ARRAY%3A%3A")), [""]);
        assert_eq!(elements(encoded("a%7C%3Ab")), ["a|:b"], "not an array");
        assert_eq!(elements(Value::new(b"ARRAY::a|:b", false)), ["a", "b"]);
    }
}
