//! Calls that come together: of two claimed calls that are bridged to each other, one node owns both.
//!
//! The call that somebody commanded survives, or else the one that the switch calls the A leg. The attached node takes the
//! other one for its owner, under a higher epoch, so that nothing counts any more that a former owner has sent. The other
//! one's flow ends: it was for a caller who waits. Where a command does not connect them after all, it goes on.

use std::sync::Arc;

use fipple_protocol::call::Flow;
use fipple_protocol::peer::{ChannelCommand, Refusal};

use super::appoint::tell_loser;
use super::attached::AttachedSwitch;
use super::channel::Channel;
use super::claims::{Appointment, next_epoch};
use super::table::Table;
use super::trace::Why;
use crate::switch::fence::Taken;

/// A call that comes to another one, until the command or the bridge that connects them has ended. Meanwhile nobody else
/// is given it, and no step of it begins.
pub(super) struct Joining<'a> {
    switch: &'a AttachedSwitch,
    call: String,
    /// The epoch under which it is given to its new owner.
    epoch: u64,
    /// The flow that it follows; empty if it names none.
    flow: String,
    flow_ended: bool,
}

impl<'a> Joining<'a> {
    /// Takes the call that a command connects with that of `channel`; none if it connects no two claimed calls.
    ///
    /// # Errors
    /// If the other call cannot be taken now. The command is not to be run then.
    pub(super) async fn begin_command(
        switch: &'a AttachedSwitch,
        channel: &str,
        command: &ChannelCommand,
    ) -> Result<Option<Self>, Refusal> {
        let other = match command {
            ChannelCommand::Bridge { to } => to,
            ChannelCommand::Intercept { of } => of,
            _ => return Ok(None),
        };
        let Some(mut joining) = Self::begin(switch, channel, other).await? else { return Ok(None) };
        if matches!(command, ChannelCommand::Intercept { .. }) {
            // An application: whether it connects them, only the bridge itself will tell.
            switch.table().note_intercept(channel, other);
        } else {
            // Before the command: whoever takes the call over from this node must not go on with the flow on a call that
            // talks.
            joining.end_flow().await?;
        }
        Ok(Some(joining))
    }

    async fn begin(switch: &'a AttachedSwitch, survivor: &str, other: &str) -> Result<Option<Self>, Refusal> {
        let begun = { switch.table().begin_joining(survivor, other) }?;
        let Some((appointment, flow)) = begun else { return Ok(None) };
        let Appointment { owner, epoch, .. } = appointment;
        let joining = Self { switch, call: other.to_owned(), epoch, flow, flow_ended: false };
        let taken = switch.attachment()?.take(&owner.to_string(), &[(other, epoch)]).await?;
        match taken.first() {
            Some(Taken::Ok(_)) => {}
            Some(Taken::Epoch(current)) => {
                switch.read_again(other).await;
                return Err(Refusal::Fenced { call: other.to_owned(), epoch, current: *current });
            }
            Some(Taken::Gone) => {
                switch.vanished(other);
                return Err(Refusal::UnknownChannel { channel: other.to_owned() });
            }
            Some(Taken::Unclaimed | Taken::Unknown) | None => {
                let detail = format!("the switch does not say whether it has named the owner of {other}");
                return Err(Refusal::Overloaded { detail });
            }
        }
        let before = { switch.table().written(other, &appointment) };
        switch.note_owner(other, &appointment, Why::Merged, before);
        tracing::info!(switch = switch.config.name, call = other, with = survivor, %owner, epoch, "two calls come together");
        if let Some(before) = before {
            tell_loser(switch, before, other);
        }
        Ok(Some(joining))
    }

    async fn end_flow(&mut self) -> Result<(), Refusal> {
        self.switch.attachment()?.name_flow(&self.call, self.epoch, Flow::PARK).await?;
        self.flow_ended = true;
        Ok(())
    }

    /// Ends it: the command `has_run`, as far as is known, or it has not, and the other call goes on.
    pub(super) async fn end(mut self, has_run: bool) {
        if !self.flow_ended || has_run {
            return;
        }
        self.flow_ended = false;
        if let Ok(attachment) = self.switch.attachment() {
            // A call that is gone already needs no flow.
            let _ = attachment.name_flow(&self.call, self.epoch, &self.flow).await;
        }
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        self.switch.table().end_joining(&self.call, self.flow_ended);
        self.switch.unowned.notify_one();
    }
}

/// Gives two calls one owner that the switch itself has bridged to each other.
pub(super) async fn follow_bridge(switch: Arc<AttachedSwitch>, survivor: String, other: String) {
    let joined = match Joining::begin(&switch, &survivor, &other).await {
        Ok(Some(mut joining)) => joining.end_flow().await,
        Ok(None) => Ok(()),
        Err(refusal) => Err(refusal),
    };
    // The next look at all calls finds them again.
    if let Err(refusal) = joined {
        tracing::debug!(call = survivor, other, "bridged calls have two owners still: {refusal}");
    }
}

impl Table {
    /// Notes that two channels were bridged, the A leg first. Whether they are calls that need one owner.
    pub(super) fn note_meeting(&mut self, first: &str, second: &str) -> bool {
        let (survivor, other) =
            if self.intercepts(second, first) { (second, first) } else { (first, second) };
        let is_one = self.needs_one_owner(survivor, other);
        if is_one {
            self.meeting.insert((survivor.to_owned(), other.to_owned()));
        }
        is_one
    }

    /// Looks through all calls for those that are bridged to each other and do not have one owner. No event has told which
    /// was first; the older one survives, unless the other one was commanded.
    pub(super) fn find_meetings(&mut self) {
        let mut pairs = Vec::new();
        for (uuid, channel) in &self.channels {
            if let Some(other) = channel.claim.as_ref().and(channel.info.bridged_to.as_deref())
                && uuid.as_str() < other
                && let Some(partner) = self.channels.get(other)
                && partner.info.bridged_to.as_deref() == Some(uuid)
            {
                let is_older = channel.info.created_at_ms <= partner.info.created_at_ms;
                let (first, second) = if is_older { (uuid.as_str(), other) } else { (other, uuid.as_str()) };
                pairs.push((first.to_owned(), second.to_owned()));
            }
        }
        for (first, second) in pairs {
            self.note_meeting(&first, &second);
        }
    }

    /// The next two calls that need one owner: the one that survives, and the other.
    pub(super) fn take_meeting(&mut self) -> Option<(String, String)> {
        self.meeting.pop_first()
    }

    fn needs_one_owner(&self, survivor: &str, other: &str) -> bool {
        let channels = (self.channels.get(survivor), self.channels.get(other));
        let (Some(survivor), Some(other)) = channels else { return false };
        let (Some(first), Some(second)) = (&survivor.claim, &other.claim) else { return false };
        let is_quiet = |channel: &Channel| {
            let busy = channel.claim.as_ref().is_some_and(|claim| claim.by_hand || claim.appointing);
            !channel.hung_up && !busy
        };
        let has_flow = other.info.flow.as_deref() != Some(Flow::PARK);
        is_quiet(survivor)
            && is_quiet(other)
            && first.owner.is_some()
            && (first.owner != second.owner || has_flow)
    }

    /// Reserves the other call, which is to get the owner of the one that survives: how, and the flow that it follows. None
    /// if they are not two claimed calls.
    fn begin_joining(
        &mut self,
        survivor: &str,
        other: &str,
    ) -> Result<Option<(Appointment, String)>, Refusal> {
        let owner = self.channels.get(survivor).and_then(|channel| channel.claim.as_ref()?.owner);
        let channel = self.channels.get_mut(other).filter(|channel| survivor != other && !channel.hung_up);
        let (Some(owner), Some(channel)) = (owner, channel) else { return Ok(None) };
        let Some(claim) = &mut channel.claim else { return Ok(None) };
        if claim.appointing || claim.by_hand {
            let detail = format!("{other} is just being given to somebody, or sent elsewhere");
            return Err(Refusal::Overloaded { detail });
        }
        (claim.appointing, claim.by_hand) = (true, true);
        let epoch = next_epoch(channel.info.epoch);
        let flow = channel.info.flow.clone().unwrap_or_default();
        Ok(Some((Appointment { owner, epoch, written: false, renewed: false }, flow)))
    }

    /// Lets go of the other call again, which its owner is then told of.
    fn end_joining(&mut self, other: &str, flow_ended: bool) {
        let Some(channel) = self.channels.get_mut(other) else { return };
        let Some(claim) = &mut channel.claim else { return };
        (claim.appointing, claim.by_hand, claim.accepted) = (false, false, None);
        if flow_ended {
            channel.info.flow = Some(Flow::PARK.to_owned());
        }
        self.unowned.insert(other.to_owned());
    }

    fn note_intercept(&mut self, channel: &str, of: &str) {
        if let Some(claim) = self.channels.get_mut(channel).and_then(|channel| channel.claim.as_mut()) {
            claim.intercepts = Some(of.to_owned());
        }
    }

    fn intercepts(&self, channel: &str, of: &str) -> bool {
        let claim = self.channels.get(channel).and_then(|channel| channel.claim.as_ref());
        claim.is_some_and(|claim| claim.intercepts.as_deref() == Some(of))
    }
}
