//! Taking in what other nodes have written.

use std::collections::BTreeSet;

use automerge::Change;

use crate::document::Document;
use crate::records::Tables;
use crate::{ChangeBatch, ChangeHash, Error, Store, Verifier};

/// What became of batches that were merged. A batch in neither list was known already.
#[derive(Debug, Default)]
pub struct Merged {
    /// The batches that were new here. They are on the disk, and may be passed on.
    pub applied: Vec<ChangeBatch>,
    /// Why the others were refused. Nothing of them was kept.
    pub refused: Vec<Error>,
}

impl Store {
    /// Merges batches of changes to one document, each after those that it builds on, and returns once they are on
    /// the disk. Each is verified before anything in it is read. A refused batch does not hold up those that do
    /// not build on it.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::DamagedRecord`]: nothing was merged. [`Error::MalformedMessage`]: the batches are
    /// not all for the same document. What is wrong with single batches is in [`Merged::refused`].
    pub fn merge(&mut self, batches: Vec<ChangeBatch>, verifier: &dyn Verifier) -> Result<Merged, Error> {
        let mut merged = Merged::default();
        let Some(first) = batches.first() else { return Ok(merged) };
        let (database, document) = (first.database().to_owned(), first.document().to_owned());
        if batches.iter().any(|batch| (batch.database(), batch.document()) != (&database, &document)) {
            return Err(Error::MalformedMessage("batches for several documents".to_owned()));
        }
        let mut verified = Vec::new();
        for batch in batches {
            match batch.open(verifier) {
                Ok(changes) => verified.push((batch, changes)),
                Err(error) => merged.refused.push(error),
            }
        }
        if verified.is_empty() {
            return Ok(merged);
        }

        let transaction = self.begin_write()?;
        let mut tables = Tables::write(&transaction)?;
        // Most pushes arrive by several ways. That is seen without loading the document.
        if tables.know_all(&database, &document, verified.iter().flat_map(|(_, changes)| changes))? {
            return Ok(merged);
        }
        let mut opened = tables.load(&database, &document)?;
        for (batch, changes) in verified {
            let hashes: Vec<ChangeHash> = changes.iter().map(|change| change.hash().into()).collect();
            if opened.document.missing(&hashes).is_empty() {
                continue;
            }
            match admit(&mut opened.document, &batch, changes) {
                Ok(()) => {
                    tables.append(&mut opened, &batch, &hashes)?;
                    merged.applied.push(batch);
                }
                Err(refusal) => merged.refused.push(refusal),
            }
        }
        if !merged.applied.is_empty() {
            tables.publish(&database, &document, &mut opened)?;
            drop(tables);
            transaction.commit()?;
        }
        Ok(merged)
    }
}

/// Lets a document take the changes of a batch, or says why it cannot and leaves it as it was.
fn admit(document: &mut Document, batch: &ChangeBatch, changes: Vec<Change>) -> Result<(), Error> {
    let inside: BTreeSet<ChangeHash> = changes.iter().map(|change| change.hash().into()).collect();
    let dependencies: Vec<ChangeHash> =
        changes.iter().flat_map(|change| change.deps()).map(|hash| (*hash).into()).collect();
    let mut missing = document.missing(&dependencies);
    missing.retain(|hash| !inside.contains(hash));
    if !missing.is_empty() {
        return Err(Error::MissingDependencies {
            database: batch.database().to_owned(),
            document: batch.document().to_owned(),
            missing,
        });
    }
    let mut trial = document.clone();
    trial.apply(changes).map_err(|reason| batch.invalid(reason))?;
    *document = trial;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{DATABASE, Member, Members, fields, read, store};
    use crate::{Edit, Origin};

    fn patch(number: u64) -> Edit {
        Edit::Patch(fields(json!({ "n": number })))
    }

    /// Three batches of one document, each building on the one before.
    fn chain(member: &Member) -> Vec<ChangeBatch> {
        let mut store = store();
        let create = Edit::Create(fields(json!({"n": 1})));
        [create, patch(2), patch(3)].map(|edit| member.write(&mut store, "device", edit)).to_vec()
    }

    #[test]
    fn batches_are_merged_once() {
        let (mut store, members) = (store(), Members::new(1));
        let chain = chain(&Member::new(1));
        let twice = [chain.clone(), chain.clone()].concat();
        let merged = store.merge(twice, &members).unwrap();
        assert_eq!(merged.applied, chain);
        assert!(merged.refused.is_empty());
        assert_eq!(read(&store, "device"), json!({"n": 3}));
        let again = store.merge(chain, &members).unwrap();
        assert!(again.applied.is_empty() && again.refused.is_empty());
        assert_eq!(store.changes(DATABASE, 0, 9).unwrap()[0].sequence, 1);
    }

    #[test]
    fn a_batch_that_came_too_early_says_what_it_lacks() {
        let (mut store, members) = (store(), Members::new(1));
        let chain = chain(&Member::new(1));
        let first = chain[0].read_changes().unwrap()[0].hash().into();
        let merged = store.merge(vec![chain[1].clone()], &members).unwrap();
        let [Error::MissingDependencies { missing, .. }] = &merged.refused[..] else { panic!("{merged:?}") };
        assert_eq!(missing, &[first]);
        assert_eq!(read(&store, "device"), json!(null));
    }

    #[test]
    fn a_refused_batch_holds_up_no_other() {
        let (mut store, members) = (store(), Members::new(2));
        let (member, stranger) = (Member::new(1), Member::new(3));
        let mut batches = chain(&member);
        let mut elsewhere = crate::testing::store();
        batches.insert(0, stranger.write(&mut elsewhere, "device", Edit::Create(fields(json!({"x": 1})))));
        let merged = store.merge(batches, &members).unwrap();
        assert_eq!(merged.applied.len(), 3);
        assert!(matches!(merged.refused[..], [Error::AuthorUnknown { .. }]));
        assert_eq!(read(&store, "device"), json!({"n": 3}));
    }

    #[test]
    fn one_number_for_two_changes_is_refused_and_harms_nothing() {
        let (mut store, mut restored, members) = (store(), store(), Members::new(1));
        let member = Member::new(1);
        store.merge(chain(&member), &members).unwrap();
        restored.merge(chain(&member)[..2].to_vec(), &members).unwrap();
        let same_life = member.write(&mut restored, "device", patch(4));
        let merged = store.merge(vec![same_life.clone()], &members).unwrap();
        assert!(matches!(merged.refused[..], [Error::InvalidBatch { .. }]));

        let mut restored = crate::testing::store();
        restored.merge(chain(&member)[..2].to_vec(), &members).unwrap();
        let origin = Origin { incarnation: 2, ..member.origin() };
        let next_life = restored.write(DATABASE, "device", &patch(5), origin).unwrap().batch.unwrap();
        assert_eq!(store.merge(vec![next_life], &members).unwrap().applied.len(), 1);
        member.write(&mut store, "device", patch(6));
        assert_eq!(read(&store, "device"), json!({"n": 6}));
    }

    #[test]
    fn batches_for_several_documents_are_refused_together() {
        let member = Member::new(1);
        let mut elsewhere = store();
        let batches = ["a", "b"]
            .map(|name| member.write(&mut elsewhere, name, Edit::Create(fields(json!({})))))
            .to_vec();
        assert!(matches!(store().merge(batches, &Members::new(1)), Err(Error::MalformedMessage(_))));
    }
}
