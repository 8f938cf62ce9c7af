//! The channels of one attached switch, as its events tell them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fipple_protocol::NodeId;
use fipple_protocol::call::parse_step_uuid;
use fipple_protocol::esl::{Event, Value, names};
use fipple_protocol::peer::{CallEvent, CallEventKind, CallSnapshot, ChannelInfo};
use tokio::time::Instant;

use super::channel::{CREATED_TIME, Channel, ChannelData, ChannelDump, bounded, fenced_by};
use super::fenced::is_wrapper;
use crate::limits::{CHANNEL_TEXT_MAX_BYTES, TABLE_ENDED_CHANNELS, TABLE_MAX_CHANNELS};
use crate::switch::Fence;
use crate::switch::commands::word;

/// Every channel of one switch.
#[derive(Debug)]
pub(crate) struct Table {
    switch: String,
    pub(super) channels: BTreeMap<String, Channel>,
    /// Calls that need an owner.
    pub(super) unowned: BTreeSet<String>,
    /// Calls of which the switch knows something newer.
    pub(super) outdated: BTreeSet<String>,
    /// Calls that are bridged to each other and need one owner: the one that survives, and the other.
    pub(super) meeting: BTreeSet<(String, String)>,
    pub(super) fence: Fence,
    ended: Ended,
}

/// Channels that have ended lately.
#[derive(Debug, Default)]
struct Ended {
    uuids: BTreeSet<String>,
    oldest_first: VecDeque<String>,
}

/// What follows from an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// What the call's owner has to hear.
    pub(crate) tell: Option<(NodeId, CallEvent)>,
    /// A call waits for an owner, or has to be read again or given the owner of another one.
    pub(crate) unowned: bool,
    /// The channel is not in the table, which is full, or no command could bear its name.
    pub(crate) lost: bool,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(switch: &str) -> Self {
        Self {
            switch: switch.to_owned(),
            channels: BTreeMap::new(),
            unowned: BTreeSet::new(),
            outdated: BTreeSet::new(),
            meeting: BTreeSet::new(),
            fence: Fence::None,
            ended: Ended::default(),
        }
    }

    /// Which fence the switch has.
    pub(crate) fn fence(&self) -> Fence {
        self.fence
    }

    /// Notes which fence the switch has, before anything is heard of its channels.
    pub(crate) fn fenced_by(&mut self, fence: Fence) {
        self.fence = fence;
    }

    /// Forgets everything: events may have been missed.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(&self.switch);
    }

    /// Takes a call's epoch for raised, whatever was read before.
    #[cfg(feature = "planted")]
    pub(crate) fn believe_epoch(&mut self, call: &str, epoch: u64) {
        if let Some(channel) = self.channels.get_mut(call) {
            channel.info.epoch = epoch;
        }
    }

    /// How many channels there are.
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Every channel.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Channel> {
        self.channels.values()
    }

    /// A channel.
    pub(crate) fn get(&self, uuid: &str) -> Option<&Channel> {
        self.channels.get(uuid)
    }

    /// A channel as others are told of it.
    pub(crate) fn info(&self, uuid: &str) -> Option<ChannelInfo> {
        let channel = self.channels.get(uuid)?;
        Some(ChannelInfo { owner: self.owner(channel), ..channel.info.clone() })
    }

    /// Channels in the order of their uuids.
    pub(crate) fn page<'a>(&'a self, after: &'a str) -> impl Iterator<Item = ChannelInfo> + 'a {
        let rest = (std::ops::Bound::Excluded(after.to_owned()), std::ops::Bound::Unbounded);
        self.channels
            .range::<String, _>(rest)
            .map(|(_, channel)| ChannelInfo { owner: self.owner(channel), ..channel.info.clone() })
    }

    /// What a new owner of the call needs.
    pub(crate) fn snapshot(&self, call: &str) -> Option<CallSnapshot> {
        let running = self.channels.get(call)?.claim.as_ref()?.running.map(|(step, _)| step);
        Some(CallSnapshot { channel: self.info(call)?, running, fenced: self.fence.checks_steps() })
    }

    /// Who controls the call that a channel belongs to.
    pub(crate) fn owner(&self, channel: &Channel) -> Option<NodeId> {
        let claimed = channel.claim.as_ref();
        claimed.or_else(|| self.channels.get(&channel.info.call)?.claim.as_ref())?.owner
    }

    /// Takes an event. One that changes nothing costs no memory.
    pub(crate) fn apply(&mut self, event: Event<'_>) -> Change {
        // A client's event can bear any name and any channel.
        let (Some(name), Some(uuid)) = (event.name(), event.get(names::UNIQUE_ID)) else {
            return Change::default();
        };
        if event.is_sent_by_client() {
            return Change::default();
        }
        let uuid = uuid.text();
        if !self.is_usable(&uuid) {
            return Change { lost: true, ..Change::default() };
        }
        match name.raw() {
            b"CHANNEL_HANGUP" | b"CHANNEL_HANGUP_COMPLETE" => self.hung_up(&uuid, event),
            b"CHANNEL_DESTROY" => {
                let change = self.hung_up(&uuid, event);
                self.remove(&uuid);
                change
            }
            b"CHANNEL_UUID" => {
                self.renamed(&uuid, event);
                Change::default()
            }
            b"CUSTOM" => self.step_ended(&uuid, event),
            name => self.happened(name, &uuid, event),
        }
    }

    /// Everything but an end.
    fn happened(&mut self, name: &[u8], uuid: &str, event: Event<'_>) -> Change {
        if !self.channels.contains_key(uuid) {
            // The first events of a channel's life do not describe it yet.
            if event.get(CREATED_TIME).is_none() {
                return Change::default();
            }
            let whole = name == b"CHANNEL_CREATE";
            if !self.insert(uuid, Channel { whole, ..Channel::new(&self.switch, uuid, &event) }) {
                return Change { lost: !self.ended.contains(uuid), ..Change::default() };
            }
        }
        let Some(channel) = self.channels.get_mut(uuid) else { return Change::default() };
        channel.hear(&event);
        if name == b"CHANNEL_EXECUTE"
            && !channel.unstarted.is_empty()
            && let Some(begun) = event.get(names::APPLICATION_UUID)
        {
            channel.has_begun(&begun.text());
        }
        if self.fence.checks_steps()
            && name.starts_with(b"CHANNEL_EXECUTE")
            && is_wrapper(self.fence, uuid, event)
        {
            return Change::default();
        }
        let kind = match name {
            b"CHANNEL_ANSWER" => {
                let at_us = event.number("Caller-Channel-Answered-Time").filter(|us| *us > 0);
                channel.info.answered_at_ms = Some(at_us.unwrap_or(channel.heard_at_us) / 1000);
                channel.fenced_by = fenced_by(uuid, &event);
                CallEventKind::Answered
            }
            b"CHANNEL_PARK" => {
                channel.park();
                if channel.parked_anew(&event, self.fence) {
                    let unowned = self.unowned.insert(uuid.to_owned());
                    return Change { unowned, ..Change::default() };
                }
                CallEventKind::Parked
            }
            b"CHANNEL_UNPARK" => {
                channel.in_park = false;
                channel.info.parked = false;
                return Change::default();
            }
            // A variable that is set is no work that somebody waits for, unless it is a step of the flow.
            b"CHANNEL_EXECUTE" | b"CHANNEL_EXECUTE_COMPLETE"
                if event.get(names::APPLICATION).is_some_and(|application| application.is("set"))
                    && step_of(uuid, event).is_none() =>
            {
                return Change::default();
            }
            b"CHANNEL_EXECUTE" => begin_application(channel, event),
            b"CHANNEL_EXECUTE_COMPLETE" => end_application(channel, event, self.fence),
            b"CHANNEL_BRIDGE" => return self.bridged(uuid, event),
            b"CHANNEL_UNBRIDGE" => return self.unbridged(uuid, event),
            b"DTMF" => CallEventKind::Dtmf { digit: text(event.get(names::DTMF_DIGIT)) },
            _ => return Change::default(),
        };
        self.tell(uuid, kind)
    }

    fn hung_up(&mut self, uuid: &str, event: Event<'_>) -> Change {
        let Some(channel) = self.channels.get_mut(uuid) else { return Change::default() };
        if std::mem::replace(&mut channel.hung_up, true) {
            return Change::default();
        }
        "hangup".clone_into(&mut channel.info.state);
        channel.info.parked = false;
        self.tell(uuid, CallEventKind::HungUp { cause: text(event.get(names::HANGUP_CAUSE)) })
    }

    /// `origination_uuid` and `uuid_setvar ... uuid` give a channel another name while it lives.
    fn renamed(&mut self, uuid: &str, event: Event<'_>) {
        let Some(old) = event.get(names::OLD_UNIQUE_ID) else { return };
        let Some(mut channel) = self.channels.remove(&*old.text()) else { return };
        if channel.info.call == channel.info.uuid {
            uuid.clone_into(&mut channel.info.call);
        }
        uuid.clone_into(&mut channel.info.uuid);
        if let Some(claim) = &mut channel.claim {
            // The owner knows the call by its old name, and an appointment may be on its way under that.
            (claim.accepted, claim.appointing) = (None, false);
            self.unowned.insert(uuid.to_owned());
        }
        self.channels.insert(uuid.to_owned(), channel);
    }

    /// The event comes once for both legs, on the A leg.
    fn bridged(&mut self, uuid: &str, event: Event<'_>) -> Change {
        let other = text(event.get("Bridge-B-Unique-ID").or(event.get(names::OTHER_LEG_UNIQUE_ID)));
        for (one, another) in [(uuid, other.as_str()), (other.as_str(), uuid)] {
            if let Some(channel) = self.channels.get_mut(one) {
                channel.info.bridged_to = Some(another.to_owned());
                channel.info.parked = false;
            }
        }
        let unowned = self.note_meeting(uuid, &other);
        Change { unowned, ..self.tell(uuid, CallEventKind::Bridged { other }) }
    }

    fn unbridged(&mut self, uuid: &str, event: Event<'_>) -> Change {
        let other = text(event.get("Bridge-B-Unique-ID").or(event.get(names::OTHER_LEG_UNIQUE_ID)));
        for (one, another) in [(uuid, other.as_str()), (other.as_str(), uuid)] {
            // A leg that is bridged anew hears the end of its old bridge afterwards.
            if let Some(channel) = self.channels.get_mut(one)
                && channel.info.bridged_to.as_deref() == Some(another)
            {
                channel.end_bridge();
            }
        }
        self.tell(uuid, CallEventKind::Unbridged)
    }

    pub(super) fn tell(&self, uuid: &str, kind: CallEventKind) -> Change {
        let tell = self.channels.get(uuid).and_then(|channel| {
            let call = if channel.claim.is_some() { uuid } else { &channel.info.call };
            let event = CallEvent {
                switch: self.switch.clone(),
                call: call.to_owned(),
                channel: uuid.to_owned(),
                kind,
            };
            Some((self.owner(channel)?, event))
        });
        Change { tell, ..Change::default() }
    }

    /// Takes what `uuid_dump` says of a channel, unless an event has said something later. Its epoch was `raised` before, or
    /// has to be.
    pub(crate) fn refresh(&mut self, uuid: &str, dump: &ChannelDump, raised: bool) -> Change {
        let mut fresh = Channel::from_dump(&self.switch, uuid, dump);
        fresh.read_claim(dump);
        if let Some(claim) = &mut fresh.claim {
            claim.settle_for(self.fence, raised);
        }
        let unowned = fresh.claim.is_some();
        let mut lost = false;
        if let Some(known) = self.channels.get_mut(uuid) {
            // What the channel wrote itself is right whenever it was read: it only rises.
            known.info.done = known.info.done.max(fresh.info.done);
            let is_older = known.heard_at_us > fresh.heard_at_us;
            if known.claim.is_some() || known.hung_up || (known.whole && is_older) {
                known.whole = true;
                return Change::default();
            }
            if is_older {
                known.take_claim_of(fresh);
            } else {
                *known = fresh;
            }
        } else if self.ended.contains(uuid) {
            return Change::default();
        } else {
            lost = !self.insert(uuid, fresh);
        }
        if unowned && !lost {
            self.unowned.insert(uuid.to_owned());
        }
        Change { unowned, lost, tell: None }
    }

    /// Takes what `uuid_dump` says of a call whose epoch somebody else has raised.
    pub(crate) fn read_again(&mut self, uuid: &str, dump: &ChannelDump, not_before: Instant) -> Change {
        let mut fresh = Channel::from_dump(&self.switch, uuid, dump);
        fresh.read_claim(dump);
        let Some(known) = self.channels.get_mut(uuid).filter(|known| !known.hung_up) else {
            return Change::default();
        };
        if known.claim.is_some() && fresh.info.epoch <= known.info.epoch && fresh.claim.is_some() {
            return Change::default();
        }
        let before = known.claim.take();
        let Some(mut claim) = fresh.claim else {
            // It was taken from its owner and sent to the fallback.
            return Change::default();
        };
        (known.info.epoch, known.info.done, known.info.flow) =
            (fresh.info.epoch, fresh.info.done, fresh.info.flow);
        claim.settle_for(self.fence, false);
        claim.not_before = Some(not_before);
        claim.appointing = before.is_some_and(|before| before.appointing);
        known.claim = Some(claim);
        self.unowned.insert(uuid.to_owned());
        Change { unowned: true, ..Change::default() }
    }

    /// Looks through all channels for those that were bridged to one that is no more: a dump still names it.
    pub(crate) fn forget_ended_partners(&mut self) {
        let is_gone = |uuid: &String| !self.channels.contains_key(uuid);
        let alone = |channel: &&Channel| channel.info.bridged_to.as_ref().is_some_and(is_gone);
        let alone: Vec<_> = self.all().filter(alone).map(|channel| channel.info.uuid.clone()).collect();
        for uuid in alone {
            if let Some(channel) = self.channels.get_mut(&uuid) {
                channel.end_bridge();
            }
        }
    }

    /// Ends a channel of which the switch knows nothing any more.
    pub(crate) fn vanished(&mut self, uuid: &str) -> Change {
        let already_told = self.channels.get(uuid).is_none_or(|channel| channel.hung_up);
        let change = if already_told {
            Change::default()
        } else {
            self.tell(uuid, CallEventKind::HungUp { cause: "unknown".to_owned() })
        };
        self.remove(uuid);
        change
    }

    /// Whether commands can bear a channel's name, which a caller chooses where the switch takes the SIP Call-ID for it:
    /// FreeSWITCH keeps no longer ones, and splits its arguments at spaces and by quotes. The fence names several channels
    /// in one word, and keeps locks under their names.
    fn is_usable(&self, uuid: &str) -> bool {
        let syntax: &[char] = if self.fence == Fence::Strict {
            &['\'', '"', '\\', ',', ';', ':', '/', '|', '$']
        } else {
            &['\'', '"', '\\']
        };
        uuid.len() <= CHANNEL_TEXT_MAX_BYTES && word("channel", uuid).is_ok() && !uuid.contains(syntax)
    }

    fn insert(&mut self, uuid: &str, channel: Channel) -> bool {
        let room = self.channels.len() < TABLE_MAX_CHANNELS && self.is_usable(uuid);
        if room && !self.ended.contains(uuid) {
            self.channels.insert(uuid.to_owned(), channel);
            return true;
        }
        false
    }

    /// Forgets a channel, also one that was never known: an answer that tells of it may be on its way.
    fn remove(&mut self, uuid: &str) {
        self.channels.remove(uuid);
        self.ended.put(uuid);
    }
}

impl Ended {
    fn contains(&self, uuid: &str) -> bool {
        self.uuids.contains(uuid)
    }

    fn put(&mut self, uuid: &str) {
        if !self.uuids.insert(uuid.to_owned()) {
            return;
        }
        self.oldest_first.push_back(uuid.to_owned());
        if self.oldest_first.len() > TABLE_ENDED_CHANNELS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.uuids.remove(&oldest);
        }
    }
}

fn begin_application(channel: &mut Channel, event: Event<'_>) -> CallEventKind {
    let application = text(event.get(names::APPLICATION));
    let application_uuid = event.get(names::APPLICATION_UUID).map(|uuid| bounded(uuid.text()));
    channel.info.application = Some(application.clone());
    channel.application_uuid.clone_from(&application_uuid);
    CallEventKind::Executing { application, application_uuid }
}

fn end_application(channel: &mut Channel, event: Event<'_>, fence: Fence) -> CallEventKind {
    let application = text(event.get(names::APPLICATION));
    let application_uuid = event.get(names::APPLICATION_UUID).map(|uuid| bounded(uuid.text()));
    if channel.application_uuid == application_uuid {
        channel.info.application = channel.info.parked.then(|| "park".to_owned());
        channel.application_uuid = None;
    }
    // A fenced channel says itself which step is done.
    if !fence.checks_steps()
        && let Some(step) = step_of(&channel.info.uuid, event)
        && let Some(claim) = &mut channel.claim
    {
        channel.info.done = channel.info.done.max(step);
        claim.running = claim.running.filter(|(running, _)| *running > step);
    }
    let response = text(event.get(names::APPLICATION_RESPONSE));
    CallEventKind::Executed { application, application_uuid, response }
}

/// Which step of the call's flow an execution is.
fn step_of(call: &str, event: Event<'_>) -> Option<u32> {
    let uuid = event.get(names::APPLICATION_UUID)?.text();
    parse_step_uuid(call, &uuid).map(|(step, _)| step)
}

pub(super) fn text(value: Option<Value<'_>>) -> String {
    value.map(|value| bounded(value.text())).unwrap_or_default()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
