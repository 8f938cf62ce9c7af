//! What can be remembered of a call, small until somebody asks for it in words.

use std::fmt::{self, Display, Formatter};

use fipple_protocol::NodeId;
use fipple_protocol::peer::{CallEventKind, ChannelCommand, Refusal, StepResult};

use crate::calls::channel::bounded;

/// Something that this node decided, sent, heard or refused. It is kept by the ten thousand: see the test of its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// As the holder of the gate: this owner stands in the switch from now on.
    Appointed { owner: NodeId, epoch: u64, why: Why },
    /// As the holder of the gate: an owner could not be found, written or told.
    NotAppointed { epoch: u64, why: Box<str> },
    /// As the holder of the gate: the switch has given the call this epoch, whoever owned it.
    Raised { epoch: u64 },
    /// This node owns the call, appointed by another; `adopted` is the step that ran, 0 if none did.
    Owns { appointed_by: NodeId, epoch: u64, adopted: u32 },
    /// This node owns the call no more: it has another owner, under this epoch.
    Lost { epoch: u64 },
    /// A step of the flow, as its owner or the attached node saw it.
    Step { epoch: u64, step: u32, fate: Fate },
    /// A step that was not taken.
    StepRefused { epoch: u64, step: u32, why: Box<str> },
    /// A command, known by its id on every node.
    Command { id: u64, action: &'static str, part: Part },
    /// A command that was not carried out, or not now; `why` begins with the action.
    CommandRefused { id: u64, part: Part, why: Box<str> },
    /// The call was answered.
    Answered,
    /// It waits for commands.
    Parked,
    /// It was connected with this channel.
    Bridged { other: Box<str> },
    /// It was parted again.
    Unbridged,
    /// It has ended.
    HungUp { cause: Box<str> },
    /// Of a switch: its gate changed hands, or would not.
    Gate { text: Box<str> },
    /// Of a switch or a call: the lease on which calls wait for fipple, and where they went without it.
    Lease { text: Box<str> },
}

/// Why a call gets an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has none yet.
    New,
    /// Its owner is down.
    OwnerDied,
    /// Its owner is leaving the cluster.
    OwnerLeaves,
    /// Its owner was started anew and has forgotten it.
    OwnerRestarted,
    /// Its owner, or the one that was chosen first, did not take it.
    Declined,
    /// It is to go on under a higher epoch: what was sent before counts no more.
    Renewed,
    /// This node has attached to the switch, and tells the owner.
    AttachedAnew,
    /// It was joined with a call of another owner.
    Merged,
}

/// What became of a step so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is on its way to the switch.
    Sent,
    /// It did not get so far, and is tried again.
    NotSent,
    /// Whether the switch has it is not known.
    Unknown,
    /// It runs, and was not sent by this owner.
    Adopted,
    /// What the channel itself says of it.
    Result(StepResult),
}

/// What a node had to do with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It was asked for it.
    Asked,
    /// It owns the call, and passes it on.
    PassedOn,
    /// It is attached to the switch, and carried it there.
    Carried,
}

impl What {
    /// What is remembered of an event; none of most of them.
    pub(crate) fn of_event(kind: &CallEventKind) -> Option<Self> {
        match kind {
            CallEventKind::Answered => Some(Self::Answered),
            CallEventKind::Parked => Some(Self::Parked),
            CallEventKind::Bridged { other } => Some(Self::Bridged { other: short(other) }),
            CallEventKind::Unbridged => Some(Self::Unbridged),
            CallEventKind::HungUp { cause } => Some(Self::HungUp { cause: short(cause) }),
            &CallEventKind::Step { step, epoch, result, .. } => {
                Some(Self::Step { epoch, step, fate: Fate::Result(result) })
            }
            CallEventKind::Executing { .. }
            | CallEventKind::Executed { .. }
            | CallEventKind::Dtmf { .. }
            | CallEventKind::Gap => None,
        }
    }

    /// What is remembered of a command.
    pub(crate) fn of_command<T>(
        id: u64,
        command: &ChannelCommand,
        part: Part,
        answer: &Result<T, Refusal>,
    ) -> Self {
        let action = action_of(command);
        match answer {
            Ok(_) => Self::Command { id, action, part },
            Err(Refusal::Repeated { .. }) => {
                Self::CommandRefused { id, part, why: short(&format!("{action} had run already")) }
            }
            Err(refusal) => {
                let why = short(&format!("{action} was not done: {refusal}"));
                Self::CommandRefused { id, part, why }
            }
        }
    }

    /// What is remembered of a step that was to go to the switch.
    pub(crate) fn of_step(epoch: u64, step: u32, answer: &Result<(), Refusal>) -> Self {
        let fate = match answer {
            Ok(()) => Fate::Sent,
            Err(Refusal::TimedOut { .. }) => Fate::Unknown,
            Err(Refusal::SwitchUnavailable { .. } | Refusal::Overloaded { .. }) => Fate::NotSent,
            Err(refusal) => {
                return Self::StepRefused { epoch, step, why: short(&refusal.to_string()) };
            }
        };
        Self::Step { epoch, step, fate }
    }

    /// Whether it is remembered of a switch rather than of a call.
    pub(super) fn is_gate(&self) -> bool {
        matches!(self, Self::Gate { .. })
    }

    /// A word for programs.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Appointed { .. } | Self::NotAppointed { .. } => "appointment",
            Self::Raised { .. } => "epoch",
            Self::Owns { .. } | Self::Lost { .. } => "owner",
            Self::Step { .. } | Self::StepRefused { .. } => "step",
            Self::Command { .. } | Self::CommandRefused { .. } => "command",
            Self::Answered | Self::Parked | Self::Bridged { .. } | Self::Unbridged | Self::HungUp { .. } => {
                "event"
            }
            Self::Gate { .. } => "gate",
            Self::Lease { .. } => "lease",
        }
    }

    pub(super) fn epoch(&self) -> Option<u64> {
        match self {
            Self::Appointed { epoch, .. }
            | Self::NotAppointed { epoch, .. }
            | Self::Raised { epoch }
            | Self::Owns { epoch, .. }
            | Self::Lost { epoch }
            | Self::Step { epoch, .. }
            | Self::StepRefused { epoch, .. } => Some(*epoch),
            _ => None,
        }
    }

    /// What it takes beside itself, in bytes, without what the allocator adds.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Self::NotAppointed { why: text, .. }
            | Self::StepRefused { why: text, .. }
            | Self::CommandRefused { why: text, .. }
            | Self::Bridged { other: text }
            | Self::HungUp { cause: text }
            | Self::Gate { text }
            | Self::Lease { text } => text.len(),
            _ => 0,
        }
    }
}

impl Display for What {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Appointed { owner, why, .. } => write!(f, "node {owner} is to own it: {}", why.words()),
            Self::NotAppointed { why, .. } => write!(f, "no owner was appointed: {why}"),
            Self::Raised { .. } => f.write_str("the switch has given it a new epoch"),
            Self::Owns { appointed_by, adopted: 0, .. } => {
                write!(f, "owns it, appointed by node {appointed_by}")
            }
            Self::Owns { appointed_by, adopted, .. } => {
                write!(f, "owns it, appointed by node {appointed_by}; step {adopted} runs and was adopted")
            }
            Self::Lost { .. } => f.write_str("owns it no more: another node does"),
            Self::Step { step, fate, .. } => write!(f, "step {step} {}", fate.words()),
            Self::StepRefused { step, why, .. } => write!(f, "step {step} was refused: {why}"),
            Self::Command { id, action, part } => {
                write!(f, "{action} was done (id {id:016x}, {})", part.words())
            }
            Self::CommandRefused { id, part, why } => {
                write!(f, "{why} (id {id:016x}, {})", part.words())
            }
            Self::Answered => f.write_str("answered"),
            Self::Parked => f.write_str("parked"),
            Self::Bridged { other } => write!(f, "bridged to {other}"),
            Self::Unbridged => f.write_str("unbridged"),
            Self::HungUp { cause } => write!(f, "hung up: {cause}"),
            Self::Gate { text } | Self::Lease { text } => f.write_str(text),
        }
    }
}

impl Why {
    fn words(self) -> &'static str {
        match self {
            Self::New => "it is new",
            Self::OwnerDied => "its owner died",
            Self::OwnerLeaves => "its owner is leaving",
            Self::OwnerRestarted => "its owner was started anew",
            Self::Declined => "who was asked first did not take it",
            Self::Renewed => "it is to go on with it in a new epoch",
            Self::AttachedAnew => "it did before, and is told anew",
            Self::Merged => "it was joined with another call",
        }
    }

    /// The same as a label of metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::OwnerDied => "owner_died",
            Self::OwnerLeaves => "owner_leaves",
            Self::OwnerRestarted => "owner_restarted",
            Self::Declined => "declined",
            Self::Renewed => "renewed",
            Self::AttachedAnew => "attached_anew",
            Self::Merged => "merged",
        }
    }
}

impl Fate {
    fn words(self) -> &'static str {
        match self {
            Self::Sent => "was sent to the switch",
            Self::NotSent => "could not be sent, and is tried again",
            Self::Unknown => "was sent, and nobody knows whether the switch has it",
            Self::Adopted => "runs, and was adopted",
            Self::Result(StepResult::Done) => "is done",
            Self::Result(StepResult::Stale) => "was refused by the channel: the call has another epoch",
            Self::Result(StepResult::Duplicate) => "was refused by the channel: it runs or is done",
            Self::Result(StepResult::Gap) => "was refused by the channel: the one before is not done",
            Self::Result(StepResult::Interrupted) => "was interrupted",
        }
    }
}

impl Part {
    fn words(self) -> &'static str {
        match self {
            Self::Asked => "asked for here",
            Self::PassedOn => "passed on by its owner",
            Self::Carried => "given to the switch",
        }
    }
}

/// A command's name, as REST and the command line know it.
fn action_of(command: &ChannelCommand) -> &'static str {
    match command {
        ChannelCommand::Answer => "answer",
        ChannelCommand::Hangup { .. } => "hangup",
        ChannelCommand::Park => "park",
        ChannelCommand::Play { .. } => "play",
        ChannelCommand::Transfer { .. } => "transfer",
        ChannelCommand::Bridge { .. } => "bridge",
        ChannelCommand::Intercept { .. } => "intercept",
        ChannelCommand::Set { .. } => "set",
        ChannelCommand::Execute { .. } => "execute",
        ChannelCommand::Break => "break",
    }
}

/// A text as it is kept: a switch's own words have no bound.
pub(crate) fn short(text: &str) -> Box<str> {
    bounded(text.into()).into_boxed_str()
}
