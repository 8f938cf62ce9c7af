//! No step of a flow, and no command by REST, runs twice on a call.

use std::collections::BTreeMap;

use fipple_emulator::Time;
use fipple_emulator::journal::Entry;
use fipple_protocol::call::parse_step_uuid;

use super::disturbances::Disturbances;
use super::{Checker, Finding, Verdict};
use crate::engine::{Place, Seen};
use crate::scenario::Fault;

/// Steps are not yet checked and marked in the channel's own thread.
const UNFENCED: &str = "a step or command runs again after its controller was disturbed";

#[derive(Default)]
pub(super) struct NoStepTwice {
    /// When each step or command of each call began, and by which node.
    begun: BTreeMap<(usize, String, What), (Time, Option<usize>)>,
    disturbances: Disturbances,
}

/// What is to run once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Step(u32),
    /// A command that REST took, by its id.
    Command(String),
}

impl Checker for NoStepTwice {
    fn invariant(&self) -> &'static str {
        "no step twice"
    }

    fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        self.disturbances.faulted(at, fault, begins);
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        let Entry::Started { uuid, application_uuid, application, connection, .. } = entry else {
            return Ok(());
        };
        let Some(what) = what_is(uuid, application_uuid) else { return Ok(()) };
        let node = connection.and_then(|connection| seen.node_of(connection));
        let key = (seen.switch, uuid.to_string(), what.clone());
        let Some((first, first_node)) = self.begun.get(&key).copied() else {
            self.begun.insert(key, (seen.at, node));
            return Ok(());
        };
        let switch = Place::Switch(seen.switch);
        let names = |node: Option<usize>| node.map_or("nobody".into(), |node| Place::Node(node).to_string());
        let seen_as = format!(
            "{what:?} ({application}) of call {uuid} on {switch}: by {} at {} us, again by {}",
            names(first_node),
            first.0,
            names(node)
        );
        let nodes = [first_node, node].into_iter().flatten().map(Place::Node);
        let places: Vec<Place> = nodes.chain([switch]).collect();
        let known = self.disturbances.excuse(&places, seen.at).then_some(UNFENCED);
        Err(Finding { known, what: seen_as })
    }
}

/// What an execution is, by the `Event-UUID` that fipple gave it.
fn what_is(uuid: &str, application_uuid: &str) -> Option<What> {
    if application_uuid.starts_with("command-") {
        return Some(What::Command(application_uuid.to_owned()));
    }
    parse_step_uuid(uuid, application_uuid).map(|(step, _)| What::Step(step))
}
