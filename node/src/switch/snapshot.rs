//! The channels of a switch, read from the switch itself: what no event has told.

use std::collections::BTreeSet;
use std::sync::Arc;

use fipple_protocol::peer::Refusal;
use tokio::task::JoinSet;

use super::attachment::Attachment;
use super::commands::word;
use super::fence::Taken;
use crate::calls::attached::AttachedSwitch;
use crate::calls::trace::What;
use crate::limits::SNAPSHOT_CONCURRENCY;

/// Fills the table of a switch to which this node has just attached.
///
/// The subscription to events comes first, so that what happens meanwhile is heard. Then the epochs are raised, so that
/// nothing counts any more that a node has sent which was attached before. Only then the channels are read: a step that
/// got past the fence before is seen running (takeover README, "Takeover, in this order").
///
/// # Errors
/// If the switch does not answer.
pub(super) async fn rebuild(
    switch: &Arc<AttachedSwitch>,
    attachment: &Arc<Attachment>,
) -> Result<(), Refusal> {
    let shown = attachment.show_channels().await?;
    #[cfg(feature = "planted")]
    if switch.host.planted == Some(crate::planted::Planted::SnapshotBeforeEpoch) {
        return read_and_then_raise(switch, attachment, shown).await;
    }
    let raised = if attachment.fence().checks_steps() {
        let nameable: Vec<_> =
            shown.iter().map(String::as_str).filter(|uuid| word("channel", uuid).is_ok()).collect();
        let verdicts = attachment.raise(&nameable).await?;
        for (call, taken) in nameable.iter().zip(&verdicts) {
            if let Taken::Ok(epoch) = *taken {
                switch.note(call, What::Raised { epoch });
            }
        }
        let raised = nameable.iter().zip(verdicts).filter(|(_, taken)| matches!(taken, Taken::Ok(_)));
        raised.map(|(uuid, _)| (*uuid).to_owned()).collect()
    } else {
        BTreeSet::new()
    };
    compare(switch, attachment, shown, &raised).await
}

/// What [`rebuild`] does, in the wrong order.
#[cfg(feature = "planted")]
async fn read_and_then_raise(
    switch: &Arc<AttachedSwitch>,
    attachment: &Arc<Attachment>,
    shown: BTreeSet<String>,
) -> Result<(), Refusal> {
    compare(switch, attachment, shown.clone(), &shown).await?;
    let calls: Vec<_> = shown.iter().map(String::as_str).collect();
    for (call, taken) in calls.iter().zip(attachment.raise(&calls).await?) {
        if let Taken::Ok(epoch) = taken {
            switch.table().believe_epoch(call, epoch);
        }
    }
    Ok(())
}

/// Brings the table up to date: channels that are missing are read, and those that the switch has forgotten end.
///
/// # Errors
/// If the switch does not answer; the table is then as far as it came.
pub(super) async fn reconcile(
    switch: &Arc<AttachedSwitch>,
    attachment: &Arc<Attachment>,
) -> Result<(), Refusal> {
    let shown = attachment.show_channels().await?;
    compare(switch, attachment, shown, &BTreeSet::new()).await
}

async fn compare(
    switch: &Arc<AttachedSwitch>,
    attachment: &Arc<Attachment>,
    shown: BTreeSet<String>,
    raised: &BTreeSet<String>,
) -> Result<(), Refusal> {
    let (unknown, doubtful) = {
        let table = switch.table();
        let is_unknown = |uuid: &&String| table.get(uuid).is_none_or(|channel| !channel.whole);
        let unknown: Vec<_> = shown.iter().filter(is_unknown).cloned().collect();
        let known = table.all().map(|channel| &channel.info.uuid);
        let doubtful: Vec<_> = known.filter(|uuid| !shown.contains(*uuid)).cloned().collect();
        (unknown, doubtful)
    };
    let mut reading = JoinSet::new();
    for uuid in unknown {
        if reading.len() == SNAPSHOT_CONCURRENCY {
            finish_one(&mut reading).await?;
        }
        let was_raised = raised.contains(&uuid);
        reading.spawn(read(switch.clone(), attachment.clone(), uuid, was_raised));
    }
    while !reading.is_empty() {
        finish_one(&mut reading).await?;
    }
    // The list lags up to 400 ms behind births and deaths; this does not.
    for uuid in doubtful {
        if !attachment.exists(&uuid).await? {
            switch.vanished(&uuid);
        }
    }
    switch.table().forget_ended_partners();
    Ok(())
}

async fn read(
    switch: Arc<AttachedSwitch>,
    attachment: Arc<Attachment>,
    uuid: String,
    raised: bool,
) -> Result<(), Refusal> {
    match attachment.dump(&uuid).await {
        Ok(Some(dump)) => switch.refresh(&uuid, &dump, raised),
        // It has ended since, or bears a name that cannot be sent.
        Ok(None) | Err(Refusal::InvalidArgument { .. }) => {}
        Err(refusal) => return Err(refusal),
    }
    Ok(())
}

async fn finish_one(reading: &mut JoinSet<Result<(), Refusal>>) -> Result<(), Refusal> {
    match reading.join_next().await {
        Some(Ok(result)) => result,
        // A reader that panicked has lost one channel, which the next reconcile finds.
        Some(Err(_)) | None => Ok(()),
    }
}
