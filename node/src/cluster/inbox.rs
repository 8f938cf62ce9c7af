//! Where that which arrives from peers goes.

use std::net::SocketAddr;
use std::sync::Arc;

use chitchat::{ChitchatMessage, Deserializable};
use fipple_protocol::NodeId;
use fipple_protocol::peer::{Hello, ProbeMessage};
use tokio::sync::mpsc;

use super::{Handler, envelope};

/// The receivers of everything, shared by all connections.
pub(super) struct Inbox {
    /// Requests, call events and documents: the rest of the node.
    pub(super) handler: Arc<dyn Handler>,
    gossip: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
    signals: mpsc::Sender<Signal>,
}

/// What those who keep the list of members learn from connections.
pub(super) enum Signal {
    /// A probe arrived.
    Probe { from: NodeId, message: ProbeMessage },
    /// Something else arrived: the node is there.
    Heard(NodeId),
    /// A connection came up.
    Connected { peer: NodeId, address: SocketAddr },
    /// The node introduced itself.
    Greeted { peer: NodeId, hello: Hello },
    /// The node said that it stops.
    Stopped(NodeId),
}

impl Inbox {
    pub(super) fn new(
        handler: Arc<dyn Handler>,
        gossip: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        Self { handler, gossip, signals }
    }

    /// Passes a signal on. Where too many wait it is lost, as any packet may be: probes repeat.
    pub(super) fn signal(&self, signal: Signal) {
        let _lost = self.signals.try_send(signal);
    }

    /// Passes a gossip message on. Where too many wait it is lost: gossip repeats.
    pub(super) fn gossip(&self, from: SocketAddr, mut message: &[u8]) -> Result<(), String> {
        if !envelope::is_bounded(message) {
            return Err("a gossip message is malformed or expands too much".into());
        }
        let message = ChitchatMessage::deserialize(&mut message).map_err(|error| error.to_string())?;
        let _lost = self.gossip.try_send((from, message));
        Ok(())
    }
}
