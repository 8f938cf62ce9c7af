//! Tells the lives of this node's store apart.

use fipple_crdt::Store;

use crate::Error;
use crate::net::Host;

/// Beside the store, never in it: whoever sets the store back to an earlier state must delete this file.
const FILE: &str = "documents.incarnation";

/// The number under which this node's changes are counted. A store that is new, or whose number is lost, begins a
/// new count: a number used twice for different changes would keep other stores from taking the second.
pub(super) fn of(host: &Host, store: &Store) -> Result<u64, Error> {
    let kept = host.disk.read(FILE).map_err(Error::io(format!("read {FILE}")))?;
    let kept = kept.and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok());
    let is_new = store.databases(None, 1)?.is_empty();
    if let Some(incarnation) = kept.filter(|_| !is_new) {
        return Ok(incarnation);
    }
    let mut bytes = [0; 8];
    host.random.fill(&mut bytes).map_err(Error::io("draw a number for the store"))?;
    let incarnation = u64::from_le_bytes(bytes);
    host.disk
        .replace(FILE, incarnation.to_string().as_bytes())
        .map_err(Error::io(format!("write {FILE}")))?;
    Ok(incarnation)
}
