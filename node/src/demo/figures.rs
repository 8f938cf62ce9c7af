//! Durations, and what is said of many of them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::DEMO_SAMPLES_MAX;

/// The latest durations of one kind.
#[derive(Default)]
pub(super) struct Durations {
    latest: VecDeque<Duration>,
    longest: Duration,
}

impl Durations {
    /// Adds one.
    pub(super) fn add(&mut self, duration: Duration) {
        if self.latest.len() == DEMO_SAMPLES_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back(duration);
        self.longest = self.longest.max(duration);
    }

    /// The smallest duration that `percent` of the latest do not exceed; zero if there are none.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted: Vec<_> = self.latest.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// The longest of all.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

/// In milliseconds, with a tenth where that tells something.
pub(super) fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let mut durations = Durations::default();
        assert_eq!(durations.percentile(99), Duration::ZERO);
        for ms in (1..=100).rev() {
            durations.add(Duration::from_millis(ms));
        }
        assert_eq!(durations.percentile(50), Duration::from_millis(50));
        assert_eq!(durations.percentile(99), Duration::from_millis(99));
        assert_eq!(durations.percentile(100), durations.longest());
    }
}
