//! The name of a node.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

/// Identifies a node: the first 16 bytes of the SHA-256 of its Ed25519 public key.
///
/// 128 bits are enough because nobody gains from a collision between two keys of their own, while finding a
/// second key for somebody else's id takes 2^128 trials. It is written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct NodeId(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    [u8; NodeId::SIZE_BYTES],
);

impl NodeId {
    /// Length of an id in bytes.
    pub const SIZE_BYTES: usize = 16;

    /// The id made of these bytes. The caller has hashed the public key.
    pub const fn from_bytes(bytes: [u8; Self::SIZE_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; Self::SIZE_BYTES] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node id is 32 hexadecimal digits")]
pub struct InvalidNodeId;

impl FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(text: &str) -> Result<Self, InvalidNodeId> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::SIZE_BYTES {
            return Err(InvalidNodeId);
        }
        let mut bytes = [0; Self::SIZE_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
            let (Some(high), Some(low)) = (high, low) else { return Err(InvalidNodeId) };
            *byte = (high * 16 + low) as u8;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_written_and_read() {
        let id = NodeId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "30313233343536373839616263646566");
        assert_eq!(id.to_string().parse(), Ok(id));
        let bytes = minicbor::to_vec(id).unwrap();
        assert_eq!(bytes.len(), 1 + NodeId::SIZE_BYTES, "one header byte and the id");
        assert_eq!(minicbor::decode::<NodeId>(&bytes).unwrap(), id);
    }

    #[test]
    fn anything_but_32_digits_is_refused() {
        for text in ["", "30", "3031323334353637383961626364656", "3031323334353637383961626364656g", "é"] {
            assert_eq!(text.parse::<NodeId>(), Err(InvalidNodeId), "{text}");
        }
    }
}
