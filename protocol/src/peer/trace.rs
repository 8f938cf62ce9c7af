//! What a node remembers of a call.

use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

use crate::NodeId;

/// One thing that a node decided, sent, heard or refused about a call, or about the switch that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct TraceEntry {
    /// When, in Unix milliseconds by the clock of `node`.
    #[n(0)]
    pub at_ms: u64,
    /// The node that remembers it.
    #[n(1)]
    #[serde(serialize_with = "as_text")]
    pub node: NodeId,
    /// The epoch of the call's control that it belongs to, where it belongs to one.
    #[n(2)]
    pub epoch: Option<u64>,
    /// What it is about, in a word for programs: `appointment`, `epoch`, `owner`, `step`, `command`, `event`, `gate`,
    /// `lease`. Further ones may come.
    #[n(3)]
    pub kind: String,
    /// What happened, for people. Nodes stand in it by their ids.
    #[n(4)]
    pub text: String,
}

fn as_text<S: Serializer>(node: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(node)
}
