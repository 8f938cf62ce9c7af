//! A node that takes over a claimed call raises its epoch first and reads how it stands only then: what the former controller
//! had queued is refused from then on, or has marked itself as running and is seen.
//!
//! So nothing that a node sends may run on a call that it found claimed unless it has raised the epoch over the same
//! connection (a node attaches over a new one each time), and has read the call since. It may have read the call before, too:
//! to learn the epoch, for one. Where somebody else was faster, the raise is refused, and a node that has read the call after
//! that may go on in the epoch that it found.

use std::collections::{BTreeMap, BTreeSet};

use fipple_emulator::ConnectionId;
use fipple_emulator::journal::Entry;

use super::words::{Deed, deeds};
use super::{Checker, Finding, Verdict};
use crate::engine::{Place, Seen};

/// A call of a switch.
type Call = (usize, String);

#[derive(Default)]
pub(super) struct TakeoverInOrder {
    /// Calls that somebody has claimed.
    claimed: BTreeSet<Call>,
    /// How far the node at the other end of a connection is with each call that it has tried to take or raise.
    stages: BTreeMap<(Call, ConnectionId), Stage>,
}

/// How far a node is that takes over a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has asked for a higher epoch, whether that came of it or not.
    Asked,
    /// And it has read the call since; or nobody had claimed the call before.
    Known,
}

impl TakeoverInOrder {
    fn asked(&mut self, call: Call, connection: ConnectionId) {
        // One that knows the call gives it to another owner.
        self.stages.entry((call, connection)).or_insert(Stage::Asked);
    }

    fn raised(&mut self, call: Call, connection: Option<ConnectionId>) {
        let Some(connection) = connection else {
            // The dialplan, or the switch itself that sends the call to the fallback: it is nobody's now.
            return self.forget(&call);
        };
        let is_new = self.claimed.insert(call.clone());
        self.stages.retain(|(of, by), _| *of != call || *by == connection);
        let stage = self.stages.entry((call, connection)).or_insert(Stage::Asked);
        if is_new {
            *stage = Stage::Known;
        }
    }

    fn read(&mut self, call: &Call, connection: ConnectionId) {
        if let Some(stage) = self.stages.get_mut(&(call.clone(), connection)) {
            *stage = Stage::Known;
        }
    }

    fn forget(&mut self, call: &Call) {
        self.claimed.remove(call);
        self.stages.retain(|(of, _), _| of != call);
    }

    /// Something ran that came over this connection.
    fn ran(&self, seen: &Seen<'_>, call: &Call, connection: Option<ConnectionId>, what: &str) -> Verdict {
        let Some(connection) = connection.filter(|_| self.claimed.contains(call)) else { return Ok(()) };
        let Some(node) = seen.node_of(connection) else { return Ok(()) };
        let problem = match self.stages.get(&(call.clone(), connection)) {
            Some(Stage::Known) => return Ok(()),
            Some(Stage::Asked) => "has not read it since it raised its epoch",
            None => "has not raised its epoch",
        };
        let (node, switch) = (Place::Node(node), Place::Switch(call.0));
        Err(Finding::new(format!(
            "{what} of {node} ran on call {} of {switch}, and {node} {problem}",
            call.1
        )))
    }
}

impl Checker for TakeoverInOrder {
    fn invariant(&self) -> &'static str {
        "takeover in order"
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        let call = |uuid: &str| (seen.switch, uuid.to_owned());
        match entry {
            Entry::EpochSet { uuid, change } => self.raised(call(uuid), change.connection),
            Entry::Created { uuid, .. } | Entry::Ended { uuid } => self.forget(&call(uuid)),
            Entry::Command { connection, line } => {
                for deed in deeds(line) {
                    match deed {
                        Deed::Read(uuid) => self.read(&call(uuid), *connection),
                        Deed::Claim(uuid) => self.asked(call(uuid), *connection),
                        Deed::List | Deed::Change(_) => {}
                    }
                }
            }
            // Of an older epoch only what was seen running is left.
            Entry::StepRan { uuid, run } if run.epoch == run.current_epoch => {
                return self.ran(seen, &call(uuid), run.connection, &format!("step {}", run.step));
            }
            Entry::CommandRan { uuid, run } if run.epoch == Some(run.current_epoch) => {
                return self.ran(seen, &call(uuid), run.connection, &run.command);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_a_call_claimed_raises_it_and_then_reads_it() {
        let mut checker = TakeoverInOrder::default();
        let call = || (0, "u".to_owned());
        let (first, second) = (ConnectionId(1), ConnectionId(2));
        let stage = |checker: &TakeoverInOrder, by| checker.stages.get(&(call(), by)).copied();
        checker.asked(call(), first);
        checker.raised(call(), Some(first));
        assert_eq!(stage(&checker, first), Some(Stage::Known), "it was nobody's");
        checker.read(&call(), second);
        assert_eq!(stage(&checker, second), None, "what is read before counts for nothing");
        checker.asked(call(), second);
        checker.raised(call(), Some(second));
        assert_eq!((stage(&checker, first), stage(&checker, second)), (None, Some(Stage::Asked)));
        checker.read(&call(), first);
        assert_eq!(stage(&checker, second), Some(Stage::Asked));
        checker.read(&call(), second);
        checker.asked(call(), second);
        checker.raised(call(), Some(second));
        assert_eq!(stage(&checker, second), Some(Stage::Known), "it gives it to another owner");
        checker.raised(call(), None);
        checker.asked(call(), first);
        checker.raised(call(), Some(first));
        assert_eq!(stage(&checker, first), Some(Stage::Known), "it came back and was nobody's");
    }
}
