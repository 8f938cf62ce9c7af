//! Text that may hold bytes which are no UTF-8: controllers send them, and FreeSWITCH passes them on as they are
//! (transcript h_encoding_misc/sendevent_values_json).
//!
//! A `String` cannot hold such a byte. It is kept as one of the last 128 characters of Unicode, U+10FF80 to U+10FFFF,
//! which are for private use, and becomes the byte again when it is written; Python's `surrogateescape` does the same
//! with other characters. Whoever sends those characters themselves sends the bytes.

use memchr::memchr;

/// The character that stands for byte zero, if that had one.
const ORIGIN: u32 = 0x10_ff00;

/// What the UTF-8 of all these characters begins with, and how long it is.
const FIRST_BYTE: u8 = 0xf4;
const SIZE_BYTES: usize = 4;

/// Text of bytes as they came.
pub fn from_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|&byte| char::from_u32(ORIGIN + u32::from(byte))));
    }
    text
}

/// Appends the bytes of a text.
pub fn write(output: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(index) = memchr(FIRST_BYTE, rest) {
        output.extend_from_slice(&rest[..index]);
        let (byte, size_bytes) = first_byte(&rest[index..]);
        match size_bytes {
            SIZE_BYTES => output.push(byte),
            _ => output.push(rest[index]),
        }
        rest = &rest[index + size_bytes..];
    }
    output.extend_from_slice(rest);
}

/// How many bytes [`write()`] appends.
pub fn size_bytes(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_raw = |index: &usize| first_byte(&bytes[*index..]).1 == SIZE_BYTES;
    let raw = memchr::memchr_iter(FIRST_BYTE, bytes).filter(is_raw).count();
    bytes.len() - raw * (SIZE_BYTES - 1)
}

/// The byte that the front of UTF-8 stands for, and how long it stands there: one byte for itself, or one of the
/// characters above.
pub(super) fn first_byte(utf8: &[u8]) -> (u8, usize) {
    match utf8 {
        // U+10FF80 to U+10FFBF, and U+10FFC0 to U+10FFFF.
        [FIRST_BYTE, 0x8f, 0xbe, low, ..] => (*low, SIZE_BYTES),
        [FIRST_BYTE, 0x8f, 0xbf, low, ..] => (0x40 | *low, SIZE_BYTES),
        [byte, ..] => (*byte, 1),
        [] => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<u8> {
        let mut output = Vec::new();
        write(&mut output, text);
        output
    }

    #[test]
    fn any_bytes_come_back() {
        let all: Vec<u8> =
            (0..=255).chain([b'a', 0xff, 0xfe, b'b']).chain("žlutý 😀 \u{10_abcd}".bytes()).collect();
        let text = from_bytes(&all);
        assert_eq!(written(&text), all);
        assert_eq!(size_bytes(&text), all.len());
        assert_eq!(from_bytes("žlutý".as_bytes()), "žlutý");
    }

    #[test]
    fn other_characters_of_the_same_length_stay() {
        let text = "😀\u{100000}\u{10ff7f}";
        assert_eq!((written(text).as_slice(), size_bytes(text)), (text.as_bytes(), text.len()));
    }
}
