//! All connections of the node: one to each peer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fipple_protocol::NodeId;
use fipple_protocol::peer::{ProbeMessage, Refusal};
use quinn_proto::TransportErrorCode;
use rustls::AlertDescription;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::connection::{Close, Connection};
use super::endpoint::Endpoint;
use super::inbox::{Inbox, Signal};
use super::metrics::Metrics;
use super::table::{Dial, Table};
use super::tls::peer_id;
use crate::limits::{
    DIAL_QUEUE_MESSAGES, DUPLICATE_LINGER, MEMBERS, QUIC_CLOSE_TICK, QUIC_HANDSHAKE_TIMEOUT, QUIC_HANDSHAKES,
    QUIC_HANDSHAKES_UNVALIDATED,
};
use crate::net::Random;

/// The node's connections, and the dials that will become some.
pub(super) struct Peers {
    local: NodeId,
    endpoint: Endpoint,
    random: Arc<dyn Random>,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
    table: Mutex<Table>,
    /// Marked whenever a connection comes or a dial ends.
    changes: watch::Sender<()>,
}

/// What became of the wish to dial.
enum Dialling {
    /// A dial is under way, perhaps since earlier.
    InFlight,
    /// None is, and why.
    Not(&'static str),
}

impl Peers {
    pub(super) fn new(
        local: NodeId,
        endpoint: Endpoint,
        random: Arc<dyn Random>,
        inbox: Arc<Inbox>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let changes = watch::Sender::new(());
        Arc::new(Self { local, endpoint, random, inbox, metrics, table: Mutex::default(), changes })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn set_own_address(&self, address: SocketAddr) {
        self.lock().own_address = Some(address);
    }

    /// Remembers where a member says that it is.
    pub(super) fn learn_address(&self, node: NodeId, address: SocketAddr) {
        let mut table = self.lock();
        // Whoever claims an address last has it; the one that had it before has moved or is gone.
        table.addresses.retain(|other, known| *known != address || *other == node);
        if table.addresses.len() < MEMBERS || table.addresses.contains_key(&node) {
            table.addresses.insert(node, address);
        }
    }

    /// Forgets where a former member was.
    pub(super) fn forget_address(&self, node: NodeId) {
        self.lock().addresses.remove(&node);
    }

    /// The connection to a node, if there is one now.
    pub(super) fn connection(&self, node: NodeId) -> Option<Arc<Connection>> {
        self.lock().connection(node)
    }

    /// The connection to a node, dialled if need be. The caller sets the time-out.
    pub(super) async fn connect(self: &Arc<Self>, node: NodeId) -> Result<Arc<Connection>, Refusal> {
        let mut changes = self.changes.subscribe();
        let mut dialled = false;
        loop {
            if let Some(connection) = self.connection(node) {
                return Ok(connection);
            }
            let in_flight = self.lock().dial_in_flight(node);
            if !in_flight {
                let refused = |why: &str| Err(Refusal::Unreachable { node, detail: why.into() });
                if dialled {
                    return refused("it does not answer");
                }
                if let Dialling::Not(why) = self.dial_node(node) {
                    return refused(why);
                }
            }
            dialled = true;
            if changes.changed().await.is_err() {
                return Err(Refusal::Unreachable { node, detail: "this node stops".into() });
            }
        }
    }

    /// The connection to a node. If there is none, a dial is started for the next time.
    pub(super) fn connected(self: &Arc<Self>, node: NodeId) -> Result<Arc<Connection>, Refusal> {
        self.connection(node).ok_or_else(|| {
            self.dial_node(node);
            Refusal::Unreachable { node, detail: "it is not connected".into() }
        })
    }

    /// Starts to dial an address unless it is connected, being dialled, or was dialled in vain just now.
    pub(super) fn dial_address(self: &Arc<Self>, address: SocketAddr) {
        let known = {
            let table = self.lock();
            table.own_address == Some(address) || table.connection_at(address).is_some()
        };
        if !known {
            self.dial(address, None);
        }
    }

    /// Where connected peers are.
    pub(super) fn connected_addresses(&self) -> Vec<SocketAddr> {
        self.connected_peers().into_iter().map(|(_, address)| address).collect()
    }

    /// Which peers are connected, and where they are.
    pub(super) fn connected_peers(&self) -> Vec<(NodeId, SocketAddr)> {
        self.lock().connections.values().map(|connection| (connection.peer, connection.address)).collect()
    }

    /// Sends a probe, which is lost unless there is a connection; without one, a dial is started.
    pub(super) fn send_probe(self: &Arc<Self>, node: NodeId, message: &ProbeMessage) {
        match self.connection(node) {
            Some(connection) => connection.send_probe(message),
            None => drop(self.dial_node(node)),
        }
    }

    /// Sends gossip to an address, after dialling it if need be. It never waits; what waits is bounded.
    pub(super) fn send_gossip(self: &Arc<Self>, to: SocketAddr, message: Bytes) {
        let connection = {
            let table = self.lock();
            if table.own_address == Some(to) {
                // chitchat takes an earlier life of this node, at the same address, for another node.
                return;
            }
            table.connection_at(to)
        };
        match connection {
            Some(connection) => connection.send_gossip(message),
            None => drop(self.dial(to, Some(message))),
        }
    }

    /// Ends the connection to a node that was found to be down, so that nobody waits for its answers.
    pub(super) fn disconnect(&self, node: NodeId) {
        if let Some(connection) = self.connection(node) {
            connection.close(Close::Down, "it was found to be down");
        }
    }

    /// Takes those who dial, until the endpoint is closed.
    pub(super) async fn accept(self: Arc<Self>) {
        let handshakes = Arc::new(Semaphore::new(QUIC_HANDSHAKES));
        while let Some(incoming) = self.endpoint.accept().await {
            let Ok(permit) = handshakes.clone().try_acquire_owned() else {
                incoming.ignore();
                continue;
            };
            let crowded = handshakes.available_permits() < QUIC_HANDSHAKES - QUIC_HANDSHAKES_UNVALIDATED;
            if crowded && incoming.may_retry() {
                // Whoever forges addresses does not see this, and costs no more.
                let _validated_already = incoming.retry();
                continue;
            }
            let peers = self.clone();
            tokio::spawn(async move {
                peers.shake_hands(incoming).await;
                drop(permit);
            });
        }
    }

    async fn shake_hands(self: &Arc<Self>, incoming: quinn::Incoming) {
        let address = incoming.remote_address();
        let refused = match timeout(QUIC_HANDSHAKE_TIMEOUT, incoming.into_future()).await {
            Ok(Ok(quic)) => self.up(quic, false).err(),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {QUIC_HANDSHAKE_TIMEOUT:?}")),
        };
        if let Some(why) = refused {
            tracing::debug!(%address, why, "a handshake failed");
        }
    }

    /// Ends all connections in a way that tells peers that the node stops.
    pub(super) async fn shut_down(&self) {
        // Handshakes under way, most often with nodes that are gone, would be waited for the longest.
        let handshakes = self.endpoint.open_connections().saturating_sub(self.lock().connections.len());
        self.endpoint.close(Close::Shutdown.code(), b"the node stops");
        while self.endpoint.open_connections() > handshakes {
            tokio::time::sleep(QUIC_CLOSE_TICK).await;
        }
    }

    // --- Dialling ---

    /// Dials an address although it may be connected.
    #[cfg(test)]
    pub(super) fn dial_again(self: &Arc<Self>, address: SocketAddr) {
        self.dial(address, None);
    }

    fn dial_node(self: &Arc<Self>, node: NodeId) -> Dialling {
        let address = self.lock().addresses.get(&node).copied();
        match address {
            Some(address) => self.dial(address, None),
            None => Dialling::Not("its address is not known"),
        }
    }

    fn dial(self: &Arc<Self>, address: SocketAddr, message: Option<Bytes>) -> Dialling {
        let now = Instant::now();
        let mut table = self.lock();
        if !table.make_room_for_dial(address, now) {
            return Dialling::Not("too many addresses are being dialled");
        }
        let dial = table.dials.entry(address).or_insert_with(|| Dial::new(now));
        if !dial.in_flight && now < dial.retry_at {
            return Dialling::Not("it did not answer just now");
        }
        if let Some(message) = message {
            if dial.queue.len() >= DIAL_QUEUE_MESSAGES {
                dial.queue.pop_front();
            }
            dial.queue.push_back(message);
        }
        if !dial.in_flight {
            dial.in_flight = true;
            let peers = self.clone();
            tokio::spawn(async move { peers.run_dial(address).await });
        }
        Dialling::InFlight
    }

    async fn run_dial(self: Arc<Self>, address: SocketAddr) {
        let handshake = async {
            self.endpoint
                .dial(address)
                .map_err(|error| error.to_string())?
                .await
                .map_err(|error| explain(&error))
        };
        let connected = match timeout(QUIC_HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(quic)) => self.up(quic, true),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(format!("no answer within {QUIC_HANDSHAKE_TIMEOUT:?}")),
        };
        match connected {
            Ok(connection) => {
                let dial = self.lock().dials.remove(&address);
                for message in dial.into_iter().flat_map(|dial| dial.queue) {
                    connection.send_gossip(message);
                }
            }
            Err(error) => {
                self.metrics.dials_failed.inc();
                let mut table = self.lock();
                let dial = table.dials.get_mut(&address);
                let (pause, failures) =
                    dial.map_or((None, 0), |dial| (Some(dial.fail(&*self.random)), dial.failures));
                drop(table);
                // Said once in a row of failures, which may go on for ever.
                if failures == 1 {
                    tracing::warn!(%address, error, "a node cannot be reached, which is tried again");
                } else {
                    tracing::debug!(%address, error, ?pause, "a dial failed");
                }
            }
        }
        self.changes.send_replace(());
    }

    // --- Connections that come and go ---

    /// Takes in a connection whose handshake has ended.
    fn up(self: &Arc<Self>, quic: quinn::Connection, dialled: bool) -> Result<Arc<Connection>, String> {
        let peer = match peer_id(&quic) {
            Some(peer) if peer != self.local => peer,
            Some(_) => return Err(refuse(&quic, "this is the node itself")),
            None => return Err(refuse(&quic, "the certificate is not over an Ed25519 key")),
        };
        self.metrics.handshakes.inc();
        let connection = Arc::new(Connection::new(quic, peer, dialled, self.metrics.clone()));
        let (kept, loser) = self.lock().add(self.local, &connection);
        if let Some(loser) = loser {
            tokio::spawn(async move {
                tokio::time::sleep(DUPLICATE_LINGER).await;
                loser.close(Close::Duplicate, "there is another connection");
            });
        }
        let own_address = self.lock().own_address;
        // A new stream's queue is empty.
        let _has_room = connection.greet(own_address);
        self.inbox.signal(Signal::Connected { peer, address: connection.address });
        self.changes.send_replace(());
        self.count();
        tokio::spawn(self.clone().run(connection));
        Ok(kept)
    }

    async fn run(self: Arc<Self>, connection: Arc<Connection>) {
        let ended = connection.run(&self.inbox).await;
        let peer = connection.peer;
        tracing::debug!(%peer, address = %connection.address, error = %ended, "a connection ended");
        let was_the_one = self.lock().remove(&connection);
        if let quinn::ConnectionError::ApplicationClosed(close) = &ended
            && close.error_code == Close::Shutdown.code()
            && was_the_one
        {
            self.inbox.signal(Signal::Stopped(peer));
        }
        self.count();
    }

    fn count(&self) {
        self.metrics.peers_connected.set(self.lock().connections.len() as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a dial, with the most likely cause where the other's certificate was refused.
fn explain(error: &quinn::ConnectionError) -> String {
    let alert = |description: AlertDescription| TransportErrorCode::crypto(description.into());
    let cause = match error {
        quinn::ConnectionError::TransportError(broken)
            if broken.code == alert(AlertDescription::UnknownCA) =>
        {
            "; it belongs to another cluster"
        }
        quinn::ConnectionError::TransportError(broken)
            if broken.code == alert(AlertDescription::CertificateExpired) =>
        {
            "; look at the clocks of both machines"
        }
        _ => "",
    };
    format!("{error}{cause}")
}

fn refuse(quic: &quinn::Connection, why: &str) -> String {
    quic.close(Close::Refused.code(), why.as_bytes());
    why.to_owned()
}
