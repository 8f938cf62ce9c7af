//! A node ends only if it is told to.

use super::{Checker, Finding, Sample, Verdict};
use crate::engine::{NodeState, Place};

pub(super) struct NodesStayUp;

impl Checker for NodesStayUp {
    fn invariant(&self) -> &'static str {
        "nodes stay up"
    }

    fn sampled(&mut self, sample: &Sample) -> Verdict {
        match &sample.state {
            NodeState::Ended(Some(error)) => {
                Err(Finding::new(format!("{} ended: {error}", Place::Node(sample.node))))
            }
            _ => Ok(()),
        }
    }
}
