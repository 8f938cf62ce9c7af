//! What a fenced channel says of its steps, and when a call begins anew.

use fipple_protocol::call::{Flow, parse_step_application, parse_step_uuid};
use fipple_protocol::esl::{Event, names};
use fipple_protocol::peer::{CallEventKind, StepResult};

use super::channel::{Channel, Claim, fenced_by};
use super::table::{Change, Table};
use crate::switch::Fence;
use crate::switch::fence::InEpoch;

/// The subclass of the events by which a channel says what became of a step.
const STEP_EVENT: &str = "fipple::step";

impl Table {
    /// Takes the channel's own word of a step. The end of the applications around it proves nothing: a step that is refused
    /// ends like one that was done.
    pub(super) fn step_ended(&mut self, uuid: &str, event: Event<'_>) -> Change {
        if !self.fence().checks_steps()
            || !event.get(names::EVENT_SUBCLASS).is_some_and(|name| name.is(STEP_EVENT))
        {
            return Change::default();
        }
        let number = |name: &str| event.get(name).and_then(|value| value.parse::<u64>());
        let result = event.get("Result").and_then(|word| StepResult::from_word(&word.text()));
        let Some(channel) = self.channels.get_mut(uuid) else { return Change::default() };
        let Some(claim) = &mut channel.claim else { return Change::default() };
        let is_outdated = number("Current-Epoch").is_some_and(|epoch| epoch > channel.info.epoch);
        if is_outdated {
            self.outdated.insert(uuid.to_owned());
        }
        let step = number("Step").and_then(|step| u32::try_from(step).ok());
        // The step of a command has a key for a number, and is nobody's business here.
        let (Some(step), Some(epoch), Some(result)) = (step, number("Epoch"), result) else {
            return Change { unowned: is_outdated, ..Change::default() };
        };
        let said_at_us = number(names::EVENT_DATE_TIMESTAMP);
        if said_at_us.is_some_and(|at_us| at_us < claim.since_us) {
            return Change::default();
        }
        let done = number("Done").and_then(|done| u32::try_from(done).ok()).unwrap_or_default();
        channel.info.done = channel.info.done.max(done);
        let done = channel.info.done;
        // One that was refused because the same runs already says nothing of that.
        let ended = |running: &(u32, u64)| {
            running.0 <= done || (*running == (step, epoch) && result != StepResult::Duplicate)
        };
        claim.running = claim.running.filter(|running| !ended(running));
        let change = self.tell(uuid, CallEventKind::Step { step, epoch, result, done });
        Change { unowned: is_outdated, ..change }
    }

    /// The channels that a command for these names to the fence: each itself, after the call that it belongs to.
    pub(super) fn in_epochs(&self, channels: &[&str]) -> Vec<InEpoch> {
        let mut all: Vec<InEpoch> = Vec::new();
        for uuid in channels {
            let Some(channel) = self.get(uuid) else { continue };
            let call = self.get(&channel.info.call).filter(|call| call.claim.is_some());
            let named = call.filter(|_| channel.claim.is_none()).into_iter().chain([channel]);
            for channel in named {
                let epoch = channel.claim.as_ref().map(|_| channel.info.epoch);
                let one = InEpoch { channel: channel.info.uuid.clone(), epoch };
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        all
    }

    /// The epoch that a channel compares with by itself: its own, or that of the call which it names.
    pub(super) fn epoch_in(&self, uuid: &str) -> Option<u64> {
        let channel = self.get(uuid)?;
        let call = match &channel.fenced_by {
            Some(call) => self.get(call)?,
            None => channel,
        };
        call.claim.as_ref().map(|_| call.info.epoch)
    }

    /// The next call of which the switch knows something newer.
    pub(super) fn take_outdated(&mut self) -> Option<String> {
        self.outdated.pop_first()
    }
}

impl Channel {
    /// Reads from a channel that has just parked whether its call is to be controlled from its beginning. False if it only
    /// came back to where it was.
    pub(super) fn parked_anew(&mut self, event: &Event<'_>, fence: Fence) -> bool {
        let before = self.claim.take();
        let known = (self.info.epoch, self.info.done, self.info.flow.clone());
        self.read_claim(event);
        self.fenced_by = fenced_by(&self.info.uuid, event);
        let Some(claim) = &mut self.claim else {
            // Variables may be left out of an event; a claim stands until the channel ends.
            self.claim = before;
            return false;
        };
        let Some(before) = before else {
            claim.settle_for(fence, false);
            return true;
        };
        let (epoch, done, flow) = known;
        // A flow that a command has ended stays ended until the channel asks for one again.
        let known_flow = if flow.as_deref() == Some(Flow::PARK) { &flow } else { &before.asked_flow };
        let other_flow = claim.asked_flow != *known_flow && claim.asked_flow.as_deref() != Some(Flow::PARK);
        // The extension has set a timer again: it ends with a higher epoch, or sends the call away.
        let timed_anew = claim.timer.is_some() && claim.timer != before.timer;
        if self.info.done >= done && !other_flow && !claim.renew && !timed_anew {
            (self.info.epoch, self.info.done, self.info.flow) = (epoch, done, flow);
            self.claim = Some(before);
            return false;
        }
        // It was sent away, and has come back into an extension that hands it over once more.
        self.info.epoch = self.info.epoch.max(epoch);
        claim.owner = claim.owner.or(before.owner);
        claim.appointing = before.appointing;
        claim.running = None;
        claim.renew = true;
        true
    }
}

impl Claim {
    /// What a claim that was just read is worth: where channels are fenced, what its owner had sent before this node came must
    /// be refused first, and elsewhere the channel knows of no running step.
    pub(super) fn settle_for(&mut self, fence: Fence, raised: bool) {
        if fence.checks_steps() {
            self.renew |= self.owner.is_some() && !raised;
        } else {
            self.running = None;
        }
    }
}

/// Whether an execution is only what carries a step or a command into a fenced channel: the script, or the extension with
/// what that runs beside the step.
pub(super) fn is_wrapper(fence: Fence, channel: &str, event: Event<'_>) -> bool {
    let Some(application) = event.get(names::APPLICATION) else { return false };
    let carries = match fence {
        Fence::None => false,
        Fence::Snippet => application.is("execute_extension") || application.is("event"),
        Fence::Strict => application.is("lua"),
    };
    let Some(uuid) = event.get(names::APPLICATION_UUID).filter(|_| carries) else { return false };
    let uuid = uuid.text();
    match fence {
        // A flow's own step of these names bears the step's name.
        Fence::Snippet => parse_step_application(channel, &uuid).is_none(),
        _ => parse_step_uuid(channel, &uuid).is_some() || uuid.starts_with("command-"),
    }
}
