//! How one slow reader freezes the whole switch (freeswitch README "A slow reader freezes the switch").
//!
//! When a listener's queue is full, FreeSWITCH writes a disconnect notice to that listener's socket, which takes no
//! more, while it holds the lock of all listeners. Every other connection stops. Events pile up before the lock until
//! no more fit, and then the threads of calls wait as well. Only the end of the slow connection ends it.

use std::time::Duration;

use crate::bus::Deliveries;
use crate::switch::{ConnectionId, Switch, Timer};
use crate::time::Time;

/// How long FreeSWITCH tries to write the notice (freeswitch README: up to 10 minutes).
const PATIENCE: Duration = Duration::from_secs(600);

/// A switch that is frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Freeze {
    /// The connection whose queue is full.
    pub(crate) connection: ConnectionId,
    /// Since when, once the switch has noticed.
    since: Option<Time>,
    /// Events that wait to get into the listeners' queues.
    pub(crate) undelivered: usize,
}

/// What happens to a call from outside while the threads of calls wait; it is made up for afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unheard {
    Hangup(String),
    Digits(String, String),
}

impl Freeze {
    pub(crate) fn of(connection: ConnectionId) -> Self {
        Self { connection, since: None, undelivered: 0 }
    }
}

impl Switch {
    /// Whether a slow reader has frozen the switch: no connection is served.
    pub fn is_frozen(&self) -> bool {
        self.bus.freeze.is_some()
    }

    /// Whether even the threads of calls stand still.
    pub(crate) fn calls_stand_still(&self) -> bool {
        self.bus.freeze.as_ref().is_some_and(|freeze| {
            freeze.undelivered >= self.config.dispatch_queue_max
                || freeze
                    .since
                    .is_some_and(|since| self.now >= since + self.config.freeze_reaches_calls_after)
        })
    }

    /// Notes when a freeze began.
    pub(crate) fn notice_freeze(&mut self) {
        let Some(freeze) = self.bus.freeze.as_mut().filter(|freeze| freeze.since.is_none()) else { return };
        freeze.since = Some(self.now);
        let at = self.now + PATIENCE;
        self.arm(at, Timer::Thaw);
    }

    /// The slow connection has ended or has taken the notice, or FreeSWITCH has lost patience.
    pub(crate) fn thaw_if_over(&mut self) {
        let Some(freeze) = &self.bus.freeze else { return };
        let connection = freeze.connection;
        let is_there = self.bus.connections.contains_key(&connection);
        let impatient = freeze.since.is_some_and(|since| self.now >= since + PATIENCE);
        if is_there && !self.bus.has_room(connection) && !impatient {
            return;
        }
        let freed = self.bus.thaw();
        if impatient {
            self.bus.close(connection);
        } else {
            self.bus.disconnect(connection);
        }
        self.resumable.extend(freed);
        for unheard in std::mem::take(&mut self.unheard) {
            // A call that has ended meanwhile does not hear it any more.
            let _ = match unheard {
                Unheard::Hangup(uuid) => self.caller_hangup(self.now, &uuid),
                Unheard::Digits(uuid, digits) => self.caller_dtmf(self.now, &uuid, &digits),
            };
        }
    }

    /// Delivers an event, or has it come late.
    pub(crate) fn dispatch(&mut self, deliveries: Deliveries) {
        self.deliver_or_delay(deliveries);
        self.notice_freeze();
    }
}
