//! A document's history: the signed batches that were written, and what is derived from them.

use automerge::Change;
use redb::ReadableTable;
use serde_json::{Map, Value};

use crate::document::Document;
use crate::records::{DatabaseState, DocumentState, Tables, WriteTable, digest, key, key_below};
use crate::store::revision;
use crate::{ChangeBatch, ChangeHash, Error};

/// A document taken out of the store to be changed.
pub(crate) struct Opened {
    pub(crate) key: Vec<u8>,
    pub(crate) state: DocumentState,
    pub(crate) document: Document,
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> Tables<T> {
    /// Rebuilds a document from its batches. They are the one thing that the rest is derived from.
    pub(crate) fn load(&self, database: &str, document: &str) -> Result<Opened, Error> {
        let key = key(&[database, document]);
        let state: DocumentState = self.states.get_value(&key)?.unwrap_or_default();
        let mut changes = Vec::new();
        for place in 0..state.batches {
            let batch = self.batch(&key, place)?;
            let read = batch.read_changes().map_err(|_| self.batches.damaged(&key))?;
            changes.extend(read);
        }
        let mut document = Document::new();
        let applied = document.apply(changes);
        if applied.is_err() || document.heads() != state.heads {
            return Err(self.batches.damaged(&key));
        }
        Ok(Opened { key, state, document })
    }

    /// The batch at `place` among those of the document with this key.
    pub(crate) fn batch(&self, document_key: &[u8], place: u64) -> Result<ChangeBatch, Error> {
        let key = key_below(document_key, &place.to_be_bytes());
        self.batches.get_value(&key)?.ok_or_else(|| self.batches.damaged(&key))
    }

    /// Whether all these changes of a document are known.
    pub(crate) fn know_all<'a>(
        &self,
        database: &str,
        document: &str,
        changes: impl Iterator<Item = &'a Change>,
    ) -> Result<bool, Error> {
        let document_key = key(&[database, document]);
        for change in changes {
            if self.place_of(&document_key, change.hash().into())?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The place of the batch that holds a change of the document with this key.
    pub(crate) fn place_of(&self, document_key: &[u8], change: ChangeHash) -> Result<Option<u64>, Error> {
        let key = key_below(document_key, change.as_bytes());
        let Some(content) = self.changes.get(&key)? else { return Ok(None) };
        let place = content.try_into().map_err(|_| self.changes.damaged(&key))?;
        Ok(Some(u64::from_be_bytes(place)))
    }
}

impl Tables<WriteTable<'_>> {
    /// Keeps a batch whose changes the opened document has taken.
    pub(crate) fn append(
        &mut self,
        opened: &mut Opened,
        batch: &ChangeBatch,
        hashes: &[ChangeHash],
    ) -> Result<(), Error> {
        let place = opened.state.batches.to_be_bytes();
        self.batches.put_value(&key_below(&opened.key, &place), batch)?;
        for hash in hashes {
            self.changes.put(&key_below(&opened.key, hash.as_bytes()), &place)?;
        }
        opened.state.batches += 1;
        Ok(())
    }

    /// Brings all that is derived from a document's batches up to date, and returns its fields.
    pub(crate) fn publish(
        &mut self,
        database: &str,
        document: &str,
        opened: &mut Opened,
    ) -> Result<Map<String, Value>, Error> {
        let Opened { key: document_key, state, document: loaded } = opened;
        let unreadable = |_| self.batches.damaged(document_key);
        let fields = loaded.fields().map_err(unreadable)?;
        let live = loaded.is_live().map_err(unreadable)?;

        let database_key = key(&[database]);
        let mut totals: DatabaseState = self.databases.get_value(&database_key)?.unwrap_or_default();
        if state.sequence > 0 {
            self.feed.remove(&key_below(&database_key, &state.sequence.to_be_bytes()))?;
        }
        totals.sequence += 1;
        let heads = loaded.heads();
        totals.digest ^= digest(document_key, &state.heads) ^ digest(document_key, &heads);
        *state = DocumentState { heads, batches: state.batches, sequence: totals.sequence, live };

        self.feed.put_value(&key_below(&database_key, &totals.sequence.to_be_bytes()), (document, !live))?;
        self.databases.put_value(&database_key, totals)?;
        self.states.put_value(document_key, &*state)?;
        if live {
            let json = Value::Object(fields.clone()).to_string();
            let content = [&revision(document_key, &state.heads).0, json.as_bytes()].concat();
            self.documents.put(document_key, &content)?;
        } else {
            self.documents.remove(document_key)?;
        }
        Ok(fields)
    }
}
