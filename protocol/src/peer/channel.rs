//! Channels and calls as nodes tell each other about them.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::NodeId;

/// What a node knows about one channel (one leg of a call).
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct ChannelInfo {
    /// The channel's uuid on its switch.
    #[n(0)]
    pub uuid: String,
    /// The switch that carries the channel, by its configured name.
    #[n(1)]
    pub switch: String,
    /// The call the channel belongs to: the A leg's uuid.
    #[n(2)]
    pub call: String,
    /// The node that controls the call; none where fipple was not asked to (no `fipple_flow` variable).
    #[n(3)]
    #[serde(serialize_with = "as_text")]
    pub owner: Option<NodeId>,
    /// `inbound` or `outbound`, as the switch sees it.
    #[n(4)]
    pub direction: String,
    /// The channel's state as the switch's `Channel-Call-State` says it, lower-case: `ringing`, `active`, ...; or
    /// [`ChannelInfo::UNREACHABLE`].
    #[n(5)]
    pub state: String,
    /// The caller's name.
    #[n(6)]
    pub caller_id_name: String,
    /// The caller's number.
    #[n(7)]
    pub caller_id_number: String,
    /// The number that was called.
    #[n(8)]
    pub destination_number: String,
    /// When the channel was created, in Unix milliseconds by the switch's clock.
    #[n(9)]
    pub created_at_ms: u64,
    /// When it was answered, in Unix milliseconds by the switch's clock; none while it rings.
    #[n(10)]
    pub answered_at_ms: Option<u64>,
    /// The channel it is bridged to.
    #[n(11)]
    pub bridged_to: Option<String>,
    /// The application that runs on it now.
    #[n(12)]
    pub application: Option<String>,
    /// Whether the channel is parked: it waits for commands and nothing else.
    #[n(13)]
    pub parked: bool,
    /// The flow that the owner runs on the call.
    #[n(14)]
    pub flow: Option<String>,
    /// How many steps of the flow are done (`fipple_done`).
    #[n(15)]
    pub done: u32,
    /// The epoch of the call's control, which rises with every takeover (`fipple_epoch`).
    #[n(16)]
    pub epoch: u64,
}

impl ChannelInfo {
    /// The state of a channel whose switch no node reaches: everything else is what its call's owner remembers.
    pub const UNREACHABLE: &'static str = "unreachable";
}

fn as_text<S: serde::Serializer>(owner: &Option<NodeId>, serializer: S) -> Result<S::Ok, S::Error> {
    match owner {
        Some(node) => serializer.collect_str(node),
        None => serializer.serialize_none(),
    }
}

/// Everything a new owner needs in order to go on with a call. It comes from the switch, by way of the node
/// that is attached to it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CallSnapshot {
    /// The call's A leg, with flow, done and epoch.
    #[n(0)]
    pub channel: ChannelInfo,
    /// The step that was seen running when the snapshot was taken.
    #[n(1)]
    pub running: Option<u32>,
    /// Whether the channel itself checks and marks its steps: `running` is its own mark then, and a step that is
    /// sent once more is refused there.
    #[n(2)]
    pub fenced: bool,
}

/// One thing that happened to a call, sent from the attached node to the owner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CallEvent {
    /// The switch it happened on.
    #[n(0)]
    pub switch: String,
    /// The call: the A leg's uuid.
    #[n(1)]
    pub call: String,
    /// The channel of the call that it happened to.
    #[n(2)]
    pub channel: String,
    /// What happened.
    #[n(3)]
    pub kind: CallEventKind,
}

/// What can happen to a call, as far as its owner waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CallEventKind {
    /// The channel was answered.
    #[n(0)]
    Answered,
    /// An application began.
    #[n(1)]
    Executing {
        /// The application's name.
        #[n(0)]
        application: String,
        /// The `Event-UUID` of the command that asked for it, where there was one.
        #[n(1)]
        application_uuid: Option<String>,
    },
    /// An application ended.
    #[n(2)]
    Executed {
        /// The application's name.
        #[n(0)]
        application: String,
        /// The `Event-UUID` of the command that asked for it, where there was one.
        #[n(1)]
        application_uuid: Option<String>,
        /// What the application said of its result.
        #[n(2)]
        response: String,
    },
    /// The channel was bridged to another.
    #[n(3)]
    Bridged {
        /// The other channel.
        #[n(0)]
        other: String,
    },
    /// The bridge ended.
    #[n(4)]
    Unbridged,
    /// The caller pressed a key.
    #[n(5)]
    Dtmf {
        /// The key.
        #[n(0)]
        digit: String,
    },
    /// The channel ended.
    #[n(6)]
    HungUp {
        /// Why, as the switch names it (`NORMAL_CLEARING`, ...).
        #[n(0)]
        cause: String,
    },
    /// The channel parked.
    #[n(7)]
    Parked,
    /// Events were lost on the way: ask for a new snapshot.
    #[n(8)]
    Gap,
    /// The channel itself says what became of a step.
    #[n(9)]
    Step {
        /// The step's number, from 1.
        #[n(0)]
        step: u32,
        /// The epoch under which it was sent.
        #[n(1)]
        epoch: u64,
        /// What became of it.
        #[n(2)]
        result: StepResult,
        /// The last step that is done.
        #[n(3)]
        done: u32,
    },
}

/// What a channel says of a step that it was given (`deploy/freeswitch/scripts/fipple_step.lua`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum StepResult {
    /// It ran to its end, or was broken off.
    #[n(0)]
    Done,
    /// It was not run: the call is in another epoch.
    #[n(1)]
    Stale,
    /// It was not run: it is done already, or running.
    #[n(2)]
    Duplicate,
    /// It was not run: the step before it is not done.
    #[n(3)]
    Gap,
    /// It ran until the call was hung up or transferred, and does not count as done.
    #[n(4)]
    Interrupted,
}

impl StepResult {
    /// The result that the channel's word stands for; none for a word of a newer version.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Done, Self::Stale, Self::Duplicate, Self::Gap, Self::Interrupted];
        all.into_iter().find(|result| result.word() == word)
    }

    /// The channel's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stale => "stale",
            Self::Duplicate => "duplicate",
            Self::Gap => "gap",
            Self::Interrupted => "interrupted",
        }
    }
}
