//! Gossip: chitchat, carried by the connections between the nodes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, FailureDetectorConfig, Serializable,
    spawn_chitchat,
};
use fipple_protocol::NodeId;
use tokio::sync::{Notify, mpsc};

use super::peers::Peers;
use crate::limits::{GOSSIP_DEAD_MEMORY, GOSSIP_PHI};

/// The one key under which a node gossips: its signed facts.
const FACTS_KEY: &str = "facts";

/// Messages that arrive, with the address to answer to. They outlive a gossip that ends by a mishap.
pub(super) type Messages = Arc<tokio::sync::Mutex<mpsc::Receiver<(SocketAddr, ChitchatMessage)>>>;

/// The running gossip. It stops when this is dropped.
pub(super) struct Gossip {
    chitchat: ChitchatHandle,
    changed: Arc<Notify>,
}

/// What gossip says of a node.
pub(super) struct Gossiped {
    /// What the node is called there: its id, if it does not lie.
    pub(super) name: String,
    /// Its signed facts, once they have come.
    pub(super) facts: Option<String>,
    /// Whether its heartbeat still moves.
    pub(super) live: bool,
}

/// Who gossips, and how.
pub(super) struct Settings {
    pub(super) cluster_id: String,
    pub(super) node: NodeId,
    /// Tells the node's lives apart, for each of which gossip starts anew.
    pub(super) generation: u64,
    /// Where others reach it.
    pub(super) address: SocketAddr,
    pub(super) interval: Duration,
}

impl Gossip {
    /// Starts to gossip. Nobody is spoken to before [`Gossip::contact`] or before somebody speaks.
    pub(super) async fn start(
        settings: Settings,
        facts: String,
        peers: Arc<Peers>,
        messages: Messages,
    ) -> Result<Self, anyhow::Error> {
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(settings.node.to_string(), settings.generation, settings.address),
            cluster_id: settings.cluster_id,
            gossip_interval: settings.interval,
            listen_addr: settings.address,
            // chitchat would resolve names on a thread pool, and ask each seed at its leisure: see `seeds`.
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: GOSSIP_PHI,
                sampling_window_size: 1_000,
                max_interval: settings.interval * 10,
                initial_interval: settings.interval * 2,
                dead_node_grace_period: GOSSIP_DEAD_MEMORY,
            },
            marked_for_deletion_grace_period: GOSSIP_DEAD_MEMORY,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let transport = PeerTransport { socket: Mutex::new(Some(PeerSocket { peers, messages })) };
        let chitchat = spawn_chitchat(config, vec![(FACTS_KEY.into(), facts)], &transport).await?;
        let changed = Arc::new(Notify::new());
        let notify = changed.clone();
        let on_change = move |_: chitchat::KeyChangeEvent<'_>| notify.notify_one();
        chitchat.chitchat().lock().await.subscribe_event(FACTS_KEY, on_change).forever();
        Ok(Self { chitchat, changed })
    }

    /// Waits until facts of some node have changed. None if gossip has ended instead, which only a mishap does.
    pub(super) async fn changed(&self) -> Option<()> {
        tokio::select! {
            biased;
            _ = self.chitchat.termination_watcher() => None,
            () = self.changed.notified() => Some(()),
        }
    }

    /// Gossips with an address at once rather than when its turn comes.
    pub(super) fn contact(&self, address: SocketAddr) {
        // Only a gossip that has ended refuses, and `changed` tells of that.
        let _ended = self.chitchat.gossip(address);
    }

    /// Replaces what this node says about itself.
    pub(super) async fn publish(&self, facts: String) {
        self.chitchat.chitchat().lock().await.self_node_state().set(FACTS_KEY, facts);
    }

    /// All that is known of all nodes, every life of each.
    pub(super) async fn nodes(&self) -> Vec<Gossiped> {
        let chitchat = self.chitchat.chitchat();
        let chitchat = chitchat.lock().await;
        let live: Vec<_> = chitchat.live_nodes().collect();
        let nodes = chitchat.node_states().iter().map(|(id, state)| Gossiped {
            name: id.node_id.to_string(),
            facts: state.get(FACTS_KEY).map(str::to_owned),
            live: live.contains(&id),
        });
        nodes.collect()
    }
}

/// Hands chitchat its one socket.
struct PeerTransport {
    socket: Mutex<Option<PeerSocket>>,
}

#[async_trait]
impl Transport for PeerTransport {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Box::new(socket.ok_or_else(|| anyhow::anyhow!("gossip has its socket already"))?))
    }
}

/// The connections, as chitchat sees them: datagrams from and to addresses.
struct PeerSocket {
    peers: Arc<Peers>,
    messages: Messages,
}

#[async_trait]
impl Socket for PeerSocket {
    /// Never waits: chitchat is a single task.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.peers.send_gossip(to, message.serialize_to_vec().into());
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        self.messages.lock().await.recv().await.ok_or_else(|| anyhow::anyhow!("the node stops"))
    }
}
