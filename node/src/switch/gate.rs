//! The right to command a switch: a key in the switch's own memory that one node holds.
//!
//! `hash insert_ifempty` and `hash delete_ifmatch` are atomic in the switch: of any number of nodes that race,
//! one wins (`tests/fixtures/freeswitch/README.md`, "Compare-and-set on the switch"). The key bears the switch's `Core-UUID`,
//! so that a gate of before the switch's restart means nothing after it.

use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::Refusal;
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use crate::limits::{GATE_CHECK_MS, GATE_UNREAD_MS};

/// The realm of fipple's keys in the switch's hash.
const REALM: &str = "fipple";

/// The gate of one running switch, as one node sees it.
pub(super) struct Gate {
    key: String,
    node: NodeId,
}

/// Who holds a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// This node, perhaps since before it was restarted.
    Us,
    /// Another node.
    Other(NodeId),
    /// Nobody.
    Nobody,
    /// Something that is no node.
    Stranger,
}

impl Gate {
    /// The gate of the switch at the other end of `connection`.
    ///
    /// # Errors
    /// If the switch does not say which run of it this is.
    pub(super) async fn of(connection: &Connection, node: NodeId) -> Result<Self, Refusal> {
        let core_uuid = connection.api("global_getvar core_uuid").await?;
        let core_uuid = core_uuid.trim();
        // A slash would be taken for the end of the key.
        if core_uuid.is_empty() || !core_uuid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            return Err(Refusal::SwitchRefused { reply: format!("core_uuid: {core_uuid}") });
        }
        Ok(Self { key: format!("gate.{core_uuid}"), node })
    }

    /// Who holds the gate now.
    pub(super) async fn holder(&self, connection: &Connection) -> Result<Holder, Refusal> {
        let value = connection.api(&format!("hash select/{REALM}/{}", self.key)).await?;
        let value = value.trim();
        Ok(match value.parse::<NodeId>() {
            Ok(node) if node == self.node => Holder::Us,
            Ok(node) => Holder::Other(node),
            // What an empty result of the API looks like.
            Err(_) if value.is_empty() || value.starts_with("-ERR") => Holder::Nobody,
            Err(_) => Holder::Stranger,
        })
    }

    /// Takes a free gate. False if another was faster.
    pub(super) async fn take(&self, connection: &Connection) -> Result<bool, Refusal> {
        let reply =
            connection.api(&format!("hash insert_ifempty/{REALM}/{}/{}", self.key, self.node)).await?;
        Ok(reply.starts_with("+OK"))
    }

    /// Takes the gate from `holder`, which is dead. False if another was faster, or the holder is another by now.
    pub(super) async fn take_from(&self, connection: &Connection, holder: NodeId) -> Result<bool, Refusal> {
        Ok(self.free(connection, holder).await? && self.take(connection).await?)
    }

    /// Reads the gate again and again, until it is known or has to be feared that this node does not hold it. Says why.
    pub(super) async fn lost(&self, connection: &Connection) -> String {
        let mut read_at = Instant::now();
        loop {
            sleep(Duration::from_millis(GATE_CHECK_MS)).await;
            match self.holder(connection).await {
                Ok(Holder::Us) => read_at = Instant::now(),
                Ok(holder) => return format!("the gate was lost to {holder:?}"),
                // That many commands wait says nothing of the switch.
                Err(Refusal::Overloaded { .. })
                    if read_at.elapsed() < Duration::from_millis(GATE_UNREAD_MS) => {}
                Err(refusal) => return refusal.to_string(),
            }
        }
    }

    /// Gives the gate back.
    pub(super) async fn release(&self, connection: &Connection) -> Result<bool, Refusal> {
        self.free(connection, self.node).await
    }

    async fn free(&self, connection: &Connection, holder: NodeId) -> Result<bool, Refusal> {
        let reply = connection.api(&format!("hash delete_ifmatch/{REALM}/{}/{holder}", self.key)).await?;
        Ok(reply.starts_with("+OK"))
    }
}
