//! At every moment one node at most controls the calls of a switch: the one that holds its gate.

use std::collections::BTreeSet;

use fipple_emulator::Time;
use fipple_emulator::journal::Entry;

use super::disturbances::Disturbances;
use super::{Checker, Finding, Verdict};
use crate::engine::{Place, Seen};
use crate::scenario::Fault;

/// Steps are not yet checked in the channel's own thread, so that a node that was cut off or stood still while it lost
/// the gate goes on until it hears of it.
const UNFENCED: &str = "a stale controller commands until it reads the gate";

pub(super) struct OneController {
    node_ids: Vec<String>,
    /// Which nodes have held which switch's gate.
    held: BTreeSet<(usize, usize)>,
    disturbances: Disturbances,
}

impl OneController {
    pub(super) fn new(node_ids: &[String]) -> Self {
        Self { node_ids: node_ids.to_vec(), held: BTreeSet::new(), disturbances: Disturbances::default() }
    }

    /// The node that holds the gate of the switch.
    fn holder(&self, seen: &Seen<'_>) -> Option<usize> {
        let holder = seen.state.hash_value("fipple", &format!("gate.{}", seen.state.core_uuid()))?;
        self.node_ids.iter().position(|id| id == holder)
    }
}

impl Checker for OneController {
    fn invariant(&self) -> &'static str {
        "one controller a call"
    }

    fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        self.disturbances.faulted(at, fault, begins);
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        let holder = self.holder(seen);
        if let Some(holder) = holder {
            self.held.insert((seen.switch, holder));
        }
        let Entry::Command { connection, line } = entry else { return Ok(()) };
        let Some(node) = seen.node_of(*connection).filter(|_| controls_a_call(line)) else { return Ok(()) };
        if holder == Some(node) {
            return Ok(());
        }
        let held = self.held.contains(&(seen.switch, node));
        let holder = holder.map_or("nobody".to_owned(), |holder| Place::Node(holder).to_string());
        let (switch, node) = (Place::Switch(seen.switch), Place::Node(node));
        let what = format!("{node} says {line:?} to {switch}, whose gate {holder} holds");
        let excused = held && self.disturbances.excuse(&[node, switch], seen.at);
        Err(Finding { known: excused.then_some(UNFENCED), what })
    }
}

/// Whether a command changes a call, rather than asks about it.
fn controls_a_call(line: &str) -> bool {
    let mut words = line.split(' ');
    match words.next() {
        Some("sendmsg") => true,
        Some("api" | "bgapi") => words.next().is_some_and(|command| {
            command.starts_with("uuid_") && !["uuid_dump", "uuid_exists", "uuid_getvar"].contains(&command)
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_controls_nothing() {
        assert!(controls_a_call("sendmsg u") && controls_a_call("bgapi uuid_bridge a b"));
        assert!(controls_a_call("api uuid_setvar_multi u a=b"));
        for line in
            ["api uuid_dump u json", "api hash select/fipple/x", "event plain ALL", "api show channels"]
        {
            assert!(!controls_a_call(line), "{line}");
        }
    }
}
