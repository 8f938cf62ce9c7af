//! Simulated time, as everything that runs on a simulation's thread sees it.
//!
//! The world has one time. A machine that is running has a clock of its own, tokio's, which is paused and jumps from
//! deadline to deadline in whole milliseconds; it may drift. What runs on the machine, libc's clocks included, reads that
//! one, and the network translates it back.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use fipple_emulator::Time;
use tokio::time::Instant;

/// When every simulation begins: 2026-11-23 04:00:00 UTC, about when the transcripts were recorded.
pub const EPOCH: Duration = Duration::from_secs(1_795_406_400);

/// What monotonic clocks show when a simulation begins. Far from zero, since programs subtract from it.
const BOOT: Duration = Duration::from_secs(1_000_000);

/// A machine's own clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalClock {
    /// tokio's clock when the machine's runtime was made.
    anchor: Instant,
    /// The world's time then.
    started: Time,
    /// How much faster it runs than the world, in millionths.
    drift_ppm: i32,
    /// How far its time of day is ahead of the world's, in milliseconds.
    offset_ms: i64,
}

thread_local! {
    static WORLD: Cell<Time> = const { Cell::new(Time(0)) };
    static LOCAL: Cell<Option<LocalClock>> = const { Cell::new(None) };
    static MACHINE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl LocalClock {
    /// The clocks of a machine whose runtime was just made. Call it inside that runtime.
    pub(crate) fn start(started: Time, drift_ppm: i32, offset_ms: i64) -> Self {
        Self { anchor: Instant::now(), started, drift_ppm, offset_ms }
    }

    pub(crate) fn set_offset_ms(&mut self, offset_ms: i64) {
        self.offset_ms = offset_ms;
    }

    /// How long the machine has been running at a moment of the world, by its own clock and rounded down to tokio's
    /// resolution.
    pub(crate) fn elapsed_at(&self, moment: Time) -> Duration {
        let micros = moment.micros_since(self.started);
        let drifted = i128::from(micros) * (1_000_000 + i128::from(self.drift_ppm)) / 1_000_000;
        Duration::from_millis(u64::try_from(drifted / 1_000).unwrap_or_default())
    }

    /// tokio's clock after the machine has been running for so long.
    pub(crate) fn instant_after(&self, elapsed: Duration) -> Instant {
        self.anchor + elapsed
    }

    /// How long the machine has been running, by its own clock.
    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.anchor)
    }

    /// The world's time.
    fn world(&self) -> Time {
        let own = i128::try_from(self.elapsed().as_micros()).unwrap_or_default();
        let micros = own * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm));
        self.started + Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    }

    /// How long the world has existed, by this machine's clock.
    fn since_start(&self) -> Duration {
        Duration::from_micros(self.started.0) + self.elapsed()
    }
}

/// Sets the world's time, which everything reads that runs on no machine.
pub(crate) fn set_world(now: Time) {
    WORLD.set(now);
}

/// From now on the machine of this name is running, or none is.
pub(crate) fn set_local(clock: Option<LocalClock>, machine: &str) {
    LOCAL.set(clock);
    MACHINE.with_borrow_mut(|name| {
        name.clear();
        name.push_str(machine);
    });
}

/// The name of the machine that is running; empty for none.
pub(crate) fn machine() -> String {
    MACHINE.with_borrow(Clone::clone)
}

/// The world's time. A machine's clock stands at whole milliseconds, and so up to one before the step that the machine is
/// in: what it does then is done at the step's start, so that it reaches no other machine within the step.
pub(crate) fn now() -> Time {
    LOCAL.get().map_or_else(|| WORLD.get(), |local| local.world().max(WORLD.get()))
}

/// The time of day on the machine that is running.
pub(crate) fn unix() -> Duration {
    let Some(local) = LOCAL.get() else { return EPOCH + Duration::from_micros(WORLD.get().0) };
    let offset = Duration::from_millis(local.offset_ms.unsigned_abs());
    let exact = EPOCH + local.since_start();
    if local.offset_ms < 0 { exact.saturating_sub(offset) } else { exact + offset }
}

/// The monotonic clock of the machine that is running.
pub(crate) fn monotonic() -> Duration {
    BOOT + LOCAL.get().map_or_else(|| Duration::from_micros(WORLD.get().0), |local| local.since_start())
}
