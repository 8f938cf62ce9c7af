//! The calls: places them, and follows each to its end in the switches' ledgers.

use std::collections::BTreeMap;

use fipple_emulator::{Counts, Ledger};

use super::chaos::Orphans;
use super::emulated::EmulatedSwitch;
use super::figures::Durations;
use super::verdict;
use crate::Error;
use crate::limits::DEMO_FAULTS_MAX;

/// All calls of the demonstration.
pub(super) struct Traffic {
    pub(super) switches: Vec<EmulatedSwitch>,
    /// The calls that have not ended: uuid, and which switch has it.
    under_way: BTreeMap<String, usize>,
    pub(super) placed: u64,
    /// Calls that a controller answered, played to and hung up.
    pub(super) controlled: u64,
    /// Calls that ended in any other way.
    pub(super) faulty: u64,
    /// What was wrong with the first of those.
    pub(super) faults: Vec<String>,
    /// Steps that ran more than once.
    pub(super) steps_repeated: usize,
    /// From parked to answered.
    pub(super) time_to_answer: Durations,
    /// The calls of the node that was killed.
    pub(super) orphans: Option<Orphans>,
}

impl Traffic {
    /// No calls yet.
    pub(super) fn new(switches: Vec<EmulatedSwitch>) -> Self {
        Self {
            switches,
            under_way: BTreeMap::new(),
            placed: 0,
            controlled: 0,
            faulty: 0,
            faults: Vec::new(),
            steps_repeated: 0,
            time_to_answer: Durations::default(),
            orphans: None,
        }
    }

    /// A new call from outside, to each switch in turn.
    pub(super) async fn place_call(&mut self) -> Result<(), Error> {
        let index = (self.placed % self.switches.len() as u64) as usize;
        let caller = format!("555{:07}", self.placed);
        let uuid = self.switches[index].place_call(&caller).await?;
        self.placed += 1;
        self.under_way.insert(uuid, index);
        Ok(())
    }

    /// How many calls have not ended.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Judges the calls that have ended since.
    pub(super) async fn follow(&mut self) -> Result<(), Error> {
        let ledgers = self.ledgers().await?;
        for (uuid, index) in std::mem::take(&mut self.under_way) {
            let Some(record) = ledgers[index].call(&uuid) else {
                self.note_fault(&uuid, "the switch has forgotten it".into());
                continue;
            };
            if record.ended.is_none() {
                self.under_way.insert(uuid, index);
                continue;
            }
            self.steps_repeated += verdict::repeated_steps(record);
            verdict::time_to_answer(record).into_iter().for_each(|time| self.time_to_answer.add(time));
            let fault = verdict::fault(record);
            if let Some(orphans) = &mut self.orphans {
                orphans.ended(record, fault.is_none());
            }
            match fault {
                None => self.controlled += 1,
                Some(fault) => self.note_fault(&uuid, fault),
            }
        }
        Ok(())
    }

    async fn ledgers(&self) -> Result<Vec<Ledger>, Error> {
        let mut ledgers = Vec::new();
        for switch in &self.switches {
            ledgers.push(switch.ledger().await?);
        }
        Ok(ledgers)
    }

    /// The switches' own numbers, in their order.
    pub(super) async fn counts(&self) -> Result<Vec<Counts>, Error> {
        let mut counts = Vec::new();
        for switch in &self.switches {
            counts.push(switch.counts().await?);
        }
        Ok(counts)
    }

    /// Remembers that these calls have lost their owner just now.
    pub(super) fn orphan(&mut self, node: String, uuids: impl Iterator<Item = String>) {
        let switches = &self.switches;
        let with_time = uuids.filter_map(|uuid| Some((switches[*self.under_way.get(&uuid)?].now(), uuid)));
        let calls = with_time.map(|(now, uuid)| (uuid, now)).collect();
        self.orphans = Some(Orphans::new(node, calls));
    }

    /// Calls that never ended are faulty too.
    pub(super) async fn give_up(&mut self) -> Result<(), Error> {
        let ledgers = self.ledgers().await?;
        for (uuid, index) in std::mem::take(&mut self.under_way) {
            let done = ledgers[index].call(&uuid).map(|record| {
                let ran = record.executions.iter().map(|run| run.application.as_str());
                ran.collect::<Vec<_>>().join(", ")
            });
            self.note_fault(&uuid, format!("it never ended; it has run: {}", done.unwrap_or_default()));
        }
        Ok(())
    }

    fn note_fault(&mut self, uuid: &str, fault: String) {
        self.faulty += 1;
        if self.faults.len() < DEMO_FAULTS_MAX {
            self.faults.push(format!("call {uuid}: {fault}"));
        }
    }
}
