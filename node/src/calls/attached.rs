//! What a node knows of a switch that it may be attached to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::esl::Event;
use fipple_protocol::peer::{Refusal, Response};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::channel::ChannelDump;
use super::claims::Appointment;
use super::deaths::Deaths;
use super::keyed::Keys;
use super::measure::Takeovers;
use super::metrics::SwitchMetrics;
use super::peers::Peers;
use super::table::{Change, Table};
use super::trace::{Trace, What, Why, short};
use crate::limits::EPOCH_RAISED_PAUSE_MS;
use crate::net::Host;
use crate::switch::answers::Answers;
use crate::switch::attachment::Attachment;
use crate::switch::commands::SwitchFacts;
use crate::switch::fence::InEpoch;
use crate::switch::{Fence, SwitchConfig};

/// One configured switch: its table of channels while this node is attached to it, and the way to it.
pub(crate) struct AttachedSwitch {
    pub(crate) config: SwitchConfig,
    pub(crate) host: Host,
    pub(crate) metrics: SwitchMetrics,
    pub(crate) peers: Arc<dyn Peers>,
    trace: Arc<Trace>,
    takeovers: Takeovers,
    keys: Mutex<Keys>,
    table: Mutex<Table>,
    attachment: Mutex<Option<Arc<Attachment>>>,
    /// What became of commands, whichever attachment carried them.
    pub(crate) answers: Arc<Mutex<Answers>>,
    /// Calls wait in the table for an owner.
    pub(crate) unowned: Notify,
}

impl AttachedSwitch {
    pub(crate) fn new(
        config: SwitchConfig,
        host: Host,
        metrics: SwitchMetrics,
        peers: Arc<dyn Peers>,
        trace: Arc<Trace>,
        deaths: Arc<Deaths>,
    ) -> Self {
        let table = Mutex::new(Table::new(&config.name));
        Self {
            config,
            host,
            metrics,
            peers,
            trace,
            takeovers: Takeovers::new(deaths),
            keys: Mutex::default(),
            table,
            attachment: Mutex::default(),
            answers: Arc::default(),
            unowned: Notify::new(),
        }
    }

    /// Remembers something of a call on this switch, and counts it.
    pub(crate) fn note(&self, call: &str, what: What) {
        self.takeovers.measure(&self.metrics.control, call, &what);
        self.trace.note_on(&self.config.name, call, what);
    }

    /// Remembers who is to own a call, and counts it if it was taken from somebody else.
    pub(super) fn note_owner(&self, call: &str, appointment: &Appointment, why: Why, before: Option<NodeId>) {
        let Appointment { owner, epoch, .. } = *appointment;
        if let Some(before) = before.filter(|before| *before != owner) {
            self.metrics.control.takeover(why);
            if why == Why::OwnerDied {
                self.takeovers.begin(call, before);
            }
        }
        self.note(call, What::Appointed { owner, epoch, why });
    }

    /// Remembers something of the switch, which is told with each of its calls.
    pub(crate) fn note_gate(&self, text: &str) {
        self.trace.note_switch(&self.config.name, text);
    }

    /// The commands that came under a key, whichever attachment carried them.
    pub(super) fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call that a channel belongs to; the channel itself where it is not known.
    pub(super) fn call_of(&self, channel: &str) -> String {
        let info = self.table().get(channel).map(|known| (known.claim.is_some(), known.info.call.clone()));
        match info {
            Some((false, call)) => call,
            _ => channel.to_owned(),
        }
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the switch.
    ///
    /// # Errors
    /// If this node is not attached to it.
    pub(crate) fn attachment(&self) -> Result<Arc<Attachment>, Refusal> {
        let attachment = self.attachment.lock().unwrap_or_else(PoisonError::into_inner).clone();
        attachment.ok_or_else(|| Refusal::SwitchUnavailable {
            switch: self.config.name.clone(),
            detail: "this node is not attached to it".to_owned(),
        })
    }

    /// Whether this node is attached.
    pub(crate) fn is_attached(&self) -> bool {
        self.attachment.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Lets commands through, now that the table is complete.
    pub(crate) fn attach(&self, attachment: Arc<Attachment>) {
        self.metrics.control.fence(attachment.fence());
        self.note_gate("this node has attached to the switch");
        *self.attachment.lock().unwrap_or_else(PoisonError::into_inner) = Some(attachment);
        self.metrics.attached.set(1);
        self.metrics.attachments.inc();
        self.unowned.notify_one();
    }

    /// Forgets the channels: from now on another node knows more about them.
    pub(crate) fn detach(&self) {
        let before = { self.attachment.lock().unwrap_or_else(PoisonError::into_inner).take() };
        if before.is_some() {
            self.note_gate("this node is attached to the switch no more");
        }
        self.table().clear();
        self.takeovers.forget_all();
        self.metrics.attached.set(0);
        self.metrics.control.fence(Fence::None);
        self.metrics.channels.set(0);
    }

    /// Takes an event of the switch, in the task that reads the socket.
    pub(crate) fn event(&self, event: Event<'_>) {
        let (change, channels) = {
            let mut table = self.table();
            let change = table.apply(event);
            (change, table.len())
        };
        self.metrics.channels.set(channels as u64);
        self.follow(change);
    }

    /// Asks the switch for a channel of which no event has told.
    pub(crate) async fn learn(&self, uuid: &str) {
        if let Ok(attachment) = self.attachment()
            && let Ok(Some(dump)) = attachment.dump(uuid).await
        {
            self.refresh(uuid, &dump, false);
        }
    }

    /// Takes what `uuid_dump` says of a channel, whose epoch was `raised` before if it was this node's to raise.
    pub(crate) fn refresh(&self, uuid: &str, dump: &ChannelDump, raised: bool) {
        let change = self.table().refresh(uuid, dump, raised);
        self.follow(change);
    }

    /// Asks the switch for a call whose epoch somebody else has raised: who controls it now?
    pub(crate) async fn read_again(&self, call: &str) {
        let Ok(attachment) = self.attachment() else { return };
        match attachment.dump(call).await {
            Ok(Some(dump)) => {
                let not_before = Instant::now() + Duration::from_millis(EPOCH_RAISED_PAUSE_MS);
                let is_claimed = |table: &Table| table.get(call).is_some_and(|known| known.claim.is_some());
                let (change, is_ejected) = {
                    let mut table = self.table();
                    let was_claimed = is_claimed(&table);
                    let change = table.read_again(call, &dump, not_before);
                    (change, was_claimed && !is_claimed(&table))
                };
                if is_ejected {
                    let text = "it was taken from its owner, and sent to the operator's fallback";
                    self.note(call, What::Lease { text: short(text) });
                }
                self.follow(change);
            }
            Ok(None) => self.vanished(call),
            // The next event, question or look at all calls finds the same.
            Err(refusal) => tracing::debug!(call, "the call cannot be read again: {refusal}"),
        }
    }

    /// Asks the call's own channel how far it has come.
    pub(crate) async fn read_progress(&self, call: &str) {
        let Ok(attachment) = self.attachment() else { return };
        match attachment.progress(call).await {
            Ok(Some(progress)) => self.table().note_progress(call, &progress),
            Ok(None) => self.vanished(call),
            // The owner asks as well, before long.
            Err(refusal) => tracing::debug!(call, "the call's progress cannot be read: {refusal}"),
        }
    }

    /// Ends a channel that the switch does not know any more.
    pub(crate) fn vanished(&self, uuid: &str) {
        let change = self.table().vanished(uuid);
        if change.tell.is_some() {
            tracing::info!(switch = self.config.name, channel = uuid, "a call ended without an event");
            self.metrics.gaps.inc();
        }
        self.follow(change);
    }

    fn follow(&self, change: Change) {
        if change.lost {
            self.metrics.gaps.inc();
            tracing::debug!(
                switch = self.config.name,
                "the table of channels is full, or a channel's name cannot be used: it is not controlled"
            );
        }
        if change.unowned {
            self.unowned.notify_one();
        }
        if let Some((_, event)) = &change.tell
            && let Some(what) = What::of_event(&event.kind)
        {
            self.note(&event.call, what);
        }
        if let Some((owner, event)) = change.tell
            && let Err(refusal) = self.peers.send_event(owner, event)
        {
            // The owner asks for a snapshot when it has not heard of a step for too long.
            self.metrics.gaps.inc();
            tracing::debug!(switch = self.config.name, %owner, "an event did not reach the call's owner: {refusal}");
        }
    }
}

impl SwitchFacts for (&AttachedSwitch, &Attachment) {
    fn has_channel(&self, uuid: &str) -> bool {
        self.0.table().get(uuid).is_some()
    }

    fn is_parked(&self, uuid: &str) -> bool {
        self.0.table().get(uuid).is_some_and(|channel| channel.info.parked)
    }

    fn has_application(&self, name: &str) -> bool {
        self.1.has_application(name)
    }

    fn fence(&self) -> Fence {
        self.1.fence()
    }

    fn in_epochs(&self, channels: &[&str]) -> Vec<InEpoch> {
        self.0.table().in_epochs(channels)
    }

    fn epoch_in(&self, uuid: &str) -> Option<u64> {
        self.0.table().epoch_in(uuid)
    }

    fn enqueue(&self, uuid: &str, event_uuid: &str) -> Result<(), Refusal> {
        self.0.table().enqueue(uuid, event_uuid)
    }

    fn dequeue(&self, uuid: &str, event_uuid: &str) {
        self.0.table().dequeue(uuid, event_uuid);
    }
}

/// What a request to a node was answered, as what came of it.
pub(crate) fn accepted(response: Response) -> Result<Response, Refusal> {
    match response {
        Response::Refused(refusal) => Err(refusal),
        response => Ok(response),
    }
}
