//! The steps of a call come in their order, and under epochs that never fall: whoever lost the call is not heard any more.

use std::collections::BTreeMap;

use fipple_emulator::Time;
use fipple_emulator::journal::Entry;
use fipple_protocol::call::parse_step_uuid;

use super::disturbances::Disturbances;
use super::{Checker, Finding, Verdict};
use crate::engine::{Place, Seen};
use crate::scenario::Fault;

/// Epochs are not yet checked in the channel's own thread.
const UNFENCED: &str = "a step of an earlier epoch runs after its controller was disturbed";

#[derive(Default)]
pub(super) struct EpochsRise {
    /// The furthest step of each call, with its epoch: a stale one that came after it takes nothing back.
    furthest: BTreeMap<(usize, String), (u64, u32)>,
    disturbances: Disturbances,
}

impl Checker for EpochsRise {
    fn invariant(&self) -> &'static str {
        "epochs and steps rise"
    }

    fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        self.disturbances.faulted(at, fault, begins);
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        let Entry::Started { uuid, application_uuid, connection, .. } = entry else { return Ok(()) };
        let Some((step, epoch)) = parse_step_uuid(uuid, application_uuid) else { return Ok(()) };
        let furthest = self.furthest.entry((seen.switch, uuid.to_string())).or_default();
        let (last_epoch, last_step) = *furthest;
        *furthest = (*furthest).max((epoch, step));
        if epoch >= last_epoch && (last_step..=last_step + 1).contains(&step) {
            return Ok(());
        }
        let node = connection.and_then(|connection| seen.node_of(connection)).map(Place::Node);
        let switch = Place::Switch(seen.switch);
        let what = format!(
            "step {step} of epoch {epoch} on call {uuid} of {switch}, after step {last_step} of epoch {last_epoch}"
        );
        let places: Vec<Place> = node.into_iter().chain([switch]).collect();
        let known = self.disturbances.excuse(&places, seen.at).then_some(UNFENCED);
        Err(Finding { known, what })
    }
}
