//! What must always hold, checked from outside the nodes: at the switches, after every single thing that happens there,
//! and at the end, when nothing has been disturbed for long.
//!
//! A checker is a file of its own and a line in [`all`].

mod bounded_queues;
mod calls_are_served;
mod disturbances;
mod epochs_rise;
mod gates;
mod no_call_is_trapped;
mod no_ghost_calls;
mod no_step_twice;
mod nodes_stay_up;
mod one_controller;
mod replicas_converge;
mod rest_answers;
mod takeover_in_order;
mod words;

use std::collections::BTreeMap;

use fipple_crdt::Entry as Document;
use fipple_emulator::Time;
use fipple_emulator::journal::Entry;
use serde::{Deserialize, Serialize};

use crate::engine::{NodeState, Observer, RestAnswer, Seen, World};
use crate::scenario::Fault;

/// One thing that must always hold.
pub(crate) trait Checker {
    /// What must hold, in a few words.
    fn invariant(&self) -> &'static str;

    /// Something happened at a switch.
    fn happened(&mut self, _seen: &Seen<'_>, _entry: &Entry) -> Verdict {
        Ok(())
    }

    /// Something breaks, or is mended.
    fn faulted(&mut self, _at: Time, _fault: &Fault, _begins: bool) {}

    /// A node answered a request by REST, or did not.
    fn answered(&mut self, _answer: &RestAnswer) -> Verdict {
        Ok(())
    }

    /// A node was looked at, as all are every second.
    fn sampled(&mut self, _sample: &Sample) -> Verdict {
        Ok(())
    }

    /// All stands like this, as is looked at every second.
    fn looked(&mut self, _world: &World) -> Verdict {
        Ok(())
    }

    /// The run is at its end, and nothing was disturbed for long.
    fn at_rest(&mut self, _rest: &Rest<'_>) -> Verdict {
        Ok(())
    }
}

/// All checkers.
fn all(node_ids: &[String]) -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(one_controller::OneController::new(node_ids)),
        Box::new(no_step_twice::NoStepTwice::default()),
        Box::new(epochs_rise::EpochsRise::default()),
        Box::new(takeover_in_order::TakeoverInOrder::default()),
        Box::new(rest_answers::RestAnswers::default()),
        Box::new(bounded_queues::BoundedQueues),
        Box::new(nodes_stay_up::NodesStayUp::default()),
        Box::new(no_call_is_trapped::NoCallIsTrapped::default()),
        Box::new(no_ghost_calls::NoGhostCalls),
        Box::new(calls_are_served::CallsAreServed::default()),
        Box::new(replicas_converge::ReplicasConverge),
    ]
}

/// Whether it held.
pub(crate) type Verdict = Result<(), Finding>;

/// It did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was seen.
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(what: String) -> Self {
        Self { what }
    }
}

/// What a node looks like.
pub(crate) struct Sample {
    pub(crate) at: Time,
    pub(crate) node: usize,
    pub(crate) state: NodeState,
    /// How many other nodes there are.
    pub(crate) peers: usize,
    /// Requests to peers that wait for an answer; `None` where the node does not work.
    pub(crate) requests_in_flight: Option<u64>,
}

/// How everything stands at the end.
pub(crate) struct Rest<'a> {
    pub(crate) world: &'a World,
    /// When the last fault was over.
    pub(crate) quiet_since: Time,
    /// What each node lists.
    pub(crate) listings: Vec<(usize, Listing)>,
    /// Each node's documents of the cluster's own database.
    pub(crate) documents: Vec<(usize, Option<Vec<Document>>)>,
    /// The last number that each node has acknowledged as written.
    pub(crate) acknowledged: &'a BTreeMap<usize, u64>,
}

/// What a node lists.
pub(crate) struct Listing {
    /// When it was asked.
    pub(crate) asked: Time,
    /// When it answered.
    pub(crate) at: Time,
    /// The channels, by their uuids; or why there are none.
    pub(crate) channels: Result<BTreeMap<String, Listed>, String>,
}

/// A channel as REST lists it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Listed {
    pub(crate) uuid: String,
    pub(crate) switch: String,
    pub(crate) owner: Option<String>,
}

/// What did not hold, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// What must hold.
    pub invariant: String,
    /// When it did not, in microseconds from the start.
    pub at_us: u64,
    /// What was seen.
    pub what: String,
}

/// All checkers at work on one run.
pub(crate) struct Checks {
    checkers: Vec<Box<dyn Checker>>,
    violation: Option<Violation>,
}

impl Checks {
    pub(crate) fn new(node_ids: &[String]) -> Self {
        Self { checkers: all(node_ids), violation: None }
    }

    /// The first thing that did not hold.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Notes something that did not hold.
    pub(crate) fn violated(&mut self, invariant: &str, at: Time, what: String) {
        self.violation.get_or_insert(Violation { invariant: invariant.to_owned(), at_us: at.0, what });
    }

    pub(crate) fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        self.checkers.iter_mut().for_each(|checker| checker.faulted(at, fault, begins));
    }

    pub(crate) fn answered(&mut self, answer: &RestAnswer) {
        self.each(answer.at, |checker| checker.answered(answer));
    }

    pub(crate) fn sampled(&mut self, sample: &Sample) {
        self.each(sample.at, |checker| checker.sampled(sample));
    }

    pub(crate) fn looked(&mut self, world: &World) {
        self.each(world.now(), |checker| checker.looked(world));
    }

    pub(crate) fn at_rest(&mut self, rest: &Rest<'_>) {
        self.each(rest.world.now(), |checker| checker.at_rest(rest));
    }

    fn each(&mut self, at: Time, mut check: impl FnMut(&mut dyn Checker) -> Verdict) {
        for checker in &mut self.checkers {
            if let Err(finding) = check(&mut **checker) {
                let invariant = checker.invariant().to_owned();
                self.violation.get_or_insert(Violation { invariant, at_us: at.0, what: finding.what });
            }
        }
    }
}

impl Observer for Checks {
    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) {
        self.each(seen.at, |checker| checker.happened(seen, entry));
    }
}
