//! The messages by which two stores bring each other up to date.

use minicbor::{Decode, Encode};

use crate::Error;
use crate::batch::{ChangeBatch, ChangeHash, is_name};
use crate::codec::{decode_digest, decode_list, encode, encode_digest};
use crate::limits::{BATCH_PAGE_COUNT, DIGEST_PAGE_DOCUMENTS, MAX_HAVE, MAX_HEADS, MAX_MESSAGE_BYTES};

/// What one store tells another about one database. The exchange is described at
/// [`Store::receive`](crate::Store::receive).
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum SyncMessage {
    /// One number for all that the sender has of a database.
    #[n(0)]
    Summary {
        /// The database.
        #[n(0)]
        database: String,
        /// Equal, but for chance, where all documents have the same heads.
        #[n(1)]
        #[cbor(encode_with = "encode_digest", decode_with = "decode_digest")]
        digest: u128,
    },
    /// Asks for a page of the digest.
    #[n(1)]
    WantDigest {
        /// The database.
        #[n(0)]
        database: String,
        /// The name of the document after which the page begins. Nothing: at the first.
        #[n(1)]
        after: Option<String>,
    },
    /// The heads of documents that the sender has.
    #[n(2)]
    Digest {
        /// The database.
        #[n(0)]
        database: String,
        /// The names between which these are all the documents that the sender has. Nothing: they are some that the
        /// receiver is to compare, and says no more about others.
        #[n(1)]
        span: Option<Span>,
        /// The documents, in ascending order of their names.
        #[n(2)]
        #[cbor(decode_with = "decode_list::<_, _, DIGEST_PAGE_DOCUMENTS>")]
        documents: Vec<DocumentHeads>,
    },
    /// Asks for the changes of a document that the sender does not have.
    #[n(3)]
    Want {
        /// The database.
        #[n(0)]
        database: String,
        /// The document.
        #[n(1)]
        document: String,
        /// The sender's heads, and some of the changes below them: if the receiver does not know the former it may
        /// know one of the latter, and need not send everything.
        #[n(2)]
        #[cbor(decode_with = "decode_list::<_, _, MAX_HAVE>")]
        have: Vec<ChangeHash>,
        /// Where the receiver's last answer ended: its `next`. 0 at first.
        #[n(3)]
        from: u64,
    },
    /// Changes of one document: an answer to `Want`, or a push of what was just written.
    #[n(4)]
    Batches {
        /// The batches, each after those that it builds on.
        #[n(0)]
        #[cbor(decode_with = "decode_list::<_, _, BATCH_PAGE_COUNT>")]
        batches: Vec<ChangeBatch>,
        /// For the next `Want`. Nothing: that is all.
        #[n(1)]
        next: Option<u64>,
    },
}

/// The stretch of names that a page of a digest covers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Span {
    /// It begins after this name. Nothing: before the first.
    #[n(0)]
    pub after: Option<String>,
    /// It ends with this name. Nothing: after the last.
    #[n(1)]
    pub through: Option<String>,
}

impl Span {
    /// Whether a document of this name would be on the page.
    pub(crate) fn covers(&self, document: &str) -> bool {
        self.after.as_deref().is_none_or(|after| after < document)
            && self.through.as_deref().is_none_or(|through| document <= through)
    }
}

/// The heads of one document.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DocumentHeads {
    /// The document's name.
    #[n(0)]
    pub document: String,
    /// Its heads in ascending order, at most [`MAX_HEADS`].
    #[n(1)]
    #[cbor(decode_with = "decode_list::<_, _, MAX_HEADS>")]
    pub heads: Vec<ChangeHash>,
}

impl SyncMessage {
    /// A push of what [`Store::write`](crate::Store::write) or [`Store::merge`](crate::Store::merge) has returned.
    pub fn push(batch: ChangeBatch) -> Self {
        Self::Batches { batches: vec![batch], next: None }
    }

    /// The message in CBOR. It is never longer than [`MAX_MESSAGE_BYTES`].
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a message that came from another node.
    ///
    /// # Errors
    /// [`Error::MalformedMessage`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(Error::MalformedMessage(format!("it has {} bytes", bytes.len())));
        }
        let message: Self =
            minicbor::decode(bytes).map_err(|error| Error::MalformedMessage(error.to_string()))?;
        if !message.names().into_iter().all(is_name) {
            return Err(Error::MalformedMessage("a name is out of bounds".to_owned()));
        }
        Ok(message)
    }

    /// All names in the message, but those in batches, which are checked with their signature.
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Summary { database, .. } => vec![database],
            Self::WantDigest { database, after } => {
                [database].into_iter().chain(after).map(String::as_str).collect()
            }
            Self::Want { database, document, .. } => vec![database, document],
            Self::Batches { .. } => Vec::new(),
            Self::Digest { database, span, documents } => {
                let bounds = span.iter().flat_map(|span| span.after.iter().chain(&span.through));
                let names = documents.iter().map(|document| &document.document);
                [database].into_iter().chain(bounds).chain(names).map(String::as_str).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_and_names_beyond_their_bounds_are_refused() {
        let want = |database: &str, have: usize| SyncMessage::Want {
            database: database.to_owned(),
            document: "d".to_owned(),
            have: vec![ChangeHash([1; 32]); have],
            from: 0,
        };
        let is_read = |message: SyncMessage| SyncMessage::from_bytes(&message.to_bytes()).is_ok();
        assert!(is_read(want("a", MAX_HAVE)));
        assert!(!is_read(want("a", MAX_HAVE + 1)));
        assert!(!is_read(want("", 1)));
        assert!(!is_read(want(&"a".repeat(crate::limits::MAX_NAME_BYTES + 1), 1)));
        assert!(!is_read(want("a\0b", 1)));
        let too_long = vec![0; MAX_MESSAGE_BYTES + 1];
        assert!(SyncMessage::from_bytes(&too_long).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = SyncMessage::from_bytes(&bytes) {
                prop_assert_eq!(SyncMessage::from_bytes(&message.to_bytes()).unwrap(), message);
            }
        }
    }
}
