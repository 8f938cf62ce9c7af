//! The datagrams by which nodes watch each other.

use minicbor::{Decode, Encode};

use crate::NodeId;

/// A probe datagram. A datagram's first byte is [`ProbeMessage::TAG`]; CBOR follows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ProbeMessage {
    /// Are you there?
    #[n(0)]
    Ping {
        /// Returned in the answer.
        #[n(0)]
        nonce: u32,
    },
    /// I am.
    #[n(1)]
    Ack {
        /// Of the ping.
        #[n(0)]
        nonce: u32,
    },
    /// Is that one there? I cannot reach it.
    #[n(2)]
    PingFor {
        /// The node in doubt.
        #[n(0)]
        target: NodeId,
        /// Returned in the answer.
        #[n(1)]
        nonce: u32,
    },
    /// The node in doubt answered me.
    #[n(3)]
    AckFor {
        /// The node that was in doubt.
        #[n(0)]
        target: NodeId,
        /// Of the question.
        #[n(1)]
        nonce: u32,
    },
    /// This incarnation of a node answers neither me nor those whom I asked: it is down.
    #[n(4)]
    Down {
        /// The accused.
        #[n(0)]
        target: NodeId,
        /// Its incarnation; only a higher one refutes.
        #[n(1)]
        incarnation: u64,
    },
    /// The accused speaks: I am alive.
    #[n(5)]
    Alive {
        /// Who is alive.
        #[n(0)]
        target: NodeId,
        /// Higher than that of the accusation.
        #[n(1)]
        incarnation: u64,
    },
}

impl ProbeMessage {
    /// Tells probe datagrams from gossip.
    pub const TAG: u8 = 2;
}
