//! What is done with calls.
//!
//! The node that is attached to a switch keeps a `table` of its channels and appoints an owner for every call
//! that fipple controls (`claims`, `appoint`). The owner runs the call's flow (`owned`). Any node finds any
//! channel and carries a command to it, by way of the call's owner (`route`).

pub(crate) mod appoint;
pub(crate) mod attached;
mod attendance;
pub(crate) mod channel;
mod claims;
mod config;
mod control_metrics;
mod deaths;
mod fenced;
mod handler;
mod keyed;
mod listing;
mod locations;
mod measure;
mod merge;
pub(crate) mod metrics;
mod owned;
pub(crate) mod peers;
mod queue;
mod route;
mod steps;
mod table;
pub(crate) mod trace;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fipple_protocol::call::Flow;
use fipple_protocol::peer::Refusal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::attached::AttachedSwitch;
use self::deaths::Deaths;
use self::locations::Locations;
use self::owned::OwnedCalls;
use self::peers::Peers;
use self::trace::Trace;
use crate::Error;
use crate::cluster::Cluster;
use crate::limits::{APPOINT_RETRY_MS, DRAIN_TIMEOUT_MS, SHUTDOWN_TIMEOUT_MS};
use crate::net::Host;
use crate::switch::supervisor::{Intent, Links, Supervisor};

pub use config::CallsConfig;
pub use listing::Listing;
pub use metrics::CallMetrics;
pub use route::{Commanded, Originated};
pub use trace::CallTrace;

/// Every call of the cluster, reached from this node. Cloning is cheap.
///
/// It is the cluster's [`Handler`](crate::cluster::Handler) and needs the cluster itself: make it with
/// [`Calls::new`], give a clone to the cluster, then [`Calls::run`] it.
#[derive(Clone)]
pub struct Calls {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    config: CallsConfig,
    flows: BTreeMap<String, Arc<Flow>>,
    metrics: CallMetrics,
    locations: Mutex<Locations>,
    intent: watch::Sender<Intent>,
    running: Mutex<Option<Arc<Running>>>,
    /// One supervisor a switch, and the flows' timer.
    tasks: Mutex<JoinSet<()>>,
}

/// What there is once the cluster is known.
struct Running {
    peers: Arc<dyn Peers>,
    switches: BTreeMap<String, Arc<AttachedSwitch>>,
    owned: Arc<OwnedCalls>,
    trace: Arc<Trace>,
}

impl Calls {
    /// Calls of a node that is being put together. Nothing runs yet.
    ///
    /// # Errors
    /// If two switches or flows bear one name, or a flow cannot be run.
    pub fn new(host: Host, config: CallsConfig) -> Result<Self, Error> {
        let flows = config.check()?;
        let inner = Inner {
            host,
            config,
            flows,
            metrics: CallMetrics::default(),
            locations: Mutex::default(),
            intent: watch::Sender::new(Intent::Serve),
            running: Mutex::default(),
            tasks: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins to serve the configured switches.
    pub fn run(&self, cluster: Cluster) {
        self.run_among(Arc::new(cluster));
    }

    /// What Prometheus is to learn.
    pub fn metrics(&self) -> &CallMetrics {
        &self.inner.metrics
    }

    fn run_among(&self, peers: Arc<dyn Peers>) {
        let inner = &self.inner;
        let started = Instant::now();
        let trace = Arc::new(Trace::new(inner.host.clock.clone()));
        let deaths = Arc::new(Deaths::default());
        let owned = OwnedCalls::new(
            inner.flows.clone(),
            peers.clone(),
            started,
            inner.metrics.owned.clone(),
            trace.clone(),
        );
        #[cfg(feature = "planted")]
        let owned = {
            let mut owned = owned;
            owned.plant(inner.host.planted);
            owned
        };
        let owned = Arc::new(owned);
        let links = Arc::new(Links::new(peers.clone()));
        let mut tasks = lock(&inner.tasks);
        let mut switches = BTreeMap::new();
        for config in &inner.config.switches {
            let metrics = inner.metrics.switch(&config.name);
            let switch = AttachedSwitch::new(
                config.clone(),
                inner.host.clone(),
                metrics,
                peers.clone(),
                trace.clone(),
                deaths.clone(),
            );
            let switch = Arc::new(switch);
            switches.insert(config.name.clone(), switch.clone());
            let supervisor = Supervisor::new(switch, links.clone(), inner.intent.subscribe(), started);
            tasks.spawn(supervisor.run());
        }
        tasks.spawn(owned.clone().keep_time());
        tasks.spawn(deaths.watch(peers.clone()));
        *lock(&inner.running) = Some(Arc::new(Running { peers, switches, owned, trace }));
    }

    /// Gives calls and switches over to other nodes, if there are any, and waits for it for a limited time. The node
    /// goes on working for what nobody took.
    pub async fn drain(&self) {
        let Ok(running) = self.running() else { return };
        running.peers.publish_leaving();
        self.inner.intent.send_replace(Intent::Leave);
        let handed_over = async {
            while running.has_work() && running.has_successor() {
                sleep(Duration::from_millis(APPOINT_RETRY_MS)).await;
                running.owned.ask_after_all();
            }
        };
        if timeout(Duration::from_millis(DRAIN_TIMEOUT_MS), handed_over).await.is_err() {
            tracing::warn!(calls = running.owned.len(), "not all calls were taken over by others in time");
        }
    }

    /// Lets go of all switches, so that other nodes can attach at once, and ends all work.
    pub async fn shutdown(&self) {
        self.inner.intent.send_replace(Intent::Stop);
        let mut tasks = std::mem::take(&mut *lock(&self.inner.tasks));
        let supervisors = self.inner.config.switches.len();
        let released = async {
            // All but the timer and the watch of deaths, which do not end by themselves.
            for _ in 0..supervisors {
                tasks.join_next().await;
            }
        };
        if timeout(Duration::from_millis(SHUTDOWN_TIMEOUT_MS), released).await.is_err() {
            tracing::warn!("not all switches could be told that this node leaves them");
        }
        tasks.shutdown().await;
        // The cluster holds a clone of this: let go of it.
        *lock(&self.inner.running) = None;
    }

    fn running(&self) -> Result<Arc<Running>, Refusal> {
        let starting = || Refusal::Overloaded { detail: "the node is starting or stopping".to_owned() };
        lock(&self.inner.running).clone().ok_or_else(starting)
    }
}

impl Running {
    /// A switch that this node is configured for.
    fn switch(&self, name: &str) -> Result<&Arc<AttachedSwitch>, Refusal> {
        self.switches.get(name).ok_or_else(|| Refusal::UnknownSwitch { switch: name.to_owned() })
    }

    /// Whether calls or switches depend on this node.
    fn has_work(&self) -> bool {
        self.owned.len() > 0 || self.attached().next().is_some()
    }

    /// Whether another node could take over what this one does.
    fn has_successor(&self) -> bool {
        let members = self.peers.members().borrow().clone();
        members.all.keys().any(|node| *node != self.peers.local() && members.is_alive(*node))
    }

    /// Switches that this node is attached to.
    fn attached(&self) -> impl Iterator<Item = &Arc<AttachedSwitch>> {
        self.switches.values().filter(|switch| switch.is_attached())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
