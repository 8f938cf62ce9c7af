//! One channel of an attached switch.

use std::borrow::Cow;

use fipple_protocol::NodeId;
use fipple_protocol::esl::{Event, names};
use fipple_protocol::peer::ChannelInfo;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::limits::CHANNEL_TEXT_MAX_BYTES;

/// The variable that makes a call fipple's, which the dialplan sets to 0 before it parks the call; from then on
/// the epoch of its control.
pub(crate) const EPOCH_VARIABLE: &str = "fipple_epoch";
/// The variable that names the node that owns the call.
pub(crate) const OWNER_VARIABLE: &str = "fipple_owner";
/// The variable that says how many steps of the flow are done.
pub(crate) const DONE_VARIABLE: &str = "fipple_done";
/// The variable that says which step runs in a fenced channel, and in which epoch it was sent: `step:epoch`.
pub(crate) const RUN_VARIABLE: &str = "fipple_run";
/// The variable that names the run of the switch (`Core-UUID`) in which the call was given its epoch.
pub(crate) const CORE_VARIABLE: &str = "fipple_core";
/// The variable that says which version these variables have.
pub(crate) const FORMAT_VARIABLE: &str = "fipple_format";
/// The variable by which a B leg names its A leg.
pub(crate) const CALL_VARIABLE: &str = "fipple_call";
/// The variable that holds the keys of the latest commands.
pub(crate) const KEYS_VARIABLE: &str = "fipple_keys";
/// The variable that holds what the switch answered when fipple's extension set the call's timer.
pub(crate) const TIMER_VARIABLE: &str = "fipple_timer";
/// The variable that names the call's flow.
pub(crate) const FLOW_VARIABLE: &str = "fipple_flow";

/// The mark of a running step where it is a variable of a scope, as the dialplan snippet makes it.
const SCOPED_RUN: &str = "scope_variable_fipple_run";

/// The header that says when a channel was created, in microseconds since 1970.
pub(crate) const CREATED_TIME: &str = "Caller-Channel-Created-Time";

/// What describes a channel: an event, or a `uuid_dump`.
pub(crate) trait ChannelData {
    /// A header's value.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// A variable's value.
    fn variable(&self, name: &str) -> Option<Cow<'_, str>>;

    /// A header's value as a number.
    fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }
}

impl ChannelData for Event<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(|value| value.text())
    }

    fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        Event::variable(*self, name).map(|value| value.text())
    }
}

/// A `uuid_dump <uuid> json`.
pub(crate) struct ChannelDump(Map<String, Value>);

impl ChannelDump {
    /// Reads what the switch answered; none if it is no dump.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }
}

impl ChannelData for ChannelDump {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.get(name)?.as_str().map(Cow::Borrowed)
    }

    fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.get(&format!("{}{name}", names::VARIABLE_PREFIX))?.as_str().map(Cow::Borrowed)
    }
}

/// A channel, as the attached node knows it.
#[derive(Debug)]
pub(crate) struct Channel {
    /// What others are told; the owner stands in the claim.
    pub(crate) info: ChannelInfo,
    /// Fipple's control of the call, where the channel is the A leg of a call that it controls.
    pub(crate) claim: Option<Claim>,
    /// The channel is in the state or the application `park`, whatever runs on top of it.
    pub(crate) in_park: bool,
    /// Whether everything is known of the channel: its life was heard from its beginning, or the switch was asked.
    /// An event in the middle of a life does not say who controls the call.
    pub(crate) whole: bool,
    /// When the switch last said something about the channel, in microseconds since 1970 by its clock.
    pub(crate) heard_at_us: u64,
    /// Which execution `info.application` is.
    pub(crate) application_uuid: Option<String>,
    /// What was put into the channel's own queue and has not begun, and when it was put there.
    pub(crate) unstarted: Vec<(String, Instant)>,
    /// The A leg that the channel itself names (`fipple_call`), by whose epoch it is fenced.
    pub(crate) fenced_by: Option<String>,
    /// The channel has ended, and its owner has been told.
    pub(crate) hung_up: bool,
}

/// Fipple's control of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The owner that the switch names.
    pub(crate) owner: Option<NodeId>,
    /// The node that accepted the call from this attachment, and when it was started.
    pub(crate) accepted: Option<(NodeId, u64)>,
    /// An appointment is on its way.
    pub(crate) appointing: bool,
    /// The step that the switch has taken and not ended, and the epoch under which it was sent.
    pub(crate) running: Option<(u32, u64)>,
    /// The call needs a higher epoch before its owner, or another one, goes on with it: what was sent before must not count.
    pub(crate) renew: bool,
    /// Somebody else has raised the epoch: nothing is done about the call before this.
    pub(crate) not_before: Option<Instant>,
    /// What the switch answered when fipple's extension set the timer that sends an unclaimed call away. Another answer is
    /// another timer, and the epoch has to rise once more to stop it.
    pub(crate) timer: Option<String>,
    /// The flow that the channel asked for when it parked, whatever has become of it since.
    pub(crate) asked_flow: Option<String>,
    /// When it parked, in microseconds since 1970 by the switch's clock: what was said earlier is of a life before.
    pub(crate) since_us: u64,
    /// A command is sending the call elsewhere.
    pub(crate) by_hand: bool,
    /// The channel that a command has told this one to take away from whom it talks to.
    pub(crate) intercepts: Option<String>,
}

impl Channel {
    /// A channel that was not known before.
    pub(crate) fn new(switch: &str, uuid: &str, data: &impl ChannelData) -> Self {
        let text = |name| data.header(name).map(bounded).unwrap_or_default();
        let microseconds = |name| data.number(name).filter(|us| *us > 0);
        let info = ChannelInfo {
            uuid: uuid.to_owned(),
            switch: switch.to_owned(),
            call: call_of(uuid, data),
            direction: text(names::CALL_DIRECTION),
            state: text(names::CHANNEL_CALL_STATE).to_ascii_lowercase(),
            caller_id_name: text(names::CALLER_CALLER_ID_NAME),
            caller_id_number: text(names::CALLER_CALLER_ID_NUMBER),
            destination_number: text(names::CALLER_DESTINATION_NUMBER),
            created_at_ms: microseconds(CREATED_TIME).unwrap_or_default() / 1000,
            answered_at_ms: microseconds("Caller-Channel-Answered-Time").map(|us| us / 1000),
            ..ChannelInfo::default()
        };
        let heard_at_us = data.number(names::EVENT_DATE_TIMESTAMP).unwrap_or_default();
        Self {
            info,
            claim: None,
            in_park: false,
            whole: false,
            heard_at_us,
            application_uuid: None,
            unstarted: Vec::new(),
            fenced_by: fenced_by(uuid, data),
            hung_up: false,
        }
    }

    /// A channel as `uuid_dump` shows it.
    pub(crate) fn from_dump(switch: &str, uuid: &str, dump: &ChannelDump) -> Self {
        let mut channel = Self::new(switch, uuid, dump);
        channel.whole = true;
        let application = dump.variable("current_application").map(bounded);
        let state = dump.header(names::CHANNEL_STATE).unwrap_or_default();
        // The states of a leg that uuid_bridge took, and of every B leg.
        let exchanges = ["CS_SOFT_EXECUTE", "CS_EXCHANGE_MEDIA", "CS_HIBERNATE"].contains(&&*state);
        let named_park = application.as_deref() == Some("park");
        // uuid_park is a state and no application, and the last application's name stays.
        channel.in_park = !exchanges && (named_park || state == "CS_PARK");
        // It is there as long as the bridge stands; signal_bond and bridge_uuid stay when it is over.
        let bridged_to = dump.variable("bridge_to").filter(|other| !other.is_empty());
        channel.info.bridged_to = bridged_to.map(bounded);
        channel.info.parked = channel.in_park && channel.info.bridged_to.is_none();
        channel.info.application = application;
        channel
    }

    /// Notes that the channel waits for commands from now on.
    pub(crate) fn park(&mut self) {
        self.in_park = true;
        self.info.parked = true;
        if self.info.application.as_deref() != Some("park") {
            self.info.application = Some("park".to_owned());
            self.application_uuid = None;
        }
    }

    /// Notes that the channel is bridged no more. No event says that it is back in `park` after an application that
    /// bridged it.
    pub(crate) fn end_bridge(&mut self) {
        self.info.bridged_to = None;
        self.info.parked = self.in_park && !self.hung_up;
        // What was run inside the bridge has taken the bridge's place here, and has ended.
        if self.info.parked && self.application_uuid.is_none() {
            self.info.application = Some("park".to_owned());
        }
    }

    /// Reads whether fipple controls the call, from variables that stand in the data.
    pub(crate) fn read_claim(&mut self, data: &impl ChannelData) {
        let Some(epoch) = data.variable(EPOCH_VARIABLE).and_then(|epoch| epoch.parse().ok()) else { return };
        let owner = data.variable(OWNER_VARIABLE).and_then(|owner| owner.parse().ok());
        if owner.is_none() && !self.info.parked {
            return;
        }
        self.info.epoch = epoch;
        self.info.done = data.variable(DONE_VARIABLE).and_then(|done| done.parse().ok()).unwrap_or_default();
        self.info.flow = data.variable(FLOW_VARIABLE).filter(|flow| !flow.is_empty()).map(bounded);
        let mark = data.variable(RUN_VARIABLE).or_else(|| data.header(SCOPED_RUN));
        let running = mark.and_then(|mark| running_mark(&mark, self.info.done));
        let core = data.variable(CORE_VARIABLE);
        // A channel that was recovered after the switch had ended: nothing of what it was doing goes on.
        let recovered = core.is_some_and(|core| data.header(names::CORE_UUID).is_some_and(|now| now != core));
        self.claim = Some(Claim {
            owner,
            running: running.filter(|_| !recovered),
            renew: recovered,
            timer: data.variable(TIMER_VARIABLE).map(bounded),
            asked_flow: self.info.flow.clone(),
            since_us: data.number(names::EVENT_DATE_TIMESTAMP).unwrap_or_default(),
            ..Claim::default()
        });
    }

    /// Takes over who controls the call from a description that is older in everything else.
    pub(crate) fn take_claim_of(&mut self, older: Self) {
        self.whole = true;
        self.claim = older.claim;
        self.fenced_by = older.fenced_by;
        self.info.epoch = older.info.epoch;
        self.info.flow = older.info.flow;
    }

    /// Takes over what every event of a channel says.
    pub(crate) fn hear(&mut self, event: &Event<'_>) {
        if let Some(at_us) = event.get(names::EVENT_DATE_TIMESTAMP).and_then(|value| value.parse()) {
            self.heard_at_us = self.heard_at_us.max(at_us);
        }
        if let Some(state) = event.get(names::CHANNEL_CALL_STATE)
            && !state.raw().eq_ignore_ascii_case(self.info.state.as_bytes())
        {
            self.info.state = bounded(state.text()).to_ascii_lowercase();
        }
        if let Some(call) = event.get(names::CHANNEL_CALL_UUID)
            && !call.raw().is_empty()
            && !call.is(&self.info.call)
        {
            self.info.call = bounded(call.text());
        }
    }
}

/// The A leg of the call that a channel belongs to. A B leg bears the uuid of the channel that dialled it.
fn call_of(uuid: &str, data: &impl ChannelData) -> String {
    match data.header(names::CHANNEL_CALL_UUID) {
        Some(call) if !call.is_empty() => bounded(call),
        _ => uuid.to_owned(),
    }
}

/// The A leg that a B leg itself names.
pub(crate) fn fenced_by(uuid: &str, data: &impl ChannelData) -> Option<String> {
    data.variable(CALL_VARIABLE).filter(|call| !call.is_empty() && call != uuid).map(bounded)
}

/// The step that runs, and its epoch, by the mark that the channel makes: `step:epoch`. None if that step is done.
pub(crate) fn running_mark(mark: &str, done: u32) -> Option<(u32, u64)> {
    let (step, epoch) = mark.split_once(':')?;
    let (step, epoch) = (step.parse().ok()?, epoch.parse().ok()?);
    (done.checked_add(1) == Some(step)).then_some((step, epoch))
}

/// A text cut to what is kept of one header.
pub(crate) fn bounded(text: Cow<'_, str>) -> String {
    let mut end = text.len().min(CHANNEL_TEXT_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
