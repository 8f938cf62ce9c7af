//! Events that overtake each other. FreeSWITCH hands events to its listeners from several threads, so that one is
//! now and then passed by those that were fired after it (transcript o_ordering: CHANNEL_HANGUP_COMPLETE before
//! CHANNEL_HANGUP, HANGUP before UNPARK, CALL_UPDATE before ANSWER), and their numbers repeat now and then
//! (transcript g_custom_events/chat_sms).

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::bus::Deliveries;
use crate::switch::{Switch, Timer};

/// How many events overtake a late one (transcript o_ordering/per_channel_inversions: 1 to 9).
const OVERTAKEN_BY: RangeInclusive<u64> = 1..=9;

/// When a late event comes if nothing overtakes it: the thread that has it lost its turn, no more.
const LATE_AT_MOST: Duration = Duration::from_millis(3);

/// How rarely events are out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disorder {
    /// Of a million events, how many others overtake.
    pub late_per_million: u64,
    /// Of a million events, how many have the number of the one before.
    pub repeated_sequence_per_million: u64,
}

/// An event that others overtake.
#[derive(Debug)]
pub(crate) struct Late {
    deliveries: Deliveries,
    /// How many more overtake it.
    left: u64,
}

impl Switch {
    pub(crate) fn deliver_or_delay(&mut self, deliveries: Deliveries) {
        if self.bus.late.is_none() && self.is_drawn(self.config.disorder.late_per_million) {
            let left = self.random.in_range(&OVERTAKEN_BY);
            self.bus.late = Some(Late { deliveries, left });
            let at = self.now + LATE_AT_MOST;
            return self.arm(at, Timer::Late);
        }
        self.bus.deliver(deliveries);
        if let Some(late) = &mut self.bus.late {
            late.left -= 1;
            if late.left == 0 {
                self.deliver_late();
            }
        }
    }

    /// The late event comes after all.
    pub(crate) fn deliver_late(&mut self) {
        if let Some(late) = self.bus.late.take() {
            self.bus.deliver(late.deliveries);
        }
    }

    /// The number of the next event.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        if !self.is_drawn(self.config.disorder.repeated_sequence_per_million) {
            self.event_sequence += 1;
        }
        self.event_sequence
    }

    /// Something so rare; draws nothing where it never is.
    fn is_drawn(&mut self, per_million: u64) -> bool {
        per_million > 0 && self.random.in_range(&(1..=1_000_000)) <= per_million
    }
}
