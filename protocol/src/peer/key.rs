//! Keys by which clients ask for the same thing more than once.

use std::fmt;
use std::str::FromStr;

use minicbor::Encode;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::limits::IDEMPOTENCY_KEY_MAX_BYTES;

/// What a client names a request by, so that asking again does nothing again: of any node, and after any of them died.
///
/// Who carries the request out knows it by a number that is made of the key, so nobody has to remember keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The text is no [`IdempotencyKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1 to {IDEMPOTENCY_KEY_MAX_BYTES} visible ASCII characters are needed, without spaces")]
pub struct InvalidIdempotencyKey;

/// Set in the id of a command that has a key, and in no other's.
const KEYED: u64 = 1 << 63;

impl IdempotencyKey {
    /// The id of a command for this channel under this key: the same on every node.
    pub fn command_id(&self, channel: &str) -> u64 {
        // A key holds no line end, so no two pairs read the same.
        xxh3_64(format!("{}\n{channel}", self.0).as_bytes()) | KEYED
    }

    /// The uuid of the call that is started under this key (RFC 9562, version 8): the same on every node.
    pub fn call_uuid(&self) -> String {
        let mut bytes = xxh3_128(self.0.as_bytes()).to_be_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// The id of a command without a key, of random bits.
pub fn unkeyed_id(random: u64) -> u64 {
    random & !KEYED
}

/// What tells a command from another one under the same key.
pub fn fingerprint(command: &impl Encode<()>) -> u64 {
    // Writing into memory does not fail.
    xxh3_64(&minicbor::to_vec(command).unwrap_or_default())
}

/// Whether a client gave the command of this id a key.
pub fn is_keyed(id: u64) -> bool {
    id & KEYED != 0
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let fits = (1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_key_is_the_same_command_on_every_node_of_every_version() {
        // Written down, because a node of another version has to come to the same.
        assert_eq!(key("order-7").command_id("5c1d4f0a"), 18_191_225_212_890_019_025);
        assert_eq!(key("order-7").call_uuid(), "559a5492-7d0b-87df-b7ad-37c0ce664fea");
    }

    #[test]
    fn another_key_and_another_channel_are_another_command() {
        let ids = [("a", "b"), ("a", "c"), ("b", "b"), ("ab", ""), ("", "ab")];
        let ids: std::collections::BTreeSet<_> = ids
            .iter()
            .filter(|(text, _)| !text.is_empty())
            .map(|(text, call)| key(text).command_id(call))
            .collect();
        assert_eq!(ids.len(), 4);
        assert!(ids.into_iter().all(is_keyed));
        assert!(!is_keyed(unkeyed_id(u64::MAX)));
        assert_ne!(key("a").call_uuid(), key("b").call_uuid());
    }

    #[test]
    fn what_could_end_a_line_or_hide_is_no_key() {
        let longest = "x".repeat(IDEMPOTENCY_KEY_MAX_BYTES);
        for text in ["a", "6f1d-77b3.4d_a6/9", "\"quoted\"", &longest] {
            assert!(text.parse::<IdempotencyKey>().is_ok(), "{text}");
        }
        for text in ["", " ", "a b", "a\n", "a\r\nb", "a\tb", "\0", "\u{7f}", "é", &format!("{longest}x")] {
            assert!(text.parse::<IdempotencyKey>().is_err(), "{text:?}");
        }
    }
}
