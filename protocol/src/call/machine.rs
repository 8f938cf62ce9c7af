//! One call and its flow, at the node that owns the call.

use std::sync::Arc;

use super::{Flow, parse_step_uuid};
use crate::limits::{
    STEP_ADOPTED_POLL_MS, STEP_ANSWER_MS, STEP_POLL_FIRST_MS, STEP_POLL_LONGEST_MS, STEP_RETRY_MS,
    STEP_UNSEEN_POLLS,
};
use crate::peer::{CallEvent, CallEventKind, CallSnapshot, StepResult};

/// Takes one call through its flow.
///
/// It asks for one thing at a time: the next step is asked for only once the one before is known to be done.
///
/// Where the channel checks and marks its steps ([`CallSnapshot::fenced`]) the channel's own word is all that counts:
/// an epoch that was raised before the snapshot was read stops whatever an earlier owner has queued, a step that runs
/// nevertheless stands in the snapshot and is adopted, and a step that is sent once more is refused by the channel. An
/// adoption is provisional: the adopted step may have marked itself just before it was refused.
///
/// Where the channel checks nothing, the machine has at most one step with the switch, whatever is lost or late.
#[derive(Debug)]
pub struct CallMachine {
    call: String,
    flow: Arc<Flow>,
    epoch: u64,
    done: u32,
    /// The channel itself checks and marks its steps.
    fenced: bool,
    phase: Phase,
}

/// What a [`CallMachine`] hears.
#[derive(Clone, Copy, Debug)]
pub enum CallInput<'a> {
    /// The attached node appoints this node once more, perhaps after events were lost.
    Appointed(&'a CallSnapshot),
    /// Something happened to the call.
    Event(&'a CallEvent),
    /// What became of the request to run this step.
    Step {
        /// The epoch under which it was asked for.
        epoch: u64,
        /// The step's number.
        step: u32,
        /// What the attached node answered.
        outcome: StepOutcome,
    },
    /// The answer to [`CallEffect::AskSnapshot`]; none if the switch has no such channel.
    Snapshot(Option<&'a CallSnapshot>),
    /// Somebody has sent the call elsewhere by a command: its flow ends, the call does not.
    TakenByHand,
    /// The time of [`CallMachine::timer_ms`] has come.
    Timer,
}

/// What became of a request to run a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// The switch has it.
    Accepted,
    /// It was not given to the switch, which could not be reached or has too much to do.
    NotSent,
    /// The switch will not run it; the same step would be refused again.
    Refused,
    /// Whether the switch has it is not known.
    Unknown,
    /// Another node owns the call, or the call is gone.
    Lost,
}

/// What a [`CallMachine`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEffect {
    /// Let the attached node run this step.
    RunStep {
        /// The epoch under which this node owns the call.
        epoch: u64,
        /// The step's number, from 1.
        step: u32,
        /// The dialplan application.
        application: String,
        /// Its argument.
        argument: String,
    },
    /// Ask the attached node how the call stands.
    AskSnapshot,
    /// The call is over, or is somebody else's.
    Forget,
}

/// What the machine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is left to do.
    Idle,
    /// The answer to a request to run this step.
    Asked { step: u32, until_ms: u64 },
    /// A snapshot that tells whether this step reached the switch.
    Unsure { step: u32, until_ms: u64 },
    /// The end of a step that the switch has.
    Running(Running),
    /// The time to ask once more for the next step.
    Paused { until_ms: u64 },
    /// The call is over.
    Ended,
}

/// A step that the switch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    step: u32,
    /// An earlier owner sent it.
    adopted: bool,
    poll_at_ms: u64,
    interval_ms: u64,
    /// How many snapshots in a row have shown it neither running nor done.
    unseen: u32,
}

impl CallMachine {
    /// A call of which this node has just become the owner. What it asks for first comes with it.
    pub fn new(now_ms: u64, snapshot: &CallSnapshot, flow: Arc<Flow>) -> (Self, Option<CallEffect>) {
        let channel = &snapshot.channel;
        let mut machine = Self {
            call: channel.uuid.clone(),
            flow,
            epoch: channel.epoch,
            done: channel.done,
            fenced: snapshot.fenced,
            phase: Phase::Idle,
        };
        let effect = machine.resume(now_ms, snapshot);
        (machine, effect)
    }

    /// The epoch under which this node owns the call.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many steps are done.
    pub fn done(&self) -> u32 {
        self.done
    }

    /// When [`CallInput::Timer`] is due, on the clock of [`CallMachine::handle`]; none if nothing is waited for.
    pub fn timer_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Idle | Phase::Ended => None,
            Phase::Asked { until_ms, .. } | Phase::Unsure { until_ms, .. } | Phase::Paused { until_ms } => {
                Some(until_ms)
            }
            Phase::Running(running) => Some(running.poll_at_ms),
        }
    }

    /// Takes an input at a time, in milliseconds of any clock that never runs backwards.
    pub fn handle(&mut self, now_ms: u64, input: CallInput<'_>) -> Option<CallEffect> {
        if self.phase == Phase::Ended {
            return None;
        }
        match input {
            CallInput::Appointed(snapshot) if snapshot.channel.epoch < self.epoch => None,
            CallInput::Appointed(snapshot) => {
                self.appointed(snapshot);
                self.resume(now_ms, snapshot)
            }
            CallInput::Event(event) => self.event(now_ms, event),
            // Another epoch's step says nothing of this one: the channel has been told to refuse it.
            CallInput::Step { epoch, .. } if self.fenced && epoch != self.epoch => None,
            // The call was somebody else's for a while and has come back: the refusal has been overtaken.
            CallInput::Step { epoch, step, outcome: StepOutcome::Lost } if epoch < self.epoch => {
                self.answer(now_ms, step, StepOutcome::NotSent)
            }
            CallInput::Step { step, outcome, .. } => self.answer(now_ms, step, outcome),
            CallInput::Snapshot(None) => self.end(),
            CallInput::Snapshot(Some(snapshot)) if snapshot.channel.epoch < self.epoch => None,
            CallInput::Snapshot(Some(snapshot)) => self.resume(now_ms, snapshot),
            CallInput::TakenByHand => {
                self.stop();
                None
            }
            CallInput::Timer => self.timer(now_ms),
        }
    }

    /// Takes over an epoch. What was asked for under an earlier one is refused by a channel that checks its steps, and
    /// how far such a channel is stands in the snapshot, which was read after the epoch was raised.
    fn appointed(&mut self, snapshot: &CallSnapshot) {
        let channel = &snapshot.channel;
        self.fenced = snapshot.fenced;
        if self.fenced && channel.epoch > self.epoch {
            self.done = channel.done;
            self.phase = Phase::Idle;
        }
        self.epoch = channel.epoch;
    }

    /// Compares what the switch says with what this node believes, and goes on from there.
    fn resume(&mut self, now_ms: u64, snapshot: &CallSnapshot) -> Option<CallEffect> {
        let known_done = self.done;
        self.done = self.done.max(snapshot.channel.done);
        match (snapshot.running, self.phase) {
            (Some(step), Phase::Running(running)) if step == running.step && step > self.done => {
                self.phase = Phase::Running(Running { unseen: 0, ..running });
                None
            }
            (Some(step), phase) if step > self.done => {
                // Of a step that this machine asked for it has only not heard yet that it was taken.
                let own = matches!(phase, Phase::Asked { step: asked, .. } | Phase::Unsure { step: asked, .. } if asked == step);
                self.run(now_ms, step, !own);
                None
            }
            (_, Phase::Running(running)) if running.step > self.done => self.unseen(now_ms, running),
            // The answer is still on its way, and will tell more than a snapshot that may be older.
            (_, Phase::Asked { step, .. }) if step > self.done => None,
            (_, Phase::Idle | Phase::Unsure { .. } | Phase::Paused { .. }) => self.next(now_ms),
            _ if self.done > known_done => self.next(now_ms),
            _ => None,
        }
    }

    /// A step that the switch is believed to have neither runs nor is done, as the switch says.
    fn unseen(&mut self, now_ms: u64, running: Running) -> Option<CallEffect> {
        // That a newly attached node has not seen it proves nothing where only events tell of it.
        if !self.fenced {
            return None;
        }
        // Another owner's step was refused when it had just marked itself. One of this machine's own may only wait for
        // something else that the channel does, and is not sent again at once.
        if running.adopted || running.unseen + 1 >= STEP_UNSEEN_POLLS {
            return self.next(now_ms);
        }
        self.phase = Phase::Running(Running { unseen: running.unseen + 1, ..running });
        None
    }

    fn event(&mut self, now_ms: u64, event: &CallEvent) -> Option<CallEffect> {
        if event.channel != self.call {
            return None;
        }
        match &event.kind {
            CallEventKind::HungUp { .. } => self.end(),
            CallEventKind::Gap => Some(CallEffect::AskSnapshot),
            CallEventKind::Step { step, epoch, result, done } if self.fenced => {
                self.verdict(now_ms, *step, *epoch, *result, *done)
            }
            // What executes a fenced step ends also where it refuses the step.
            CallEventKind::Executing { .. } | CallEventKind::Executed { .. } if self.fenced => None,
            CallEventKind::Executing { application_uuid: Some(uuid), .. } => {
                let (step, _) = parse_step_uuid(&self.call, uuid)?;
                if self.done.checked_add(1) == Some(step) && !matches!(self.phase, Phase::Running { .. }) {
                    self.run(now_ms, step, false);
                }
                None
            }
            CallEventKind::Executed { application_uuid: Some(uuid), .. } => {
                let (step, _) = parse_step_uuid(&self.call, uuid)?;
                if step <= self.done {
                    return None;
                }
                self.done = step;
                self.next(now_ms)
            }
            _ => None,
        }
    }

    /// The channel says what became of a step.
    fn verdict(
        &mut self,
        now_ms: u64,
        step: u32,
        epoch: u64,
        result: StepResult,
        done: u32,
    ) -> Option<CallEffect> {
        let adopted =
            matches!(self.phase, Phase::Running(running) if running.adopted && running.step == step);
        // What an earlier owner sent, and this one has not adopted, was refused or belongs to a flow that is over.
        if step <= self.done || !(epoch == self.epoch || (adopted && epoch < self.epoch)) {
            return None;
        }
        match result {
            StepResult::Done if step == self.done + 1 => {
                self.done = step;
                self.next(now_ms)
            }
            StepResult::Stale if adopted && epoch < self.epoch => self.next(now_ms),
            StepResult::Duplicate if done >= step => {
                self.done = done;
                self.next(now_ms)
            }
            // It runs: the one that was sent first.
            StepResult::Duplicate => None,
            // The call is hung up or has been sent elsewhere: its flow is over.
            StepResult::Interrupted => {
                self.stop();
                None
            }
            // This node has lost the call, or an end that it has not heard of; the switch knows.
            StepResult::Done | StepResult::Stale | StepResult::Gap => Some(CallEffect::AskSnapshot),
        }
    }

    fn answer(&mut self, now_ms: u64, step: u32, outcome: StepOutcome) -> Option<CallEffect> {
        if outcome == StepOutcome::Lost {
            return self.end();
        }
        // An answer that comes after the step's own end has nothing left to say.
        if !matches!(self.phase, Phase::Asked { step: asked, .. } if asked == step) {
            return None;
        }
        match outcome {
            StepOutcome::Accepted => {
                self.run(now_ms, step, false);
                None
            }
            StepOutcome::NotSent => {
                self.phase = Phase::Paused { until_ms: now_ms + STEP_RETRY_MS };
                None
            }
            StepOutcome::Refused => {
                self.phase = Phase::Idle;
                self.flow = Arc::new(Flow { name: self.flow.name.clone(), steps: Vec::new() });
                None
            }
            StepOutcome::Unknown => self.ask_whether_sent(now_ms, step),
            StepOutcome::Lost => self.end(),
        }
    }

    fn timer(&mut self, now_ms: u64) -> Option<CallEffect> {
        if self.timer_ms().is_none_or(|due_ms| due_ms > now_ms) {
            return None;
        }
        match self.phase {
            Phase::Idle | Phase::Ended => None,
            Phase::Asked { step, .. } | Phase::Unsure { step, .. } => self.ask_whether_sent(now_ms, step),
            Phase::Paused { .. } => self.next(now_ms),
            Phase::Running(running) => {
                let interval_ms = (running.interval_ms * 2).min(STEP_POLL_LONGEST_MS);
                self.phase =
                    Phase::Running(Running { poll_at_ms: now_ms + interval_ms, interval_ms, ..running });
                Some(CallEffect::AskSnapshot)
            }
        }
    }

    /// Asks for the step after those that are done, if there is one.
    fn next(&mut self, now_ms: u64) -> Option<CallEffect> {
        let Some(next) = self.flow.steps.get(self.done as usize) else {
            self.phase = Phase::Idle;
            return None;
        };
        let step = self.done + 1;
        self.phase = Phase::Asked { step, until_ms: now_ms + STEP_ANSWER_MS };
        Some(CallEffect::RunStep {
            epoch: self.epoch,
            step,
            application: next.application.clone(),
            argument: next.argument.clone(),
        })
    }

    fn run(&mut self, now_ms: u64, step: u32, adopted: bool) {
        let interval_ms = if adopted { STEP_ADOPTED_POLL_MS } else { STEP_POLL_FIRST_MS };
        let poll_at_ms = now_ms + interval_ms;
        self.phase = Phase::Running(Running { step, adopted, poll_at_ms, interval_ms, unseen: 0 });
    }

    /// Ends the flow; the call goes on without one.
    fn stop(&mut self) {
        self.phase = Phase::Idle;
        self.flow = Arc::new(Flow { name: Flow::PARK.to_owned(), steps: Vec::new() });
    }

    fn ask_whether_sent(&mut self, now_ms: u64, step: u32) -> Option<CallEffect> {
        self.phase = Phase::Unsure { step, until_ms: now_ms + STEP_ANSWER_MS };
        Some(CallEffect::AskSnapshot)
    }

    fn end(&mut self) -> Option<CallEffect> {
        self.phase = Phase::Ended;
        Some(CallEffect::Forget)
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
