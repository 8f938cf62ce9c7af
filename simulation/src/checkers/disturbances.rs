//! When machines were last disturbed, for checkers to which a known flaw needs a disturbance.

use std::collections::BTreeMap;
use std::time::Duration;

use fipple::limits::{GATE_CHECK_MS, SWITCH_REPLY_TIMEOUT_MS};
use fipple_emulator::Time;

use crate::engine::Place;
use crate::scenario::Fault;

/// How long after a disturbance a controller may still be stale, as long as steps are not checked in the channel's own
/// thread: the pause between two readings of the gate, the longest wait for an answer, and what TCP had not got through,
/// which it sends again as long after a cut as the cut was: 15 s in the swarm.
pub(super) const STALE_FOR: Duration =
    Duration::from_millis(GATE_CHECK_MS + SWITCH_REPLY_TIMEOUT_MS + 16_000);

/// What has been disturbed.
#[derive(Debug, Default)]
pub(super) struct Disturbances {
    places: BTreeMap<Place, Disturbed>,
    /// A partition concerns everybody.
    all: Disturbed,
}

/// The disturbances of one machine.
#[derive(Debug, Default, Clone, Copy)]
struct Disturbed {
    ongoing: u32,
    /// When the last one began or ended, if there was any.
    last: Option<Time>,
}

impl Disturbed {
    fn note(&mut self, at: Time, begins: bool) {
        self.ongoing = if begins { self.ongoing + 1 } else { self.ongoing.saturating_sub(1) };
        self.last = Some(at);
    }

    fn until(self, now: Time) -> Option<Time> {
        if self.ongoing > 0 { Some(now) } else { self.last }
    }
}

impl Disturbances {
    pub(super) fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        match fault {
            Fault::Partition { .. } => self.all.note(at, begins),
            // The time of day decides nothing about calls.
            Fault::WrongClock { .. } => {}
            _ => {
                for place in fault.places() {
                    self.places.entry(place).or_default().note(at, begins);
                }
            }
        }
    }

    /// Until when any of these machines was disturbed, `now` if one is; `None` if none ever was.
    pub(super) fn until(&self, places: &[Place], now: Time) -> Option<Time> {
        let own = places.iter().filter_map(|place| self.places.get(place)?.until(now)).max();
        own.max(self.all.until(now))
    }

    /// Whether any of these machines may be, or may have met, a stale controller at a moment.
    pub(super) fn excuse(&self, places: &[Place], now: Time) -> bool {
        self.until(places, now).is_some_and(|until| now <= until + STALE_FOR)
    }

    /// Whether nothing at all was disturbed for so long.
    pub(super) fn quiet_for(&self, quiet: Duration, now: Time) -> bool {
        let all: Vec<Place> = self.places.keys().copied().collect();
        self.until(&all, now).is_none_or(|until| now > until + quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_disturbed_is_excused_and_only_for_a_while() {
        let mut disturbances = Disturbances::default();
        let (node, other) = (Place::Node(0), Place::Node(1));
        let second = |second: u64| Time(second * 1_000_000);
        assert!(!disturbances.excuse(&[node], second(1)), "nothing was disturbed");
        let pause = Fault::Pause { place: node };
        disturbances.faulted(second(10), &pause, true);
        assert!(
            disturbances.excuse(&[other, node], second(500)) && !disturbances.excuse(&[other], second(11))
        );
        disturbances.faulted(second(501), &pause, false);
        assert!(disturbances.excuse(&[node], second(502)) && !disturbances.excuse(&[node], second(600)));
        disturbances.faulted(second(601), &Fault::Partition { away: vec![node] }, true);
        assert!(disturbances.excuse(&[other], second(602)));
        assert!(!disturbances.quiet_for(Duration::from_secs(1), second(700)));
        disturbances.faulted(second(701), &Fault::Partition { away: vec![node] }, false);
        assert!(disturbances.quiet_for(Duration::from_secs(1), second(703)));
    }
}
