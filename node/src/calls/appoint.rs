//! The attached node's duty: every claimed call has an owner that lives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::{CallEvent, CallEventKind, Refusal, Request};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::attached::{AttachedSwitch, accepted};
use super::channel::{EPOCH_VARIABLE, OWNER_VARIABLE};
use super::claims::{Appointment, Electorate};
use crate::cluster::Members;
use crate::limits::{APPOINT_CONCURRENCY, APPOINT_RETRY_MS, APPOINT_TIMEOUT_MS, UNKNOWN_NODE_GRACE_MS};

/// Appoints owners for as long as it is polled: for calls that have just parked, and for those whose owner died,
/// left or was started anew.
pub(crate) async fn keep_calls_owned(switch: Arc<AttachedSwitch>, started: Instant) {
    let mut members = switch.peers.members();
    let mut look = interval(Duration::from_millis(APPOINT_RETRY_MS));
    let mut appointing = JoinSet::new();
    loop {
        let mut next = switch.table().take_unowned();
        while let Some(call) = next {
            if appointing.len() == APPOINT_CONCURRENCY {
                appointing.join_next().await;
            }
            appointing.spawn(appoint(switch.clone(), started, call));
            next = switch.table().take_unowned();
        }
        let look_at_all = tokio::select! {
            biased;
            Ok(()) = members.changed() => true,
            _ = look.tick() => true,
            () = switch.unowned.notified() => false,
            Some(_) = appointing.join_next() => false,
        };
        if look_at_all {
            let view = members.borrow_and_update().clone();
            switch.table().find_unowned(&electorate(&switch, &view, started));
        }
    }
}

/// Finds an owner for one call.
async fn appoint(switch: Arc<AttachedSwitch>, started: Instant, call: String) {
    let mut appointing = Appointing { switch: &switch, started, call: &call, accepted_by: None };
    let mut refused = BTreeSet::new();
    loop {
        let members = switch.peers.members().borrow().clone();
        let decision = switch.table().decide(&call, &electorate(&switch, &members, started), &refused);
        let Some(appointment) = decision else { return };
        match write(&switch, &call, &appointment).await {
            Ok(()) => {}
            Err(Refusal::UnknownChannel { .. }) => return switch.vanished(&call),
            // Whoever was chosen, it would be the same; the next look at all calls tries again.
            Err(refusal) => {
                return tracing::warn!(call, "no owner can be written into the switch: {refusal}");
            }
        }
        match offer(&switch, &call, appointment.owner).await {
            Ok(()) => {
                appointing.accepted_by = Some(appointment.owner);
                return;
            }
            Err(Refusal::UnknownChannel { .. }) => return,
            Err(refusal) => {
                tracing::warn!(call, owner = %appointment.owner, "the call was not taken: {refusal}");
                refused.insert(appointment.owner);
            }
        }
    }
}

/// An appointment that is on its way, until it has ended well, badly or in a panic.
struct Appointing<'a> {
    switch: &'a AttachedSwitch,
    started: Instant,
    call: &'a str,
    accepted_by: Option<NodeId>,
}

impl Drop for Appointing<'_> {
    fn drop(&mut self) {
        let Self { switch, started, call, accepted_by } = *self;
        let members = switch.peers.members().borrow().clone();
        switch.table().appointed(call, accepted_by, &electorate(switch, &members, started));
    }
}

/// Writes the owner into the switch, unless it stands there already.
async fn write(switch: &AttachedSwitch, call: &str, appointment: &Appointment) -> Result<(), Refusal> {
    let Appointment { owner, epoch, written } = appointment;
    if *written {
        return Ok(());
    }
    let variables = format!("{OWNER_VARIABLE}={owner};{EPOCH_VARIABLE}={epoch}");
    switch.attachment()?.set_variables(call, &variables).await?;
    let before = switch.table().written(call, appointment);
    // A line a call would be most of the log on a busy switch.
    tracing::debug!(switch = switch.config.name, call, %owner, epoch, "the call has an owner");
    if let Some(before) = before {
        tracing::info!(switch = switch.config.name, call, %owner, epoch, %before, "the call was taken over");
        switch.metrics.takeovers.inc();
        tell_loser(switch, before, call);
    }
    Ok(())
}

/// Tells the owner how its call stands.
async fn offer(switch: &AttachedSwitch, call: &str, owner: NodeId) -> Result<(), Refusal> {
    let gone = || Refusal::UnknownChannel { channel: call.to_owned() };
    let snapshot = switch.table().snapshot(call).ok_or_else(gone)?;
    let deadline = Duration::from_millis(APPOINT_TIMEOUT_MS);
    accepted(switch.peers.request(owner, Request::Appoint { snapshot }, deadline).await).map(|_| ())
}

/// Lets a node that may still live look after a call that it has lost. Where this does not arrive it looks by
/// itself, later.
fn tell_loser(switch: &AttachedSwitch, loser: NodeId, call: &str) {
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
        members,
        zone: &switch.config.zone,
        local: switch.peers.local(),
        unknown_may_live: started.elapsed() < Duration::from_millis(UNKNOWN_NODE_GRACE_MS),
    }
}
