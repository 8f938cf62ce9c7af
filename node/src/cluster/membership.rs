//! The task that keeps the list of members: it feeds the prober and the gossip, and publishes what they find.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::Hello;
use fipple_protocol::probe::{Effect, Input, Prober, Verdict};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::facts::{FactBook, Facts, Heard};
use super::gossip::{Gossip, Messages, Settings};
use super::identity::Identity;
use super::inbox::Signal;
use super::metrics::Metrics;
use super::peers::Peers;
use super::{Members, SwitchFact, view};
use crate::limits::{DOWN_MEMBER_MEMORY, MEMBERS, PROBE_TICK};

/// Ticks of the prober from one look at gossip's verdicts to the next: a second.
const GOSSIP_LOOK_TICKS: u32 = 10;

/// What the rest of the node wants others to know.
#[derive(Clone, Default)]
pub(super) struct Publication {
    pub(super) switches: Vec<SwitchFact>,
    pub(super) leaving: bool,
}

/// The members' task.
pub(super) struct Membership {
    identity: Arc<Identity>,
    peers: Arc<Peers>,
    metrics: Arc<Metrics>,
    prober: Prober,
    book: FactBook,
    down_since: BTreeMap<NodeId, Instant>,
    own: Facts,
    gossip: Option<Gossip>,
    messages: Messages,
    gossip_interval: Duration,
    /// How often gossip was started.
    gossip_starts: u64,
    publication: watch::Receiver<Publication>,
    members: watch::Sender<Arc<Members>>,
    /// The origin of the prober's time.
    epoch: Instant,
}

/// What the task is made of.
pub(super) struct Parts {
    pub(super) identity: Arc<Identity>,
    pub(super) peers: Arc<Peers>,
    pub(super) metrics: Arc<Metrics>,
    /// What the node says about itself; without an address if it does not know that yet.
    pub(super) own: Facts,
    pub(super) messages: Messages,
    pub(super) gossip_interval: Duration,
    pub(super) publication: watch::Receiver<Publication>,
    pub(super) members: watch::Sender<Arc<Members>>,
}

impl Membership {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            prober: Prober::new(parts.identity.id(), parts.own.incarnation),
            identity: parts.identity,
            peers: parts.peers,
            metrics: parts.metrics,
            book: FactBook::default(),
            down_since: BTreeMap::new(),
            own: parts.own,
            gossip: None,
            messages: parts.messages,
            gossip_interval: parts.gossip_interval,
            gossip_starts: 0,
            publication: parts.publication,
            members: parts.members,
            epoch: Instant::now(),
        }
    }

    /// Runs until the node stops.
    pub(super) async fn run(mut self, mut signals: mpsc::Receiver<Signal>) {
        self.start_gossip().await;
        let mut ticks = interval(PROBE_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_look = GOSSIP_LOOK_TICKS;
        loop {
            self.show_members();
            tokio::select! {
                biased;
                signal = signals.recv() => match signal {
                    Some(signal) => self.take(signal).await,
                    None => return,
                },
                Ok(()) = self.publication.changed() => self.publish().await,
                news = changed(self.gossip.as_ref()) => match news {
                    Some(()) => self.read_gossip(false).await,
                    None => {
                        tracing::error!("gossip has ended by itself and is started again");
                        self.gossip = None;
                    }
                },
                _ = ticks.tick() => {
                    self.probe(Input::Tick).await;
                    until_look -= 1;
                    if until_look == 0 {
                        until_look = GOSSIP_LOOK_TICKS;
                        self.start_gossip().await;
                        self.read_gossip(true).await;
                        self.contact_strangers();
                        self.forget_the_long_gone().await;
                    }
                }
            }
        }
    }

    async fn take(&mut self, signal: Signal) {
        match signal {
            Signal::Probe { from, message } => self.probe(Input::Received { from, message }).await,
            Signal::Heard(node) => self.probe(Input::Heard(node)).await,
            Signal::Stopped(node) => self.probe(Input::Stopped(node)).await,
            Signal::Connected { peer, address } => {
                self.probe(Input::Heard(peer)).await;
                if let Some(gossip) = &self.gossip {
                    gossip.contact(address);
                }
            }
            Signal::Greeted { peer, hello } => self.greeted(peer, hello).await,
        }
    }

    /// Learns where the peer is, and where this node is if it does not know.
    async fn greeted(&mut self, peer: NodeId, hello: Hello) {
        tracing::debug!(%peer, version = hello.version, "a peer introduced itself");
        if let Ok(address) = hello.address.parse() {
            self.peers.learn_address(peer, address);
        }
        let observed = hello.observed.and_then(|observed| observed.parse::<SocketAddr>().ok());
        if let Some(observed) = observed.filter(|_| self.own.address.is_empty()) {
            tracing::info!(%observed, %peer, "a peer tells where this node is");
            self.own.address = observed.to_string();
            self.start_gossip().await;
        }
    }

    // --- Gossip ---

    /// Starts to gossip, unless that was done: once the node knows where others reach it.
    async fn start_gossip(&mut self) {
        let (None, Ok(address)) = (&self.gossip, self.own.address.parse()) else { return };
        self.peers.set_own_address(address);
        let settings = Settings {
            cluster_id: self.identity.cluster_id().to_owned(),
            node: self.identity.id(),
            generation: self.own.started_at_ms.saturating_add(self.gossip_starts),
            address,
            interval: self.gossip_interval,
        };
        self.gossip_starts += 1;
        let Some(facts) = self.sign() else { return };
        match Gossip::start(settings, facts, self.peers.clone(), self.messages.clone()).await {
            Ok(gossip) => {
                self.peers.connected_addresses().into_iter().for_each(|peer| gossip.contact(peer));
                self.gossip = Some(gossip);
            }
            Err(error) => tracing::error!(%error, "gossip could not be started"),
        }
    }

    /// Takes up what gossip brought: new facts, and if asked for also who it thinks is live.
    async fn read_gossip(&mut self, with_verdicts: bool) {
        let Some(gossip) = &self.gossip else { return };
        let nodes = gossip.nodes().await;
        let local = self.identity.id().to_string();
        let mut live = BTreeMap::new();
        for node in nodes.into_iter().filter(|node| node.name != local) {
            if let Ok(id) = node.name.parse::<NodeId>() {
                *live.entry(id).or_insert(false) |= node.live;
            }
            let Some(facts) = node.facts else { continue };
            match self.book.hear(&node.name, &facts) {
                Heard::News(node) => self.learn(node).await,
                Heard::Nothing => {}
                Heard::Refused(why) => {
                    self.metrics.facts_refused.inc();
                    tracing::warn!(node = node.name, why, "facts were not believed");
                }
            }
        }
        if with_verdicts {
            for (node, live) in live {
                self.probe(Input::Gossip { node, live }).await;
            }
        }
    }

    /// Gossips with connected peers that have not said who they are. The first messages are datagrams, and may have been
    /// lost, or have come before the handshake's last packet; chitchat by itself speaks only to those that it knows.
    fn contact_strangers(&self) {
        let Some(gossip) = &self.gossip else { return };
        for (peer, address) in self.peers.connected_peers() {
            if self.book.get(peer).is_none() {
                gossip.contact(address);
            }
        }
    }

    async fn learn(&mut self, node: NodeId) {
        let Some(facts) = self.book.get(node) else { return };
        if let Ok(address) = facts.address.parse() {
            self.peers.learn_address(node, address);
        }
        let incarnation = facts.incarnation;
        self.probe(Input::Joined { node, incarnation }).await;
    }

    async fn publish(&mut self) {
        let publication = self.publication.borrow_and_update().clone();
        self.own.switches = publication.switches;
        self.own.leaving = publication.leaving;
        self.gossip_own_facts().await;
    }

    async fn gossip_own_facts(&mut self) {
        self.own.revision += 1;
        if let Some(facts) = self.sign()
            && let Some(gossip) = &self.gossip
        {
            gossip.publish(facts).await;
        }
    }

    fn sign(&self) -> Option<String> {
        match self.own.sign(&self.identity) {
            Ok((facts, 0)) => Some(facts),
            Ok((facts, left_out)) => {
                tracing::warn!(
                    left_out,
                    "too many switches to be gossiped: other nodes will not know of some"
                );
                Some(facts)
            }
            Err(error) => {
                tracing::error!(%error, "the node's facts could not be signed");
                None
            }
        }
    }

    // --- Probes ---

    async fn probe(&mut self, input: Input) {
        let now_ms = self.epoch.elapsed().as_millis() as u64;
        for effect in self.prober.handle(now_ms, input) {
            match effect {
                Effect::Send { to, message } => self.peers.send_probe(to, &message),
                Effect::Changed { node, verdict } => self.judged(node, verdict),
                Effect::Refuted { incarnation } => {
                    tracing::info!(incarnation, "others took this node for dead, and were told otherwise");
                    self.own.incarnation = incarnation;
                    self.gossip_own_facts().await;
                }
            }
        }
    }

    fn judged(&mut self, node: NodeId, verdict: Verdict) {
        let name = self.book.get(node).map(|facts| facts.name.as_str()).unwrap_or_default();
        match verdict {
            Verdict::Down => {
                tracing::warn!(%node, name, "a member is down");
                self.peers.disconnect(node);
                self.down_since.insert(node, Instant::now());
            }
            Verdict::Alive | Verdict::Unheard => {
                tracing::info!(%node, name, "a member is alive");
                self.down_since.remove(&node);
            }
        }
    }

    /// Forgets members that went down long ago, and the longest gone where there are too many.
    async fn forget_the_long_gone(&mut self) {
        let longest_gone = self.down_since.iter().min_by_key(|(_, since)| **since);
        let Some((node, since)) = longest_gone.map(|(node, since)| (*node, *since)) else { return };
        if since.elapsed() > DOWN_MEMBER_MEMORY || self.book.iter().count() >= MEMBERS {
            self.down_since.remove(&node);
            self.book.forget(node);
            self.peers.forget_address(node);
            self.probe(Input::Forgotten(node)).await;
        }
    }

    fn show_members(&self) {
        let members =
            view::members(self.identity.id(), &self.own, &self.book, |node| self.prober.verdict(node));
        self.members.send_if_modified(|shown| {
            let changed = shown.all != members.all;
            if changed {
                self.metrics.count_members(&members);
                *shown = Arc::new(members);
            }
            changed
        });
    }
}

/// Waits for news from gossip; for ever where there is none yet.
async fn changed(gossip: Option<&Gossip>) -> Option<()> {
    match gossip {
        Some(gossip) => gossip.changed().await,
        None => std::future::pending().await,
    }
}
