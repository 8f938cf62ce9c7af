//! One connection to a switch, for as long as it lasts: it carries bytes and time to the gate's machine
//! ([`fipple_protocol::gate`]), and does what that asks for.

use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fipple_protocol::esl::{Command, Event};
use fipple_protocol::gate::{Cluster, Effect, Gate, GateKey, GateMessage, Holder, Input, Intent, Reply, Why};
use fipple_protocol::peer::Refusal;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::connection::{Connection, Pending};
use super::identifiers::random_id;
use super::loss::Loss;
use super::serving::{Place, Serving, subscribe};
use super::standing::SwitchMembers;
use super::supervisor::Supervisor;
use crate::cluster::{Members, SwitchLink, SwitchTrouble};
use crate::limits::GATE_HEARD_MAX;

/// Why a session ended.
pub(super) enum End {
    /// The node stops.
    Stopped,
    /// Something is wrong with the switch, or with what leads to it.
    Lost(Loss),
}

/// Takes what nodes say to each other over the switch out of a connection's events.
#[derive(Clone)]
pub(super) struct Ears(mpsc::Sender<GateMessage>);

impl Ears {
    /// Whether the event was for the gate. In a flood of them some are lost: they are hints and no more.
    pub(super) fn hear(&self, event: Event<'_>) -> bool {
        let message = GateMessage::read(event);
        if let Some(message) = message {
            let _ = self.0.try_send(message);
        }
        message.is_some()
    }
}

/// A connection that is logged in, and the gate.
pub(super) struct Session<'a> {
    supervisor: &'a Supervisor,
    connection: Arc<Connection>,
    key: GateKey,
    gate: Gate,
    ears: Ears,
    heard: mpsc::Receiver<GateMessage>,
    /// The gate's command that the switch has not answered yet.
    under_way: Option<Pin<Box<dyn Future<Output = Input> + Send>>>,
    releasing: bool,
    serving: Option<Serving>,
    /// What went wrong first.
    loss: Option<Loss>,
}

/// A connection, and what was learnt over it before there is a gate.
pub(super) struct Opened {
    connection: Arc<Connection>,
    pub(super) core_uuid: String,
    ears: Ears,
    heard: mpsc::Receiver<GateMessage>,
}

/// Connects, listens for what nodes say over the switch, and asks which run of it this is.
pub(super) async fn open(supervisor: &Supervisor) -> Result<Opened, Loss> {
    let switch = &supervisor.switch;
    let (sender, heard) = mpsc::channel(GATE_HEARD_MAX);
    let ears = Ears(sender);
    let hearing = ears.clone();
    let sink = Box::new(move |event: Event<'_>| {
        hearing.hear(event);
    });
    let connection = Connection::open(&switch.host, &switch.config, switch.metrics.clone(), sink).await?;
    connection.permit_until(None);
    subscribe(&connection, &["SHUTDOWN"], &[GateMessage::SUBCLASS]).await?;
    let asked = connection.send_for_gate(Command::Api("global_getvar core_uuid"))?;
    let core_uuid = asked.reply().await?.trim().to_owned();
    Ok(Opened { connection: Arc::new(connection), core_uuid, ears, heard })
}

impl<'a> Session<'a> {
    pub(super) fn new(supervisor: &'a Supervisor, opened: Opened) -> Result<Self, Loss> {
        let Opened { connection, core_uuid, ears, heard } = opened;
        let node = supervisor.switch.peers.local();
        let key = GateKey::new(&core_uuid, node).ok_or_else(|| {
            Loss::new(SwitchTrouble::Unusable, format_args!("the switch's core_uuid is {core_uuid:?}"))
        })?;
        let nonce = random_id(&supervisor.switch.host)?;
        let gate = Gate::new(node, supervisor.now_ms(), nonce);
        let (under_way, releasing, serving, loss) = (None, false, None, None);
        Ok(Self { supervisor, connection, key, gate, ears, heard, under_way, releasing, serving, loss })
    }

    /// Serves the switch whenever this node holds its gate, until the connection is lost or the node stops.
    pub(super) async fn run(mut self) -> End {
        let mut members = self.supervisor.switch.peers.members();
        let mut intent = self.supervisor.intent.clone();
        self.say_link(SwitchLink::Standby);
        loop {
            let input = self.next_input(&mut members, &mut intent).await;
            if let Input::Reply(reply) = &input {
                self.note_reply(*reply);
            }
            let view = self.supervisor.members();
            for effect in self.gate.handle(self.supervisor.now_ms(), &view, input) {
                if effect == Effect::End {
                    return self.end();
                }
                self.carry_out(effect, &view).await;
            }
            if let Some(until_ms) = self.gate.may_command_until_ms() {
                self.connection.permit_until(Some(self.supervisor.instant(until_ms)));
            }
        }
    }

    /// What is heard comes before replies: the switch sent it before. Work that is done comes first, since nothing that is
    /// heard may keep it from going on; what may leave, the connection knows.
    async fn next_input(
        &mut self,
        members: &mut watch::Receiver<Arc<Members>>,
        intent: &mut watch::Receiver<Intent>,
    ) -> Input {
        let timer = self.gate.timer_ms().map(|at_ms| self.supervisor.instant(at_ms));
        tokio::select! {
            biased;
            loss = broken(&mut self.serving) => {
                self.loss.get_or_insert(loss);
                Input::GiveUp
            }
            Some(message) = self.heard.recv() => Input::Heard(message),
            input = answered(&mut self.under_way) => {
                self.under_way = None;
                input
            }
            _ = self.connection.lost() => Input::ConnectionLost,
            Ok(()) = intent.changed() => Input::ClusterChanged,
            Ok(()) = members.changed() => Input::ClusterChanged,
            () = at(timer) => Input::Timer,
        }
    }

    async fn carry_out(&mut self, effect: Effect, view: &SwitchMembers<'_>) {
        match effect {
            Effect::Read => {
                let (line, key) = (self.key.read(), self.key.clone());
                self.send(Command::Api(&line), move |reply| Reply::Read(key.holder(reply)));
            }
            Effect::Ask(message) => {
                self.supervisor.switch.metrics.gate.asked.inc();
                let pending = self.say(&message);
                self.await_reply(pending, |_| Reply::Asked);
            }
            Effect::Free(holder) => {
                let line = self.key.free(holder);
                self.send(Command::Api(&line), |reply| Reply::Freed(GateKey::is_done(reply)));
            }
            Effect::Take => {
                let line = self.key.take();
                self.send(Command::Api(&line), |reply| Reply::Took(GateKey::is_done(reply)));
            }
            Effect::Release => {
                self.releasing = true;
                let line = self.key.free(self.supervisor.switch.peers.local());
                self.send(Command::Api(&line), |reply| Reply::Freed(GateKey::is_done(reply)));
            }
            Effect::Say(message) => {
                if matches!(message, GateMessage::Answer { .. }) {
                    self.supervisor.switch.metrics.gate.answered.inc();
                }
                // Nobody waits for the reply; its place among the replies is kept.
                let _ = self.say(&message);
            }
            Effect::Believe(holder) => {
                self.supervisor.switch.metrics.gate.refuted.inc();
                let switch = &self.supervisor.switch.config.name;
                tracing::info!(switch, %holder, "the holder of the gate answers over the switch, and keeps it");
            }
            Effect::Taken(from) => self.note_taken(from),
            Effect::Attach => self.serving = Some(Serving::begin(self.place())),
            Effect::Detach(why) => self.detach(why, view).await,
            Effect::End => {}
        }
    }

    /// Ends everything that is done as the attached node, at once.
    async fn detach(&mut self, why: Why, view: &SwitchMembers<'_>) {
        #[cfg(feature = "planted")]
        if matches!(why, Why::Lost(_)) && self.supervisor.switch.host.appoints_after_loss() {
            let never_ms = self.supervisor.now_ms() + 3_600_000;
            return self.connection.permit_until(Some(self.supervisor.instant(never_ms)));
        }
        let leases = self.serving.take().map(Serving::stop);
        if why != Why::LetGo {
            self.connection.permit_until(None);
        } else if !view.has_successor()
            && let Some(leases) = leases.as_ref().and_then(|leases| leases.get())
        {
            // The gate is still this node's, and nobody else is there to do it.
            leases.leave().await;
        }
        self.connection.permit_until(None);
        let switch = &self.supervisor.switch;
        switch.detach();
        self.say_link(SwitchLink::Standby);
        let text = match why {
            Why::Lost(holder) => {
                switch.metrics.gate.lost.inc();
                format!("lost the gate, which {} holds", name(holder))
            }
            Why::Unread => "detached: the gate could not be read for too long".to_owned(),
            Why::LetGo => "detached: the node stops, or leaves the switch to another".to_owned(),
            Why::GaveUp => match &self.loss {
                Some(loss) => format!("detached: {loss}"),
                None => "detached".to_owned(),
            },
            Why::ConnectionLost => "detached: the connection is lost".to_owned(),
        };
        switch.note_gate(&text);
        tracing::info!(switch = switch.config.name, "{text}");
    }

    fn note_taken(&self, from: Option<fipple_protocol::NodeId>) {
        let switch = &self.supervisor.switch;
        let text = match from {
            Some(from) => {
                switch.metrics.gate.taken_over.inc();
                format!("took the gate over from {from}, which did not answer")
            }
            None => {
                switch.metrics.gate.taken.inc();
                "took the gate, which was free".to_owned()
            }
        };
        switch.note_gate(&text);
        tracing::info!(switch = switch.config.name, "{text}");
    }

    fn note_reply(&mut self, reply: Reply) {
        let switch = &self.supervisor.switch;
        match reply {
            Reply::Freed(freed) if std::mem::take(&mut self.releasing) => {
                if freed {
                    switch.metrics.gate.released.inc();
                }
                switch.note_gate("released the gate");
                tracing::info!(switch = switch.config.name, freed, "released the gate");
            }
            Reply::Read(Holder::Stranger) => {
                let key = self.key.read();
                tracing::error!(
                    switch = switch.config.name,
                    "the gate holds something that is no node: api {key}"
                );
            }
            _ => {}
        }
    }

    fn place(&self) -> Place {
        Place {
            switch: self.supervisor.switch.clone(),
            links: self.supervisor.links.clone(),
            known: self.supervisor.known.clone(),
            connection: self.connection.clone(),
            ears: self.ears.clone(),
            started: self.supervisor.started,
        }
    }

    fn say_link(&self, link: SwitchLink) {
        self.supervisor.links.set(&self.supervisor.switch, link, &self.supervisor.known);
    }

    fn say(&self, message: &GateMessage) -> Result<Pending, Refusal> {
        let headers = message.headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.connection.send_for_gate(Command::SendEvent { name: "CUSTOM", headers: &headers, body: "" })
    }

    fn send(&mut self, command: Command<'_>, judge: impl FnOnce(&str) -> Reply + Send + 'static) {
        let pending = self.connection.send_for_gate(command);
        self.await_reply(pending, judge);
    }

    fn await_reply(
        &mut self,
        pending: Result<Pending, Refusal>,
        judge: impl FnOnce(&str) -> Reply + Send + 'static,
    ) {
        self.under_way = Some(match pending {
            Ok(pending) => Box::pin(async move {
                match pending.reply().await {
                    Ok(reply) => Input::Reply(judge(&reply)),
                    Err(_) => Input::ConnectionLost,
                }
            }),
            Err(Refusal::Overloaded { .. }) => Box::pin(ready(Input::NotSent)),
            Err(_) => Box::pin(ready(Input::ConnectionLost)),
        });
    }

    fn end(self) -> End {
        if self.loss.is_none() && *self.supervisor.intent.borrow() == Intent::Stop {
            return End::Stopped;
        }
        let silent = || Loss::new(SwitchTrouble::Silent, "the switch does not answer");
        End::Lost(self.loss.or_else(|| self.connection.loss()).unwrap_or_else(silent))
    }
}

impl Supervisor {
    /// The members as they are now.
    fn members(&self) -> SwitchMembers<'_> {
        SwitchMembers {
            switch: &self.switch,
            members: self.switch.peers.members().borrow().clone(),
            intent: *self.intent.borrow(),
            started: self.started,
        }
    }

    /// The gate's time, which begins with the node.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn instant(&self, at_ms: u64) -> Instant {
        self.started + Duration::from_millis(at_ms)
    }
}

async fn broken(serving: &mut Option<Serving>) -> Loss {
    match serving {
        Some(serving) => serving.broken().await,
        None => pending().await,
    }
}

async fn answered(under_way: &mut Option<Pin<Box<dyn Future<Output = Input> + Send>>>) -> Input {
    match under_way {
        Some(input) => input.await,
        None => pending().await,
    }
}

async fn at(timer: Option<Instant>) {
    match timer {
        Some(timer) => sleep_until(timer).await,
        None => pending().await,
    }
}

fn name(holder: Holder) -> String {
    match holder {
        Holder::Us => "this node".to_owned(),
        Holder::Other(node) => format!("node {node}"),
        Holder::Nobody => "nobody".to_owned(),
        Holder::Stranger => "something that is no node".to_owned(),
    }
}
