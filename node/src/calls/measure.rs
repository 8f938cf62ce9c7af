//! What is counted of what is remembered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::StepResult;
use tokio::time::Instant;

use super::control_metrics::SwitchControl;
use super::deaths::Deaths;
use super::lock;
use super::trace::{Fate, Part, What};
use crate::limits::TAKEOVER_COUNTED_MS;

/// Calls of dead owners that have a new one, until the switch accepts something from it: since when the death is known.
pub(super) struct Takeovers {
    deaths: Arc<Deaths>,
    waiting: Mutex<BTreeMap<String, Instant>>,
}

impl Takeovers {
    pub(super) fn new(deaths: Arc<Deaths>) -> Self {
        Self { deaths, waiting: Mutex::default() }
    }

    /// A call was taken from a node.
    pub(super) fn begin(&self, call: &str, from: NodeId) {
        if let Some(died) = self.deaths.of(from) {
            lock(&self.waiting).insert(call.to_owned(), died);
        }
    }

    /// Nobody waits any more.
    pub(super) fn forget_all(&self) {
        lock(&self.waiting).clear();
    }

    /// The switch has accepted something for the call, or the call is over.
    fn end(&self, call: &str) -> Option<Duration> {
        let mut waiting = lock(&self.waiting);
        // Nearly always there is none, and nothing to compare.
        if waiting.is_empty() {
            return None;
        }
        waiting.remove(call).map(|died| died.elapsed())
    }

    /// Counts what has been remembered of a call.
    pub(super) fn measure(&self, metrics: &SwitchControl, call: &str, what: &What) {
        match what {
            What::Step { fate: Fate::Sent, .. } | What::Command { part: Part::Carried, .. } => {
                // Later it was somebody's late wish, and not the takeover.
                let counted = |took: &Duration| *took <= Duration::from_millis(TAKEOVER_COUNTED_MS);
                if let Some(took) = self.end(call).filter(counted) {
                    metrics.takeover_seconds.observe(took.as_secs_f64());
                }
            }
            What::Step { fate: Fate::Adopted, .. } => metrics.step("adopted"),
            What::Step { fate: Fate::Result(result), .. } => metrics.step(StepResult::word(*result)),
            What::StepRefused { .. } => metrics.step("refused"),
            What::HungUp { .. } => {
                self.end(call);
            }
            _ => {}
        }
    }
}
