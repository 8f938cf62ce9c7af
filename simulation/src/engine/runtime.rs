//! A machine that runs tasks: one paused tokio runtime.

use std::time::Duration;

use fipple_determinism::{Stream, exchange};
use fipple_emulator::Time;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{advance, sleep_until};

use crate::clock::{self, LocalClock};
use crate::error::Error;
use crate::network::{Fabric, HostId};

/// A machine that is switched on.
pub(super) struct RuntimeHost {
    fabric: Fabric,
    id: HostId,
    name: String,
    runtime: Runtime,
    clock: LocalClock,
    /// What libc draws from while this machine runs; `None` while it does.
    libc: Option<Stream>,
    /// How far tokio's clock has come.
    elapsed: Duration,
}

/// How a machine's clocks are off.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClockError {
    /// How far the time of day is ahead, in milliseconds.
    pub(super) offset_ms: i64,
    /// How much too fast all its clocks run, in millionths.
    pub(super) drift_ppm: i32,
}

impl RuntimeHost {
    /// Switches a machine on at `now`. Whatever libc draws on it comes from `libc`.
    pub(super) fn start(
        fabric: &Fabric,
        id: HostId,
        name: &str,
        now: Time,
        error: ClockError,
        libc: Stream,
    ) -> Result<Self, Error> {
        let outer = exchange(libc);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|source| Error::Runtime { machine: name.to_owned(), source })?;
        let guard = runtime.enter();
        let clock = LocalClock::start(now, error.drift_ppm, error.offset_ms);
        drop(guard);
        let libc = outer.and_then(exchange);
        Ok(Self {
            fabric: fabric.clone(),
            id,
            name: name.to_owned(),
            runtime,
            clock,
            libc,
            elapsed: Duration::ZERO,
        })
    }

    pub(super) fn set_offset_ms(&mut self, offset_ms: i64) {
        self.clock.set_offset_ms(offset_ms);
    }

    /// Does something on the machine: with its clocks, its randomness and its runtime.
    pub(super) fn enter<R>(&mut self, act: impl FnOnce(&Runtime) -> R) -> R {
        let outer = self.libc.take().and_then(exchange);
        clock::set_local(Some(self.clock), &self.name);
        // tokio's clock is the machine's only inside its runtime; elsewhere it would be the real machine's.
        let context = self.runtime.enter();
        let result = act(&self.runtime);
        drop(context);
        clock::set_local(None, "");
        self.libc = outer.and_then(exchange);
        result
    }

    /// Lets the machine run until the world's time is `until`, and delivers what arrives before.
    pub(super) fn run(&mut self, until: Time) {
        let target = self.clock.elapsed_at(until);
        if target <= self.elapsed {
            return;
        }
        self.elapsed = target;
        let (fabric, id, clock) = (self.fabric.clone(), self.id, self.clock);
        self.enter(|runtime| {
            runtime.block_on(async {
                while let Some(at) = fabric.next_arrival(id) {
                    // Rounded up: tokio's clock stands at whole milliseconds, and nothing arrives before its time.
                    let due = clock.elapsed_at(at + Duration::from_micros(999));
                    if due > target {
                        break;
                    }
                    sleep_until(clock.instant_after(due)).await;
                    fabric.deliver(id, at);
                }
                sleep_until(clock.instant_after(target)).await;
            });
        });
    }

    /// Lets time pass in which the machine's processes do nothing, as under SIGSTOP; its network card goes on.
    pub(super) fn stand_still(&mut self, until: Time) {
        while self.fabric.deliver(self.id, until).is_some() {}
    }

    /// Sets the clocks to the world's time after the machine stood still: all that was due meanwhile is late.
    pub(super) fn catch_up(&mut self, now: Time) {
        let target = self.clock.elapsed_at(now);
        let missed = target.saturating_sub(self.elapsed);
        self.elapsed = target.max(self.elapsed);
        self.enter(|runtime| runtime.block_on(advance(missed)));
    }
}
