//! A node starts, ends only if it is told to, and then soon.

use std::collections::BTreeMap;
use std::time::Duration;

use fipple::limits::{DRAIN_TIMEOUT_MS, SHUTDOWN_TIMEOUT_MS};
use fipple_emulator::Time;

use super::{Checker, Finding, Sample, Verdict};
use crate::engine::{NodeState, Place};

#[derive(Default)]
pub(super) struct NodesStayUp {
    /// Since when a node has been starting or stopping.
    changing: BTreeMap<usize, (NodeState, Time)>,
}

/// How long starting and stopping may take: what a node allows itself for handing over its work, for answers under way, for
/// the switches and for its peers, and some more.
const CHANGE_MAX: Duration = Duration::from_millis(DRAIN_TIMEOUT_MS + SHUTDOWN_TIMEOUT_MS + 10_000);

impl Checker for NodesStayUp {
    fn invariant(&self) -> &'static str {
        "nodes stay up"
    }

    fn sampled(&mut self, sample: &Sample) -> Verdict {
        let node = Place::Node(sample.node);
        match &sample.state {
            NodeState::Ended(Some(error)) => return Err(Finding::new(format!("{node} ended: {error}"))),
            NodeState::Starting | NodeState::Stopping => {
                let since = self.changing.entry(sample.node).or_insert((sample.state.clone(), sample.at));
                if since.0 != sample.state {
                    *since = (sample.state.clone(), sample.at);
                }
                if sample.at > since.1 + CHANGE_MAX {
                    return Err(Finding::new(format!("{node} is {:?} for {CHANGE_MAX:?}", sample.state)));
                }
            }
            _ => {
                self.changing.remove(&sample.node);
            }
        }
        Ok(())
    }
}
