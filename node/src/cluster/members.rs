//! Who is in the cluster, as this node sees it.

use std::collections::BTreeMap;

use fipple_protocol::NodeId;
use fipple_protocol::ownership::Candidate;
use minicbor::{Decode, Encode};

use crate::switch::Fence;

/// The members of the cluster at one moment, as this node sees them. Other nodes may see others.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// All that are enrolled, this node among them.
    pub all: BTreeMap<NodeId, Member>,
}

impl Members {
    /// Those that may own calls of a switch in `zone`: alive and not leaving.
    pub fn candidates<'a>(&'a self, zone: &'a str) -> impl Iterator<Item = Candidate> + 'a {
        self.all.values().filter(|member| member.state == MemberState::Alive).map(move |member| Candidate {
            node: member.id,
            weight: member.weight,
            in_zone: member.zone == zone,
        })
    }

    /// Whether this node may be given work or asked for anything.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.all.get(&node).is_some_and(|member| member.state == MemberState::Alive)
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// The name its operator gave it.
    pub name: String,
    /// Whether it is alive, as this node sees it.
    pub state: MemberState,
    /// Where its QUIC listens, `host:port`; none until it has been heard of.
    pub address: Option<String>,
    /// Where its REST listens, `host:port`; none until it has been heard of.
    pub api_address: Option<String>,
    /// Its zone.
    pub zone: String,
    /// Its capacity relative to the others.
    pub weight: u16,
    /// The version of fipple that it runs.
    pub version: String,
    /// When it was started, in Unix milliseconds by its own clock. Also its incarnation in gossip.
    pub started_at_ms: u64,
    /// The switches it is configured for.
    pub switches: Vec<SwitchFact>,
}

/// Whether a member is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It answers, and has said that it will leave: it gets no new work.
    Leaving,
    /// It answers neither this node nor those that this node asked.
    Down,
}

/// What a node says about a switch that it is configured for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct SwitchFact {
    /// The switch's name, the same on all nodes.
    #[n(0)]
    pub name: String,
    /// The switch's zone.
    #[n(1)]
    pub zone: String,
    /// Where this node reaches it, `host:port`.
    #[n(2)]
    pub address: String,
    /// How the node stands to it.
    #[n(3)]
    pub link: SwitchLink,
    /// The fence that the switch has, as the attached node found it.
    #[n(4)]
    pub fence: Option<Fence>,
    /// Why it cannot be reached from there, where it cannot.
    #[n(5)]
    pub trouble: Option<SwitchTrouble>,
    /// Which run of the switch the node is, or was last, connected to: the first bytes of its `Core-UUID`.
    #[n(6)]
    pub run: Option<u64>,
    /// When the node last found it to be another run than before, in Unix milliseconds by the node's clock.
    #[n(7)]
    pub restarted_at_ms: Option<u64>,
}

/// How a node stands to a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum SwitchLink {
    /// It cannot be reached from there.
    #[n(0)]
    Unreachable,
    /// It can be reached from there, and another node is the one attached.
    #[n(1)]
    Standby,
    /// This node is attached: it hears the switch's events and carries its commands.
    #[n(2)]
    Attached,
}

/// Why a node cannot use a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum SwitchTrouble {
    /// It has said that it is shut down (`SHUTDOWN`, or in its last words).
    #[n(0)]
    ShutDown,
    /// The connection ended without a word: the process was killed, or something between has reset it.
    #[n(1)]
    Crashed,
    /// It does not answer in time: its power or the network is gone, or it is frozen.
    #[n(2)]
    Silent,
    /// It refuses the password, or its ACL the node's address.
    #[n(3)]
    Refused,
    /// Its machine answers, and nothing listens at its address.
    #[n(4)]
    NotRunning,
    /// It answers, and something is wrong with it, or with what is configured; the log says what.
    #[n(5)]
    Unusable,
}

impl SwitchLink {
    /// The word for it in REST, on the command line and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Standby => "standby",
            Self::Attached => "attached",
        }
    }
}

impl SwitchTrouble {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::ShutDown, Self::Crashed, Self::Silent, Self::Refused, Self::NotRunning, Self::Unusable];

    /// The word for it in REST, on the command line and in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::ShutDown => "shut_down",
            Self::Crashed => "crashed",
            Self::Silent => "silent",
            Self::Refused => "refused",
            Self::NotRunning => "not_running",
            Self::Unusable => "unusable",
        }
    }

    /// What is known of a switch of which this was known, after another attempt to connect has failed like this. How it
    /// ended says more than that nothing is there any more.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::ShutDown, Self::NotRunning | Self::Silent | Self::Crashed) => Self::ShutDown,
            (Self::Crashed, Self::NotRunning) => Self::Crashed,
            (_, next) => next,
        }
    }
}
