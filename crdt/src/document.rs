//! A document as automerge sees it, and as JSON.
//!
//! The fields of the object are the keys of automerge's root map. A scalar is a register, a nested object a map.
//! An array is one register that holds its JSON: of two nodes that change it at the same time one wins as a whole.
//! An automerge list would not change that, since whoever replaces an array says nothing of which elements
//! moved, and it would keep every element ever replaced.
//!
//! Two nodes may create a nested object under the same key at the same time. automerge then keeps two maps and
//! shows one. Here both are shown, field by field, and written as if they were one.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{
    ActorId, Automerge, AutomergeError, Change, ObjId, ObjType, ROOT, ReadDoc, ScalarValue, Value as Stored,
};
use serde_json::{Map, Number, Value};

use crate::ChangeHash;
use crate::limits::{MAX_DEPTH, MAX_DOCUMENT_BYTES};

/// The key of the root map that a live document has. Every edit writes it and a delete removes it, so that a
/// delete wins over the edits it has seen and loses to those it has not. Keys of documents never begin with NUL.
const LIVE_KEY: &str = "\0live";

/// What to do with a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Make a new document of these fields. One that was deleted may be created again.
    Create(Map<String, Value>),
    /// Make these the fields of an existing document. Fields that stay as they are, are not written, so that another
    /// node's simultaneous change of them survives.
    Replace(Map<String, Value>),
    /// Merge these fields into an existing document by the rules of JSON merge patch (RFC 7396): null removes a
    /// field, an object is merged, everything else replaces.
    Patch(Map<String, Value>),
    /// Leave a tombstone. The document lives on if another node edits it without having seen the delete.
    Delete,
}

impl Edit {
    /// Says why the fields cannot be part of a document.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let (Self::Create(fields) | Self::Replace(fields) | Self::Patch(fields)) = self else {
            return Ok(());
        };
        check_object(fields, 1)?;
        check_size(fields)
    }
}

/// Says whether fields are more than a document may have.
pub(crate) fn check_size(fields: &Map<String, Value>) -> Result<(), &'static str> {
    // The JSON of a map has no way to fail: its keys are strings and its numbers finite.
    match serde_json::to_vec(fields) {
        Ok(json) if json.len() <= MAX_DOCUMENT_BYTES => Ok(()),
        _ => Err("it is larger than a document may be"),
    }
}

fn check_object(fields: &Map<String, Value>, depth: usize) -> Result<(), &'static str> {
    if fields.keys().any(|key| key.is_empty() || key.starts_with('\0')) {
        return Err("a field's name is empty or begins with NUL");
    }
    fields.values().try_for_each(|value| check_value(value, depth))
}

fn check_value(value: &Value, depth: usize) -> Result<(), &'static str> {
    match value {
        Value::Object(_) | Value::Array(_) if depth == MAX_DEPTH => Err("it is nested too deeply"),
        Value::Object(fields) => check_object(fields, depth + 1),
        Value::Array(elements) => elements.iter().try_for_each(|element| check_value(element, depth + 1)),
        _ => Ok(()),
    }
}

/// How fields are written over those that are there.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Replace,
    Patch,
}

/// What a key of a document's object holds.
#[derive(PartialEq)]
enum Field {
    Absent,
    Register(ScalarValue),
    /// The maps that together are the object, the one that automerge shows first.
    Object(Vec<ObjId>),
}

/// A document loaded into automerge.
#[derive(Clone)]
pub(crate) struct Document(Automerge);

impl Document {
    /// A document that nobody has written yet.
    pub(crate) fn new() -> Self {
        // automerge draws an actor id here that is replaced before anything is written.
        Self(Automerge::new())
    }

    /// Adds changes whose dependencies are there or among them. After an error the document is to be dropped.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) -> Result<(), String> {
        let hashes: Vec<ChangeHash> = changes.iter().map(|change| change.hash().into()).collect();
        // The changes come from outside, and automerge trusts some of what it reads in them. A panic on this copy of
        // the document is as good as an error.
        catch_unwind(AssertUnwindSafe(|| self.0.apply_changes(changes)))
            .map_err(|_| "automerge could not take it".to_owned())?
            .map_err(|error| error.to_string())?;
        // What automerge cannot place yet, it keeps aside without a word.
        if self.missing(&hashes).is_empty() {
            Ok(())
        } else {
            Err("automerge kept a change aside".to_owned())
        }
    }

    /// Those of `hashes` that are not changes of this document.
    pub(crate) fn missing(&self, hashes: &[ChangeHash]) -> Vec<ChangeHash> {
        let unknown = |hash: &ChangeHash| self.0.get_change_meta_by_hash(&(*hash).into()).is_none();
        hashes.iter().copied().filter(unknown).collect()
    }

    /// The changes that no other change builds on, in ascending order.
    pub(crate) fn heads(&self) -> Vec<ChangeHash> {
        self.0.get_heads().into_iter().map(ChangeHash::from).collect()
    }

    /// The changes that are neither in `have` nor what those build on. All of `have` must be known.
    pub(crate) fn changes_beyond(&self, have: &[ChangeHash]) -> Vec<ChangeHash> {
        let have: Vec<_> = have.iter().copied().map(automerge::ChangeHash::from).collect();
        self.0.get_changes_meta(&have).into_iter().map(|change| change.hash.into()).collect()
    }

    /// Whether the document exists: it was created, and each delete was followed, or not seen, by an edit.
    pub(crate) fn is_live(&self) -> Result<bool, AutomergeError> {
        Ok(read_field(&self.0, &[ROOT], LIVE_KEY)? != Field::Absent)
    }

    /// The fields, in ascending order of their names. They are the same wherever the heads are.
    pub(crate) fn fields(&self) -> Result<Map<String, Value>, AutomergeError> {
        let mut fields = read_object(&self.0, &[ROOT], 1)?;
        fields.retain(|key, _| !key.starts_with('\0'));
        Ok(fields)
    }

    /// Makes one change of `edit`, or none if it leaves everything as it is.
    pub(crate) fn edit(
        &mut self,
        edit: &Edit,
        actor: ActorId,
        time_ms: i64,
    ) -> Result<Option<Change>, AutomergeError> {
        self.0.set_actor(actor);
        let mut transaction = self.0.transaction();
        match edit {
            Edit::Create(fields) | Edit::Replace(fields) => {
                write_object(&mut transaction, &[ROOT], fields, Mode::Replace)?;
            }
            Edit::Patch(fields) => write_object(&mut transaction, &[ROOT], fields, Mode::Patch)?,
            Edit::Delete => transaction.delete(ROOT, LIVE_KEY)?,
        }
        let is_new = matches!(edit, Edit::Create(_));
        if *edit != Edit::Delete && (is_new || transaction.pending_ops() > 0) {
            // A register that keeps its value is not written, and so would not survive a delete elsewhere.
            let generation = match read_field(&transaction, &[ROOT], LIVE_KEY)? {
                Field::Register(ScalarValue::Uint(generation)) => generation,
                _ => 0,
            };
            transaction.put(ROOT, LIVE_KEY, ScalarValue::Uint(generation.wrapping_add(1)))?;
        }
        let (hash, _) = transaction.commit_with(CommitOptions::default().with_time(time_ms));
        Ok(hash.and_then(|hash| self.0.get_change_by_hash(&hash)))
    }
}

/// Writes `fields` into the object that `maps` are.
fn write_object<T: Transactable>(
    transaction: &mut T,
    maps: &[ObjId],
    fields: &Map<String, Value>,
    mode: Mode,
) -> Result<(), AutomergeError> {
    if mode == Mode::Replace {
        for key in keys(transaction, maps) {
            if !fields.contains_key(&key) && !key.starts_with('\0') {
                remove(transaction, maps, &key)?;
            }
        }
    }
    fields.iter().try_for_each(|(key, value)| write_field(transaction, maps, key, value, mode))
}

fn write_field<T: Transactable>(
    transaction: &mut T,
    maps: &[ObjId],
    key: &str,
    value: &Value,
    mode: Mode,
) -> Result<(), AutomergeError> {
    let present = read_field(transaction, maps, key)?;
    let register = match (value, present) {
        (Value::Null, _) if mode == Mode::Patch => return remove(transaction, maps, key),
        (Value::Object(fields), Field::Object(inner)) => {
            return write_object(transaction, &inner, fields, mode);
        }
        (Value::Object(fields), _) => {
            remove(transaction, &maps[1..], key)?;
            let inner = transaction.put_object(&maps[0], key, ObjType::Map)?;
            return write_object(transaction, &[inner], fields, mode);
        }
        (_, present) => {
            let register = register_of(value);
            if present == Field::Register(register.clone()) {
                return Ok(());
            }
            register
        }
    };
    remove(transaction, &maps[1..], key)?;
    transaction.put(&maps[0], key, register)
}

fn remove<T: Transactable>(transaction: &mut T, maps: &[ObjId], key: &str) -> Result<(), AutomergeError> {
    for map in maps {
        if transaction.get(map, key)?.is_some() {
            transaction.delete(map, key)?;
        }
    }
    Ok(())
}

fn keys<T: ReadDoc>(document: &T, maps: &[ObjId]) -> BTreeSet<String> {
    maps.iter().flat_map(|map| document.keys(map)).collect()
}

/// What stands under `key` of the object that `maps` are. Of several values the one with the highest operation
/// id wins, as within automerge; if it is a map, all maps among them are the object.
fn read_field<T: ReadDoc>(document: &T, maps: &[ObjId], key: &str) -> Result<Field, AutomergeError> {
    let mut candidates = Vec::new();
    for map in maps {
        candidates.extend(document.get_all(map, key)?);
    }
    candidates.sort_by(|(_, one), (_, other)| other.cmp(one));
    Ok(match candidates.first() {
        None => Field::Absent,
        Some((Stored::Scalar(register), _)) => Field::Register(register.as_ref().clone()),
        Some((Stored::Object(ObjType::Map), _)) => Field::Object(
            candidates
                .into_iter()
                .filter(|(value, _)| matches!(value, Stored::Object(ObjType::Map)))
                .map(|(_, id)| id)
                .collect(),
        ),
        Some(_) => Field::Register(ScalarValue::Null),
    })
}

fn read_object<T: ReadDoc>(
    document: &T,
    maps: &[ObjId],
    depth: usize,
) -> Result<Map<String, Value>, AutomergeError> {
    let mut fields = Map::new();
    for key in keys(document, maps) {
        let value = match read_field(document, maps, &key)? {
            Field::Absent => continue,
            Field::Register(register) => json_of(&register),
            // No write of ours goes deeper. Cutting here is the same on every node, and bounds the recursion.
            Field::Object(_) if depth >= MAX_DEPTH => Value::Null,
            Field::Object(inner) => Value::Object(read_object(document, &inner, depth + 1)?),
        };
        fields.insert(key, value);
    }
    Ok(fields)
}

/// The register that holds `value`, which is no object. Bytes hold the JSON of an array and nothing else.
fn register_of(value: &Value) -> ScalarValue {
    match value {
        Value::Null | Value::Object(_) => ScalarValue::Null,
        Value::Bool(boolean) => ScalarValue::Boolean(*boolean),
        Value::String(text) => ScalarValue::Str(text.as_str().into()),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), _, _) => ScalarValue::Int(integer),
            (_, Some(integer), _) => ScalarValue::Uint(integer),
            (_, _, Some(float)) => ScalarValue::F64(float),
            _ => ScalarValue::Null,
        },
        Value::Array(_) => ScalarValue::Bytes(value.to_string().into_bytes()),
    }
}

fn json_of(register: &ScalarValue) -> Value {
    match register {
        ScalarValue::Boolean(boolean) => Value::Bool(*boolean),
        ScalarValue::Str(text) => Value::String(text.to_string()),
        ScalarValue::Int(integer) => Value::from(*integer),
        ScalarValue::Uint(integer) => Value::from(*integer),
        ScalarValue::F64(float) => Number::from_f64(*float).map_or(Value::Null, Value::Number),
        ScalarValue::Bytes(json) => serde_json::from_slice(json).unwrap_or(Value::Null),
        // Nothing here writes them.
        ScalarValue::Counter(_)
        | ScalarValue::Timestamp(_)
        | ScalarValue::Unknown { .. }
        | ScalarValue::Null => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fields;
    use serde_json::json;

    fn actor(number: u8) -> ActorId {
        ActorId::from([number; 24].as_slice())
    }

    fn edit(document: &mut Document, number: u8, edit: Edit) -> Change {
        document.edit(&edit, actor(number), 0).unwrap().unwrap()
    }

    fn create(value: Value) -> Document {
        let mut document = Document::new();
        edit(&mut document, 1, Edit::Create(fields(value)));
        document
    }

    fn patch(value: Value) -> Edit {
        Edit::Patch(fields(value))
    }

    fn json(document: &Document) -> Value {
        Value::Object(document.fields().unwrap())
    }

    /// Lets two copies of `document` be edited by nodes 2 and 3 at the same time, and merges them.
    fn concurrently(document: &Document, one: Edit, other: Edit) -> Document {
        let (mut left, mut right) = (document.clone(), document.clone());
        let change = edit(&mut left, 2, one);
        let other = edit(&mut right, 3, other);
        left.apply(vec![other]).unwrap();
        right.apply(vec![change]).unwrap();
        assert_eq!(left.heads(), right.heads());
        assert_eq!(json(&left), json(&right));
        left
    }

    #[test]
    fn every_kind_of_value_comes_back() {
        let value = json!({
            "null": null, "boolean": true, "text": "Grüße", "negative": -1, "large": u64::MAX, "float": 0.1,
            "array": [1, {"a": [null]}], "object": {"empty": {}, "deep": {"x": 1.5}},
        });
        assert_eq!(json(&create(value.clone())), value);
    }

    #[test]
    fn a_patch_merges_as_rfc_7396_says() {
        // From RFC 7396, appendix A: those whose target and result are objects.
        for (target, change, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut document = create(target);
            edit(&mut document, 1, patch(change));
            assert_eq!(json(&document), result);
        }
    }

    #[test]
    fn an_edit_that_changes_nothing_makes_no_change() {
        let mut document = create(json!({"a": {"b": 1}, "c": [1]}));
        for edit in [patch(json!({"a": {"b": 1}, "d": null})), Edit::Replace(document.fields().unwrap())] {
            assert_eq!(document.edit(&edit, actor(1), 0).unwrap(), None);
        }
    }

    #[test]
    fn simultaneous_edits_of_different_fields_both_survive() {
        let document = create(json!({"a": 1, "b": {"x": 1, "y": 1}}));
        let one = patch(json!({"b": {"x": 2}}));
        let other = Edit::Replace(fields(json!({"a": 3, "b": {"x": 1, "y": 1}})));
        assert_eq!(json(&concurrently(&document, one, other)), json!({"a": 3, "b": {"x": 2, "y": 1}}));
    }

    #[test]
    fn of_simultaneous_edits_of_one_field_the_higher_operation_wins() {
        let document = create(json!({"a": 1}));
        let merged = concurrently(&document, patch(json!({"a": 2})), patch(json!({"a": 3})));
        assert_eq!(
            json(&merged),
            json!({"a": 3}),
            "both are the document's third operation: the node decides"
        );
        let late = patch(json!({"b": {"x": 1, "y": 1, "z": "late"}}));
        let merged = concurrently(&document, late, patch(json!({"b": {"z": "early"}})));
        assert_eq!(json(&merged), json!({"a": 1, "b": {"x": 1, "y": 1, "z": "late"}}));
    }

    #[test]
    fn objects_made_at_the_same_time_become_one() {
        let document = create(json!({}));
        let one = patch(json!({"mail": {"pin": 1, "greeting": {"file": "a"}}}));
        let other = patch(json!({"mail": {"quota": 2, "greeting": {"length": 3}}}));
        let mut merged = concurrently(&document, one, other);
        assert_eq!(
            json(&merged),
            json!({"mail": {"pin": 1, "quota": 2, "greeting": {"file": "a", "length": 3}}})
        );
        edit(&mut merged, 1, patch(json!({"mail": {"pin": null, "quota": 4, "greeting": {"file": "b"}}})));
        assert_eq!(json(&merged), json!({"mail": {"quota": 4, "greeting": {"file": "b", "length": 3}}}));
        edit(&mut merged, 1, patch(json!({"mail": "off"})));
        edit(&mut merged, 1, patch(json!({"mail": {"new": 1}})));
        assert_eq!(json(&merged), json!({"mail": {"new": 1}}), "nothing of the old objects comes back");
    }

    #[test]
    fn a_delete_wins_over_what_it_has_seen_and_not_over_what_it_has_not() {
        let mut document = create(json!({"a": 1, "b": 1}));
        let merged = concurrently(&document, Edit::Delete, patch(json!({"b": 2})));
        assert!(merged.is_live().unwrap());
        assert_eq!(json(&merged), json!({"a": 1, "b": 2}), "the whole document lives on");

        let early = edit(&mut document, 2, patch(json!({"b": 3})));
        let mut elsewhere = document.clone();
        let delete = edit(&mut elsewhere, 3, Edit::Delete);
        document.apply(vec![delete, early]).unwrap();
        assert!(!document.is_live().unwrap(), "the edit comes late, but the delete had seen it");

        edit(&mut document, 1, Edit::Create(fields(json!({"c": 1}))));
        assert!(document.is_live().unwrap());
        assert_eq!(json(&document), json!({"c": 1}), "a new document has nothing of the old one");
    }

    #[test]
    fn fields_that_cannot_be_kept_are_refused() {
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([{ "a": inner }]));
        assert_eq!(patch(json!({ "a": nested((MAX_DEPTH - 1) / 2) })).check(), Ok(()));
        assert!(patch(json!({ "a": nested(MAX_DEPTH / 2) })).check().is_err());
        assert!(patch(json!({"\0live": 1})).check().is_err());
        assert!(patch(json!({"a": {"": 1}})).check().is_err());
        assert!(patch(json!({ "a": "x".repeat(MAX_DOCUMENT_BYTES) })).check().is_err());
    }

    #[test]
    fn what_nests_too_deeply_from_outside_is_cut() {
        let mut automerge = Automerge::new().with_actor(actor(9));
        let mut transaction = automerge.transaction();
        let mut map = ROOT;
        for _ in 0..10_000 {
            map = transaction.put_object(&map, "a", ObjType::Map).unwrap();
        }
        transaction.commit();
        let mut document = Document::new();
        document.apply(automerge.get_changes(&[])).unwrap();
        let depth = json(&document).to_string().matches('{').count();
        assert_eq!(depth, MAX_DEPTH);
    }
}
