//! The channels of a switch, read from the switch itself: what no event has told.

use std::sync::Arc;

use fipple_protocol::peer::Refusal;
use tokio::task::JoinSet;

use super::attachment::Attachment;
use crate::calls::attached::AttachedSwitch;
use crate::limits::SNAPSHOT_CONCURRENCY;

/// Brings the table up to date: channels that are missing are read, and those that the switch has forgotten end.
///
/// The subscription to events comes first, so that what happens meanwhile is heard.
///
/// # Errors
/// If the switch does not answer; the table is then as far as it came.
pub(super) async fn reconcile(
    switch: &Arc<AttachedSwitch>,
    attachment: &Arc<Attachment>,
) -> Result<(), Refusal> {
    let shown = attachment.show_channels().await?;
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
        reading.spawn(read(switch.clone(), attachment.clone(), uuid));
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

async fn read(switch: Arc<AttachedSwitch>, attachment: Arc<Attachment>, uuid: String) -> Result<(), Refusal> {
    match attachment.dump(&uuid).await {
        Ok(Some(dump)) => switch.refresh(&uuid, &dump),
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
