//! One channel of a switch, and its own thread, which runs fenced steps: mark, check, run, mark done.

use std::collections::VecDeque;

use fipple_protocol::peer::StepResult;

use crate::race::Mistake;

/// What the thread does with the step that it has taken from its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is about to mark it as running.
    Taken,
    /// It is about to compare epoch and number.
    Marked { before: Option<(u32, u64)> },
    /// It is about to run its application: nothing is looked at any more.
    Checked,
    /// Its application runs.
    Running,
}

/// The channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) epoch: u64,
    pub(crate) owner: usize,
    pub(crate) done: u32,
    /// `fipple_run`.
    pub(crate) running: Option<(u32, u64)>,
    /// Steps that wait for the thread, with their epochs.
    queue: VecDeque<(u32, u64)>,
    current: Option<((u32, u64), Stage)>,
    /// The steps whose applications have begun, with their epochs.
    pub(crate) begun: Vec<(u32, u64)>,
    mistake: Mistake,
}

/// What a step says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) step: u32,
    pub(crate) epoch: u64,
    pub(crate) result: StepResult,
    pub(crate) done: u32,
}

/// What the thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thread {
    /// Nothing: its queue is empty.
    Waits,
    /// The next moment of its script, which is short.
    GoesOn,
    /// It runs an application, which takes as long as a caller talks.
    Runs,
}

impl Channel {
    pub(crate) fn new(mistake: Mistake) -> Self {
        Self {
            epoch: 0,
            owner: 0,
            done: 0,
            running: None,
            queue: VecDeque::new(),
            current: None,
            begun: Vec::new(),
            mistake,
        }
    }

    /// Takes a step. Whether the thread was waiting for one.
    pub(crate) fn send(&mut self, step: u32, epoch: u64) -> bool {
        self.queue.push_back((step, epoch));
        self.current.is_none() && self.queue.len() == 1
    }

    /// How many steps have not begun.
    pub(crate) fn unstarted(&self) -> usize {
        self.queue.len()
    }

    /// Raises the epoch, as `take` of the fence script does. Whether it was raised.
    pub(crate) fn take(&mut self, epoch: u64, owner: usize) -> bool {
        let raised = epoch > self.epoch;
        if raised {
            (self.epoch, self.owner) = (epoch, owner);
        }
        raised
    }

    /// The thread comes to its next moment.
    pub(crate) fn go_on(&mut self) -> (Option<Verdict>, Thread) {
        let Some(((step, epoch), stage)) = self.current.take() else {
            let Some(next) = self.queue.pop_front() else { return (None, Thread::Waits) };
            self.current = Some((next, Stage::Taken));
            return (None, Thread::GoesOn);
        };
        let keep = |channel: &mut Self, stage| channel.current = Some(((step, epoch), stage));
        match stage {
            Stage::Taken => {
                let before = self.running;
                if self.mistake != Mistake::NotMarked {
                    self.running = Some((step, epoch));
                }
                keep(self, Stage::Marked { before });
                (None, Thread::GoesOn)
            }
            Stage::Marked { before } => match self.refusal(step, epoch, before) {
                Some(result) => {
                    self.running = before;
                    (Some(self.says(step, epoch, result)), self.idle())
                }
                None => {
                    keep(self, Stage::Checked);
                    (None, Thread::GoesOn)
                }
            },
            Stage::Checked => {
                self.begun.push((step, epoch));
                keep(self, Stage::Running);
                (None, Thread::Runs)
            }
            Stage::Running => {
                self.done = step;
                self.running = None;
                (Some(self.says(step, epoch, StepResult::Done)), self.idle())
            }
        }
    }

    fn refusal(&self, step: u32, epoch: u64, before: Option<(u32, u64)>) -> Option<StepResult> {
        if epoch != self.epoch && self.mistake != Mistake::EpochNotChecked {
            return Some(StepResult::Stale);
        }
        if self.mistake == Mistake::NumberNotChecked {
            return None;
        }
        if step <= self.done || before.is_some_and(|(running, _)| running == step) {
            return Some(StepResult::Duplicate);
        }
        (step != self.done + 1).then_some(StepResult::Gap)
    }

    fn says(&self, step: u32, epoch: u64, result: StepResult) -> Verdict {
        Verdict { step, epoch, result, done: self.done }
    }

    fn idle(&self) -> Thread {
        if self.queue.is_empty() { Thread::Waits } else { Thread::GoesOn }
    }
}
