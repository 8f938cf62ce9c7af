//! No step of a flow runs twice on a call.

use std::collections::BTreeMap;

use fipple_emulator::Time;
use fipple_emulator::journal::Entry;
use fipple_protocol::call::parse_step_uuid;

use super::disturbances::Disturbances;
use super::{Checker, Finding, Verdict};
use crate::engine::{Place, Seen};
use crate::scenario::Fault;

/// Steps are not yet checked and marked in the channel's own thread.
const UNFENCED: &str = "a step runs again after its controller was disturbed";

/// A controller that was disturbed so long before a step may not have heard what became of it, or may still give commands
/// that another's have overtaken: as long as [`super::one_controller`] excuses it.
const UNFENCED_US: u64 = 23_000_000;

#[derive(Default)]
pub(super) struct NoStepTwice {
    /// When each step of each call began, and by which node's command.
    begun: BTreeMap<(usize, String, u32), (Time, Option<usize>)>,
    disturbances: Disturbances,
}

impl Checker for NoStepTwice {
    fn invariant(&self) -> &'static str {
        "no step twice"
    }

    fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        self.disturbances.faulted(at, fault, begins);
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        let (uuid, application_uuid, application, connection) = match entry {
            Entry::Started { uuid, application_uuid, application, connection, .. } => {
                (uuid, application_uuid, application, connection)
            }
            _ => return Ok(()),
        };
        let Some((step, _)) = parse_step_uuid(uuid, application_uuid) else { return Ok(()) };
        let node = connection.and_then(|connection| seen.node_of(connection));
        let key = (seen.switch, uuid.to_string(), step);
        let Some((first, first_node)) = self.begun.get(&key).copied() else {
            self.begun.insert(key, (seen.at, node));
            return Ok(());
        };
        let names = |node: Option<usize>| node.map_or("nobody".into(), |node| Place::Node(node).to_string());
        let what = format!(
            "step {step} ({application}) of call {uuid} on {}: by {} at {} us, again by {}",
            Place::Switch(seen.switch),
            names(first_node),
            first.0,
            names(node)
        );
        let disturbed = |node: usize| self.disturbances.last(Place::Node(node), seen.at);
        let last = [first_node, node].into_iter().flatten().map(disturbed).max().unwrap_or_default();
        let excused = last.0 > 0 && last.0.saturating_add(UNFENCED_US) >= first.0;
        Err(Finding { known: excused.then_some(UNFENCED), what })
    }
}
