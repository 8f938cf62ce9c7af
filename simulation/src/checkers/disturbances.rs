//! When anything was last disturbed, for checkers of what has to be well again some time after.

use std::time::Duration;

use fipple_emulator::Time;

use crate::scenario::Fault;

/// What is disturbed, and when something last was.
#[derive(Debug, Default)]
pub(super) struct Disturbances {
    ongoing: u32,
    /// When the last disturbance began or ended, if there was any.
    last: Option<Time>,
}

impl Disturbances {
    pub(super) fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        // The time of day decides nothing about calls.
        if matches!(fault, Fault::WrongClock { .. }) {
            return;
        }
        self.ongoing = if begins { self.ongoing + 1 } else { self.ongoing.saturating_sub(1) };
        self.last = Some(at);
    }

    /// Whether nothing was disturbed for so long.
    pub(super) fn quiet_for(&self, quiet: Duration, now: Time) -> bool {
        self.ongoing == 0 && self.last.is_none_or(|last| now > last + quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Place;

    #[test]
    fn it_is_quiet_some_time_after_the_last_disturbance_is_over() {
        let mut disturbances = Disturbances::default();
        let node = Place::Node(0);
        let second = |second: u64| Time(second * 1_000_000);
        let quiet = Duration::from_secs(10);
        assert!(disturbances.quiet_for(quiet, second(1)), "nothing was disturbed");
        let pause = Fault::Pause { place: node };
        disturbances.faulted(second(10), &pause, true);
        assert!(!disturbances.quiet_for(quiet, second(500)), "it goes on");
        disturbances.faulted(second(501), &pause, false);
        assert!(!disturbances.quiet_for(quiet, second(511)) && disturbances.quiet_for(quiet, second(512)));
        let partition = Fault::Partition { away: vec![node] };
        disturbances.faulted(second(601), &partition, true);
        assert!(!disturbances.quiet_for(quiet, second(700)));
        disturbances.faulted(second(701), &partition, false);
        assert!(disturbances.quiet_for(quiet, second(712)));
    }
}
