//! When nothing has been disturbed for a while, REST answers, and does not blame the server.

use std::time::Duration;

use fipple_emulator::Time;

use super::disturbances::Disturbances;
use super::{Checker, Finding, Verdict};
use crate::engine::{Place, RestAnswer};
use crate::scenario::Fault;

/// How long after a disturbance everything may take to find its place again.
const SETTLED: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct RestAnswers {
    disturbances: Disturbances,
}

impl Checker for RestAnswers {
    fn invariant(&self) -> &'static str {
        "REST answers"
    }

    fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        self.disturbances.faulted(at, fault, begins);
    }

    fn answered(&mut self, answer: &RestAnswer) -> Verdict {
        // A call may be over before a command comes, which is no server's fault.
        let blame = match &answer.outcome {
            Ok((status, _)) if *status < 500 => return Ok(()),
            Ok((status, body)) => format!("status {status}: {}", String::from_utf8_lossy(body)),
            Err(why) => why.clone(),
        };
        // Nodes that have only just started may not have attached yet.
        if answer.asked < Time(0) + SETTLED || !self.disturbances.quiet_for(SETTLED, answer.asked) {
            return Ok(());
        }
        let node = Place::Node(answer.node);
        Err(Finding::new(format!("{node} answered {:?} with {blame}", answer.purpose)))
    }
}
