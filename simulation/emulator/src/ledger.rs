//! What really happened to every call, for checkers: independent of what any controller was told.

use std::collections::{BTreeMap, VecDeque};

use crate::channel::Uuid;
use crate::fence::Fence;
use crate::journal::{Entry, Journal};
use crate::limits::{LEDGER_ENDED_CALLS_MAX, LEDGER_EXECUTIONS_MAX};
use crate::switch::ConnectionId;
use crate::time::Time;

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HungUpBy {
    /// A controller's command: `uuid_kill`, `hupall`, `sendmsg`.
    Controller(Option<ConnectionId>),
    /// The person at the other end of the leg.
    Remote,
    /// The switch itself: an application, the end of a dialplan, the death of the bridged leg, a time-out.
    Switch,
}

/// One run of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The application's name.
    pub application: String,
    /// Its argument, after variables were expanded.
    pub argument: String,
    /// `Application-UUID` of its two events.
    pub application_uuid: String,
    /// When it began.
    pub started: Time,
    /// When it ended; `None` while it runs.
    pub ended: Option<Time>,
    /// The connection whose command it was; `None` for the dialplan's.
    pub connection: Option<ConnectionId>,
}

/// The life of one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// The leg's uuid.
    pub uuid: Uuid,
    /// Whether the switch dialled it.
    pub outbound: bool,
    /// The caller's number.
    pub caller: String,
    /// The number that was dialled first.
    pub destination: String,
    /// When the leg came to be.
    pub created: Time,
    /// When it was answered, if it was.
    pub answered: Option<Time>,
    /// What ran on it, in the order of its beginning.
    pub executions: Vec<Execution>,
    /// Runs beyond the limit that are not in `executions`.
    pub executions_dropped: u64,
    /// When it ended, if it did.
    pub ended: Option<Time>,
    /// Why it ended; empty while it lives.
    pub cause: &'static str,
    /// Who ended it.
    pub hung_up_by: Option<HungUpBy>,
}

/// The records of all living calls and of the last ended ones.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    records: BTreeMap<Uuid, CallRecord>,
    ended: VecDeque<Uuid>,
    dropped: u64,
    pub(crate) fences: BTreeMap<Uuid, Fence>,
    pub(crate) journal: Journal,
}

impl Ledger {
    /// The records, by uuid.
    pub fn calls(&self) -> impl Iterator<Item = &CallRecord> {
        self.records.values()
    }

    /// One call's record, `None` if it never was or was dropped.
    pub fn call(&self, uuid: &str) -> Option<&CallRecord> {
        self.records.get(uuid)
    }

    /// Ended calls whose records were dropped to stay within the limit.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn created(&mut self, record: CallRecord) {
        self.journal.add(|| Entry::Created { uuid: record.uuid.clone(), outbound: record.outbound });
        self.fences.remove(&record.uuid);
        self.records.insert(record.uuid.clone(), record);
    }

    /// A call is back that the switch had lost.
    pub(crate) fn resurrected(&mut self, uuid: &str) {
        // It has forgotten what happened since it was last written to disk.
        self.fences.remove(uuid);
        if let Some(record) = self.records.get_mut(uuid) {
            record.ended = None;
            record.cause = "";
            record.hung_up_by = None;
            self.journal.add(|| Entry::Created { uuid: record.uuid.clone(), outbound: record.outbound });
        }
    }

    pub(crate) fn answered(&mut self, uuid: &str, now: Time) {
        if let Some(record) = self.records.get_mut(uuid) {
            record.answered.get_or_insert(now);
            self.journal.add(|| Entry::Answered { uuid: record.uuid.clone() });
        }
    }

    pub(crate) fn hung_up(&mut self, uuid: &str, cause: &'static str, by: HungUpBy) {
        if let Some(record) = self.records.get_mut(uuid) {
            record.cause = cause;
            record.hung_up_by = Some(by);
            self.journal.add(|| Entry::HungUp { uuid: record.uuid.clone(), cause, by });
        }
    }

    pub(crate) fn started(&mut self, uuid: &str, execution: Execution) {
        let Some(record) = self.records.get_mut(uuid) else { return };
        self.journal.add(|| Entry::Started {
            uuid: record.uuid.clone(),
            application: execution.application.clone(),
            argument: execution.argument.clone(),
            application_uuid: execution.application_uuid.clone(),
            connection: execution.connection,
        });
        if record.executions.len() < LEDGER_EXECUTIONS_MAX {
            record.executions.push(execution);
        } else {
            record.executions_dropped += 1;
        }
    }

    pub(crate) fn completed(&mut self, uuid: &str, application_uuid: &str, now: Time) {
        let Some(record) = self.records.get_mut(uuid) else { return };
        self.journal.add(|| Entry::Completed {
            uuid: record.uuid.clone(),
            application_uuid: application_uuid.to_owned(),
        });
        let running = |execution: &&mut Execution| {
            execution.ended.is_none() && execution.application_uuid == application_uuid
        };
        if let Some(execution) = record.executions.iter_mut().rev().find(running) {
            execution.ended = Some(now);
        }
    }

    pub(crate) fn ended(&mut self, uuid: &Uuid, now: Time) {
        let Some(record) = self.records.get_mut(uuid) else { return };
        record.ended = Some(now);
        self.journal.add(|| Entry::Ended { uuid: uuid.clone() });
        self.ended.push_back(uuid.clone());
        if self.ended.len() > LEDGER_ENDED_CALLS_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            // A uuid can be used again (origination_uuid): a living call keeps its record.
            if self.records.get(&oldest).is_some_and(|record| record.ended.is_some()) {
                self.records.remove(&oldest);
                self.fences.remove(&oldest);
                self.dropped += 1;
            }
        }
    }
}
