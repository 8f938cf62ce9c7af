//! The store: documents at rest, reads, and local writes.

use std::fmt;
use std::ops::Bound;
use std::slice;

use automerge::ActorId;
use redb::{Builder, Database, Durability, ReadableDatabase, WriteTransaction};
use serde_json::{Map, Value};

use crate::batch::{ChangeBatch, is_name, shorten};
use crate::document::{Edit, check_size};
use crate::limits::{CACHE_BYTES, MAX_BATCH_BYTES, MAX_PAGE_ROWS};
use crate::records::{DATABASES, DOCUMENTS, FEED, ReadTable, Records, STORE, Tables, digest, key, key_below};
use crate::{ChangeHash, Error, Signer, StorageBackend};

/// The format of the store that this program writes, and the newest that it reads.
const STORE_FORMAT: u32 = 1;

/// Stands for one state of a document: equal where the same changes are known. It is for comparing, and has no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision(pub(crate) [u8; 16]);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A document as it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name within the database.
    pub document: String,
    /// Its fields, in ascending order of their names.
    pub fields: Map<String, Value>,
    /// The state that the fields are of.
    pub revision: Revision,
}

/// A document that has changed, by a write here or by a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// The number of the change in its database. It grows by one a change and is local to this store.
    pub sequence: u64,
    /// The document's name within the database.
    pub document: String,
    /// Whether the document was deleted.
    pub deleted: bool,
}

/// Who writes, and when.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// Signs as this node.
    pub signer: &'a dyn Signer,
    /// Tells the lives of this node's store apart: it must change, for ever, whenever the store was lost or set back
    /// to an earlier state, and should not change otherwise. Changes are numbered within it, and a number that is
    /// used twice for different changes keeps other stores from taking the second.
    pub incarnation: u64,
    /// Milliseconds since 1970 by this node's clock. It is recorded; no merge depends on it.
    pub time_ms: i64,
}

impl Origin<'_> {
    fn actor(&self) -> ActorId {
        let bytes = [self.signer.author().as_bytes().as_slice(), &self.incarnation.to_be_bytes()].concat();
        ActorId::from(bytes)
    }
}

/// A write that is on the disk.
#[derive(Clone, Debug)]
pub struct Written {
    /// The state of the document after the write.
    pub revision: Revision,
    /// What to send to the other nodes: nothing if the write left everything as it was.
    pub batch: Option<ChangeBatch>,
}

/// Databases of documents on a disk.
///
/// When a method that writes has returned `Ok`, what it wrote is on the disk.
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the store on a disk, making one where the disk is empty. After a crash it walks through the whole of it.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`], [`Error::UnsupportedFormat`].
    pub fn open(disk: impl StorageBackend) -> Result<Self, Error> {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(disk)?;
        let store = Self { database };
        let transaction = store.begin_write()?;
        {
            let mut header = Records::write(&transaction, STORE)?;
            let format_key = key(&["format"]);
            match header.get_value::<u32>(&format_key)? {
                Some(found) if found > STORE_FORMAT => {
                    return Err(Error::UnsupportedFormat { found, supported: STORE_FORMAT });
                }
                Some(_) => return Ok(store),
                None => header.put_value(&format_key, STORE_FORMAT)?,
            }
            Tables::write(&transaction)?;
        }
        transaction.commit()?;
        Ok(store)
    }

    /// Reads a document: nothing if it does not exist or was deleted.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`].
    pub fn get(&self, database: &str, document: &str) -> Result<Option<Entry>, Error> {
        let documents = Records::read(&self.database.begin_read()?, DOCUMENTS)?;
        let key = key(&[database, document]);
        let Some(content) = documents.get(&key)? else { return Ok(None) };
        let entry = read_entry(&content, document).ok_or_else(|| documents.damaged(&key))?;
        Ok(Some(entry))
    }

    /// Reads the documents after the one named `after`, or from the first, in ascending order of their names: at
    /// most `limit`, and never more than [`MAX_PAGE_ROWS`].
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`].
    pub fn list(&self, database: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error> {
        let documents = Records::read(&self.database.begin_read()?, DOCUMENTS)?;
        let prefix = key(&[database]);
        let after = after.map(|document| key(&[database, document]));
        let rows = documents.range(&prefix, from_after(&prefix, after.as_deref()))?;
        rows.take(limit.min(MAX_PAGE_ROWS))
            .map(|row| {
                let (key, content) = row?;
                last_name(&key, &prefix)
                    .and_then(|document| read_entry(&content, document))
                    .ok_or_else(|| documents.damaged(&key))
            })
            .collect()
    }

    /// The databases after the one named `after`, or from the first, in ascending order of their names: at most
    /// `limit`, and never more than [`MAX_PAGE_ROWS`].
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`].
    pub fn databases(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        let databases = Records::read(&self.database.begin_read()?, DATABASES)?;
        let after = after.map(|database| key(&[database]));
        let rows = databases.range(&[], from_after(&[], after.as_deref()))?;
        rows.take(limit.min(MAX_PAGE_ROWS))
            .map(|row| {
                let (key, _) = row?;
                last_name(&key, &[]).map(str::to_owned).ok_or_else(|| databases.damaged(&key))
            })
            .collect()
    }

    /// The documents that have changed after `since`, each at its latest change, oldest first: at most `limit`, and
    /// never more than [`MAX_PAGE_ROWS`]. The sequence of the last is the `since` of the next call.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`].
    pub fn changes(&self, database: &str, since: u64, limit: usize) -> Result<Vec<FeedEntry>, Error> {
        let feed = Records::read(&self.database.begin_read()?, FEED)?;
        let prefix = key(&[database]);
        let after = key_below(&prefix, &since.to_be_bytes());
        let rows = feed.range(&prefix, Bound::Excluded(&after))?;
        rows.take(limit.min(MAX_PAGE_ROWS))
            .map(|row| {
                let (key, content) = row?;
                let number = key.get(prefix.len()..).and_then(|number| number.try_into().ok());
                let sequence = number.map(u64::from_be_bytes).ok_or_else(|| feed.damaged(&key))?;
                let (document, deleted) = feed.decode(&key, &content)?;
                Ok(FeedEntry { sequence, document, deleted })
            })
            .collect()
    }

    /// Writes a document, and returns once it is on the disk.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::InvalidDocument`], [`Error::AlreadyExists`] for a create,
    /// [`Error::NotFound`] for the others, [`Error::Storage`], [`Error::DamagedRecord`].
    pub fn write(
        &mut self,
        database: &str,
        document: &str,
        edit: &Edit,
        origin: Origin<'_>,
    ) -> Result<Written, Error> {
        for name in [database, document] {
            if !is_name(name) {
                return Err(Error::InvalidName { name: shorten(name) });
            }
        }
        let invalid = |reason| Error::InvalidDocument {
            database: database.to_owned(),
            document: document.to_owned(),
            reason,
        };
        edit.check().map_err(invalid)?;
        let transaction = self.begin_write()?;
        let mut tables = Tables::write(&transaction)?;
        let mut opened = tables.load(database, document)?;
        match (edit, opened.state.live) {
            (Edit::Create(_), true) => {
                return Err(Error::AlreadyExists {
                    database: database.to_owned(),
                    document: document.to_owned(),
                });
            }
            (Edit::Replace(_) | Edit::Patch(_) | Edit::Delete, false) => {
                return Err(Error::NotFound { database: database.to_owned(), document: document.to_owned() });
            }
            _ => {}
        }
        let change = opened
            .document
            .edit(edit, origin.actor(), origin.time_ms)
            .map_err(|_| invalid("its history cannot be continued"))?;
        let Some(change) = change else {
            return Ok(Written { revision: revision(&opened.key, &opened.state.heads), batch: None });
        };
        let batch = ChangeBatch::sign(origin.signer, database, document, slice::from_ref(&change));
        if batch.size_bytes() > MAX_BATCH_BYTES {
            return Err(invalid("the change is larger than a batch may be"));
        }
        tables.append(&mut opened, &batch, &[change.hash().into()])?;
        let fields = tables.publish(database, document, &mut opened)?;
        if *edit != Edit::Delete {
            check_size(&fields).map_err(invalid)?;
        }
        drop(tables);
        transaction.commit()?;
        Ok(Written { revision: revision(&opened.key, &opened.state.heads), batch: Some(batch) })
    }

    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction)
    }

    /// All tables as the last commit left them.
    pub(crate) fn tables(&self) -> Result<Tables<ReadTable>, Error> {
        Tables::read(&self.database.begin_read()?)
    }
}

/// The state of a document that has these heads.
pub(crate) fn revision(document_key: &[u8], heads: &[ChangeHash]) -> Revision {
    Revision(digest(document_key, heads).to_be_bytes())
}

/// A document's record: its revision, then its JSON.
fn read_entry(content: &[u8], document: &str) -> Option<Entry> {
    let (revision, json) = content.split_first_chunk()?;
    let fields = serde_json::from_slice(json).ok()?;
    Some(Entry { document: document.to_owned(), fields, revision: Revision(*revision) })
}

/// Where rows begin that come after the one with the key `after`, or are all those below `prefix`.
pub(crate) fn from_after<'a>(prefix: &'a [u8], after: Option<&'a [u8]>) -> Bound<&'a [u8]> {
    after.map_or(Bound::Included(prefix), Bound::Excluded)
}

/// The name that follows `prefix` in a key, as its last part.
pub(crate) fn last_name<'a>(key: &'a [u8], prefix: &[u8]) -> Option<&'a str> {
    let name = key.strip_prefix(prefix)?.strip_suffix(&[0])?;
    str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::records::{DocumentState, WriteTable};
    use crate::testing::{DATABASE, Member, VolatileDisk, fields, read, store};

    fn create(value: Value) -> Edit {
        Edit::Create(fields(value))
    }

    fn patch(value: Value) -> Edit {
        Edit::Patch(fields(value))
    }

    #[test]
    fn a_document_lives_from_create_to_delete() {
        let (mut store, member) = (store(), Member::new(1));
        let mut write = |edit: &Edit| store.write(DATABASE, "device", edit, member.origin());
        assert!(matches!(write(&patch(json!({"a": 1}))), Err(Error::NotFound { .. })));
        let created = write(&create(json!({"a": 1, "b": 1}))).unwrap();
        assert!(matches!(write(&create(json!({}))), Err(Error::AlreadyExists { .. })));
        let unchanged = write(&patch(json!({"a": 1}))).unwrap();
        assert_eq!((unchanged.revision, unchanged.batch), (created.revision, None));
        let replaced = write(&Edit::Replace(fields(json!({"a": 2})))).unwrap();
        assert_ne!(replaced.revision, created.revision);
        let entry = store.get(DATABASE, "device").unwrap().unwrap();
        assert_eq!((Value::Object(entry.fields), entry.revision), (json!({"a": 2}), replaced.revision));

        let mut write = |edit: &Edit| store.write(DATABASE, "device", edit, member.origin());
        write(&Edit::Delete).unwrap();
        assert!(matches!(write(&Edit::Delete), Err(Error::NotFound { .. })));
        assert_eq!(store.get(DATABASE, "device").unwrap(), None);
        member.write(&mut store, "device", create(json!({"c": 1})));
        assert_eq!(read(&store, "device"), json!({"c": 1}));
    }

    #[test]
    fn refused_writes_leave_nothing_behind() {
        let (mut store, member) = (store(), Member::new(1));
        let large = |key: &str| json!({ key: "x".repeat(crate::limits::MAX_DOCUMENT_BYTES - 100) });
        member.write(&mut store, "flow", create(large("a")));
        let too_large = store.write(DATABASE, "flow", &patch(large("b")), member.origin());
        assert!(matches!(too_large, Err(Error::InvalidDocument { .. })));
        assert_eq!(read(&store, "flow"), large("a"));
        let unnamed = store.write("", "flow", &Edit::Delete, member.origin());
        assert!(matches!(unnamed, Err(Error::InvalidName { .. })));
        member.write(&mut store, "flow", Edit::Replace(fields(large("b"))));
        member.write(&mut store, "flow", Edit::Delete);
    }

    #[test]
    fn lists_and_feeds_go_page_by_page() {
        let (mut store, member) = (store(), Member::new(1));
        for name in ["c", "a", "b", "aa"] {
            member.write(&mut store, name, create(json!({ "name": name })));
        }
        store.write("another", "z", &create(json!({})), member.origin()).unwrap();
        member.write(&mut store, "a", patch(json!({"n": 1})));
        member.write(&mut store, "c", Edit::Delete);

        let names = |after, limit| -> Vec<String> {
            store.list(DATABASE, after, limit).unwrap().into_iter().map(|entry| entry.document).collect()
        };
        assert_eq!(names(None, 2), ["a", "aa"]);
        assert_eq!(names(Some("aa"), 9), ["b"]);
        assert_eq!(store.databases(None, 1).unwrap(), [DATABASE]);
        assert_eq!(store.databases(Some(DATABASE), 9).unwrap(), ["another"]);

        let feed = |since, limit| -> Vec<(u64, String, bool)> {
            let entries = store.changes(DATABASE, since, limit).unwrap().into_iter();
            entries.map(|entry| (entry.sequence, entry.document, entry.deleted)).collect()
        };
        assert_eq!(feed(0, 2), [(3, "b".to_owned(), false), (4, "aa".to_owned(), false)]);
        assert_eq!(feed(4, 9), [(5, "a".to_owned(), false), (6, "c".to_owned(), true)]);
        assert_eq!(feed(6, 9), []);
    }

    #[test]
    fn a_flipped_bit_is_found_by_whoever_reads_the_record() {
        let (disk, member) = (VolatileDisk::default(), Member::new(1));
        let mut store = Store::open(disk.clone()).unwrap();
        for name in ["broken", "whole"] {
            member.write(&mut store, name, create(json!({ "name": format!("the {name} one") })));
        }
        drop(store);
        let mut bytes = disk.bytes();
        let json = b"{\"name\":\"the broken one\"}";
        let places: Vec<usize> =
            (0..bytes.len() - json.len()).filter(|at| bytes[*at..].starts_with(json)).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|at| bytes[at + 12] ^= 4);

        let store = Store::open(VolatileDisk::holding(bytes)).unwrap();
        let Err(Error::DamagedRecord { table, key }) = store.get(DATABASE, "broken") else {
            panic!("the damage was not seen")
        };
        assert_eq!((table, key.as_str()), (DOCUMENTS, "account/acme\0broken\0"));
        assert!(store.list(DATABASE, None, 9).is_err());
        assert_eq!(read(&store, "whole"), json!({"name": "the whole one"}));
    }

    #[test]
    fn a_lost_batch_is_found_before_anything_is_built_on_the_rest() {
        let (disk, member) = (VolatileDisk::default(), Member::new(1));
        let mut store = Store::open(disk).unwrap();
        member.write(&mut store, "device", create(json!({"a": 1})));
        member.write(&mut store, "device", patch(json!({"a": 2})));
        let document_key = key(&[DATABASE, "device"]);
        let mut write_after = |spoil: &dyn Fn(&mut Tables<WriteTable<'_>>)| {
            let transaction = store.begin_write().unwrap();
            spoil(&mut Tables::write(&transaction).unwrap());
            transaction.commit().unwrap();
            store.write(DATABASE, "device", &patch(json!({"a": 3})), member.origin())
        };
        let lost = write_after(&|tables| {
            tables.batches.remove(&key_below(&document_key, &1_u64.to_be_bytes())).unwrap();
        });
        assert!(matches!(lost, Err(Error::DamagedRecord { table: "batches", .. })));
        let forgotten = write_after(&|tables| {
            let state: DocumentState = tables.states.get_value(&document_key).unwrap().unwrap();
            tables.states.put_value(&document_key, DocumentState { batches: 1, ..state }).unwrap();
        });
        assert!(matches!(forgotten, Err(Error::DamagedRecord { table: "batches", .. })));
    }

    #[test]
    fn a_newer_store_is_left_alone() {
        let disk = VolatileDisk::default();
        let store = Store::open(disk.clone()).unwrap();
        let transaction = store.begin_write().unwrap();
        Records::write(&transaction, STORE).unwrap().put_value(&key(&["format"]), STORE_FORMAT + 1).unwrap();
        transaction.commit().unwrap();
        drop(store);
        let opened = Store::open(VolatileDisk::holding(disk.bytes()));
        assert!(matches!(opened, Err(Error::UnsupportedFormat { found: 2, supported: 1 })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// The power fails at any moment, and any part of what was under way has reached the disk.
        #[test]
        fn every_acknowledged_write_outlives_a_power_failure(
            operations in 0_usize..250,
            survivors in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
        ) {
            let (disk, member) = (VolatileDisk::default(), Member::new(1));
            drop(Store::open(disk.clone()).unwrap());
            let disk = disk.restart(0);
            disk.fail_after(operations);
            let mut acknowledged = 0;
            if let Ok(mut store) = Store::open(disk.clone()) {
                for number in 0..30 {
                    let value = json!({ "number": number });
                    let edit = if number < 3 { create(value) } else { patch(value) };
                    if store.write(DATABASE, &format!("device{}", number % 3), &edit, member.origin()).is_err() {
                        break;
                    }
                    acknowledged += 1;
                }
            }
            let mut store = Store::open(disk.restart(survivors)).unwrap();
            let found = [0, 1, 2].map(|device| read(&store, &format!("device{device}")));
            let after = |writes: i64| [0, 1, 2].map(|device| {
                let last = (0..writes).rev().find(|number| number % 3 == device);
                last.map_or(Value::Null, |number| json!({ "number": number }))
            });
            // The write that failed may have been kept: nobody was told that it was not.
            prop_assert!(found == after(acknowledged) || found == after(acknowledged + 1));
            member.write(&mut store, "afterwards", create(json!({})));
        }
    }
}
