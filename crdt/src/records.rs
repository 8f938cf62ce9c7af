//! Tables of records, each with a checksum that is verified whenever it is read.
//!
//! redb's own checksums are verified only when a file is repaired: a bit that the disk flips comes back silently.

use std::ops::Bound;

use minicbor::{Decode, Encode};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

use crate::codec::{decode_digest, encode, encode_digest};
use crate::{ChangeHash, Error};

/// The name of a table of byte strings. A key is made of parts that are separated by NUL, which no name contains; so
/// the keys that begin with the same parts lie together.
type TableName = &'static str;

/// A table open for reading, as the last commit left it.
pub(crate) type ReadTable = ReadOnlyTable<&'static [u8], &'static [u8]>;
/// A table open within a write transaction.
pub(crate) type WriteTable<'transaction> = Table<'transaction, &'static [u8], &'static [u8]>;

/// The store itself: "format".
pub(crate) const STORE: TableName = "store";
/// By database: [`DatabaseState`].
pub(crate) const DATABASES: TableName = "databases";
/// By database and document, live documents only: the revision and the JSON that reads return.
pub(crate) const DOCUMENTS: TableName = "documents";
/// By database and document: [`DocumentState`].
pub(crate) const STATES: TableName = "states";
/// By database, document and place: the signed batches in the order in which they came, so none before those
/// that it builds on.
pub(crate) const BATCHES: TableName = "batches";
/// By database, document and change: the place of the batch that holds the change.
pub(crate) const CHANGES: TableName = "changes";
/// By database and sequence: the document that was changed then, unless it has changed again since.
pub(crate) const FEED: TableName = "feed";

/// What the store knows of a database.
#[derive(Clone, Copy, Default, Encode, Decode)]
pub(crate) struct DatabaseState {
    /// The number of the latest change of any of its documents. Local to this store.
    #[n(0)]
    pub(crate) sequence: u64,
    /// The exclusive or of all its documents' digests, so that it can follow each change of one.
    #[n(1)]
    #[cbor(encode_with = "encode_digest", decode_with = "decode_digest")]
    pub(crate) digest: u128,
}

/// What the store knows of a document besides its fields.
#[derive(Clone, Default, PartialEq, Encode, Decode)]
pub(crate) struct DocumentState {
    #[n(0)]
    pub(crate) heads: Vec<ChangeHash>,
    /// How many batches there are, and so the place of the next.
    #[n(1)]
    pub(crate) batches: u64,
    /// The number of its latest change in the feed of its database.
    #[n(2)]
    pub(crate) sequence: u64,
    #[n(3)]
    pub(crate) live: bool,
}

/// The key made of these parts, each followed by NUL.
pub(crate) fn key(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.bytes().chain([0])).collect()
}

/// The key of a numbered or hashed record below `prefix`.
pub(crate) fn key_below(prefix: &[u8], last: &[u8]) -> Vec<u8> {
    [prefix, last].concat()
}

/// A number that stands for a document's name and heads; 0 for one that has never been written.
pub(crate) fn digest(key: &[u8], heads: &[ChangeHash]) -> u128 {
    if heads.is_empty() {
        return 0;
    }
    let mut bytes = key.to_vec();
    heads.iter().for_each(|head| bytes.extend_from_slice(head.as_bytes()));
    xxh3_128(&bytes)
}

/// One open table.
pub(crate) struct Records<T> {
    name: TableName,
    table: T,
}

/// A record's key and content.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

impl Records<ReadTable> {
    pub(crate) fn read(transaction: &ReadTransaction, name: TableName) -> Result<Self, Error> {
        Ok(Self { name, table: transaction.open_table(TableDefinition::new(name))? })
    }
}

impl<'transaction> Records<WriteTable<'transaction>> {
    pub(crate) fn write(transaction: &'transaction WriteTransaction, name: TableName) -> Result<Self, Error> {
        Ok(Self { name, table: transaction.open_table(TableDefinition::new(name))? })
    }

    pub(crate) fn put(&mut self, key: &[u8], content: &[u8]) -> Result<(), Error> {
        let record = [&checksum(key, content).to_be_bytes(), content].concat();
        self.table.insert(key, record.as_slice())?;
        Ok(())
    }

    pub(crate) fn put_value(&mut self, key: &[u8], value: impl Encode<()>) -> Result<(), Error> {
        self.put(key, &encode(value))
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<(), Error> {
        self.table.remove(key)?;
        Ok(())
    }
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> Records<T> {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some(record) = self.table.get(key)? else { return Ok(None) };
        self.verified(key, record.value()).map(Some)
    }

    pub(crate) fn get_value<V: for<'b> Decode<'b, ()>>(&self, key: &[u8]) -> Result<Option<V>, Error> {
        self.get(key)?.map(|content| self.decode(key, &content)).transpose()
    }

    /// The records whose keys begin with `prefix`, which ends in NUL, from `from` on, in the order of their keys.
    pub(crate) fn range(
        &self,
        prefix: &[u8],
        from: Bound<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<Row, Error>>, Error> {
        let mut end = prefix.to_vec();
        if let Some(last) = end.last_mut() {
            *last = 1;
        }
        let until = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end.as_slice()) };
        let rows = self.table.range::<&[u8]>((from, until))?;
        Ok(rows.map(|row| {
            let (key, record) = row?;
            let content = self.verified(key.value(), record.value())?;
            Ok((key.value().to_vec(), content))
        }))
    }

    pub(crate) fn decode<V: for<'b> Decode<'b, ()>>(&self, key: &[u8], content: &[u8]) -> Result<V, Error> {
        minicbor::decode(content).map_err(|_| self.damaged(key))
    }

    pub(crate) fn damaged(&self, key: &[u8]) -> Error {
        Error::DamagedRecord { table: self.name, key: String::from_utf8_lossy(key).into_owned() }
    }

    fn verified(&self, key: &[u8], record: &[u8]) -> Result<Vec<u8>, Error> {
        match record.split_first_chunk() {
            Some((sum, content)) if u64::from_be_bytes(*sum) == checksum(key, content) => {
                Ok(content.to_vec())
            }
            _ => Err(self.damaged(key)),
        }
    }
}

/// The key is part of the sum: a record found under another key is as wrong as a changed one.
fn checksum(key: &[u8], content: &[u8]) -> u64 {
    xxh3_64_with_seed(content, xxh3_64(key))
}

/// The tables that hold a document, its changes, and what is derived from them.
pub(crate) struct Tables<T> {
    pub(crate) databases: Records<T>,
    pub(crate) documents: Records<T>,
    pub(crate) states: Records<T>,
    pub(crate) batches: Records<T>,
    pub(crate) changes: Records<T>,
    pub(crate) feed: Records<T>,
}

impl Tables<ReadTable> {
    pub(crate) fn read(transaction: &ReadTransaction) -> Result<Self, Error> {
        Ok(Self {
            databases: Records::read(transaction, DATABASES)?,
            documents: Records::read(transaction, DOCUMENTS)?,
            states: Records::read(transaction, STATES)?,
            batches: Records::read(transaction, BATCHES)?,
            changes: Records::read(transaction, CHANGES)?,
            feed: Records::read(transaction, FEED)?,
        })
    }
}

impl<'transaction> Tables<WriteTable<'transaction>> {
    pub(crate) fn write(transaction: &'transaction WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            databases: Records::write(transaction, DATABASES)?,
            documents: Records::write(transaction, DOCUMENTS)?,
            states: Records::write(transaction, STATES)?,
            batches: Records::write(transaction, BATCHES)?,
            changes: Records::write(transaction, CHANGES)?,
            feed: Records::write(transaction, FEED)?,
        })
    }
}
