//! Anti-entropy: how two stores find out what each has that the other lacks.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;

use crate::batch::{ChangeBatch, ChangeHash};
use crate::limits::{
    BATCH_PAGE_BYTES, BATCH_PAGE_COUNT, DIGEST_PAGE_BYTES, DIGEST_PAGE_DOCUMENTS, MAX_HEADS,
};
use crate::merge::Merged;
use crate::message::{DocumentHeads, Span, SyncMessage};
use crate::records::{DatabaseState, DocumentState, Tables, key};
use crate::store::{from_after, last_name};
use crate::{Error, Store, Verifier};

/// A stretch of a document's batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchPage {
    /// The batches, each after those that it builds on.
    pub batches: Vec<ChangeBatch>,
    /// Where the next page begins. Nothing: there is none.
    pub next: Option<u64>,
}

/// What a message from another store has led to.
#[derive(Debug, Default)]
pub struct Received {
    /// To be sent to the store that the message came from.
    pub replies: Vec<SyncMessage>,
    /// What the message brought.
    pub merged: Merged,
}

impl Store {
    /// The message that begins an exchange about a database: one number for all that is here.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`].
    pub fn summary(&self, database: &str) -> Result<SyncMessage, Error> {
        let digest = self.tables()?.database(database)?.digest;
        Ok(SyncMessage::Summary { database: database.to_owned(), digest })
    }

    /// A page of the digest of a database: the heads of its documents, deleted ones too, after the name `after`.
    /// It is a flat list, so finding one difference costs the whole of it.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`].
    pub fn digest(&self, database: &str, after: Option<&str>) -> Result<SyncMessage, Error> {
        let (span, heads) = self.tables()?.digest_page(database, after)?;
        let documents =
            heads.into_iter().map(|(document, heads)| DocumentHeads { document, heads }).collect();
        Ok(SyncMessage::Digest { database: database.to_owned(), span: Some(span), documents })
    }

    /// The message that asks for what is not here of a document.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`].
    pub fn want(&self, database: &str, document: &str, from: u64) -> Result<SyncMessage, Error> {
        let have = self.tables()?.have(database, document)?;
        Ok(SyncMessage::Want { database: database.to_owned(), document: document.to_owned(), have, from })
    }

    /// The batches of a document that a store lacks which has the changes `have` and what those build on, from the
    /// place `from` on. Changes in `have` that are not known here are passed over.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`].
    pub fn batches_for(
        &self,
        database: &str,
        document: &str,
        have: &[ChangeHash],
        from: u64,
    ) -> Result<BatchPage, Error> {
        let tables = self.tables()?;
        let opened = tables.load(database, document)?;
        let unknown = opened.document.missing(have);
        let known: Vec<_> = have.iter().copied().filter(|hash| !unknown.contains(hash)).collect();
        let mut places = BTreeSet::new();
        for change in opened.document.changes_beyond(&known) {
            places.extend(tables.place_of(&opened.key, change)?.filter(|place| *place >= from));
        }
        let mut page = BatchPage::default();
        let mut size_bytes = 0;
        for place in places {
            let batch = tables.batch(&opened.key, place)?;
            size_bytes += batch.size_bytes();
            let is_full = size_bytes > BATCH_PAGE_BYTES || page.batches.len() == BATCH_PAGE_COUNT;
            if is_full && !page.batches.is_empty() {
                page.next = Some(place);
                break;
            }
            page.batches.push(batch);
        }
        Ok(page)
    }

    /// Acts on a message from another store and says what to answer.
    ///
    /// The store that gets a `Summary` unlike its own asks for the digest page by page. Comparing a page with its
    /// own, it asks for the documents of which it lacks changes, and tells the heads of those of which the other
    /// may lack some, whereupon the other asks in turn. Both have the same then, unless something was written in
    /// between; the next summary finds that. A push needs none of this: only if it builds on changes that are not
    /// here, are they asked for.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`], [`Error::MalformedMessage`]. What is wrong with single batches
    /// is in [`Merged::refused`].
    pub fn receive(&mut self, message: SyncMessage, verifier: &dyn Verifier) -> Result<Received, Error> {
        let mut received = Received::default();
        match message {
            SyncMessage::Summary { database, digest } => {
                if self.tables()?.database(&database)?.digest != digest {
                    received.replies.push(SyncMessage::WantDigest { database, after: None });
                }
            }
            SyncMessage::WantDigest { database, after } => {
                received.replies.push(self.digest(&database, after.as_deref())?);
            }
            SyncMessage::Digest { database, span: Some(span), documents } => {
                received.replies = self.compare_page(database, &span, documents)?;
            }
            SyncMessage::Digest { database, span: None, documents } => {
                let tables = self.tables()?;
                for DocumentHeads { document, heads } in documents {
                    received.replies.extend(tables.want_if_behind(&database, &document, &heads)?);
                }
            }
            SyncMessage::Want { database, document, have, from } => {
                let BatchPage { batches, next } = self.batches_for(&database, &document, &have, from)?;
                received.replies.push(SyncMessage::Batches { batches, next });
            }
            SyncMessage::Batches { batches, next } => return self.receive_batches(batches, next, verifier),
        }
        Ok(received)
    }

    /// Compares a page of another store's digest with what is here between the same names, as far as one page of
    /// our own reaches, and asks for the rest.
    fn compare_page(
        &self,
        database: String,
        span: &Span,
        documents: Vec<DocumentHeads>,
    ) -> Result<Vec<SyncMessage>, Error> {
        let tables = self.tables()?;
        let (ours_span, mut ours) = tables.digest_page(&database, span.after.as_deref())?;
        let through = [&span.through, &ours_span.through].into_iter().flatten().min().cloned();
        let common = Span { after: span.after.clone(), through };
        ours.retain(|document, _| common.covers(document));

        let mut replies = Vec::new();
        for DocumentHeads { document, heads } in documents {
            if !common.covers(&document) {
                continue;
            }
            if ours.get(&document) == Some(&heads) {
                ours.remove(&document);
            } else {
                replies.extend(tables.want_if_behind(&database, &document, &heads)?);
            }
        }
        if !ours.is_empty() {
            let documents =
                ours.into_iter().map(|(document, heads)| DocumentHeads { document, heads }).collect();
            replies.push(SyncMessage::Digest { database: database.clone(), span: None, documents });
        }
        // A page that does not get beyond its beginning would be asked for without end.
        if common.through.is_some() && common.through > common.after {
            replies.push(SyncMessage::WantDigest { database, after: common.through });
        }
        Ok(replies)
    }

    fn receive_batches(
        &mut self,
        batches: Vec<ChangeBatch>,
        next: Option<u64>,
        verifier: &dyn Verifier,
    ) -> Result<Received, Error> {
        let Some(first) = batches.first() else { return Ok(Received::default()) };
        let (database, document) = (first.database().to_owned(), first.document().to_owned());
        let merged = self.merge(batches, verifier)?;
        // Whoever sends what is refused here would send it again.
        let only_gaps = merged.refused.iter().all(|error| matches!(error, Error::MissingDependencies { .. }));
        let from = if merged.refused.is_empty() { next } else { Some(0) };
        let replies = match from {
            Some(from) if only_gaps => vec![self.want(&database, &document, from)?],
            _ => Vec::new(),
        };
        Ok(Received { replies, merged })
    }
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> Tables<T> {
    fn database(&self, database: &str) -> Result<DatabaseState, Error> {
        Ok(self.databases.get_value(&key(&[database]))?.unwrap_or_default())
    }

    /// The heads of a database's documents after the name `after`, and which names the page covers.
    fn digest_page(
        &self,
        database: &str,
        after: Option<&str>,
    ) -> Result<(Span, BTreeMap<String, Vec<ChangeHash>>), Error> {
        let prefix = key(&[database]);
        let after_key = after.map(|document| key(&[database, document]));
        let mut span = Span { after: after.map(str::to_owned), through: None };
        let mut documents = BTreeMap::new();
        let mut size_bytes = 0;
        for row in self.states.range(&prefix, from_after(&prefix, after_key.as_deref()))? {
            let (key, content) = row?;
            let name = last_name(&key, &prefix).ok_or_else(|| self.states.damaged(&key))?;
            let DocumentState { mut heads, .. } = self.states.decode(&key, &content)?;
            heads.truncate(MAX_HEADS);
            size_bytes += name.len() + heads.len() * size_of::<ChangeHash>();
            let is_full = size_bytes > DIGEST_PAGE_BYTES || documents.len() == DIGEST_PAGE_DOCUMENTS;
            if is_full && !documents.is_empty() {
                span.through = documents.last_key_value().map(|(name, _): (&String, _)| name.clone());
                break;
            }
            documents.insert(name.to_owned(), heads);
        }
        Ok((span, documents))
    }

    /// Asks for a document if one of another store's heads of it is not known here.
    fn want_if_behind(
        &self,
        database: &str,
        document: &str,
        heads: &[ChangeHash],
    ) -> Result<Option<SyncMessage>, Error> {
        let document_key = key(&[database, document]);
        for head in heads {
            if self.place_of(&document_key, *head)?.is_none() {
                let have = self.have(database, document)?;
                let (database, document) = (database.to_owned(), document.to_owned());
                return Ok(Some(SyncMessage::Want { database, document, have, from: 0 }));
            }
        }
        Ok(None)
    }

    /// A document's heads, and changes at growing distances below: another store that does not know our heads
    /// most likely knows one not far below.
    fn have(&self, database: &str, document: &str) -> Result<Vec<ChangeHash>, Error> {
        let document_key = key(&[database, document]);
        let state: DocumentState = self.states.get_value(&document_key)?.unwrap_or_default();
        let mut have = state.heads;
        have.truncate(MAX_HEADS);
        let distances = (1..u64::BITS).map(|exponent| 1 << exponent);
        for distance in distances.take_while(|distance| *distance <= state.batches) {
            let changes = self.batch(&document_key, state.batches - distance)?.read_changes()?;
            have.extend(changes.last().map(|change| ChangeHash::from(change.hash())));
        }
        Ok(have)
    }
}
