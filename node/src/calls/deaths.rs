//! When nodes died, as this one came to know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fipple_protocol::NodeId;
use tokio::time::Instant;

use super::lock;
use super::peers::Peers;
use crate::cluster::{MemberState, Members};

/// Since when each member that is down has been so, as far as this node knows.
#[derive(Debug, Default)]
pub(crate) struct Deaths {
    since: Mutex<BTreeMap<NodeId, Instant>>,
}

impl Deaths {
    /// Notes every death for as long as the cluster lasts.
    pub(super) async fn watch(self: Arc<Self>, peers: Arc<dyn Peers>) {
        let mut members = peers.members();
        loop {
            let view = members.borrow_and_update().clone();
            self.note(&view, Instant::now());
            if members.changed().await.is_err() {
                return;
            }
        }
    }

    /// When a node died, if it did.
    pub(super) fn of(&self, node: NodeId) -> Option<Instant> {
        lock(&self.since).get(&node).copied()
    }

    fn note(&self, members: &Members, now: Instant) {
        let is_down = |node: &NodeId| members.all.get(node).is_some_and(|one| one.state == MemberState::Down);
        let mut since = lock(&self.since);
        since.retain(|node, _| is_down(node));
        for node in members.all.keys().filter(|node| is_down(node)) {
            since.entry(*node).or_insert(now);
        }
    }
}
