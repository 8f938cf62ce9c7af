//! What is to happen, and when.

use std::collections::BTreeMap;

use fipple_emulator::Time;

/// Things to come, in the order of their moments; at one moment, in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<(Time, u64), T>,
    added: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), added: 0 }
    }
}

impl<T> Agenda<T> {
    pub(crate) fn add(&mut self, at: Time, entry: T) {
        self.added += 1;
        self.entries.insert((at, self.added), entry);
    }

    /// The next thing that is due at `now`.
    pub(crate) fn next_due(&mut self, now: Time) -> Option<T> {
        let first = self.entries.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}
