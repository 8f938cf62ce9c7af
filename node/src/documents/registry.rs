//! Who belongs to the cluster: one document a member in the cluster's own database.
//!
//! Being enrolled and being alive are two things. A site that is cut off for weeks is still a member; it is the
//! gossip that tells whether it answers.

use fipple_crdt::{Edit, Entry};
use fipple_protocol::NodeId;
use serde_json::{Map, Value};

use super::Documents;
use crate::Error;
use crate::limits::REGISTRY_PAGE_MEMBERS;

/// The cluster's own database.
pub(super) const DATABASE: &str = "cluster";

/// Precedes the member's id in the name of its document.
const DOCUMENT_PREFIX: &str = "member.";

/// A member as the registry names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The node.
    pub id: NodeId,
    /// The name that its operator gave it.
    pub name: String,
    /// When it was enrolled, in Unix milliseconds by its own clock.
    pub enrolled_at_ms: u64,
}

/// The document in which this member is enrolled.
pub(super) fn document_of(member: NodeId) -> String {
    format!("{DOCUMENT_PREFIX}{member}")
}

impl Documents {
    /// Enrols this node, or brings its name in the registry up to date.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn enrol(&self, name: &str) -> Result<(), Error> {
        let document = document_of(self.inner.signer.id());
        let named = Map::from_iter([("name".to_owned(), Value::from(name))]);
        let mut enrolled = named.clone();
        enrolled.insert("enrolled_at_ms".to_owned(), self.inner.host.clock.unix_ms().into());
        match self.write(DATABASE, &document, Edit::Create(enrolled)).await {
            Err(Error::Documents(fipple_crdt::Error::AlreadyExists { .. })) => {
                self.write(DATABASE, &document, Edit::Patch(named)).await
            }
            other => other,
        }
    }

    /// All members that were ever enrolled, in the order of their ids.
    ///
    /// # Errors
    /// If the registry cannot be read.
    pub async fn enrolled(&self) -> Result<Vec<Enrolled>, Error> {
        let mut members = Vec::new();
        let mut after = None;
        loop {
            let page = self.list(DATABASE, after, REGISTRY_PAGE_MEMBERS).await?;
            members.extend(page.iter().filter_map(read));
            after = match page.last() {
                Some(last) => Some(last.document.clone()),
                None => return Ok(members),
            };
        }
    }
}

fn read(entry: &Entry) -> Option<Enrolled> {
    let id = entry.document.strip_prefix(DOCUMENT_PREFIX)?.parse().ok()?;
    let name = entry.fields.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let enrolled_at_ms = entry.fields.get("enrolled_at_ms").and_then(Value::as_u64).unwrap_or_default();
    Some(Enrolled { id, name, enrolled_at_ms })
}
