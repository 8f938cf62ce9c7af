//! What the attached node notes about the steps of a call.

use fipple_protocol::NodeId;
use fipple_protocol::call::{Flow, step_uuid};
use fipple_protocol::peer::Refusal;

use super::table::Table;
use crate::switch::attachment::Progress;

impl Table {
    /// Notes that the owner's next step goes to the switch; false if it has it already.
    ///
    /// # Errors
    /// If `from` does not own the call under this epoch, or another step runs.
    pub(super) fn begin_step(
        &mut self,
        call: &str,
        from: NodeId,
        epoch: u64,
        step: u32,
    ) -> Result<bool, Refusal> {
        let unknown = || Refusal::UnknownChannel { channel: call.to_owned() };
        let channel = self.channels.get_mut(call).filter(|channel| !channel.hung_up).ok_or_else(unknown)?;
        let claim = channel.claim.as_mut().ok_or(Refusal::NotOwner { owner: None })?;
        if claim.owner != Some(from) || channel.info.epoch != epoch {
            return Err(Refusal::NotOwner { owner: claim.owner });
        }
        if claim.by_hand {
            return Err(Refusal::Overloaded { detail: "a command is sending the call elsewhere".to_owned() });
        }
        if channel.info.flow.as_deref() == Some(Flow::PARK) {
            return Err(Refusal::InvalidArgument {
                detail: "the flow of the call was ended by a command".to_owned(),
            });
        }
        let done = channel.info.done;
        if self.fence.checks_steps() {
            // The channel itself refuses what it has had; what waits in its queue need not wait there twice.
            if step <= done || channel.is_queued(&step_uuid(call, step, epoch)) {
                return Ok(false);
            }
            if let Some(claim) = &mut channel.claim {
                claim.running = Some((step, epoch));
            }
            return Ok(true);
        }
        let running = claim.running.map(|(running, _)| running);
        if step <= done || running == Some(step) {
            return Ok(false);
        }
        if let Some(running) = running {
            let detail = format!("step {step}: step {running} runs");
            return Err(Refusal::InvalidArgument { detail });
        }
        // The owner knows of all steps before this one that they are done. Where this node has attached between a
        // step's end and its mark in the channel, it has heard of neither.
        channel.info.done = step - 1;
        claim.running = Some((step, epoch));
        Ok(true)
    }

    /// Notes that a step did not reach the switch after all.
    pub(super) fn step_not_sent(&mut self, call: &str, step: u32) {
        if let Some(claim) = self.channels.get_mut(call).and_then(|channel| channel.claim.as_mut())
            && claim.running.is_some_and(|(running, _)| running == step)
        {
            claim.running = None;
        }
    }

    /// Notes how far the channel itself says that the call has come.
    pub(super) fn note_progress(&mut self, call: &str, progress: &Progress) {
        let fenced = self.fence.checks_steps();
        let Some(channel) = self.channels.get_mut(call) else { return };
        channel.info.done = channel.info.done.max(progress.done);
        let done = channel.info.done;
        if let Some(claim) = &mut channel.claim {
            let running = if fenced { progress.running } else { claim.running };
            claim.running = running.filter(|(running, _)| *running > done);
        }
    }

    /// Whether the call has a higher epoch on the switch than here.
    pub(super) fn is_outdated_by(&self, call: &str, progress: &Progress) -> bool {
        let known = self.channels.get(call).filter(|channel| channel.claim.is_some());
        known.is_some_and(|channel| progress.epoch.is_some_and(|epoch| epoch > channel.info.epoch))
    }

    /// Notes that a command is about to send the call elsewhere: meanwhile no step begins. The call's epoch and the flow
    /// that it ends, empty if the call names none; none if the channel's call is not under control.
    pub(super) fn begin_by_hand(&mut self, call: &str) -> Option<(u64, String)> {
        let channel = self.channels.get_mut(call)?;
        channel.claim.as_mut()?.by_hand = true;
        Some((channel.info.epoch, channel.info.flow.clone().unwrap_or_default()))
    }

    /// Notes whether the command did so: the flow is over then.
    pub(super) fn end_by_hand(&mut self, call: &str, done: bool) {
        let Some(channel) = self.channels.get_mut(call) else { return };
        if let Some(claim) = &mut channel.claim {
            claim.by_hand = false;
        }
        if done {
            channel.info.flow = Some(Flow::PARK.to_owned());
        }
    }
}
