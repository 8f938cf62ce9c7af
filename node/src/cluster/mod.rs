//! The nodes among themselves.
//!
//! From the bottom up: `identity` says who a node is and `authority` who belongs together; `tls` and `endpoint`
//! make connections of that, `peers` keeps one to each node, and `connection` carries requests, events, gossip
//! and probes on it. `gossip` spreads what each node says about itself (`facts`, signed), probes find out who is
//! alive, and `membership` makes of both the list of [`Members`] that the rest of the node acts upon.

mod authority;
mod connection;
mod endpoint;
mod envelope;
mod facts;
mod gossip;
mod identity;
mod inbox;
mod members;
mod membership;
mod metrics;
mod peers;
mod requests;
mod seeds;
mod streams;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod tls;
mod view;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fipple_protocol::NodeId;
use fipple_protocol::peer::{CallEvent, Refusal, Request, Response};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::limits::{GOSSIP_INTERVAL_MS, GOSSIP_QUEUE_MESSAGES, QUIC_CLOSE_TIMEOUT, SIGNAL_QUEUE};
use crate::net::Host;
use endpoint::Endpoint;
use facts::{Facts, check_text};
use inbox::Inbox;
use membership::{Membership, Parts, Publication};
use peers::Peers;
use time::Time;

pub use identity::Identity;
pub(crate) use identity::node_id;
pub use members::{Member, MemberState, Members, SwitchFact, SwitchLink, SwitchTrouble};
pub use metrics::Metrics;

/// How a node takes part in its cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The node's name, for people.
    pub name: String,
    /// Where its QUIC listens.
    pub listen: SocketAddr,
    /// Where others reach it, `host:port`, if that is not where it listens. A node that listens on every address
    /// of its machine and has none set here takes the one that the first peer sees.
    pub advertise: Option<String>,
    /// Nodes to ask for the cluster, `host:port`. One that answers is enough; the very first node has none.
    pub seeds: Vec<String>,
    /// The node's zone.
    pub zone: String,
    /// Its capacity relative to the others, at least 1.
    pub weight: u16,
    /// Where its REST listens as others reach it, `host:port`.
    pub api_address: Option<String>,
    /// The interval between rounds of gossip, in milliseconds.
    pub gossip_interval_ms: u64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: SocketAddr::from(([0, 0, 0, 0], 7400)),
            advertise: None,
            seeds: Vec::new(),
            zone: String::new(),
            weight: 1,
            api_address: None,
            gossip_interval_ms: GOSSIP_INTERVAL_MS,
        }
    }
}

/// What the rest of the node does for the cluster.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Carries out a request of another member (or of this node).
    async fn request(&self, from: NodeId, request: Request) -> Response;
    /// Takes an event of a call that this node owns. Must not block.
    fn event(&self, from: NodeId, event: CallEvent);
    /// Takes a message of the replication of documents. Must not block. A node that keeps none ignores it.
    fn document(&self, _from: NodeId, _message: &[u8]) {}
}

/// This node's place in the cluster. Cloning is cheap and yields the same place.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    local: NodeId,
    address: SocketAddr,
    peers: Arc<Peers>,
    handler: Arc<dyn Handler>,
    metrics: Arc<Metrics>,
    members: watch::Receiver<Arc<Members>>,
    publication: watch::Sender<Publication>,
    tasks: Mutex<JoinSet<()>>,
}

impl Cluster {
    /// Starts the node's part in its cluster: it listens, looks for its seeds and gossips, until it is shut down.
    ///
    /// # Errors
    /// If a setting is wrong, the address is taken, or the data directory cannot be written. Nothing runs then.
    pub async fn start(
        host: Host,
        config: ClusterConfig,
        identity: Identity,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, Error> {
        for (setting, text) in [("name", &config.name), ("zone", &config.zone)] {
            check_text(setting, text)?;
        }
        check_text("api", config.api_address.as_deref().unwrap_or_default())?;
        let advertised = match &config.advertise {
            Some(advertise) => Some(resolve(&host, advertise).await?),
            None => None,
        };
        let identity = Arc::new(identity);
        let (started_at_ms, time) = Time::start(&host)?;
        let endpoint = Endpoint::bind(host.clone(), time, identity.clone(), config.listen)?;
        let address = endpoint.address()?;
        let own_address =
            advertised.or_else(|| Some(address).filter(|address| !address.ip().is_unspecified()));
        let own = own_facts(&config, own_address, started_at_ms);

        let metrics = Arc::new(Metrics::default());
        let (gossip_sender, messages) = mpsc::channel(GOSSIP_QUEUE_MESSAGES);
        let (signal_sender, signals) = mpsc::channel(SIGNAL_QUEUE);
        let inbox = Arc::new(Inbox::new(handler.clone(), gossip_sender, signal_sender));
        let peers = Peers::new(identity.id(), endpoint, host.random.clone(), inbox, metrics.clone());
        let first = view::members(identity.id(), &own, &facts::FactBook::default(), |_| None);
        metrics.count_members(&first);
        let (members_sender, members) = watch::channel(Arc::new(first));
        let (publication, publication_receiver) = watch::channel(Publication::default());
        let local = identity.id();
        let membership = Membership::new(Parts {
            identity,
            peers: peers.clone(),
            metrics: metrics.clone(),
            own,
            messages: Arc::new(tokio::sync::Mutex::new(messages)),
            gossip_interval: Duration::from_millis(config.gossip_interval_ms),
            publication: publication_receiver,
            members: members_sender,
        });

        let mut tasks = JoinSet::new();
        tasks.spawn(peers.clone().accept());
        tasks.spawn(membership.run(signals));
        let fresh = peers.clone();
        tasks.spawn(async move { fresh.endpoint().keep_certificate_fresh().await });
        tasks.spawn(seeds::dial_seeds(config.seeds, host.network.clone(), peers.clone()));
        tracing::info!(node = %local, %address, "the node listens for its cluster");
        let tasks = Mutex::new(tasks);
        let inner = Inner { local, address, peers, handler, metrics, members, publication, tasks };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This node.
    pub fn local(&self) -> NodeId {
        self.inner.local
    }

    /// Where this node's QUIC listens, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// What is counted here.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The members, now and whenever they change.
    pub fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.inner.members.clone()
    }

    /// Asks a node (this one included: then the handler is called directly) and waits at most `deadline`.
    /// Time-outs, full queues and broken connections come back as `Response::Refused`.
    pub async fn request(&self, to: NodeId, request: Request, deadline: Duration) -> Response {
        let timed_out = || Response::Refused(Refusal::TimedOut { detail: format!("node {to}") });
        if to == self.inner.local {
            let answer = self.inner.handler.request(to, request);
            return timeout(deadline, answer).await.unwrap_or_else(|_| timed_out());
        }
        let begun = Instant::now();
        match timeout(deadline, self.inner.peers.connect(to)).await {
            Ok(Ok(connection)) => connection.request(request, deadline.saturating_sub(begun.elapsed())).await,
            Ok(Err(refusal)) => Response::Refused(refusal),
            Err(_) => timed_out(),
        }
    }

    /// Sends an event towards the owner of its call without waiting (to this node itself: directly to the
    /// handler).
    ///
    /// # Errors
    /// If it could not even be queued: the caller notes the gap.
    pub fn send_event(&self, to: NodeId, event: CallEvent) -> Result<(), Refusal> {
        if to == self.inner.local {
            self.inner.handler.event(to, event);
            return Ok(());
        }
        let sent = self.inner.peers.connected(to).and_then(|connection| connection.send_event(&event));
        if sent.is_err() {
            self.inner.metrics.events_overflowed.inc();
        }
        sent
    }

    /// Sends a message of the replication of documents without waiting. Those to one node arrive in their order,
    /// as long as the connection stands.
    ///
    /// # Errors
    /// If it could not be queued: there is no connection, or too much waits already.
    pub fn send_document(&self, to: NodeId, message: &[u8]) -> Result<(), Refusal> {
        if to == self.inner.local {
            self.inner.handler.document(to, message);
            return Ok(());
        }
        self.inner.peers.connected(to)?.send_document(message)
    }

    /// Replaces what this node gossips about its switches.
    pub fn publish_switches(&self, switches: Vec<SwitchFact>) {
        self.inner.publication.send_if_modified(|publication| {
            let changed = publication.switches != switches;
            publication.switches = switches;
            changed
        });
    }

    /// Says that this node will leave: others give it no new work.
    pub fn publish_leaving(&self) {
        self.inner
            .publication
            .send_if_modified(|publication| !std::mem::replace(&mut publication.leaving, true));
    }

    /// Stops, and tells all peers at once that this node is down. Requests under way fail.
    pub async fn shutdown(&self) {
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        // Peers that are gone themselves need not be waited for.
        let _some_did_not_answer = timeout(QUIC_CLOSE_TIMEOUT, self.inner.peers.shut_down()).await;
    }
}

fn own_facts(config: &ClusterConfig, address: Option<SocketAddr>, started_at_ms: u64) -> Facts {
    Facts {
        name: config.name.clone(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        api_address: config.api_address.clone(),
        zone: config.zone.clone(),
        weight: config.weight.max(1),
        version: env!("CARGO_PKG_VERSION").into(),
        started_at_ms,
        incarnation: started_at_ms,
        revision: 0,
        leaving: false,
        switches: Vec::new(),
    }
}

async fn resolve(host: &Host, advertise: &str) -> Result<SocketAddr, Error> {
    let wrong = |detail: String| Error::Configuration { origin: "advertise".into(), detail };
    let addresses = host.network.resolve(advertise).await;
    let addresses = addresses.map_err(|error| wrong(format!("{advertise} cannot be resolved: {error}")))?;
    addresses.into_iter().next().ok_or_else(|| wrong(format!("{advertise} has no address")))
}
