//! A batch of changes to one document, signed by the node where they were written.

use std::fmt;

use automerge::Change;
use fipple_protocol::NodeId;
use minicbor::bytes::{ByteSlice, ByteVec};
use minicbor::{Decode, Encode};

use crate::Error;
use crate::codec::{decode_list, encode};
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_CHANGES, MAX_NAME_BYTES, MAX_OPERATION};

/// The format of batches that this program writes, and the newest that it reads.
const BATCH_VERSION: u8 = 1;

/// Precedes the signed bytes, so that a signature over anything else is never one over a batch.
const SIGNATURE_DOMAIN: &[u8] = b"fipple document changes\0";

/// Where a chunk in automerge's format names its type: after four bytes of magic and four of checksum.
const CHUNK_TYPE_OFFSET: usize = 8;

/// automerge's chunk type of an uncompressed change.
const CHUNK_TYPE_CHANGE: u8 = 1;

/// Signs what this node writes.
pub trait Signer {
    /// The node that signs.
    fn author(&self) -> NodeId;

    /// Its Ed25519 public key, of which its id is the hash.
    fn public_key(&self) -> [u8; 32];

    /// The Ed25519 signature of this node over `bytes`.
    fn sign(&self, bytes: &[u8]) -> [u8; 64];
}

/// What a batch says of its origin, for a [`Verifier`] to check.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The node that is said to have written it.
    pub author: NodeId,
    /// The Ed25519 public key that is said to be the author's. It travels with the batch so that a node can check
    /// one whose author it has never met.
    pub author_key: &'a [u8; 32],
    /// The database that was written to.
    pub database: &'a str,
    /// The document that was written.
    pub document: &'a str,
    /// What was signed; it covers all of the above.
    pub signed_bytes: &'a [u8],
    /// The author's signature over it.
    pub signature: &'a [u8; 64],
}

/// Knows the members, their keys, and what each may write.
pub trait Verifier {
    /// Accepts a batch: the key is the author's, the signature is made with it, and the author's role and scope let
    /// it write there.
    ///
    /// # Errors
    /// [`Error::AuthorUnknown`], [`Error::AuthorNotPermitted`] or [`Error::SignatureInvalid`].
    fn verify(&self, claim: &Claim<'_>) -> Result<(), Error>;
}

/// Identifies a change: the SHA-256 that automerge computes over it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct ChangeHash(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) [u8; 32],
);

impl ChangeHash {
    /// The bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<automerge::ChangeHash> for ChangeHash {
    fn from(hash: automerge::ChangeHash) -> Self {
        Self(hash.0)
    }
}

impl From<ChangeHash> for automerge::ChangeHash {
    fn from(hash: ChangeHash) -> Self {
        Self(hash.0)
    }
}

impl fmt::Display for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Changes to one document as their author signed them. Relays and stores keep them in this form, so that whoever
/// receives them can check the author, not the one who passed them on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ChangeBatch {
    #[n(0)]
    version: u8,
    #[n(1)]
    author: NodeId,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    author_key: [u8; 32],
    #[n(3)]
    database: String,
    #[n(4)]
    document: String,
    #[n(5)]
    #[cbor(decode_with = "decode_list::<_, _, MAX_BATCH_CHANGES>")]
    changes: Vec<ByteVec>,
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    signature: [u8; 64],
}

impl ChangeBatch {
    /// Signs `changes`, oldest first, which `signer` has made to a document.
    pub(crate) fn sign(signer: &dyn Signer, database: &str, document: &str, changes: &[Change]) -> Self {
        let mut batch = Self {
            version: BATCH_VERSION,
            author: signer.author(),
            author_key: signer.public_key(),
            database: database.to_owned(),
            document: document.to_owned(),
            changes: changes.iter().map(|change| change.raw_bytes().to_vec().into()).collect(),
            signature: [0; 64],
        };
        batch.signature = signer.sign(&batch.signed_bytes());
        batch
    }

    /// The node that wrote the changes.
    pub const fn author(&self) -> NodeId {
        self.author
    }

    /// The database of the document.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The document that is changed.
    pub fn document(&self) -> &str {
        &self.document
    }

    /// Bytes of changes in the batch.
    pub(crate) fn size_bytes(&self) -> usize {
        self.changes.iter().map(|change| change.len()).sum()
    }

    /// What the signature covers: all fields but itself, in CBOR of definite lengths, after [`SIGNATURE_DOMAIN`].
    fn signed_bytes(&self) -> Vec<u8> {
        let author_key = <&ByteSlice>::from(self.author_key.as_slice());
        let fields = (self.version, self.author, author_key, &self.database, &self.document, &self.changes);
        [SIGNATURE_DOMAIN, &encode(fields)].concat()
    }

    /// Checks the batch's bounds, its author and signature, and only then reads the changes, oldest first.
    pub(crate) fn open(&self, verifier: &dyn Verifier) -> Result<Vec<Change>, Error> {
        if self.version > BATCH_VERSION {
            return Err(self.invalid(format!("format {} is newer than {BATCH_VERSION}", self.version)));
        }
        if !is_name(&self.database) || !is_name(&self.document) {
            return Err(self.invalid("a name is out of bounds"));
        }
        if self.changes.is_empty() || self.size_bytes() > MAX_BATCH_BYTES {
            return Err(self.invalid("its size is out of bounds"));
        }
        verifier.verify(&Claim {
            author: self.author,
            author_key: &self.author_key,
            database: &self.database,
            document: &self.document,
            signed_bytes: &self.signed_bytes(),
            signature: &self.signature,
        })?;
        self.read_changes()
    }

    /// Reads the changes of a batch whose signature is known to hold.
    pub(crate) fn read_changes(&self) -> Result<Vec<Change>, Error> {
        self.changes.iter().map(|bytes| self.read_change(bytes)).collect()
    }

    fn read_change(&self, bytes: &[u8]) -> Result<Change, Error> {
        // A compressed change could expand a thousandfold.
        if bytes.get(CHUNK_TYPE_OFFSET) != Some(&CHUNK_TYPE_CHANGE) {
            return Err(self.invalid("it holds something other than an uncompressed change"));
        }
        let change = Change::try_from(bytes).map_err(|error| self.invalid(error))?;
        // Otherwise a node could use up another's sequence numbers.
        if !change.actor_id().to_bytes().starts_with(self.author.as_bytes()) {
            return Err(self.invalid("a change is made in another node's name"));
        }
        if change.start_op().get().saturating_add(change.len() as u64) > MAX_OPERATION {
            return Err(self.invalid("an operation counter is out of bounds"));
        }
        Ok(change)
    }

    /// The error that says what is wrong with this batch.
    pub(crate) fn invalid(&self, reason: impl ToString) -> Error {
        Error::InvalidBatch {
            author: self.author,
            database: shorten(&self.database),
            document: shorten(&self.document),
            reason: reason.to_string(),
        }
    }
}

/// Whether `name` can name a database or document. Keys in the store separate names by NUL.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control)
}

/// The beginning of a name of unknown length, for an error. What could begin a new line in a log, or command a terminal,
/// is replaced.
pub(crate) fn shorten(name: &str) -> String {
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    name.chars().take(MAX_NAME_BYTES).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{DATABASE, FORBIDDEN_DATABASE, Member, Members, fields, store};
    use crate::{Edit, SyncMessage};

    fn batch() -> ChangeBatch {
        Member::new(1).write(&mut store(), "device", Edit::Create(fields(json!({"name": "desk"}))))
    }

    fn signed_again(mut batch: ChangeBatch, member: &Member) -> ChangeBatch {
        batch.author = member.author();
        batch.author_key = member.public_key();
        batch.signature = member.sign(&batch.signed_bytes());
        batch
    }

    #[test]
    fn a_batch_is_the_same_after_travelling() {
        let batch = batch();
        let message = SyncMessage::push(batch.clone());
        assert_eq!(SyncMessage::from_bytes(&message.to_bytes()).unwrap(), message);
        assert_eq!(batch.open(&Members::new(1)).unwrap().len(), 1);
    }

    #[test]
    fn the_signature_covers_every_field() {
        let members = Members::new(2);
        let forgeries: [fn(&mut ChangeBatch); 6] = [
            |batch| batch.version = 0,
            |batch| batch.author = Member::new(2).author(),
            |batch| batch.author_key = Member::new(2).public_key(),
            |batch| batch.database.push('x'),
            |batch| batch.document.push('x'),
            |batch| batch.changes.push(batch.changes[0].clone()),
        ];
        for forge in forgeries {
            let mut batch = batch();
            forge(&mut batch);
            assert!(matches!(batch.open(&members), Err(Error::SignatureInvalid { .. })));
        }
        for bit in 0..8 * 64 {
            let mut batch = batch();
            batch.signature[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(batch.open(&members), Err(Error::SignatureInvalid { .. })), "bit {bit}");
        }
    }

    #[test]
    fn nobody_writes_in_anothers_name_or_where_they_may_not() {
        let members = Members::new(2);
        let taken_over = signed_again(batch(), &Member::new(2));
        let Err(Error::InvalidBatch { reason, .. }) = taken_over.open(&members) else { panic!("accepted") };
        assert_eq!(reason, "a change is made in another node's name");

        let stranger = signed_again(batch(), &Member::new(3));
        assert!(matches!(stranger.open(&members), Err(Error::AuthorUnknown { .. })));

        let elsewhere = ChangeBatch { database: FORBIDDEN_DATABASE.to_owned(), ..batch() };
        let elsewhere = signed_again(elsewhere, &Member::new(1));
        assert!(matches!(elsewhere.open(&members), Err(Error::AuthorNotPermitted { .. })));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_though_well_signed() {
        let (member, members) = (Member::new(1), Members::new(1));
        let mut garbled = batch().changes[0].to_vec();
        garbled[CHUNK_TYPE_OFFSET + 2] ^= 1;
        let mut compressed = batch().changes[0].to_vec();
        compressed[CHUNK_TYPE_OFFSET] = 2;
        for changes in [vec![], vec![vec![].into()], vec![garbled.into()], vec![compressed.into()]] {
            let batch = signed_again(ChangeBatch { changes, ..batch() }, &member);
            assert!(matches!(batch.open(&members), Err(Error::InvalidBatch { .. })));
        }
        let newer = signed_again(ChangeBatch { version: BATCH_VERSION + 1, ..batch() }, &member);
        assert!(matches!(newer.open(&members), Err(Error::InvalidBatch { .. })));
        let unnamed = signed_again(ChangeBatch { document: "a\n\x1bb".to_owned(), ..batch() }, &member);
        let refused = unnamed.open(&members).unwrap_err();
        assert!(matches!(refused, Error::InvalidBatch { .. }));
        assert!(!refused.to_string().contains(char::is_control), "{refused:?}");

        let many = vec![batch().changes[0].clone(); MAX_BATCH_CHANGES + 1];
        let many = SyncMessage::push(ChangeBatch { changes: many, ..batch() });
        assert!(matches!(SyncMessage::from_bytes(&many.to_bytes()), Err(Error::MalformedMessage(_))));
    }

    #[test]
    fn the_signed_bytes_are_those_of_the_first_release() {
        let batch = ChangeBatch {
            version: 1,
            author: NodeId::from_bytes([7; 16]),
            author_key: [8; 32],
            database: DATABASE.to_owned(),
            document: "d".to_owned(),
            changes: vec![vec![1, 2, 3].into()],
            signature: [0; 64],
        };
        let mut bytes = b"fipple document changes\0\x86\x01\x50".to_vec();
        bytes.extend([7; 16]);
        bytes.extend(b"\x58\x20");
        bytes.extend([8; 32]);
        bytes.extend(b"\x6caccount/acme\x61d\x81\x43\x01\x02\x03");
        assert_eq!(batch.signed_bytes(), bytes);
    }
}
