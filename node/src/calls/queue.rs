//! What commands have put into a channel's own queue.
//!
//! The queue holds 256; the 257th closes the connection that carried it, and with it the whole switch would be
//! without commands for a moment. A client that commands faster than a busy channel can follow is told so.

use fipple_protocol::peer::Refusal;

use super::table::Table;
use crate::limits::COMMANDS_UNSTARTED_MAX;

impl Table {
    /// Notes that an execution is about to be queued on a channel.
    ///
    /// # Errors
    /// If too many wait there already.
    pub(super) fn enqueue(&mut self, channel: &str, event_uuid: &str) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(channel) else { return Ok(()) };
        if channel.unstarted.len() >= COMMANDS_UNSTARTED_MAX {
            let detail = format!(
                "{COMMANDS_UNSTARTED_MAX} commands wait for what the channel does now; let it end, or break it"
            );
            return Err(Refusal::Overloaded { detail });
        }
        channel.unstarted.insert(event_uuid.to_owned());
        Ok(())
    }

    /// Notes that an execution has begun, or was not taken after all.
    pub(super) fn dequeue(&mut self, channel: &str, event_uuid: &str) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.unstarted.remove(event_uuid);
        }
    }
}
