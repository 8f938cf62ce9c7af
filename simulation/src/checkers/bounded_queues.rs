//! Queues stay within their bounds: those of a switch, which cost a connection, and those of the nodes.

use fipple::limits::PENDING_REQUESTS;
use fipple_emulator::journal::Entry;

use super::{Checker, Finding, Sample, Verdict};
use crate::engine::{Place, Seen};

pub(super) struct BoundedQueues;

impl Checker for BoundedQueues {
    fn invariant(&self) -> &'static str {
        "queues within their bounds"
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        let switch = Place::Switch(seen.switch);
        match entry {
            Entry::PrivateQueueFull { uuid, .. } => {
                Err(Finding::new(format!("the private queue of {uuid} on {switch} was full")))
            }
            Entry::ListenerQueueFull { .. } => {
                Err(Finding::new(format!("the queue of a listener of {switch} was full")))
            }
            _ => Ok(()),
        }
    }

    fn sampled(&mut self, sample: &Sample) -> Verdict {
        let waiting = sample.requests_in_flight.unwrap_or_default();
        let bound = (PENDING_REQUESTS * sample.peers) as u64;
        if waiting <= bound {
            return Ok(());
        }
        let node = Place::Node(sample.node);
        Err(Finding::new(format!("{waiting} requests of {node} wait for peers, of {bound}")))
    }
}
