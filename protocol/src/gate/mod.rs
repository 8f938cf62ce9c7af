//! The gate: which node, of all that reach a switch, commands it.
//!
//! The gate is a key in the switch's own memory that names one node. `hash insert_ifempty` and `hash delete_ifmatch` are
//! atomic there, so of any number of nodes that race one wins (`freeswitch/README.md`, "Compare-and-set"). The key
//! bears the switch's `Core-UUID`: what was taken before a restart means nothing after it. [`Gate`] is one node's side of
//! one connection to one run of the switch; it decides and does nothing itself.
//!
//! # Who may take it
//!
//! A gate that nobody holds goes to whom rendezvous names, and after [`GATE_PATIENCE_MS`] to anybody. One that a node
//! holds is left alone while the members say that it lives and reaches the switch. If they say otherwise (for a while, where
//! it says itself that it does not reach the switch, or nobody has met it), the challenger **asks over the switch itself**: a question, addressed to the holder and with a fresh nonce, as an event that everybody
//! at the switch hears. A holder that answers lives, and is not usurped, whatever the members say: two nodes that reach
//! the switch but not each other do not duel, and neither do two clusters with one switch.
//!
//! Silence proves something only to those who can hear. So the time for the answer begins when the challenger hears its
//! *own* question come back, and once it is over the gate is read once more over the same connection: bytes come in
//! order, so an answer that came while the challenger itself stood still is heard before that reading's result. A result
//! that took longer than an answer may take proves nothing either, and the question is asked anew.
//!
//! # Who stops, and when
//!
//! A holder reads the gate every [`GATE_CHECK_MS`]. What a reading proves holds from the moment when it was *sent*, for
//! [`GATE_UNREAD_MS`]; after that the node may not command ([`Gate::may_command_until_ms`]), whether it was cut off, the
//! switch froze, or the node itself stood still and does not know it yet. Whoever attaches says over the switch that it
//! holds the gate; another that believes the same of itself reads at once. So a loser stops within a round trip where all is well, and within
//! [`GATE_UNREAD_MS`] whatever happens. What it had sent before that, the epoch of each call refuses, not the gate.
//!
//! # What is believed
//!
//! Any client of the switch can make such events, so they are hints to look and no facts:
//!
//! - A *notice* that another holds the gate makes the holder read it. It goes on until the reading says that it has lost.
//! - An *answer* delays the challenger by one round: it counts for the one question whose nonce it bears, and the next
//!   is asked [`GATE_CHECK_MS`] later with another nonce. A late, repeated or recorded answer is worth nothing. A holder's
//!   own notice, by which one says that it is back, counts like an answer to the question that is open. Whoever answers
//!   every single question in a dead node's name keeps the switch from being taken for as long as it goes on;
//!   that number of rounds is not bounded, since a bound would usurp a holder that lives behind a long partition, and
//!   nothing is lost by it: a client that can do this can write the gate itself, or hang up all calls. It is logged and
//!   counted by the challenger ([`Effect::Believe`]).
//! - A *question* is answered by who holds the gate and has lately read so; by others it is taken for a reason to read.

mod key;
mod machine;
mod message;
#[cfg(test)]
mod race;

use crate::NodeId;

pub use key::GateKey;
pub use machine::Gate;
pub use message::GateMessage;

#[cfg(doc)]
use crate::limits::{GATE_CHECK_MS, GATE_PATIENCE_MS, GATE_UNREAD_MS};

/// Who holds a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This node, perhaps since before it was restarted.
    Us,
    /// Another node.
    Other(NodeId),
    /// Nobody.
    Nobody,
    /// Something that is no node.
    Stranger,
}

/// What a node means to do with a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Serve it.
    Serve,
    /// Leave it to another node that reaches it, and serve it until there is one.
    Leave,
    /// Let go of it at once.
    Stop,
}

/// What the members say of a node that holds a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It lives, and does not say that it cannot reach the switch.
    Alive,
    /// It lives, and says that it cannot reach the switch, or has nothing to do with it.
    OutOfReach,
    /// It is no member: one that was not met yet, or of another cluster.
    Unknown,
    /// It is down.
    Dead,
}

/// What a gate asks of the cluster whenever it decides.
pub trait Cluster {
    /// What this node means to do.
    fn intent(&self) -> Intent;
    /// What is known of a node.
    fn standing(&self, node: NodeId) -> Standing;
    /// Whether rendezvous names this node, of all that reach the switch and are to stay.
    fn goes_first(&self) -> bool;
    /// Whether another node could serve the switch.
    fn has_successor(&self) -> bool;
}

/// What a [`Gate`] is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// [`Gate::timer_ms`] has come.
    Timer,
    /// What the [`Cluster`] says may be different.
    ClusterChanged,
    /// What the switch answered to the command that is on its way.
    Reply(Reply),
    /// The command was not sent: too many others wait.
    NotSent,
    /// Something was heard over the switch.
    Heard(GateMessage),
    /// What was to be done as the attached node could not be begun or went wrong.
    GiveUp,
    /// The connection is lost, or a command was not answered in time.
    ConnectionLost,
}

/// What the switch answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Effect::Read`].
    Read(Holder),
    /// To [`Effect::Ask`]: the question was passed on.
    Asked,
    /// To [`Effect::Free`] and [`Effect::Release`]: whether the gate bore that name, and is free now.
    Freed(bool),
    /// To [`Effect::Take`]: whether it was free, and is ours now.
    Took(bool),
}

/// What a [`Gate`] asks for. One command is on its way at a time: the first five, each of which is answered by
/// [`Input::Reply`], [`Input::NotSent`] or [`Input::ConnectionLost`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read the gate.
    Read,
    /// Send this question over the switch.
    Ask(GateMessage),
    /// Free the gate if this node, which has not answered, still holds it.
    Free(NodeId),
    /// Take the gate if nobody holds it.
    Take,
    /// Free the gate if this node holds it.
    Release,
    /// Send this over the switch: an answer, or that this node holds the gate. Nothing depends on what comes of it.
    Say(GateMessage),
    /// A holder that the members believe to be gone has answered, and is left alone.
    Believe(NodeId),
    /// The gate was taken. From whom, if it was not free.
    Taken(Option<NodeId>),
    /// Begin to serve the switch.
    Attach,
    /// Stop serving the switch at once. No command may leave after this.
    Detach(Why),
    /// This was the last effect: let go of the connection.
    End,
}

/// Why a node detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// This holds the gate now.
    Lost(Holder),
    /// The gate could not be read for too long.
    Unread,
    /// The node stops, or leaves the switch to another.
    LetGo,
    /// [`Input::GiveUp`].
    GaveUp,
    /// [`Input::ConnectionLost`].
    ConnectionLost,
}
