//! What is counted about documents.

use prometheus_client::registry::Registry;

use crate::metrics::Counter;

/// Counters of replication.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Batches of changes of other members that were merged.
    pub batches_merged: Counter,
    /// Batches that were refused: unsigned, out of place, malformed.
    pub batches_refused: Counter,
    /// Replication messages that were malformed, or came while the disk was too far behind.
    pub messages_dropped: Counter,
}

impl Metrics {
    /// Adds them to what `GET /metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        let mut add =
            |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        add(
            "fipple_document_batches_merged",
            "Batches of other members' changes merged",
            &self.batches_merged,
        );
        add("fipple_document_batches_refused", "Batches of changes refused", &self.batches_refused);
        add("fipple_document_messages_dropped", "Replication messages dropped", &self.messages_dropped);
    }
}
