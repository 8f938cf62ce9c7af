//! Finds what pushes have missed: after a partition, a restart, a full queue.

use std::collections::BTreeSet;
use std::ops::Bound;

use fipple_crdt::SyncMessage;
use fipple_protocol::NodeId;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{Documents, registry};
use crate::cluster::{Cluster, Members};
use crate::limits::REPLICATION_INTERVAL;

/// Answers what other members send, compares databases with every member that comes alive, and with one member after the
/// other from then on.
pub(super) async fn run(
    documents: Documents,
    cluster: Cluster,
    mut incoming: mpsc::Receiver<(NodeId, SyncMessage)>,
) {
    let mut members = cluster.members();
    let mut rounds = interval(REPLICATION_INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alive = BTreeSet::new();
    let mut last = cluster.local();
    loop {
        let ask = tokio::select! {
            biased;
            changed = members.changed() => match changed {
                Err(_) => return,
                Ok(()) => {
                    let now = others_alive(&members.borrow_and_update(), cluster.local());
                    let new: Vec<_> = now.difference(&alive).copied().collect();
                    alive = now;
                    new
                }
            },
            Some((from, message)) = incoming.recv() => {
                match documents.merge(from, message).await {
                    Ok(replies) => replies.iter().for_each(|reply| send(&cluster, from, reply)),
                    Err(error) => tracing::error!(%from, %error, "a replication message could not be dealt with"),
                }
                continue;
            }
            _ = rounds.tick() => {
                let next = alive.range((Bound::Excluded(last), Bound::Unbounded)).next().or(alive.first());
                last = next.copied().unwrap_or(last);
                next.copied().into_iter().collect()
            }
        };
        if ask.is_empty() {
            continue;
        }
        let summary = documents.on_store_thread(|_, store| store.summary(registry::DATABASE)).await;
        match summary.and_then(|summary| Ok(summary?)) {
            Ok(summary) => ask.into_iter().for_each(|peer| send(&cluster, peer, &summary)),
            Err(error) => tracing::warn!(%error, "documents cannot be compared with other members"),
        }
    }
}

/// Sends a message to every living member.
pub(super) fn push(cluster: &Cluster, message: &SyncMessage) {
    let peers = others_alive(&cluster.members().borrow(), cluster.local());
    peers.into_iter().for_each(|peer| send(cluster, peer, message));
}

/// Sends a message if there is a connection with room; the next round makes good what is lost here.
pub(super) fn send(cluster: &Cluster, to: NodeId, message: &SyncMessage) {
    if let Err(refusal) = cluster.send_document(to, &message.to_bytes()) {
        tracing::debug!(%to, %refusal, "a replication message was not sent");
    }
}

fn others_alive(members: &Members, local: NodeId) -> BTreeSet<NodeId> {
    members.all.keys().copied().filter(|node| *node != local && members.is_alive(*node)).collect()
}
