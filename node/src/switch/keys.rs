//! The keys of commands, as a channel keeps them.

use fipple_protocol::peer::Refusal;

use super::attachment::Attachment;
use super::commands::{judge, word};
use super::fence::{Fence, key};
use crate::calls::channel::KEYS_VARIABLE;

impl Attachment {
    /// Whether the switch itself remembers commands by their keys, whichever node is attached.
    pub(crate) fn keeps_keys(&self) -> bool {
        self.fence() == Fence::Strict
    }

    /// Whether the channel remembers this id among its latest commands.
    ///
    /// # Errors
    /// If the switch does not answer, or knows no such channel.
    pub(crate) async fn ran_before(&self, channel: &str, id: u64) -> Result<bool, Refusal> {
        word("channel", channel)?;
        let reply = self.connection().api(&format!("uuid_getvar {channel} {KEYS_VARIABLE}")).await?;
        let (keys, key) = (judge(channel, &reply)?, key(id));
        Ok(keys.split(' ').any(|kept| key.strip_prefix('k') == Some(kept)))
    }
}
