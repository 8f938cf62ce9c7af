//! The attached node's duty: every claimed call has an owner that lives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::{CallEvent, CallEventKind, Refusal, Request};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::attached::{AttachedSwitch, accepted};
use super::claims::{Appointment, Electorate};
use super::merge::follow_bridge;
use super::trace::{Fate, What, Why, short};
use crate::cluster::{MemberState, Members};
use crate::limits::{
    APPOINT_CONCURRENCY, APPOINT_RETRY_MS, APPOINT_SINGLY_MAX, APPOINT_TIMEOUT_MS, SCRIPT_CALLS_MAX,
    UNKNOWN_NODE_GRACE_MS,
};
use crate::switch::fence::Taken;

/// Appoints owners for as long as it is polled: for calls that have just parked, and for those whose owner died,
/// left or was started anew.
pub(crate) async fn keep_calls_owned(switch: Arc<AttachedSwitch>, started: Instant) {
    let mut members = switch.peers.members();
    let mut look = interval(Duration::from_millis(APPOINT_RETRY_MS));
    let mut working = JoinSet::new();
    loop {
        appoint_all(&switch, started, &mut working).await;
        while let Some(call) = { switch.table().take_outdated() } {
            let switch = switch.clone();
            spawn(&mut working, async move { switch.read_again(&call).await }).await;
        }
        while let Some((survivor, other)) = { switch.table().take_meeting() } {
            spawn(&mut working, follow_bridge(switch.clone(), survivor, other)).await;
        }
        let look_at_all = tokio::select! {
            biased;
            Ok(()) = members.changed() => true,
            _ = look.tick() => true,
            () = switch.unowned.notified() => false,
            Some(_) = working.join_next() => false,
        };
        if look_at_all {
            let view = members.borrow_and_update().clone();
            switch.table().find_unowned(&electorate(&switch, &view, started));
            switch.table().find_meetings();
        }
    }
}

/// Begins to appoint owners for all calls that wait for one. A single call goes its own, quickest way; many go
/// together, in one command of the switch for each owner.
async fn appoint_all(switch: &Arc<AttachedSwitch>, started: Instant, working: &mut JoinSet<()>) {
    let mut waiting = Vec::new();
    while let Some(call) = { switch.table().take_unowned(Instant::now()) } {
        waiting.push(Appointing { switch: switch.clone(), started, call, accepted_by: None });
    }
    let mut groups: BTreeMap<NodeId, Vec<(Appointing, Appointment)>> = BTreeMap::new();
    if waiting.len() > APPOINT_SINGLY_MAX {
        let members = switch.peers.members().borrow().clone();
        let electorate = electorate(switch, &members, started);
        let mut singly = Vec::new();
        for appointing in waiting {
            // The table is let go of before one that needs nobody is dropped, which asks for it.
            let decision = switch.table().decide(&appointing.call, &electorate, &BTreeSet::new());
            match decision {
                Some(appointment) if !appointment.written => {
                    groups.entry(appointment.owner).or_default().push((appointing, appointment));
                }
                _ => singly.push(appointing),
            }
        }
        waiting = singly;
    }
    for (owner, mut group) in groups {
        // A batch each, so that the first calls go on while the last are being taken.
        while !group.is_empty() {
            let rest = group.split_off(group.len().min(SCRIPT_CALLS_MAX));
            let batch = std::mem::replace(&mut group, rest);
            spawn(working, appoint_group(switch.clone(), owner, batch)).await;
        }
    }
    for appointing in waiting {
        spawn(working, appointing.appoint()).await;
    }
}

/// Begins some work, and waits for the end of some other where too much is under way.
async fn spawn(working: &mut JoinSet<()>, work: impl Future<Output = ()> + Send + 'static) {
    if working.len() >= APPOINT_CONCURRENCY {
        working.join_next().await;
    }
    working.spawn(work);
}

/// Gives many calls to one owner.
async fn appoint_group(switch: Arc<AttachedSwitch>, owner: NodeId, group: Vec<(Appointing, Appointment)>) {
    let calls: Vec<_> =
        group.iter().map(|(appointing, appointment)| (appointing.call.as_str(), appointment.epoch)).collect();
    let result = match switch.attachment() {
        Ok(attachment) => attachment.take(&owner.to_string(), &calls).await,
        Err(refusal) => Err(refusal),
    };
    let taken = match result {
        Ok(taken) => taken,
        // The next look at all calls tries again.
        Err(refusal) => {
            let (switch, calls) = (&switch.config.name, group.len());
            return tracing::warn!(switch, calls, %owner, "no owner can be written into the switch: {refusal}");
        }
    };
    let given = taken.iter().filter(|taken| matches!(taken, Taken::Ok(_))).count();
    tracing::info!(switch = switch.config.name, %owner, calls = given, "calls have an owner");
    let mut offering = JoinSet::new();
    for ((appointing, appointment), taken) in group.into_iter().zip(taken) {
        spawn(&mut offering, appointing.go_on(appointment, taken)).await;
    }
    while offering.join_next().await.is_some() {}
}

/// An appointment that is on its way, until it has ended well, badly or in a panic.
struct Appointing {
    switch: Arc<AttachedSwitch>,
    started: Instant,
    call: String,
    accepted_by: Option<NodeId>,
}

impl Drop for Appointing {
    fn drop(&mut self) {
        let members = self.switch.peers.members().borrow().clone();
        let electorate = electorate(&self.switch, &members, self.started);
        self.switch.table().appointed(&self.call, self.accepted_by, &electorate);
    }
}

impl Appointing {
    /// Finds an owner for the call.
    async fn appoint(mut self) {
        self.appoint_other_than(BTreeSet::new()).await;
    }

    /// Offers the call to an owner whom the switch has been asked to name, and looks for another if that one refuses.
    async fn go_on(mut self, appointment: Appointment, taken: Taken) {
        let owner = appointment.owner;
        if self.is_written(&appointment, taken).await && !self.is_accepted_by(&appointment).await {
            self.appoint_other_than(BTreeSet::from([owner])).await;
        }
    }

    async fn appoint_other_than(&mut self, mut refused: BTreeSet<NodeId>) {
        loop {
            let members = self.switch.peers.members().borrow().clone();
            let electorate = electorate(&self.switch, &members, self.started);
            let decision = self.switch.table().decide(&self.call, &electorate, &refused);
            let Some(appointment) = decision else { return };
            if !appointment.written {
                let taken = match self.take(&appointment).await {
                    Ok(taken) => taken,
                    // Whoever was chosen, it would be the same; the next look at all calls tries again.
                    Err(refusal) => {
                        let call = &self.call;
                        self.note_failure(appointment.epoch, &refusal.to_string());
                        return tracing::warn!(call, "no owner can be written into the switch: {refusal}");
                    }
                };
                if !self.is_written(&appointment, taken).await {
                    return;
                }
            }
            if self.is_accepted_by(&appointment).await {
                return;
            }
            refused.insert(appointment.owner);
        }
    }

    async fn take(&self, appointment: &Appointment) -> Result<Taken, Refusal> {
        let calls = [(self.call.as_str(), appointment.epoch)];
        let taken = self.switch.attachment()?.take(&appointment.owner.to_string(), &calls).await?;
        Ok(taken.into_iter().next().unwrap_or(Taken::Unknown))
    }

    /// Notes what has become of a call in the switch. Whether it stands there now who owns it.
    async fn is_written(&self, appointment: &Appointment, taken: Taken) -> bool {
        let Self { switch, call, .. } = self;
        let Appointment { owner, epoch, renewed, .. } = appointment;
        match taken {
            Taken::Ok(_) => {}
            Taken::Epoch(current) => {
                tracing::info!(call, epoch, current, "somebody else has raised the epoch of the call");
                self.note_failure(current, "somebody else has raised the epoch");
                switch.read_again(call).await;
                return false;
            }
            Taken::Gone => {
                switch.vanished(call);
                return false;
            }
            Taken::Unclaimed | Taken::Unknown => {
                tracing::warn!(call, "the switch does not say whether it has named the call's owner");
                self.note_failure(*epoch, "the switch does not say whether it has named the owner");
                return false;
            }
        }
        let why = self.why(appointment);
        let before = switch.table().written(call, appointment);
        switch.note_owner(call, appointment, why, before);
        // A line a call would be most of the log on a busy switch.
        tracing::debug!(switch = switch.config.name, call, %owner, epoch, "the call has an owner");
        if let Some(before) = before {
            tracing::debug!(switch = switch.config.name, call, %owner, epoch, %before, "the call was taken over");
            tell_loser(switch, before, call);
        }
        if *renewed {
            // What was running when the epoch was raised, only the channel knows.
            switch.read_progress(call).await;
        }
        true
    }

    /// Why the call gets the owner that is about to be written.
    fn why(&self, appointment: &Appointment) -> Why {
        let before = self.switch.table().get(&self.call).and_then(|channel| channel.claim.as_ref()?.owner);
        let Some(before) = before else { return Why::New };
        if before == appointment.owner {
            return if appointment.renewed { Why::Renewed } else { Why::OwnerRestarted };
        }
        let members = self.switch.peers.members().borrow().clone();
        match members.all.get(&before).map(|member| member.state) {
            Some(MemberState::Down) | None => Why::OwnerDied,
            Some(MemberState::Leaving) => Why::OwnerLeaves,
            Some(MemberState::Alive) => Why::Declined,
        }
    }

    /// Remembers that nobody was appointed.
    fn note_failure(&self, epoch: u64, why: &str) {
        self.switch.note(&self.call, What::NotAppointed { epoch, why: short(why) });
    }

    /// Offers the call to its owner. False if that one does not take it; a call that is gone is nobody's.
    async fn is_accepted_by(&mut self, appointment: &Appointment) -> bool {
        let Appointment { owner, epoch, written, .. } = *appointment;
        match offer(&self.switch, &self.call, owner).await {
            Ok(running) => {
                self.accepted_by = Some(owner);
                // Where it stood there already, this is the first that it hears from this node.
                if written {
                    self.switch.note(&self.call, What::Appointed { owner, epoch, why: Why::AttachedAnew });
                }
                if let Some(step) = running {
                    self.switch.note(&self.call, What::Step { epoch, step, fate: Fate::Adopted });
                }
            }
            Err(Refusal::UnknownChannel { .. }) => {}
            Err(refusal) => {
                tracing::warn!(call = self.call, %owner, "the call was not taken: {refusal}");
                self.note_failure(epoch, &format!("node {owner} does not take it: {refusal}"));
                return false;
            }
        }
        true
    }
}

/// Tells the owner how its call stands. The step that runs, which it adopts.
async fn offer(switch: &AttachedSwitch, call: &str, owner: NodeId) -> Result<Option<u32>, Refusal> {
    let gone = || Refusal::UnknownChannel { channel: call.to_owned() };
    let snapshot = switch.table().snapshot(call).ok_or_else(gone)?;
    let running = snapshot.running;
    let deadline = Duration::from_millis(APPOINT_TIMEOUT_MS);
    accepted(switch.peers.request(owner, Request::Appoint { snapshot }, deadline).await).map(|_| running)
}

/// Lets a node that may still live look after a call that it has lost. Where this does not arrive it looks by
/// itself, later.
pub(super) fn tell_loser(switch: &AttachedSwitch, loser: NodeId, call: &str) {
    let event = CallEvent {
        switch: switch.config.name.clone(),
        call: call.to_owned(),
        channel: call.to_owned(),
        kind: CallEventKind::Gap,
    };
    if let Err(refusal) = switch.peers.send_event(loser, event) {
        tracing::debug!(call, %loser, "the former owner was not told: {refusal}");
    }
}

fn electorate<'a>(switch: &'a AttachedSwitch, members: &'a Members, started: Instant) -> Electorate<'a> {
    Electorate {
        now: Instant::now(),
        members,
        zone: &switch.config.zone,
        local: switch.peers.local(),
        unknown_may_live: started.elapsed() < Duration::from_millis(UNKNOWN_NODE_GRACE_MS),
    }
}
