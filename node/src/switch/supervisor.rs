//! Keeps one switch: connects, waits for the gate, attaches, and begins anew when something breaks.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::esl::{Command, EventFormat};
use fipple_protocol::ownership::{self, Candidate};
use fipple_protocol::peer::Refusal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::attachment::Attachment;
use super::connection::{Connection, EventSink};
use super::gate::{Gate, Holder};
use super::lease::Leases;
use super::snapshot::{rebuild, reconcile};
use crate::calls::appoint::keep_calls_owned;
use crate::calls::attached::AttachedSwitch;
use crate::calls::peers::Peers;
use crate::cluster::{MemberState, Members, SwitchFact, SwitchLink};
use crate::limits::{
    EVENTS_CHECK_MS, GATE_CHECK_MS, GATE_PATIENCE_MS, RECONCILE_INTERVAL_MS, SHOW_CHANNELS_LAG_MS,
    SWITCH_RECONNECT_FIRST_MS, SWITCH_RECONNECT_LONGEST_MS, SWITCH_REPLY_TIMEOUT_MS, UNKNOWN_NODE_GRACE_MS,
};
use crate::net::Host;

/// What a node is about to do with its switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Serve them.
    Serve,
    /// Leave each to another node that can reach it.
    Leave,
    /// Let go of them at once.
    Stop,
}

/// What this node says about its switches, all in one place.
pub(crate) struct Links {
    facts: Mutex<BTreeMap<String, SwitchFact>>,
    peers: Arc<dyn Peers>,
}

/// Keeps one switch until it is told to stop.
pub(crate) struct Supervisor {
    pub(crate) switch: Arc<AttachedSwitch>,
    pub(crate) links: Arc<Links>,
    pub(crate) intent: watch::Receiver<Intent>,
    /// When the node was started.
    pub(crate) started: Instant,
}

/// The events that change what is known of a channel. Each further one would be sent for every call
/// (`tests/fixtures/freeswitch/README.md`, "Volumes seen").
const EVENTS: &[&str] = &[
    "CHANNEL_CREATE",
    "CHANNEL_UUID",
    "CHANNEL_CALLSTATE",
    "CHANNEL_ANSWER",
    "CHANNEL_PARK",
    "CHANNEL_UNPARK",
    "CHANNEL_BRIDGE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_EXECUTE",
    "CHANNEL_EXECUTE_COMPLETE",
    "DTMF",
    "CHANNEL_HANGUP",
    "CHANNEL_HANGUP_COMPLETE",
    "CHANNEL_DESTROY",
    "SHUTDOWN",
];

/// Events that fipple's own scripts in the switch fire.
const SUBCLASSES: &[&str] = &["fipple::step", "fipple::gate"];

/// Why a session with a switch ended.
enum End {
    Stopped,
    Lost(String),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Lost(refusal.to_string())
    }
}

impl Links {
    pub(crate) fn new(peers: Arc<dyn Peers>) -> Self {
        Self { facts: Mutex::default(), peers }
    }

    fn set(&self, switch: &AttachedSwitch, link: SwitchLink) {
        let fence = (link == SwitchLink::Attached).then(|| switch.table().fence());
        let config = &switch.config;
        let fact = SwitchFact {
            name: config.name.clone(),
            zone: config.zone.clone(),
            address: config.address.clone(),
            link,
            fence,
        };
        let facts = {
            let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
            if facts.insert(config.name.clone(), fact.clone()) == Some(fact) {
                return;
            }
            facts.values().cloned().collect()
        };
        self.peers.publish_switches(facts);
    }
}

impl Supervisor {
    /// Runs until [`Intent::Stop`].
    pub(crate) async fn run(mut self) {
        let mut pause_ms = SWITCH_RECONNECT_FIRST_MS;
        loop {
            let begun = Instant::now();
            self.links.set(&self.switch, SwitchLink::Unreachable);
            // A node that lives keeps its gate: without a session nobody would ever serve the switch again.
            let reason = match isolate(self.session()).await {
                Some(End::Stopped) => return,
                Some(End::Lost(reason)) => reason,
                None => "the session panicked".to_owned(),
            };
            self.switch.detach();
            self.links.set(&self.switch, SwitchLink::Unreachable);
            let config = &self.switch.config;
            tracing::warn!(
                switch = config.name,
                address = config.address,
                "the switch cannot be used: {reason}"
            );
            // A session that lasted shows that the switch is well.
            if begun.elapsed() > Duration::from_millis(SWITCH_RECONNECT_LONGEST_MS) {
                pause_ms = SWITCH_RECONNECT_FIRST_MS;
            }
            tokio::select! {
                biased;
                () = intent_is(&mut self.intent, Intent::Stop) => return,
                () = sleep(jittered(&self.switch.host, pause_ms)) => {}
            }
            pause_ms = (pause_ms * 2).min(SWITCH_RECONNECT_LONGEST_MS);
        }
    }

    /// One connection to the switch, for as long as it lasts.
    async fn session(&mut self) -> End {
        let mut stop = self.intent.clone();
        let opening = self.open(Box::new(|_| {}));
        let connection = tokio::select! {
            biased;
            () = intent_is(&mut stop, Intent::Stop) => return End::Stopped,
            opened = opening => match opened {
                Ok(connection) => Arc::new(connection),
                Err(reason) => return End::Lost(reason),
            },
        };
        let gate = match Gate::of(&connection, self.switch.peers.local()).await {
            Ok(gate) => gate,
            Err(refusal) => return refusal.into(),
        };
        match self.stand_by(&gate, &connection).await {
            Ok(()) => End::Stopped,
            Err(end) => end,
        }
    }

    /// Waits for the gate, attaches, and again. Ends well only when the node stops.
    async fn stand_by(&mut self, gate: &Gate, connection: &Arc<Connection>) -> Result<(), End> {
        let mut members = self.switch.peers.members();
        let mut unattended_since = None;
        loop {
            self.links.set(&self.switch, SwitchLink::Standby);
            if self.wants_gate(&members.borrow_and_update().clone())
                && self.pass_gate(gate, connection, &mut unattended_since).await?
            {
                let ended = self.attached(gate, connection).await;
                self.switch.detach();
                self.release(gate, connection).await;
                ended?;
                unattended_since = None;
            }
            tokio::select! {
                biased;
                () = intent_is(&mut self.intent, Intent::Stop) => return Ok(()),
                reason = connection.lost() => return Err(End::Lost(reason)),
                Ok(()) = members.changed() => {}
                () = sleep(Duration::from_millis(GATE_CHECK_MS)) => {}
            }
        }
    }

    /// Takes the gate if nobody holds it who may live. The node that rendezvous names goes first.
    async fn pass_gate(
        &self,
        gate: &Gate,
        connection: &Connection,
        unattended_since: &mut Option<Instant>,
    ) -> Result<bool, End> {
        let holder = gate.holder(connection).await?;
        let members = self.switch.peers.members().borrow().clone();
        let dead = match holder {
            Holder::Us => return Ok(true),
            Holder::Nobody => None,
            Holder::Other(node) if self.is_dead(&members, node) => Some(node),
            Holder::Other(_) => {
                *unattended_since = None;
                return Ok(false);
            }
            Holder::Stranger => {
                tracing::error!(switch = self.switch.config.name, "the gate holds something that is no node");
                return Ok(false);
            }
        };
        let since = *unattended_since.get_or_insert_with(Instant::now);
        if !self.goes_first(&members) && since.elapsed() < Duration::from_millis(GATE_PATIENCE_MS) {
            return Ok(false);
        }
        Ok(match dead {
            Some(node) => gate.take_from(connection, node).await?,
            None => gate.take(connection).await?,
        })
    }

    /// Serves the switch until something breaks, the gate is lost or the node leaves.
    async fn attached(&mut self, gate: &Gate, connection: &Arc<Connection>) -> Result<(), End> {
        let answers = self.switch.answers.clone();
        let attachment = Attachment::begin(connection.clone(), answers, &self.switch.config).await?;
        let attachment = Arc::new(attachment);
        self.switch.table().fenced_by(attachment.fence());
        let hearing = self.switch.clone();
        let sink: EventSink = Box::new(move |event| hearing.event(event));
        let events = self.open(sink).await.map_err(End::Lost)?;
        let subscription =
            Command::Events { format: EventFormat::Plain, names: EVENTS, subclasses: SUBCLASSES };
        let reply = events.command(subscription).await?;
        if !reply.starts_with("+OK") {
            return Err(End::Lost(format!("the switch refuses the subscription: {reply}")));
        }
        Box::pin(rebuild(&self.switch, &attachment)).await?;
        let leases = Leases::begin(self.switch.clone(), attachment.clone(), self.started).await;
        self.switch.attach(attachment.clone());
        self.links.set(&self.switch, SwitchLink::Attached);
        let (channels, fence) = (self.switch.table().len(), attachment.fence().word());
        tracing::info!(switch = self.switch.config.name, channels, fence, "attached");
        let switch = self.switch.clone();
        let end = tokio::select! {
            biased;
            () = self.told_to_let_go() => Ok(()),
            reason = connection.lost() => Err(End::Lost(reason)),
            reason = events.lost() => Err(End::Lost(format!("events: {reason}"))),
            reason = gate.lost(connection) => Err(End::Lost(reason)),
            refusal = prove_alive(&events) => Err(refusal.into()),
            // Before owners are appointed: whoever has just come has a lease by then.
            () = leases.keep() => Ok(()),
            () = reconcile_forever(&switch, &attachment) => Ok(()),
            () = Box::pin(keep_calls_owned(switch.clone(), self.started)) => Ok(()),
        };
        if end.is_ok() && !self.has_successor(&self.switch.peers.members().borrow().clone()) {
            leases.leave().await;
        }
        end
    }

    /// Gives the gate back, so that the next node need not wait for this one to be declared dead.
    async fn release(&self, gate: &Gate, connection: &Connection) {
        let releasing = timeout(Duration::from_millis(SWITCH_REPLY_TIMEOUT_MS), gate.release(connection));
        let released = matches!(releasing.await, Ok(Ok(true)));
        tracing::info!(switch = self.switch.config.name, released, "detached");
    }

    async fn open(&self, sink: EventSink) -> Result<Connection, String> {
        let switch = &self.switch;
        Connection::open(&switch.host, &switch.config, switch.metrics.clone(), sink).await
    }

    /// Waits until the node stops, or leaves and somebody else can serve the switch.
    async fn told_to_let_go(&self) {
        let mut intent = self.intent.clone();
        let mut members = self.switch.peers.members();
        loop {
            match *intent.borrow_and_update() {
                Intent::Stop => return,
                Intent::Leave if self.has_successor(&members.borrow_and_update()) => return,
                _ => {}
            }
            tokio::select! {
                biased;
                Ok(()) = intent.changed() => {}
                Ok(()) = members.changed() => {}
                else => return,
            }
        }
    }

    fn wants_gate(&self, members: &Members) -> bool {
        match *self.intent.borrow() {
            Intent::Serve => true,
            Intent::Leave => !self.has_successor(members),
            Intent::Stop => false,
        }
    }

    /// Nodes that can reach the switch and are to stay, but for this one.
    fn others<'a>(&'a self, members: &'a Members) -> impl Iterator<Item = Candidate> + 'a {
        let config = &self.switch.config;
        let local = self.switch.peers.local();
        let alive =
            members.all.values().filter(move |member| member.id != local && members.is_alive(member.id));
        let reaches = |fact: &SwitchFact| fact.name == config.name && fact.link != SwitchLink::Unreachable;
        alive.filter(move |member| member.switches.iter().any(reaches)).map(|member| Candidate {
            node: member.id,
            weight: member.weight,
            in_zone: member.zone == config.zone,
        })
    }

    fn has_successor(&self, members: &Members) -> bool {
        self.others(members).next().is_some()
    }

    /// Whether this node is the one that rendezvous names for the switch.
    fn goes_first(&self, members: &Members) -> bool {
        let local = self.switch.peers.local();
        let member = members.all.get(&local);
        let this = Candidate {
            node: local,
            weight: member.map_or(1, |member| member.weight),
            in_zone: member.is_some_and(|member| member.zone == self.switch.config.zone),
        };
        let name = self.switch.config.name.as_bytes();
        ownership::owner(name, self.others(members).chain([this])) == Some(local)
    }

    fn is_dead(&self, members: &Members, node: NodeId) -> bool {
        match members.all.get(&node) {
            Some(member) => member.state == MemberState::Down,
            None => self.started.elapsed() > Duration::from_millis(UNKNOWN_NODE_GRACE_MS),
        }
    }
}

/// What came of some work; none if it panicked.
async fn isolate<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Asks the event connection for a sign of life, by something that it answers without running an API command.
async fn prove_alive(events: &Connection) -> Refusal {
    loop {
        sleep(Duration::from_millis(EVENTS_CHECK_MS)).await;
        let again = Command::Events { format: EventFormat::Plain, names: &["SHUTDOWN"], subclasses: &[] };
        if let Err(refusal) = events.command(again).await {
            return refusal;
        }
    }
}

/// Compares the table with the switch for as long as it is polled. A comparison that fails is made good by the next:
/// whether the switch lives is for others to find out.
async fn reconcile_forever(switch: &Arc<AttachedSwitch>, attachment: &Arc<Attachment>) {
    // What began just before the subscription was not in the first list yet.
    let mut pause_ms = SHOW_CHANNELS_LAG_MS;
    loop {
        sleep(Duration::from_millis(pause_ms)).await;
        pause_ms = RECONCILE_INTERVAL_MS;
        if let Err(refusal) = reconcile(switch, attachment).await {
            let switch = &switch.config.name;
            tracing::warn!(switch, "the channels could not be compared with the switch's: {refusal}");
        }
    }
}

/// Waits until the node wants `wanted`, or is being dropped.
async fn intent_is(intent: &mut watch::Receiver<Intent>, wanted: Intent) {
    let _ = intent.wait_for(|intent| *intent == wanted).await;
}

/// Between half of a pause and all of it, so that nodes that lost a switch together do not return together.
fn jittered(host: &Host, pause_ms: u64) -> Duration {
    let mut byte = [0];
    // Without randomness every node waits the whole pause, which is no worse than no jitter.
    let part = if host.random.fill(&mut byte).is_ok() { u64::from(byte[0]) } else { 255 };
    Duration::from_millis(pause_ms / 2 + pause_ms / 2 * part / 255)
}
