//! What can go wrong in the document layer.

use fipple_protocol::NodeId;

use crate::ChangeHash;

/// Why an operation on documents failed. Unless a variant says otherwise, nothing of the operation was kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk or the database on it failed. A write that fails while it is committed may turn out, after the
    /// store is opened again, to have been kept; it was not acknowledged.
    #[error("the document store failed: {0}")]
    Storage(Box<redb::Error>),

    /// A record's checksum or content is wrong: the disk changed it. The other records can still be read.
    #[error("the record {key:?} in table {table} is damaged")]
    DamagedRecord {
        /// The table that holds the record.
        table: &'static str,
        /// The record's key, parts separated by NUL, bytes that are no text replaced.
        key: String,
    },

    /// The store was written by a newer program. It was not touched.
    #[error("the store has format {found}, this program knows {supported}")]
    UnsupportedFormat {
        /// The format number in the store.
        found: u32,
        /// The newest format number known here.
        supported: u32,
    },

    /// The name of a database or document is empty, too long, or contains a control character.
    #[error("{name:?} cannot be the name of a database or document")]
    InvalidName {
        /// The refused name, shortened.
        name: String,
    },

    /// The fields cannot be a document.
    #[error("document {document} in database {database} would be invalid: {reason}")]
    InvalidDocument {
        /// The database.
        database: String,
        /// The document.
        document: String,
        /// What is wrong with the fields.
        reason: &'static str,
    },

    /// A document of this name exists already.
    #[error("document {document} exists already in database {database}")]
    AlreadyExists {
        /// The database.
        database: String,
        /// The document.
        document: String,
    },

    /// There is no such document, or it was deleted.
    #[error("there is no document {document} in database {database}")]
    NotFound {
        /// The database.
        database: String,
        /// The document.
        document: String,
    },

    /// Bytes from outside are no message, or one beyond its bounds.
    #[error("malformed synchronisation message: {0}")]
    MalformedMessage(String),

    /// A batch's signature holds, but its changes cannot be applied. No retry will help.
    #[error("a batch by {author} for document {document} in database {database} is invalid: {reason}")]
    InvalidBatch {
        /// The node that signed the batch.
        author: NodeId,
        /// The database.
        database: String,
        /// The document.
        document: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A batch builds on changes that are not here. Fetch them first: [`Store::want`](crate::Store::want).
    #[error("a batch for document {document} in database {database} lacks {} changes it builds on", missing.len())]
    MissingDependencies {
        /// The database.
        database: String,
        /// The document.
        document: String,
        /// The changes that are missing.
        missing: Vec<ChangeHash>,
    },

    /// For a [`Verifier`](crate::Verifier): no member of this name is known.
    #[error("a batch is signed by {author}, who is not a known member")]
    AuthorUnknown {
        /// The node that is named as the author.
        author: NodeId,
    },

    /// For a [`Verifier`](crate::Verifier): the member's role or scope does not let it write this document.
    #[error("{author} may not write document {document} in database {database}")]
    AuthorNotPermitted {
        /// The node that signed the batch.
        author: NodeId,
        /// The database.
        database: String,
        /// The document.
        document: String,
    },

    /// For a [`Verifier`](crate::Verifier): the signature is not the author's over these bytes.
    #[error("the signature of a batch by {author} is wrong")]
    SignatureInvalid {
        /// The node that is named as the author.
        author: NodeId,
    },
}

macro_rules! from_storage_error {
    ($($source:ty),*) => {
        $(impl From<$source> for Error {
            fn from(source: $source) -> Self {
                Self::Storage(Box::new(source.into()))
            }
        })*
    };
}

from_storage_error!(
    redb::CommitError,
    redb::DatabaseError,
    redb::SetDurabilityError,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError
);
