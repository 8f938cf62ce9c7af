//! What became of a call's fenced steps, for checkers: what ran, what the channel knew when it began, and what the step
//! itself said of it.
//!
//! A step marks the channel, then looks at the epoch, then runs its application. A taker raises the epoch, then looks at
//! the mark. So a step may run in an epoch that was raised since it looked, if its taker could see the mark and wait for
//! it; one that ran unseen is what must not be.
//!
//! A run is taken down where the application begins, a verdict where the CUSTOM event `fipple::step` is fired. So neither
//! rests on the other.

mod commands;

use crate::channel::{Channel, Uuid};
use crate::journal::Entry;
use crate::ledger::Ledger;
use crate::limits::LEDGER_STEPS_MAX;
use crate::switch::{ConnectionId, Switch};
use crate::time::Time;

pub use commands::CommandRun;

/// The application of a step began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRun {
    /// Which step.
    pub step: u64,
    /// In which epoch it was sent.
    pub epoch: u64,
    /// The channel's epoch when it began.
    pub current_epoch: u64,
    /// The last step that was done when it began.
    pub done: u64,
    /// What it executes.
    pub application: String,
    /// When it began.
    pub at: Time,
    /// The connection that queued the step; `None` if that was not a controller.
    pub connection: Option<ConnectionId>,
}

/// A channel's epoch was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochChange {
    /// To what.
    pub epoch: u64,
    /// The step that was marked as running, and its epoch.
    pub running: Option<(u64, u64)>,
    /// When.
    pub at: Time,
    /// The connection whose command did it; `None` if that was not a controller.
    pub connection: Option<ConnectionId>,
}

/// A step said what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepVerdict {
    /// Which step; 0 for a command.
    pub step: u64,
    /// Which command, by its idempotency key; `None` for a step.
    pub key: Option<String>,
    /// In which epoch it was sent; 0 for any.
    pub epoch: u64,
    /// `done`, `stale`, `duplicate`, `gap`, `interrupted` or `locked`.
    pub result: String,
    /// When.
    pub at: Time,
    /// The connection that queued the step; `None` if that was not a controller.
    pub connection: Option<ConnectionId>,
}

/// The fenced steps of one call, in the order in which they happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fence {
    /// What ran.
    pub runs: Vec<StepRun>,
    /// What was said.
    pub verdicts: Vec<StepVerdict>,
    /// How the epoch changed.
    pub epochs: Vec<EpochChange>,
    /// What commands ran.
    pub commands: Vec<CommandRun>,
    /// How many of the steps that ran belong to flows that are over: the call came back to its extension since.
    pub flow_begins: usize,
    /// Runs, verdicts and changes beyond the limit that are in none of them.
    pub dropped: u64,
    kept: Vec<commands::Kept>,
}

impl Fence {
    /// What must never happen and did: a step that ran in another epoch than the channel's, unseen by whoever raised it; a
    /// step that ran again, or before the one before it was done; an epoch that went back; a command that ran in another
    /// epoch, or ran again. Of steps, those of the present flow are looked at.
    pub fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let mut last = 0;
        for run in self.runs.iter().skip(self.flow_begins) {
            let StepRun { step, epoch, current_epoch, done, .. } = run;
            let mut raised = self.epochs.iter().filter(|change| change.epoch > *epoch && change.at <= run.at);
            let seen = raised.next().is_some_and(|change| change.running == Some((*step, *epoch)));
            if epoch != current_epoch && !seen {
                violations.push(format!("step {step} of epoch {epoch} ran in epoch {current_epoch}"));
            }
            if *step <= last {
                violations.push(format!("step {step} ran after step {last}"));
            }
            if *step != done + 1 {
                violations.push(format!("step {step} ran when step {done} was done"));
            }
            last = last.max(*step);
        }
        for pair in self.epochs.windows(2).filter(|pair| pair[1].epoch < pair[0].epoch) {
            violations.push(format!("epoch {} followed epoch {}", pair[1].epoch, pair[0].epoch));
        }
        violations.extend(self.command_violations());
        violations
    }
}

impl Ledger {
    /// A call's fenced steps; `None` if it had none, or its record was dropped.
    pub fn fence(&self, uuid: &str) -> Option<&Fence> {
        self.fences.get(uuid)
    }

    fn fence_to_add_to(&mut self, uuid: &Uuid) -> Option<&mut Fence> {
        let fence = self.fences.entry(uuid.clone()).or_default();
        let kept = fence.runs.len() + fence.verdicts.len() + fence.epochs.len() + fence.commands.len();
        if kept >= LEDGER_STEPS_MAX {
            fence.dropped += 1;
            return None;
        }
        Some(fence)
    }
}

impl Switch {
    /// An application begins: takes it down if it is that of a step, by the mark of the channel and its own name, or that
    /// of a command.
    pub(crate) fn note_step_run(&mut self, uuid: &Uuid, application: &str, application_uuid: &str) {
        self.note_command_run(uuid, application, application_uuid);
        let Some(channel) = self.channels.get(uuid) else { return };
        let named = |(step, _): &(u64, u64)| {
            application_uuid.strip_prefix(&**uuid) == Some(format!("-{step}").as_str())
        };
        let Some((step, epoch)) = running_step(channel).filter(named) else { return };
        let run = StepRun {
            step,
            epoch,
            current_epoch: self.epoch_of(uuid),
            done: number(channel, "fipple_done"),
            application: application.to_owned(),
            at: self.now,
            connection: channel.commanded_by().flatten(),
        };
        // The wrapper of the snippet bears the same name.
        if application == "execute_extension" {
            return;
        }
        self.ledger.journal.add(|| Entry::StepRan { uuid: uuid.clone(), run: run.clone() });
        if let Some(fence) = self.ledger.fence_to_add_to(uuid) {
            fence.runs.push(run);
        }
    }

    /// A variable of a channel was set: takes it down if it is the epoch, the keys of commands, or how far its flow has come.
    pub(crate) fn note_variable(&mut self, uuid: &str, name: &str, connection: Option<ConnectionId>) {
        let Some(channel) = self.channels.get(uuid) else { return };
        let uuid = channel.uuid.clone();
        match name.to_ascii_lowercase().as_str() {
            "fipple_keys" => self.note_keys(&uuid),
            "fipple_done" => self.note_done(&uuid),
            "fipple_epoch" => self.note_epoch(&uuid, connection),
            _ => {}
        }
    }

    fn note_epoch(&mut self, uuid: &Uuid, connection: Option<ConnectionId>) {
        let Some(channel) = self.channels.get(uuid) else { return };
        let (epoch, running) = (number(channel, "fipple_epoch"), running_step(channel));
        let change = EpochChange { epoch, running, at: self.now, connection };
        self.ledger.journal.add(|| Entry::EpochSet { uuid: uuid.clone(), change: change.clone() });
        if let Some(fence) = self.ledger.fence_to_add_to(uuid) {
            fence.epochs.push(change);
        }
    }

    /// No step sets this to 0: the dialplan does, for a call that is to go through its flow from the beginning.
    fn note_done(&mut self, uuid: &Uuid) {
        if self.channels.get(uuid).is_some_and(|channel| channel.value_of("fipple_done") == Some("0")) {
            self.ledger.journal.add(|| Entry::FlowBegan { uuid: uuid.clone() });
            let fence = self.ledger.fences.entry(uuid.clone()).or_default();
            fence.flow_begins = fence.runs.len();
        }
    }

    /// A CUSTOM event is fired in a channel: takes it down if it is a step's.
    pub(crate) fn note_step_verdict(&mut self, subclass: &str, headers: &[(String, String)]) {
        if subclass != "fipple::step" {
            return;
        }
        let header =
            |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let channel = header("Unique-ID").and_then(|uuid| self.channels.get(uuid));
        let Some(channel) = channel else { return };
        let number = |name: &str| header(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        let verdict = StepVerdict {
            step: number("Step"),
            key: header("Step").filter(|step| commands::is_key(step)).map(str::to_owned),
            epoch: number("Epoch"),
            result: header("Result").unwrap_or_default().to_owned(),
            at: self.now,
            connection: channel.commanded_by().flatten(),
        };
        let uuid = channel.uuid.clone();
        self.ledger.journal.add(|| Entry::StepTold { uuid: uuid.clone(), verdict: verdict.clone() });
        if let Some(fence) = self.ledger.fence_to_add_to(&uuid) {
            fence.verdicts.push(verdict);
        }
    }
}

/// The step that a channel is marked with, and its epoch.
fn running_step(channel: &Channel) -> Option<(u64, u64)> {
    let (step, epoch) = channel.value_of("fipple_run")?.split_once(':')?;
    Some((step.parse().ok()?, epoch.parse().ok()?))
}

fn number(channel: &Channel, name: &str) -> u64 {
    channel.value_of(name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_happen_is_found() {
        let run = |step, epoch, current_epoch, done| StepRun {
            step,
            epoch,
            current_epoch,
            done,
            application: "playback".into(),
            at: Time(0),
            connection: None,
        };
        let violations = |runs: &[StepRun]| Fence { runs: runs.to_vec(), ..Fence::default() }.violations();
        assert!(violations(&[run(1, 1, 1, 0), run(2, 3, 3, 1)]).is_empty());
        assert_eq!(violations(&[run(1, 1, 2, 0)]), ["step 1 of epoch 1 ran in epoch 2"]);
        assert_eq!(violations(&[run(1, 1, 1, 0), run(1, 2, 2, 0)]), ["step 1 ran after step 1"]);
        assert_eq!(violations(&[run(2, 1, 1, 0)]), ["step 2 ran when step 0 was done"]);
    }

    #[test]
    fn a_step_may_run_in_an_older_epoch_if_it_was_seen_to_run() {
        let run = StepRun {
            step: 1,
            epoch: 1,
            current_epoch: 3,
            done: 0,
            application: "playback".into(),
            at: Time(9),
            connection: None,
        };
        let changed = |epoch, running| EpochChange { epoch, running, at: Time(5), connection: None };
        let violations = |epochs: [EpochChange; 2]| {
            Fence { runs: vec![run.clone()], epochs: epochs.into(), ..Fence::default() }.violations()
        };
        assert!(violations([changed(2, Some((1, 1))), changed(3, None)]).is_empty());
        let unseen = ["step 1 of epoch 1 ran in epoch 3"];
        assert_eq!(violations([changed(2, None), changed(3, Some((1, 1)))]), unseen);
        assert_eq!(violations([changed(2, Some((1, 1))), changed(1, None)]), ["epoch 1 followed epoch 2"]);
    }
}
