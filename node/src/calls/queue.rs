//! What steps and commands have put into a channel's own queue.
//!
//! The queue holds 256; the 257th closes the connection that carried it, and with it the whole switch would be
//! without commands for a moment. A client that commands faster than a busy channel can follow is told so.

use std::time::Duration;

use fipple_protocol::peer::Refusal;
use tokio::time::Instant;

use super::channel::Channel;
use super::table::Table;
use crate::limits::{COMMANDS_UNSTARTED_MAX, UNSTARTED_FORGOTTEN_MS};

impl Table {
    /// Notes that an execution is about to be queued on a channel.
    ///
    /// # Errors
    /// If too many wait there already.
    pub(super) fn enqueue(&mut self, channel: &str, event_uuid: &str) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(channel) else { return Ok(()) };
        if channel.unstarted.len() >= COMMANDS_UNSTARTED_MAX {
            channel.forget_unstarted();
        }
        if channel.unstarted.len() >= COMMANDS_UNSTARTED_MAX {
            let detail = format!(
                "{COMMANDS_UNSTARTED_MAX} commands wait for what the channel does now; let it end, or break it"
            );
            return Err(Refusal::Overloaded { detail });
        }
        channel.unstarted.push((event_uuid.to_owned(), Instant::now()));
        Ok(())
    }

    /// Notes that an execution has begun, or was not taken after all.
    pub(super) fn dequeue(&mut self, channel: &str, event_uuid: &str) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.has_begun(event_uuid);
        }
    }
}

impl Channel {
    /// Notes that something from the channel's queue has begun.
    pub(super) fn has_begun(&mut self, event_uuid: &str) {
        self.unstarted.retain(|(uuid, _)| uuid != event_uuid);
    }

    /// Whether something waits in the channel's queue.
    pub(super) fn is_queued(&self, event_uuid: &str) -> bool {
        self.unstarted.iter().any(|(uuid, _)| uuid == event_uuid)
    }

    /// Forgets what an idle channel would have begun long ago: its queue was emptied, as `uuid_break all` does it.
    fn forget_unstarted(&mut self) {
        if self.info.parked && self.application_uuid.is_none() {
            let longest = Duration::from_millis(UNSTARTED_FORGOTTEN_MS);
            self.unstarted.retain(|(_, queued_at)| queued_at.elapsed() < longest);
        }
    }
}
