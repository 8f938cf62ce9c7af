//! What is seen of a switch, and by whom.

use std::net::IpAddr;

use fipple_emulator::journal::Entry;
use fipple_emulator::{ConnectionId, Switch, Time};

use super::switch_host::SwitchHost;

/// Sees what happens at the switches, each thing right after it has happened.
pub trait Observer {
    /// Something happened at a switch.
    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry);
}

/// Nobody looks.
impl Observer for () {
    fn happened(&mut self, _: &Seen<'_>, _: &Entry) {}
}

/// A switch right after something happened there.
pub struct Seen<'a> {
    /// When.
    pub at: Time,
    /// The switch's number.
    pub switch: usize,
    /// When a command that has come was written by its controller; nothing else was.
    pub written_at: Option<Time>,
    /// The switch itself.
    pub state: &'a Switch,
    pub(super) host: &'a SwitchHost,
    pub(super) addresses: &'a [IpAddr],
}

impl Seen<'_> {
    /// The number of the node at the other end of a connection.
    pub fn node_of(&self, connection: ConnectionId) -> Option<usize> {
        let address = self.host.controller(connection)?;
        self.addresses.iter().position(|node| *node == address)
    }
}
