//! What happens to calls, in the order in which it happens: for checkers that look on while a switch works.
//!
//! The [`Ledger`](crate::Ledger) says how everything stands; the journal says what is new. A switch keeps none unless
//! [`Switch::keep_journal`](crate::Switch::keep_journal) asks for it.

use std::collections::VecDeque;

use crate::channel::Uuid;
use crate::fence::{CommandRun, EpochChange, StepRun, StepVerdict};
use crate::ledger::HungUpBy;
use crate::limits::JOURNAL_ENTRIES_MAX;
use crate::switch::ConnectionId;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A controller gave a command; before it is carried out.
    Command {
        /// Whose.
        connection: ConnectionId,
        /// Its first line.
        line: String,
    },
    /// A leg came to be.
    Created {
        /// Which.
        uuid: Uuid,
        /// Whether the switch dialled it.
        outbound: bool,
    },
    /// A leg was answered.
    Answered {
        /// Which.
        uuid: Uuid,
    },
    /// An application began.
    Started {
        /// On which leg.
        uuid: Uuid,
        /// Its name.
        application: String,
        /// Its argument, after variables were expanded.
        argument: String,
        /// `Application-UUID` of its events.
        application_uuid: String,
        /// Whose command it was; `None` for the dialplan's.
        connection: Option<ConnectionId>,
    },
    /// An application ended.
    Completed {
        /// On which leg.
        uuid: Uuid,
        /// `Application-UUID` of its events.
        application_uuid: String,
    },
    /// The application of a fenced step began.
    StepRan {
        /// On which leg.
        uuid: Uuid,
        /// What ran.
        run: StepRun,
    },
    /// A fenced command ran.
    CommandRan {
        /// On which leg, or for which call.
        uuid: Uuid,
        /// What ran.
        run: CommandRun,
    },
    /// A fenced step or command said what became of it.
    StepTold {
        /// On which leg.
        uuid: Uuid,
        /// What it said.
        verdict: StepVerdict,
    },
    /// A leg is to go through its flow from the beginning.
    FlowBegan {
        /// Which.
        uuid: Uuid,
    },
    /// A leg's epoch was set.
    EpochSet {
        /// Which leg.
        uuid: Uuid,
        /// To what.
        change: EpochChange,
    },
    /// A leg was hung up.
    HungUp {
        /// Which.
        uuid: Uuid,
        /// Why.
        cause: &'static str,
        /// By whom.
        by: HungUpBy,
    },
    /// A leg is gone.
    Ended {
        /// Which.
        uuid: Uuid,
    },
    /// A leg's private queue was full: the command was lost, and the connection that brought it was closed.
    PrivateQueueFull {
        /// Which leg.
        uuid: Uuid,
        /// Whose command.
        connection: ConnectionId,
    },
    /// A listener's queue was full.
    ListenerQueueFull {
        /// Whose.
        connection: ConnectionId,
    },
}

/// The entries that nobody has taken yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    entries: Option<VecDeque<Entry>>,
}

impl Journal {
    /// From now on entries are kept.
    pub(crate) fn keep(&mut self) {
        self.entries.get_or_insert_default();
    }

    /// Adds what `entry` makes, if entries are kept. The oldest goes where nobody takes them.
    pub(crate) fn add(&mut self, entry: impl FnOnce() -> Entry) {
        let Some(entries) = &mut self.entries else { return };
        if entries.len() >= JOURNAL_ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(entry());
    }

    /// The oldest entry.
    pub(crate) fn take(&mut self) -> Option<Entry> {
        self.entries.as_mut()?.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_kept_where_asked_for_and_bounded() {
        let entry = |number| Entry::ListenerQueueFull { connection: ConnectionId(number) };
        let mut journal = Journal::default();
        journal.add(|| entry(0));
        assert_eq!(journal.take(), None);
        journal.keep();
        for number in 0..=JOURNAL_ENTRIES_MAX as u64 {
            journal.add(|| entry(number));
        }
        assert_eq!(journal.take(), Some(entry(1)));
    }
}
