//! How much a gossip message becomes once it is unpacked, seen before it is.
//!
//! chitchat packs what nodes tell of each other (its delta) into compressed blocks and unpacks as many as come. The
//! layout is that of chitchat 0.11, which is pinned.

use crate::limits::GOSSIP_MESSAGE_MAX_BLOCKS;

/// Magic number and version, which chitchat checks.
const HEAD_BYTES: usize = 3;

// Kinds of messages: a digest alone, digest and delta, delta alone, neither.
const SYN: u8 = 0;
const SYN_ACK: u8 = 1;
const ACK: u8 = 2;
const BAD_CLUSTER: u8 = 3;

/// The block that ends a delta.
const NO_MORE_BLOCKS: u8 = 0;

/// Whether the message has a delta of at most [`GOSSIP_MESSAGE_MAX_BLOCKS`] blocks, or none.
pub(super) fn is_bounded(message: &[u8]) -> bool {
    let mut rest = Rest(message);
    rest.skip(HEAD_BYTES)
        .and_then(|()| rest.byte())
        .and_then(|kind| match kind {
            SYN | BAD_CLUSTER => Some(()),
            SYN_ACK => rest.skip_digest().and_then(|()| rest.skip_delta()),
            ACK => rest.skip_delta(),
            _ => None,
        })
        .is_some()
}

/// What has not been looked at yet. Nothing is copied.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_le_bytes([self.byte()?, self.byte()?])))
    }

    /// For each node its id and three numbers of eight bytes. The id is a text, a number of eight bytes, and an
    /// address with its port.
    fn skip_digest(&mut self) -> Option<()> {
        for _ in 0..self.number()? {
            let text = self.number()?;
            self.skip(text + 8)?;
            let address = match self.byte()? {
                4 => 4,
                6 => 16,
                _ => return None,
            };
            self.skip(address + 2 + 3 * 8)?;
        }
        Some(())
    }

    fn skip_delta(&mut self) -> Option<()> {
        for _ in 0..=GOSSIP_MESSAGE_MAX_BLOCKS {
            if self.byte()? == NO_MORE_BLOCKS {
                return Some(());
            }
            let length = self.number()?;
            self.skip(length)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use chitchat::transport::{ChannelTransport, Transport};
    use chitchat::{
        ChitchatConfig, ChitchatId, ChitchatMessage, Deserializable, FailureDetectorConfig, Serializable,
        spawn_chitchat,
    };

    use super::*;

    /// A message of this kind whose delta is `blocks` blocks that say nothing.
    fn delta_of(blocks: usize) -> Vec<u8> {
        let mut message = vec![0x53, 0xb0, 0, ACK];
        (0..blocks).for_each(|_| message.extend([2, 0, 0]));
        message.push(NO_MORE_BLOCKS);
        message
    }

    #[test]
    fn a_message_of_too_many_blocks_is_refused_unopened() {
        assert!(ChitchatMessage::deserialize(&mut &delta_of(GOSSIP_MESSAGE_MAX_BLOCKS + 1)[..]).is_ok());
        assert!(is_bounded(&delta_of(GOSSIP_MESSAGE_MAX_BLOCKS)));
        assert!(!is_bounded(&delta_of(GOSSIP_MESSAGE_MAX_BLOCKS + 1)));
        let whole = delta_of(3);
        (0..whole.len()).for_each(|cut| assert!(!is_bounded(&whole[..cut]), "{cut}"));
    }

    /// Two nodes that gossip over chitchat's own transport, one of them with many facts.
    #[tokio::test(start_paused = true)]
    async fn what_chitchat_sends_is_let_through() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let transport = ChannelTransport::with_mtu(65_507);
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new("speaks", 1, address(1)),
            cluster_id: "lab".into(),
            gossip_interval: Duration::from_secs(1),
            listen_addr: address(1),
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig::default(),
            marked_for_deletion_grace_period: Duration::from_secs(600),
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let facts = |node: u64| (format!("facts {node}"), format!("{node:x}").repeat(800));
        let chitchat =
            spawn_chitchat(config, (0..crate::limits::MEMBERS as u64).map(facts).collect(), &transport);
        let chitchat = chitchat.await.unwrap();
        let mut socket = transport.open(address(2)).await.unwrap();
        chitchat.gossip(address(2)).unwrap();
        let (_, syn) = socket.recv().await.unwrap();
        assert!(is_bounded(&syn.serialize_to_vec()));
        // The same back: to whoever knows nothing it answers with all that it knows.
        let ChitchatMessage::Syn { cluster_id, .. } = syn else { panic!("{syn:?}") };
        let mut empty = vec![0x53, 0xb0, 0, SYN, 0, 0];
        cluster_id.serialize(&mut empty);
        let empty = ChitchatMessage::deserialize(&mut &empty[..]).unwrap();
        socket.send(address(1), empty).await.unwrap();
        let (_, all) = socket.recv().await.unwrap();
        assert!(matches!(all, ChitchatMessage::SynAck { .. }), "{all:?}");
        let all = all.serialize_to_vec();
        assert!(all.len() > 2_000, "{}", all.len());
        assert!(is_bounded(&all));
    }
}
