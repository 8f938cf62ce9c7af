//! What travels between machines.

use std::cmp::Ordering;
use std::net::SocketAddr;

use bytes::Bytes;
use fipple_emulator::Time;

use super::tcp::{ConnectionEnd, ConnectionNumber, Segment, Side};

/// A packet on its way, in the order of arrival; packets that arrive at once, in the order of sending.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) at: Time,
    pub(super) sequence: u64,
    pub(super) payload: Payload,
}

/// What is in a packet.
#[derive(Debug)]
pub(super) enum Payload {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    /// For the end of a TCP connection that is called `side`.
    Segment {
        connection: ConnectionNumber,
        side: Side,
        segment: Segment,
    },
}

/// What has been delivered, for machines that are no runtimes and are woken by nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// A datagram went into its mailbox, or nobody wanted it.
    Datagram,
    /// A peer has connected to a port that is listened on.
    Connected(ConnectionEnd),
    /// There is something new about this end: bytes, room for bytes, or its end.
    Changed(ConnectionEnd),
    /// Nothing that a machine would notice.
    Nothing,
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
