//! What the attached node notes about the steps of a call.

use fipple_protocol::NodeId;
use fipple_protocol::call::Flow;
use fipple_protocol::peer::Refusal;

use super::table::Table;

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
        if step <= done || claim.running == Some(step) {
            return Ok(false);
        }
        if let Some(running) = claim.running {
            let detail = format!("step {step}: step {running} runs");
            return Err(Refusal::InvalidArgument { detail });
        }
        // The owner knows of all steps before this one that they are done. Where this node has attached between a
        // step's end and its mark in the channel, it has heard of neither.
        channel.info.done = step - 1;
        claim.running = Some(step);
        Ok(true)
    }

    /// Notes that a step did not reach the switch after all.
    pub(super) fn step_not_sent(&mut self, call: &str, step: u32) {
        if let Some(claim) = self.channels.get_mut(call).and_then(|channel| channel.claim.as_mut())
            && claim.running == Some(step)
        {
            claim.running = None;
        }
    }

    /// Notes what the channel itself has marked done.
    pub(super) fn note_done(&mut self, call: &str, done: u32) {
        if let Some(channel) = self.channels.get_mut(call) {
            channel.info.done = channel.info.done.max(done);
            let done = channel.info.done;
            if let Some(claim) = &mut channel.claim {
                claim.running = claim.running.filter(|running| *running > done);
            }
        }
    }

    /// Notes that a command is about to send the call elsewhere: meanwhile no step begins. False if the channel's
    /// call is not under control.
    pub(super) fn begin_by_hand(&mut self, call: &str) -> bool {
        let claim = self.channels.get_mut(call).and_then(|channel| channel.claim.as_mut());
        claim.is_some_and(|claim| {
            claim.by_hand = true;
            true
        })
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
