//! The messages of the control stream.

use minicbor::{Decode, Encode};

use super::{CallSnapshot, ChannelCommand, ChannelInfo, OriginateCommand, TraceEntry};
use crate::NodeId;

/// What a stream between two nodes carries. Lower numbers go first where a link is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum StreamKind {
    /// Requests and their small answers.
    Control = 1,
    /// [`CallEvent`](super::CallEvent)s to their owner.
    CallEvents = 2,
    /// Changes of documents.
    Documents = 3,
    /// Answers too large for the control stream, which nothing may wait behind.
    Bulk = 4,
}

impl StreamKind {
    /// All kinds, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::CallEvents, Self::Documents, Self::Bulk];

    /// The kind that a stream's first byte names, or none of a newer version that this node does not know.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A message of the control or the bulk stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ControlMessage {
    /// The first message on a connection, from both sides.
    #[n(0)]
    Hello(#[n(0)] Hello),
    /// Something to do; an answer with the same id follows.
    #[n(1)]
    Request {
        /// Chosen by who asks; unique on the connection.
        #[n(0)]
        id: u32,
        /// What to do.
        #[n(1)]
        request: Request,
    },
    /// The answer to a request.
    #[n(2)]
    Response {
        /// The request's id.
        #[n(0)]
        id: u32,
        /// What came of it.
        #[n(1)]
        response: Response,
    },
}

/// Who speaks. The certificate has already proved the node's identity; this is what it cannot tell.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The version of fipple that runs there.
    #[n(0)]
    pub version: String,
    /// Where its QUIC listens as others see it, `host:port`; empty while it does not know.
    #[n(1)]
    pub address: String,
    /// Where it sees the other side, `host:port`: a node that listens on every address of its machine learns
    /// its own from this.
    #[n(2)]
    pub observed: Option<String>,
}

/// Something that one node asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// To the owner of a call: run this command. It passes it on to the attached node, as
    /// [`Request::CommandChannel`], and nobody else.
    #[n(0)]
    CommandCall {
        /// The call.
        #[n(0)]
        call: String,
        /// The channel's uuid.
        #[n(1)]
        channel: String,
        /// What to do to it.
        #[n(2)]
        command: ChannelCommand,
        /// Made of the client's [key](super::IdempotencyKey), or else chosen at random by who asks first and kept when it
        /// asks again: of one id the switch, or where it cannot the node attached to it, carries out one command.
        #[n(3)]
        id: u64,
    },
    /// To the node that is attached to the switch: carry this command to the channel. It is never passed on, so a
    /// command takes two hops at most, whatever the nodes believe of each other.
    #[n(1)]
    CommandChannel {
        /// The switch.
        #[n(0)]
        switch: String,
        /// The channel's uuid.
        #[n(1)]
        channel: String,
        /// What to do to it.
        #[n(2)]
        command: ChannelCommand,
        /// As in [`Request::CommandCall`].
        #[n(3)]
        id: u64,
    },
    /// To the attached node, from a call's owner: run a step of the call's flow.
    #[n(2)]
    RunStep {
        /// The switch.
        #[n(0)]
        switch: String,
        /// The call.
        #[n(1)]
        call: String,
        /// The epoch under which the asking node owns the call.
        #[n(2)]
        epoch: u64,
        /// The step's number, from 1.
        #[n(3)]
        step: u32,
        /// The dialplan application.
        #[n(4)]
        application: String,
        /// Its argument.
        #[n(5)]
        argument: String,
    },
    /// To the attached node: run any API command of the switch and return its whole result.
    #[n(4)]
    SwitchApi {
        /// The switch.
        #[n(0)]
        switch: String,
        /// The command line: `sofia status`.
        #[n(1)]
        command: String,
    },
    /// To the attached node: start a call.
    #[n(5)]
    Originate {
        /// The switch.
        #[n(0)]
        switch: String,
        /// The call to start.
        #[n(1)]
        originate: OriginateCommand,
        /// The uuid that its A leg is to have, which its key says: if there is such a channel already, or was as far as
        /// the node remembers, nothing is started. None for a new one.
        #[n(2)]
        uuid: Option<String>,
    },
    /// To any node: what do you know of this channel, from the switches you are attached to?
    #[n(6)]
    FindChannel {
        /// The channel's uuid.
        #[n(0)]
        channel: String,
    },
    /// To any node: the channels of the switches you are attached to, in the order of their uuids.
    #[n(7)]
    ListChannels {
        /// Only those after this uuid; empty for the first page.
        #[n(0)]
        after: String,
        /// At most so many.
        #[n(1)]
        limit: u32,
    },
    /// From the node that is attached to the call's switch: you own this call now. Asked again, it tells how
    /// the call stands.
    #[n(8)]
    Appoint {
        /// The call as the switch knows it.
        #[n(0)]
        snapshot: CallSnapshot,
    },
    /// To the attached node, from an owner that lost events: tell me again how this call stands.
    #[n(9)]
    Snapshot {
        /// The switch.
        #[n(0)]
        switch: String,
        /// The call.
        #[n(1)]
        call: String,
    },
    /// To any node: what do you remember of this call, in the order in which it happened?
    #[n(10)]
    Trace {
        /// The call: the A leg's uuid.
        #[n(0)]
        call: String,
    },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Response {
    /// It is done.
    #[n(0)]
    Done,
    /// It is done, and this is what the switch said.
    #[n(1)]
    Text(#[n(0)] String),
    /// The channel that was asked for, if it is known.
    #[n(2)]
    Channel(#[n(0)] Option<ChannelInfo>),
    /// A page of channels.
    #[n(3)]
    Channels(#[n(0)] Vec<ChannelInfo>),
    /// The state of the call that was asked for, if it is known.
    #[n(4)]
    Snapshot(#[n(0)] Option<CallSnapshot>),
    /// It was not done.
    #[n(5)]
    Refused(#[n(0)] Refusal),
    /// What is remembered of the call that was asked for, the oldest first; empty where nothing is.
    #[n(6)]
    Trace(#[n(0)] Vec<TraceEntry>),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// No switch has such a channel, or it has ended.
    #[n(0)]
    #[error("no channel {channel} is known")]
    UnknownChannel {
        /// The uuid that was asked for.
        #[n(0)]
        channel: String,
    },
    /// No node is configured for a switch of this name.
    #[n(1)]
    #[error("no switch {switch} is known")]
    UnknownSwitch {
        /// The name that was asked for.
        #[n(0)]
        switch: String,
    },
    /// The switch is known, and not attached to the node that was asked.
    #[n(2)]
    #[error("switch {switch} is not attached: {detail}")]
    SwitchUnavailable {
        /// The switch.
        #[n(0)]
        switch: String,
        /// What is known of the reason.
        #[n(1)]
        detail: String,
    },
    /// The switch took the command and said no.
    #[n(3)]
    #[error("the switch refused: {reply}")]
    SwitchRefused {
        /// The switch's own words.
        #[n(0)]
        reply: String,
    },
    /// The node that was asked does not own the call, or no longer.
    #[n(4)]
    #[error("the call is owned by {owner:?}")]
    NotOwner {
        /// Who does, as far as the answering node knows.
        #[n(0)]
        owner: Option<NodeId>,
    },
    /// An argument cannot be sent to a switch.
    #[n(5)]
    #[error("invalid argument: {detail}")]
    InvalidArgument {
        /// Which, and what is wrong with it.
        #[n(0)]
        detail: String,
    },
    /// Too much is waiting already.
    #[n(6)]
    #[error("overloaded: {detail}")]
    Overloaded {
        /// What is full.
        #[n(0)]
        detail: String,
    },
    /// No answer came in time, or the connection was lost before it; whether the command ran is not known.
    #[n(7)]
    #[error("no answer in time: {detail}")]
    TimedOut {
        /// From whom.
        #[n(0)]
        detail: String,
    },
    /// The node that had to be asked cannot be reached: the request was not sent.
    #[n(8)]
    #[error("node {node} cannot be reached: {detail}")]
    Unreachable {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// What is known of the reason.
        #[n(1)]
        detail: String,
    },
    /// The switch refused it in the channel's own name: the call is controlled under another epoch by now.
    #[n(9)]
    #[error("call {call} is in epoch {current}, and the command was for epoch {epoch}")]
    Fenced {
        /// The call.
        #[n(0)]
        call: String,
        /// The epoch that the command was for.
        #[n(1)]
        epoch: u64,
        /// The epoch that the call has.
        #[n(2)]
        current: u64,
    },
    /// A command of this id has run already, and was not run once more. What it answered is not remembered.
    #[n(10)]
    #[error("the command of id {id:016x} has run already, and was not run once more")]
    Repeated {
        /// As in [`Request::CommandCall`].
        #[n(0)]
        id: u64,
    },
    /// Another command was given under this id: nothing was done.
    #[n(11)]
    #[error("another command has been given under the same key")]
    KeyReused {
        /// As in [`Request::CommandCall`].
        #[n(0)]
        id: u64,
    },
}
