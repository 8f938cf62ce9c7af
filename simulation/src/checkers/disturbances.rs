//! When machines were last disturbed, for checkers to which a known flaw needs a disturbance.

use std::collections::BTreeMap;

use fipple_emulator::Time;

use crate::engine::Place;
use crate::scenario::Fault;

/// What has been disturbed.
#[derive(Debug, Default)]
pub(super) struct Disturbances {
    /// How many faults concern a machine now, and when the last one began or ended.
    places: BTreeMap<Place, (u32, Time)>,
    /// The same of faults between machines, which concern everybody.
    network: (u32, Time),
}

impl Disturbances {
    pub(super) fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        let note = |(now, last): &mut (u32, Time)| {
            *now = if begins { *now + 1 } else { now.saturating_sub(1) };
            *last = at;
        };
        match fault {
            Fault::Partition { .. } | Fault::CutOneWay { .. } | Fault::BadLink { .. } => {
                note(&mut self.network)
            }
            _ => fault.places().into_iter().for_each(|place| note(self.places.entry(place).or_default())),
        }
    }

    /// Until when a machine, or the network, was last disturbed; `now` if it is.
    pub(super) fn last(&self, place: Place, now: Time) -> Time {
        let of = |(ongoing, last): (u32, Time)| if ongoing > 0 { now } else { last };
        of(self.places.get(&place).copied().unwrap_or_default()).max(of(self.network))
    }
}
