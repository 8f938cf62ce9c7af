//! Events in JSON: one object of strings and arrays of strings.
//!
//! serde_json reads it, but as bytes and name by name: FreeSWITCH repeats names and lets invalid UTF-8 through
//! (transcript h_encoding_misc/sendevent_values_json), which a `serde_json::Value` would lose or refuse.

use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Error;
use super::encode::{ARRAY_PREFIX, ARRAY_SEPARATOR};
use super::event::Scratch;
use super::headers::{Line, push_line};

/// Reads an event into `scratch` as plain lines and returns where in its text the body lies.
pub(super) fn read(bytes: &[u8], scratch: &mut Scratch) -> Result<Range<usize>, Error> {
    scratch.lines.clear();
    scratch.text.clear();
    let mut too_many = None;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let object = Object { scratch, too_many: &mut too_many };
    let result = deserializer.deserialize_map(object).and_then(|body| deserializer.end().map(|()| body));
    result.map_err(|error| too_many.unwrap_or(Error::InvalidJson { offset: error.column() }))
}

/// The event's object.
struct Object<'s> {
    scratch: &'s mut Scratch,
    /// serde_json's error type cannot carry ours.
    too_many: &'s mut Option<Error>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Range<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of strings and arrays of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Range<usize>, A::Error> {
        let Scratch { lines, text } = self.scratch;
        let mut body = 0..0;
        let mut start = text.len();
        while let Some(()) = object.next_key_seed(Append { text, array: false })? {
            let colon = text.len();
            text.extend_from_slice(b": ");
            let value_start = text.len();
            object.next_value_seed(Append { text, array: true })?;
            if &text[start..colon] == b"_body" {
                body = value_start..text.len();
            } else if let Err(error) = push_line(lines, Line::new(start, colon, text.len())) {
                *self.too_many = Some(error);
                return Err(de::Error::custom(error));
            }
            start = text.len();
        }
        Ok(body)
    }
}

/// Appends one string, or where that is allowed an array of them in FreeSWITCH's plain notation: `ARRAY::a|:b`,
/// and for a single element the element alone.
struct Append<'s> {
    text: &'s mut Vec<u8>,
    array: bool,
}

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Append<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.array { "a string or an array of strings" } else { "a string" })
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        if !self.array {
            return Err(de::Error::custom("an array where a string belongs"));
        }
        let text = self.text;
        let start = text.len();
        text.extend_from_slice(ARRAY_PREFIX.as_bytes());
        let first = text.len();
        let mut count = 0;
        while let Some(()) = array.next_element_seed(Append { text, array: false })? {
            text.extend_from_slice(ARRAY_SEPARATOR.as_bytes());
            count += 1;
        }
        if count > 0 {
            text.truncate(text.len() - ARRAY_SEPARATOR.len());
        }
        if count == 1 {
            text.drain(start..first);
        }
        Ok(())
    }
}
