//! What a node says about itself, signed by it.
//!
//! Facts travel from node to node by gossip, so who brings them proves nothing: they count only if they carry the
//! signature of the node that they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use fipple_protocol::NodeId;
use minicbor::{Decode, Encode};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::SwitchFact;
use super::identity::{Identity, node_id};
use crate::Error;
use crate::limits::{FACT_TEXT_MAX_BYTES, FACTS_MAX_BYTES, MEMBERS, SETTLED_FACTS};

/// What is signed begins with this, so that no other signature of the key can be taken for one over facts.
const PURPOSE: &[u8] = b"fipple/1 facts\0";

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Facts {
    #[n(0)]
    pub(super) name: String,
    /// Where its QUIC listens, an IP address and a port.
    #[n(1)]
    pub(super) address: String,
    /// Where its REST listens, `host:port`.
    #[n(2)]
    pub(super) api_address: Option<String>,
    #[n(3)]
    pub(super) zone: String,
    #[n(4)]
    pub(super) weight: u16,
    /// The version of fipple that it runs.
    #[n(5)]
    pub(super) version: String,
    /// When it was started, which is later than its every earlier start.
    #[n(6)]
    pub(super) started_at_ms: u64,
    /// Its incarnation for the probes: its start, raised by each refutation.
    #[n(7)]
    pub(super) incarnation: u64,
    /// Counts the changes since its start.
    #[n(8)]
    pub(super) revision: u64,
    /// Whether it will leave.
    #[n(9)]
    pub(super) leaving: bool,
    #[n(10)]
    pub(super) switches: Vec<SwitchFact>,
}

/// Facts as they travel, in hexadecimal digits because chitchat carries text.
#[derive(Encode, Decode)]
struct SignedFacts {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    public_key: Vec<u8>,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    facts: Vec<u8>,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    signature: Vec<u8>,
}

impl Facts {
    /// Which of two facts of one node is the newer.
    fn age(&self) -> (u64, u64) {
        (self.started_at_ms, self.revision)
    }

    /// Signs the facts. Those about switches that do not fit are left out; how many is returned.
    pub(super) fn sign(&self, identity: &Identity) -> Result<(String, usize), Error> {
        let mut facts = self.clone();
        let mut bytes = encode(&facts);
        while bytes.len() > FACTS_MAX_BYTES && facts.switches.pop().is_some() {
            bytes = encode(&facts);
        }
        let signed = SignedFacts {
            public_key: identity.public_key().to_vec(),
            signature: identity.signing_key()?.sign(&[PURPOSE, &bytes].concat()).as_ref().to_vec(),
            facts: bytes,
        };
        let text = encode(&signed).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((text, self.switches.len() - facts.switches.len()))
    }

    /// Whether the texts have a bearable length and can be shown on a terminal, and the address is one.
    fn is_sound(&self) -> bool {
        let own = [&self.name, &self.address, &self.zone, &self.version];
        let mut own = own.into_iter().chain(&self.api_address);
        // How long all of these are together is bounded already.
        let mut of_switches = self.switches.iter().flat_map(|one| [&one.name, &one.zone, &one.address]);
        let is_plain = |text: &String| !text.contains(char::is_control);
        own.all(|text| text.len() <= FACT_TEXT_MAX_BYTES && is_plain(text))
            && of_switches.all(is_plain)
            && self.address.parse::<SocketAddr>().is_ok()
    }
}

/// Refuses a text of the node's own that is too long to be gossiped.
pub(super) fn check_text(setting: &str, text: &str) -> Result<(), Error> {
    if text.len() <= FACT_TEXT_MAX_BYTES {
        return Ok(());
    }
    let detail = format!("{} bytes, where at most {FACT_TEXT_MAX_BYTES} are allowed", text.len());
    Err(Error::Configuration { origin: setting.to_owned(), detail })
}

fn encode<M: Encode<()>>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a Vec cannot fail.
    let _infallible = minicbor::encode(message, &mut bytes);
    bytes
}

/// The node and its facts, if it signed them itself.
fn verify(text: &str) -> Result<(NodeId, Facts), &'static str> {
    // Each byte is two digits; key, signature and their heads take 110 bytes.
    if text.len() > 2 * (FACTS_MAX_BYTES + 128) {
        return Err("they are too long");
    }
    let bytes = decode_hexadecimal(text).ok_or("they are not hexadecimal")?;
    let signed: SignedFacts = minicbor::decode(&bytes).map_err(|_| "they are malformed")?;
    let message = [PURPOSE, &signed.facts].concat();
    let key = UnparsedPublicKey::new(&ED25519, &signed.public_key);
    key.verify(&message, &signed.signature).map_err(|_| "the signature is wrong")?;
    let facts: Facts = minicbor::decode(&signed.facts).map_err(|_| "they are malformed")?;
    if !facts.is_sound() {
        return Err("a text is too long or has control characters, or the address is none");
    }
    Ok((node_id(&signed.public_key), facts))
}

fn decode_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(pair[0])? * 16 + digit(*pair.get(1)?)?) as u8)).collect()
}

fn digest_of(text: &str) -> [u8; SHA256_OUTPUT_LEN] {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

/// The newest facts of each node, of those that were believed.
#[derive(Default)]
pub(super) struct FactBook {
    accepted: BTreeMap<NodeId, Accepted>,
    /// Digests of what was refused or is out of date, and need not be verified again: gossip repeats it.
    settled: BTreeSet<[u8; SHA256_OUTPUT_LEN]>,
}

struct Accepted {
    text: String,
    facts: Facts,
}

/// What became of facts that were heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// They are new, and were believed.
    News(NodeId),
    /// They are known, or older than those known, or were refused before, or there is no room for more nodes.
    Nothing,
    /// They were not believed, for this reason.
    Refused(&'static str),
}

impl FactBook {
    /// Takes facts that gossip brought under a node's name.
    pub(super) fn hear(&mut self, name: &str, text: &str) -> Heard {
        let known = name.parse().ok().and_then(|node: NodeId| self.accepted.get(&node));
        let full = known.is_none() && self.accepted.len() >= MEMBERS;
        if full || known.is_some_and(|known| known.text == text) || self.settled.contains(&digest_of(text)) {
            return Heard::Nothing;
        }
        let (node, facts) = match verify(text) {
            Ok((node, facts)) if node.to_string() == name => (node, facts),
            Ok(_) => return self.settle(text, Heard::Refused("another node signed them")),
            Err(why) => return self.settle(text, Heard::Refused(why)),
        };
        if known.is_some_and(|known| known.facts.age() >= facts.age()) {
            return self.settle(text, Heard::Nothing);
        }
        self.accepted.insert(node, Accepted { text: text.to_owned(), facts });
        Heard::News(node)
    }

    fn settle(&mut self, text: &str, heard: Heard) -> Heard {
        if self.settled.len() >= SETTLED_FACTS {
            self.settled.pop_first();
        }
        self.settled.insert(digest_of(text));
        heard
    }

    /// All nodes whose facts are known.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Facts)> {
        self.accepted.iter().map(|(node, accepted)| (*node, &accepted.facts))
    }

    /// The facts of one node.
    pub(super) fn get(&self, node: NodeId) -> Option<&Facts> {
        self.accepted.get(&node).map(|accepted| &accepted.facts)
    }

    /// Forgets a node.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.accepted.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::SwitchLink;
    use crate::cluster::tests::TestDirectory;

    fn facts() -> Facts {
        Facts {
            name: "berlin-1".into(),
            address: "192.0.2.1:7400".into(),
            api_address: Some("192.0.2.1:8000".into()),
            zone: "berlin".into(),
            weight: 10,
            version: "0.1.0".into(),
            started_at_ms: 1_800_000_000_000,
            incarnation: 1_800_000_000_000,
            revision: 1,
            leaving: false,
            switches: vec![switch(0)],
        }
    }

    fn switch(n: u8) -> SwitchFact {
        let address = format!("192.0.2.{n}:8021");
        SwitchFact {
            name: format!("switch-{n}"),
            zone: "berlin".into(),
            address,
            link: SwitchLink::Standby,
            fence: None,
            trouble: None,
            run: None,
            restarted_at_ms: None,
        }
    }

    fn identity(label: &str) -> (TestDirectory, Identity) {
        let directory = TestDirectory::new(label);
        let identity = Identity::init(&directory.host(), "lab").unwrap();
        (directory, identity)
    }

    #[tokio::test]
    async fn signed_facts_are_believed_once() {
        let (_directory, node) = identity("facts-1");
        let (text, left_out) = facts().sign(&node).unwrap();
        assert_eq!(left_out, 0);
        let mut book = FactBook::default();
        assert_eq!(book.hear(&node.id().to_string(), &text), Heard::News(node.id()));
        assert_eq!(book.get(node.id()), Some(&facts()));
        assert_eq!(book.hear(&node.id().to_string(), &text), Heard::Nothing);
    }

    #[tokio::test]
    async fn only_newer_facts_replace_older_ones() {
        let (_directory, node) = identity("facts-2");
        let name = node.id().to_string();
        let mut book = FactBook::default();
        let mut hear = |started_at_ms, revision| {
            let facts = Facts { started_at_ms, revision, ..facts() };
            book.hear(&name, &facts.sign(&node).unwrap().0)
        };
        assert_eq!(hear(5, 9), Heard::News(node.id()));
        assert_eq!(hear(5, 8), Heard::Nothing, "a replay");
        assert_eq!(hear(5, 10), Heard::News(node.id()));
        assert_eq!(hear(6, 1), Heard::News(node.id()), "a restart");
        assert_eq!(hear(5, 11), Heard::Nothing, "its earlier life");
    }

    #[tokio::test]
    async fn lies_are_refused() {
        let ((_one, node), (_two, liar)) = (identity("facts-3"), identity("facts-4"));
        let (name, text) = (node.id().to_string(), facts().sign(&node).unwrap().0);
        let mut book = FactBook::default();
        let others = facts().sign(&liar).unwrap().0;
        assert_eq!(book.hear(&name, &others), Heard::Refused("another node signed them"));
        let middle = text.len() / 2;
        let flipped = if &text[middle..=middle] == "0" { "1" } else { "0" };
        let changed = format!("{}{flipped}{}", &text[..middle], &text[middle + 1..]);
        assert!(matches!(book.hear(&name, &changed), Heard::Refused(_)));
        assert_eq!(book.hear(&name, &changed), Heard::Nothing, "a lie is checked once");
        for nonsense in ["", "0", "zz", "é", &text[..text.len() - 2], &"0".repeat(5_000)] {
            assert!(matches!(book.hear(&name, nonsense), Heard::Refused(_)), "{nonsense}");
        }
        for unsound in [
            Facts { address: "nowhere".into(), ..facts() },
            Facts { name: "\x1b[2J".into(), ..facts() },
            Facts { switches: vec![SwitchFact { name: "a\nb".into(), ..switch(0) }], ..facts() },
        ] {
            assert!(matches!(book.hear(&name, &unsound.sign(&node).unwrap().0), Heard::Refused(_)));
        }
        assert_eq!(book.iter().count(), 0);
    }

    #[tokio::test]
    async fn facts_stay_within_a_kilobyte_whatever_the_switches() {
        let (_directory, node) = identity("facts-5");
        let many = Facts { switches: (0..100).map(switch).collect(), ..facts() };
        let (text, left_out) = many.sign(&node).unwrap();
        assert!(text.len() / 2 <= 1_024 && left_out > 50, "{} bytes, {left_out} left out", text.len() / 2);
        let mut book = FactBook::default();
        book.hear(&node.id().to_string(), &text);
        assert_eq!(book.get(node.id()).unwrap().switches, many.switches[..100 - left_out]);
    }
}
