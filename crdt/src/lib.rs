//! Documents that converge.
//!
//! A [`Store`] keeps databases of documents. A document is a JSON object that any node may edit at any time;
//! stores that have seen the same changes hold the same documents, whatever the order in which the changes came.
//! automerge is the merge format: a document is loaded into it only to be written or merged, and reads come from
//! JSON that was put together at the write.
//!
//! Every change travels in a [`ChangeBatch`] signed by the node where it was written. Stores bring each other up
//! to date by [`SyncMessage`]s: see [`Store::receive`].
//!
//! Everything here is synchronous and pure. The caller brings the disk as a [`StorageBackend`], the time, the
//! keys as [`Signer`] and [`Verifier`], and carries the messages.

pub mod limits;

mod batch;
mod codec;
mod document;
mod error;
mod history;
mod merge;
mod message;
mod records;
mod store;
mod sync;

#[cfg(test)]
mod convergence;
#[cfg(test)]
mod testing;

pub use batch::{ChangeBatch, ChangeHash, Claim, Signer, Verifier};
pub use document::Edit;
pub use error::Error;
pub use merge::Merged;
pub use message::{DocumentHeads, Span, SyncMessage};
pub use redb::StorageBackend;
pub use store::{Entry, FeedEntry, Origin, Revision, Store, Written};
pub use sync::{BatchPage, Received};
