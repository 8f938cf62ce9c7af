//! The gate's key in the switch's hash, and the commands about it.

use crate::NodeId;

use super::Holder;

/// The realm of fipple's keys in the switch's hash.
const REALM: &str = "fipple";

/// The gate of one run of a switch, as one node names it.
#[derive(Clone, Debug)]
pub struct GateKey {
    key: String,
    node: NodeId,
}

impl GateKey {
    /// The key for the run of the switch that has this `Core-UUID`; none if that is no name.
    pub fn new(core_uuid: &str, node: NodeId) -> Option<Self> {
        // A slash would be taken for the end of the key.
        let is_name = core_uuid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        (is_name && !core_uuid.is_empty()).then(|| Self { key: format!("gate.{core_uuid}"), node })
    }

    /// The API command that reads the gate.
    pub fn read(&self) -> String {
        format!("hash select/{REALM}/{}", self.key)
    }

    /// Who holds the gate, by what the switch answered to [`GateKey::read`].
    pub fn holder(&self, reply: &str) -> Holder {
        let value = reply.trim();
        match value.parse::<NodeId>() {
            Ok(node) if node == self.node => Holder::Us,
            Ok(node) => Holder::Other(node),
            // What an empty result of the API looks like.
            Err(_) if value.is_empty() || value.starts_with("-ERR") => Holder::Nobody,
            Err(_) => Holder::Stranger,
        }
    }

    /// The API command that takes the gate for this node, if it is free.
    pub fn take(&self) -> String {
        format!("hash insert_ifempty/{REALM}/{}/{}", self.key, self.node)
    }

    /// The API command that frees the gate, if `holder` holds it.
    pub fn free(&self, holder: NodeId) -> String {
        format!("hash delete_ifmatch/{REALM}/{}/{holder}", self.key)
    }

    /// Whether [`GateKey::take`] or [`GateKey::free`] did what it says.
    pub fn is_done(reply: &str) -> bool {
        reply.starts_with("+OK")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_read_as_the_switch_writes_it() {
        let us = NodeId::from_bytes([1; 16]);
        let other = NodeId::from_bytes([2; 16]);
        let key = GateKey::new("c4db52f0-7fa7-4b0c-b3ef-a1571ec6abd8", us).unwrap();
        assert_eq!(key.read(), "hash select/fipple/gate.c4db52f0-7fa7-4b0c-b3ef-a1571ec6abd8");
        for (reply, holder) in [
            ("", Holder::Nobody),
            ("-ERR no reply\n", Holder::Nobody),
            (&*format!("{us}"), Holder::Us),
            (&*format!("{other}\n"), Holder::Other(other)),
            ("somebody", Holder::Stranger),
        ] {
            assert_eq!(key.holder(reply), holder, "{reply:?}");
        }
        assert!(GateKey::is_done("+OK\n") && !GateKey::is_done("-ERR key already exists\n"));
        for no_name in ["", "a/b", "a b", "_undef_"] {
            assert!(GateKey::new(no_name, us).is_none(), "{no_name}");
        }
    }
}
