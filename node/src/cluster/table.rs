//! What is known of connections, addresses and dials.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fipple_protocol::NodeId;
use tokio::time::Instant;

use super::connection::Connection;
use crate::limits::{DIAL_ADDRESSES, DIAL_BACKOFF_MAX, DIAL_BACKOFF_MIN, SIMULTANEOUS_DIAL};
use crate::net::Random;

/// The connections of a node, one to each peer, and what may become some.
#[derive(Default)]
pub(super) struct Table {
    pub(super) connections: BTreeMap<NodeId, Arc<Connection>>,
    /// Where members say that they are.
    pub(super) addresses: BTreeMap<NodeId, SocketAddr>,
    pub(super) dials: BTreeMap<SocketAddr, Dial>,
    /// Where this node is for others, once it knows.
    pub(super) own_address: Option<SocketAddr>,
}

/// An address that is dialled, or that will not be dialled again just yet.
pub(super) struct Dial {
    pub(super) in_flight: bool,
    pub(super) failures: u32,
    pub(super) retry_at: Instant,
    /// Gossip that waits for the connection.
    pub(super) queue: VecDeque<Bytes>,
}

impl Table {
    pub(super) fn connection(&self, node: NodeId) -> Option<Arc<Connection>> {
        self.connections.get(&node).filter(|connection| connection.is_open()).cloned()
    }

    /// The connection to whoever is at an address: where it is connected from, or says that it is.
    pub(super) fn connection_at(&self, address: SocketAddr) -> Option<Arc<Connection>> {
        let connected = self.connections.values().find(|connection| connection.address == address);
        let node = match connected {
            Some(connection) => connection.peer,
            None => *self.addresses.iter().find(|(_, known)| **known == address)?.0,
        };
        self.connection(node)
    }

    pub(super) fn dial_in_flight(&self, node: NodeId) -> bool {
        let dial = self.addresses.get(&node).and_then(|address| self.dials.get(address));
        dial.is_some_and(|dial| dial.in_flight)
    }

    /// Makes room for one more address, at the cost of those that may be dialled again anyway.
    pub(super) fn make_room_for_dial(&mut self, address: SocketAddr, now: Instant) -> bool {
        if self.dials.len() >= DIAL_ADDRESSES && !self.dials.contains_key(&address) {
            self.dials.retain(|_, dial| dial.in_flight || now < dial.retry_at);
        }
        self.dials.len() < DIAL_ADDRESSES || self.dials.contains_key(&address)
    }

    /// Adds a connection. The one that stays, and the one to close if there are two now.
    pub(super) fn add(
        &mut self,
        local: NodeId,
        new: &Arc<Connection>,
    ) -> (Arc<Connection>, Option<Arc<Connection>>) {
        // Whoever dialled us is there: no need to wait before dialling it again.
        let addresses = [Some(&new.address), self.addresses.get(&new.peer)];
        for address in addresses.into_iter().flatten() {
            if let Some(dial) = self.dials.get_mut(address) {
                dial.retry_at = new.established;
                dial.failures = 0;
            }
        }
        let Some(old) = self.connection(new.peer) else {
            self.connections.insert(new.peer, new.clone());
            return (new.clone(), None);
        };
        // Both ends see the same two connections and have to keep the same one: of two that dialled each other,
        // that of the lower id. Otherwise the peer has lost the old one, or it would not have dialled.
        let crossed = old.dialled != new.dialled && new.established - old.established < SIMULTANEOUS_DIAL;
        let new_has_lower_dialler = new.dialled == (local < new.peer);
        if crossed && !new_has_lower_dialler {
            return (old, Some(new.clone()));
        }
        self.connections.insert(new.peer, new.clone());
        (new.clone(), Some(old))
    }

    /// Removes a connection that ended; whether it was the peer's current one.
    pub(super) fn remove(&mut self, ended: &Connection) -> bool {
        let current = self.connections.get(&ended.peer).is_some_and(|current| current.is(ended));
        if current {
            self.connections.remove(&ended.peer);
        }
        current
    }
}

impl Dial {
    pub(super) fn new(now: Instant) -> Self {
        Self { in_flight: false, failures: 0, retry_at: now, queue: VecDeque::new() }
    }

    /// Notes a failure and returns how long to wait: twice as long each time, and never two nodes in step.
    pub(super) fn fail(&mut self, random: &dyn Random) -> Duration {
        let pause = DIAL_BACKOFF_MIN.saturating_mul(1 << self.failures.min(16)).min(DIAL_BACKOFF_MAX);
        let mut byte = [0];
        // Without randomness there is no jitter; nothing worse.
        let _no_jitter = random.fill(&mut byte);
        let pause = pause.mul_f64(1.0 - f64::from(byte[0]) / 512.0);
        self.failures += 1;
        self.in_flight = false;
        self.retry_at = Instant::now() + pause;
        self.queue.clear();
        pause
    }
}
