//! When things happened at the switch, by its own clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use fipple_emulator::journal::Entry;
use fipple_emulator::{Switch, Time, Uuid, Watcher};
use fipple_tests::{Killer, NodeProcess, TestSwitch, step_of};

/// Looks on while a switch works.
pub(crate) struct Recorder(Arc<Mutex<Log>>);

/// What it saw.
#[derive(Default)]
pub(crate) struct Log {
    calls: BTreeMap<Uuid, Call>,
    to_kill: Option<Killer>,
    killed_at: Option<Time>,
}

#[derive(Default)]
struct Call {
    parked: Option<Time>,
    /// When each step began, by its number.
    steps: BTreeMap<u32, Time>,
    owner: String,
    /// When its epoch was raised last.
    taken: Option<Time>,
}

/// Milliseconds of a moment.
fn ms(at: Time) -> f64 {
    at.0 as f64 / 1_000.0
}

impl Log {
    /// When a call was parked, in milliseconds.
    pub(crate) fn parked(&self, uuid: &Uuid) -> Option<f64> {
        self.calls.get(uuid)?.parked.map(ms)
    }

    /// When a step of a call arrived and began: at the same moment, for nothing else runs in the channel.
    pub(crate) fn step(&self, uuid: &Uuid, step: u32) -> Option<f64> {
        self.calls.get(uuid)?.steps.get(&step).copied().map(ms)
    }

    /// When the epoch of a call was raised last, in milliseconds.
    pub(crate) fn taken(&self, uuid: &Uuid) -> Option<f64> {
        self.calls.get(uuid)?.taken.map(ms)
    }

    /// The last step of a call that began.
    pub(crate) fn last_step(&self, uuid: &Uuid) -> u32 {
        self.calls.get(uuid).and_then(|call| call.steps.keys().last().copied()).unwrap_or(0)
    }

    /// Who owns a call, as the switch has it.
    pub(crate) fn owner(&self, uuid: &Uuid) -> Option<&String> {
        self.calls.get(uuid).map(|call| &call.owner)
    }
}

impl Recorder {
    /// Begins to look on.
    pub(crate) fn of(switch: &TestSwitch) -> Self {
        let log = Arc::default();
        switch.watch(Looking(Arc::clone(&log)));
        Self(log)
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&Log) -> R) -> R {
        read(&lock(&self.0))
    }

    /// Kills a node while the switch stands still. When that was, in milliseconds.
    pub(crate) fn kill(&self, switch: &TestSwitch, node: &NodeProcess) -> f64 {
        {
            let mut log = lock(&self.0);
            log.to_kill = Some(node.killer());
            log.killed_at = None;
        }
        loop {
            // Whatever is asked of the switch wakes who looks on.
            switch.counts();
            if let Some(at) = lock(&self.0).killed_at {
                return ms(at);
            }
            sleep(Duration::from_millis(1));
        }
    }
}

struct Looking(Arc<Mutex<Log>>);

impl Watcher for Looking {
    fn receives(&mut self, _: &Switch, _: &[u8]) -> bool {
        true
    }

    fn happened(&mut self, switch: &mut Switch) {
        let mut log = lock(&self.0);
        while let Some(entry) = switch.take_journal() {
            let now = switch.now();
            match entry {
                Entry::Started { uuid, application, .. } if application == "park" => {
                    log.calls.entry(uuid).or_default().parked.get_or_insert(now);
                }
                Entry::Started { uuid, application, application_uuid, .. } => {
                    if let Some(step) = step_of(&uuid, &application, &application_uuid) {
                        log.calls.entry(uuid).or_default().steps.entry(step).or_insert(now);
                    }
                }
                Entry::EpochSet { uuid, .. } => {
                    let owner = switch.channel_variable(&uuid, "fipple_owner").unwrap_or_default();
                    let owner = owner.to_owned();
                    let call = log.calls.entry(uuid).or_default();
                    (call.owner, call.taken) = (owner, Some(now));
                }
                _ => {}
            }
        }
        if let Some(killer) = log.to_kill.take() {
            killer.kill();
            log.killed_at = Some(switch.now());
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
