//! What the cluster says of itself, asked of the first node that answers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::nodes::Nodes;
use crate::Error;

/// Members, switches and calls, at one moment and as one node sees them. All nodes go by their names.
#[derive(Default)]
pub(super) struct ClusterView {
    /// Every member's state.
    pub(super) members: BTreeMap<String, String>,
    /// Every switch and the node that is attached to it.
    pub(super) attached: BTreeMap<String, Option<String>>,
    /// Every node's calls: their uuids.
    owned: BTreeMap<String, Vec<String>>,
}

impl ClusterView {
    /// Asks the nodes in turn until one answers.
    pub(super) async fn of(nodes: &Nodes) -> Result<Self, Error> {
        let mut refused = Error::Demo("no node is alive".into());
        for node in nodes.alive() {
            match Self::seen_by(&node.client).await {
                Ok(view) => return Ok(view),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// As the node behind `client` sees it.
    pub(super) async fn seen_by(client: &crate::cli::Client) -> Result<Self, Error> {
        let members = client.get("/v2/cluster/members").await?;
        let switches = client.get("/v2/cluster/switches").await?;
        let channels = client.get("/v2/channels").await?;
        let names: BTreeMap<_, _> =
            list(&members).map(|one| (text(&one["id"]), text(&one["name"]))).collect();
        let name = |id: &Value| names.get(id.as_str()?).cloned();
        let mut view = Self {
            members: list(&members).map(|one| (text(&one["name"]), text(&one["state"]))).collect(),
            attached: list(&switches).map(|one| (text(&one["name"]), name(&one["attached_to"]))).collect(),
            owned: BTreeMap::new(),
        };
        for channel in list(&channels) {
            if let Some(owner) = name(&channel["owner"]) {
                view.owned.entry(owner).or_default().push(text(&channel["uuid"]));
            }
        }
        Ok(view)
    }

    /// The calls that a node owns.
    pub(super) fn owned_by(&self, node: &str) -> &[String] {
        self.owned.get(node).map_or(&[], Vec::as_slice)
    }

    /// The switches that a node is attached to.
    pub(super) fn attached_to(&self, node: &str) -> Vec<&str> {
        let mine = self.attached.iter().filter(|(_, to)| to.as_deref() == Some(node));
        mine.map(|(switch, _)| switch.as_str()).collect()
    }

    /// Whether so many members are alive and so many switches attached.
    pub(super) fn is_complete(&self, nodes: usize, switches: usize) -> bool {
        let alive = self.members.values().filter(|state| *state == "alive").count();
        let attached = self.attached.values().filter(|to| to.is_some()).count();
        (alive, attached) == (nodes, switches)
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
