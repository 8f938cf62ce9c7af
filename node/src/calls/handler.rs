//! What other nodes ask of this one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fipple_protocol::NodeId;
use fipple_protocol::call::{CallInput, Flow};
use fipple_protocol::peer::{CallEvent, CallSnapshot, ChannelCommand, Refusal, Request, Response};

use super::attached::{AttachedSwitch, accepted};
use super::merge::Joining;
use super::trace::{Part, What};
use super::{Calls, Running, keyed};
use crate::cluster::Handler;
use crate::limits::{COMMAND_HOP_MS, LIST_PAGE_CHANNELS};
use crate::switch::attachment::Attachment;
use crate::switch::commands::{takes_call_by_hand, translate};
use crate::switch::fence::FencedStep;

#[async_trait]
impl Handler for Calls {
    async fn request(&self, from: NodeId, request: Request) -> Response {
        match self.answer(from, request).await {
            Ok(response) => response,
            Err(refusal) => Response::Refused(refusal),
        }
    }

    fn event(&self, _from: NodeId, event: CallEvent) {
        if let Ok(running) = self.running() {
            running.owned.event(&event);
        }
    }
}

impl Calls {
    async fn answer(&self, from: NodeId, request: Request) -> Result<Response, Refusal> {
        let running = self.running()?;
        match request {
            Request::CommandCall { call, channel, command, id } => {
                running.command_call(&call, channel, command, id).await
            }
            Request::CommandChannel { switch, channel, command, id } => {
                let switch = running.switch(&switch)?;
                let carried = command_channel(switch, from, &channel, &command, id);
                let answer = keyed::once(switch, id, &channel, &command, carried).await;
                let call = switch.call_of(&channel);
                switch.note(&call, What::of_command(id, &command, Part::Carried, &answer));
                if matches!(answer, Err(Refusal::Fenced { .. })) {
                    switch.metrics.control.commands_fenced.inc();
                    // Whoever asks again is to be told by what the switch says now.
                    switch.read_again(&call).await;
                }
                answer.map(Response::Text)
            }
            Request::RunStep { switch, call, epoch, step, application, argument } => {
                let switch = running.switch(&switch)?;
                let step = Step { call: &call, epoch, step, application: &application, argument: &argument };
                run_step(switch, from, step).await.map(|()| Response::Done)
            }
            Request::SwitchApi { switch, command } => {
                let attachment = running.switch(&switch)?.attachment()?;
                attachment.api(&command).await.map(Response::Text)
            }
            Request::Originate { switch, originate, uuid } => {
                keyed::originate(running.switch(&switch)?, &originate, uuid).await.map(Response::Text)
            }
            Request::FindChannel { channel } => Ok(Response::Channel(running.find_here(&channel).await)),
            Request::ListChannels { after, limit } => Ok(running.page(&after, limit)),
            Request::Appoint { snapshot } => {
                running.owned.appoint(from, &snapshot)?;
                Ok(Response::Done)
            }
            Request::Trace { call } => Ok(Response::Trace(running.trace.of(&call, running.peers.local()))),
            Request::Snapshot { switch, call } => {
                snapshot(running.switch(&switch)?, &call).await.map(Response::Snapshot)
            }
        }
    }
}

impl Running {
    /// As the call's owner: passes a command on to the attached node.
    async fn command_call(
        &self,
        call: &str,
        channel: String,
        command: ChannelCommand,
        id: u64,
    ) -> Result<Response, Refusal> {
        let (switch, appointed_by) = self.owned.way_to(call).ok_or(Refusal::NotOwner { owner: None })?;
        let attached = self.attached_node(&self.peers.members().borrow(), &switch).unwrap_or(appointed_by);
        let by_hand = takes_call_by_hand(&command) && channel == call;
        let request = Request::CommandChannel { switch, channel, command: command.clone(), id };
        let response = self.request(attached, request, Duration::from_millis(COMMAND_HOP_MS)).await;
        let answer = accepted(response);
        // Where it goes no further it is noted as it is given to the switch.
        if attached != self.peers.local() {
            self.trace.note(call, What::of_command(id, &command, Part::PassedOn, &answer));
        }
        if by_hand && matches!(answer, Ok(_) | Err(Refusal::Repeated { .. })) {
            self.owned.input(call, CallInput::TakenByHand);
        }
        answer
    }

    fn page(&self, after: &str, limit: u32) -> Response {
        let limit = limit.min(LIST_PAGE_CHANNELS) as usize;
        let mut channels = Vec::new();
        for switch in self.attached() {
            channels.extend(switch.table().page(after).take(limit));
        }
        channels.extend(self.owned.unreachable(after, limit));
        channels.sort_unstable_by(|a, b| a.uuid.cmp(&b.uuid));
        channels.truncate(limit);
        Response::Channels(channels)
    }
}

/// As the attached node: how a call stands, with what the channel itself has noted.
async fn snapshot(switch: &AttachedSwitch, call: &str) -> Result<Option<CallSnapshot>, Refusal> {
    let attachment = switch.attachment()?;
    let Some(progress) = attachment.progress(call).await? else {
        switch.vanished(call);
        return Ok(None);
    };
    // No answer would mean that the call is over: what is not known to be controlled is asked for first.
    if switch.table().snapshot(call).is_none() {
        switch.learn(call).await;
    } else if switch.table().is_outdated_by(call, &progress) {
        switch.read_again(call).await;
    } else {
        switch.table().note_progress(call, &progress);
    }
    let snapshot = switch.table().snapshot(call);
    if snapshot.is_none() && !Arc::ptr_eq(&attachment, &switch.attachment()?) {
        // The table was cleared meanwhile, which says nothing of the call.
        return Err(Refusal::Overloaded { detail: "the switch was being attached anew".to_owned() });
    }
    Ok(snapshot)
}

/// A step as its owner asks for it.
#[derive(Clone, Copy)]
struct Step<'a> {
    call: &'a str,
    epoch: u64,
    step: u32,
    application: &'a str,
    argument: &'a str,
}

/// As the attached node: carries a command to a channel, for the owner of its call only.
async fn command_channel(
    switch: &AttachedSwitch,
    from: NodeId,
    channel: &str,
    command: &ChannelCommand,
    id: u64,
) -> Result<String, Refusal> {
    let attachment = switch.attachment()?;
    {
        let table = switch.table();
        let known =
            table.get(channel).ok_or_else(|| Refusal::UnknownChannel { channel: channel.to_owned() })?;
        let owner = table.owner(known);
        if owner.is_some_and(|owner| owner != from) {
            return Err(Refusal::NotOwner { owner });
        }
    }
    let joining = Joining::begin_command(switch, channel, command).await?;
    let result = carry_command(switch, &attachment, channel, command, id).await;
    if let Some(joining) = joining {
        joining.end(may_have_run(&result)).await;
    }
    result
}

/// Carries a command to a channel, and ends the flow of its call if it sends that elsewhere.
async fn carry_command(
    switch: &AttachedSwitch,
    attachment: &Attachment,
    channel: &str,
    command: &ChannelCommand,
    id: u64,
) -> Result<String, Refusal> {
    let facts = (switch, attachment);
    if !takes_call_by_hand(command) {
        return attachment.command(id, channel, command, &facts).await;
    }
    // What the switch will not be asked to do does not touch the flow.
    translate(channel, command, &facts)?;
    let begun = { switch.table().begin_by_hand(channel) };
    let Some((epoch, flow)) = begun else {
        return attachment.command(id, channel, command, &facts).await;
    };
    let mut by_hand = ByHand { switch, channel, done: false };
    // Before the command, so that a channel which parks after it with a flow has been asked for it anew, and that whoever
    // takes the call over from this node does not go on with one on a call that is elsewhere.
    attachment.name_flow(channel, epoch, Flow::PARK).await?;
    by_hand.done = true;
    let result = attachment.command(id, channel, command, &facts).await;
    if !may_have_run(&result) {
        by_hand.done = false;
        // A call that is gone already needs no flow.
        let _ = attachment.name_flow(channel, epoch, &flow).await;
    }
    result
}

fn may_have_run(result: &Result<String, Refusal>) -> bool {
    matches!(result, Ok(_) | Err(Refusal::TimedOut { .. } | Refusal::Repeated { .. }))
}

/// A command that is sending a call elsewhere, even where nobody waits for it any more. Where it is not known whether it has
/// run, the flow is over: its next step could reach the call at another place.
struct ByHand<'a> {
    switch: &'a AttachedSwitch,
    channel: &'a str,
    done: bool,
}

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        self.switch.table().end_by_hand(self.channel, self.done);
    }
}

/// As the attached node: gives a step to the switch, if who asks owns the call and the step is the next one.
async fn run_step(switch: &AttachedSwitch, from: NodeId, step: Step<'_>) -> Result<(), Refusal> {
    let attachment = switch.attachment()?;
    if !attachment.look_up_application(step.application).await? {
        let detail =
            format!("the switch knows no application {:?} and would hang up the call", step.application);
        return Err(Refusal::InvalidArgument { detail });
    }
    if !switch.table().begin_step(step.call, from, step.epoch, step.step)? {
        return Ok(());
    }
    let Step { call, epoch, step: number, application, argument } = step;
    let fenced = FencedStep { epoch, step: number, application, argument };
    let result = attachment.run_step(call, fenced, &(switch, attachment.as_ref())).await;
    switch.note(call, What::of_step(epoch, number, &result));
    if !matches!(result, Ok(()) | Err(Refusal::TimedOut { .. })) {
        switch.table().step_not_sent(step.call, step.step);
    }
    result
}
