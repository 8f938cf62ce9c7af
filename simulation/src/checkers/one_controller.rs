//! At every moment one node at most controls the calls of a switch: the one that holds its gate.
//!
//! What counts is what takes effect. A step or a command that says its epoch is the fence's matter, and another checker's:
//! whoever sent it, it runs in the call's epoch or not at all. What is left is what no epoch holds back: taking a call or
//! raising its epoch, a command for a call in any epoch, and a bare `uuid_*` command. Those take effect only if they come from
//! the node that holds the gate, but for two cases, which are told apart by what happens and not by the time that passes:
//!
//! - the node held the gate when it *wrote* the command: the gate changed hands while that was on the wire;
//! - the gate was taken from the node, and whoever holds it by now has not looked at the call, or nobody does: whoever looks
//!   later finds whatever was done. The holder has looked at a call once it has raised, taken or read it, and at all calls that
//!   were born after it first listed the channels. A node that gave the gate back by itself has nothing more to say.

use std::collections::{BTreeMap, BTreeSet};

use fipple_emulator::journal::Entry;
use fipple_emulator::{ConnectionId, Time};

use super::gates::Gates;
use super::words::{Deed, deeds};
use super::{Checker, Finding, Verdict};
use crate::engine::{Place, Seen};

pub(super) struct OneController {
    gates: Gates,
    /// When what was to raise the epoch of this call was written by the node at the other end of a connection.
    written: BTreeMap<(usize, ConnectionId, String), Time>,
    /// When each living channel was born.
    born: BTreeMap<(usize, String), Time>,
    /// What the holder of each gate has looked at since it took it.
    looked: BTreeMap<usize, Looked>,
    /// Nodes that have given a gate back and not taken it since.
    gave_back: BTreeSet<(usize, usize)>,
}

/// What the holder of a gate has looked at.
#[derive(Default)]
struct Looked {
    /// When it first listed all channels.
    listed_at: Option<Time>,
    calls: BTreeSet<String>,
}

impl OneController {
    pub(super) fn new(node_ids: &[String]) -> Self {
        let (written, born, looked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { gates: Gates::new(node_ids), written, born, looked, gave_back: BTreeSet::new() }
    }

    /// Something that no epoch held back has taken effect on a call.
    fn judge(&self, seen: &Seen<'_>, node: usize, call: &str, written_at: Time, what: &str) -> Verdict {
        let holder = self.gates.holder(seen.switch);
        if holder == Some(node) || self.gates.held_at(seen.switch, node, written_at) {
            return Ok(());
        }
        let was_taken = !self.gave_back.contains(&(seen.switch, node));
        if was_taken && !self.has_looked(seen.switch, call) {
            return Ok(());
        }
        let holder = holder.map_or("nobody".to_owned(), |holder| Place::Node(holder).to_string());
        let (switch, node) = (Place::Switch(seen.switch), Place::Node(node));
        Err(Finding::new(format!(
            "{node} did {what} to call {call} of {switch}, written at {} us, and {holder} held the gate",
            written_at.0
        )))
    }

    fn has_looked(&self, switch: usize, call: &str) -> bool {
        let Some(looked) = self.looked.get(&switch) else { return false };
        let born = self.born.get(&(switch, call.to_owned()));
        let born_later = looked.listed_at.is_some_and(|listed| born.is_some_and(|born| *born > listed));
        born_later || looked.calls.contains(call)
    }

    fn commanded(&mut self, seen: &Seen<'_>, connection: ConnectionId, line: &str) -> Verdict {
        let Some(node) = seen.node_of(connection) else { return Ok(()) };
        let written_at = seen.written_at.unwrap_or(seen.at);
        let holds = self.gates.holder(seen.switch) == Some(node);
        for deed in deeds(line) {
            match deed {
                Deed::List if holds => {
                    let looked = self.looked.entry(seen.switch).or_default();
                    looked.listed_at.get_or_insert(seen.at);
                }
                Deed::Read(call) if holds => {
                    self.looked.entry(seen.switch).or_default().calls.insert(call.to_owned());
                }
                Deed::Claim(call) => {
                    self.written.insert((seen.switch, connection, call.to_owned()), written_at);
                }
                Deed::Change(call) if self.born.contains_key(&(seen.switch, call.to_owned())) => {
                    self.judge(seen, node, call, written_at, line)?;
                }
                Deed::List | Deed::Read(_) | Deed::Change(_) => {}
            }
        }
        Ok(())
    }

    /// The epoch of a call was set by a controller.
    fn claimed(&mut self, seen: &Seen<'_>, connection: ConnectionId, call: &str, epoch: u64) -> Verdict {
        let Some(node) = seen.node_of(connection) else { return Ok(()) };
        let key = (seen.switch, connection, call.to_owned());
        let written_at = self.written.get(&key).copied().unwrap_or(seen.at);
        self.judge(seen, node, call, written_at, &format!("set epoch {epoch}"))?;
        if self.gates.holder(seen.switch) == Some(node) {
            self.looked.entry(seen.switch).or_default().calls.insert(call.to_owned());
        }
        Ok(())
    }
}

impl Checker for OneController {
    fn invariant(&self) -> &'static str {
        "one controller a call"
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        if self.gates.look(seen) {
            self.looked.remove(&seen.switch);
            if let Some(holder) = self.gates.holder(seen.switch) {
                self.gave_back.remove(&(seen.switch, holder));
            } else if let Entry::Command { connection, line } = entry
                && line.contains("hash delete_ifmatch/fipple/gate.")
            {
                let by = seen
                    .node_of(*connection)
                    .filter(|node| self.gates.last_holder(seen.switch) == Some(*node));
                self.gave_back.extend(by.map(|node| (seen.switch, node)));
            }
        }
        match entry {
            Entry::Created { uuid, .. } => {
                self.born.insert((seen.switch, uuid.to_string()), seen.at);
                Ok(())
            }
            Entry::Ended { uuid } => {
                let call = uuid.to_string();
                self.born.remove(&(seen.switch, call.clone()));
                self.written.retain(|(switch, _, of), _| (*switch, of) != (seen.switch, &call));
                Ok(())
            }
            Entry::Command { connection, line } => self.commanded(seen, *connection, line),
            Entry::EpochSet { uuid, change } => match change.connection {
                Some(connection) => self.claimed(seen, connection, uuid, change.epoch),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
