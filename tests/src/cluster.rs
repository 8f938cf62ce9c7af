//! A cluster of real processes that share switches.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::{NodeProcess, TestSwitch, eventually};

/// Some `fipple node` processes, joined through the first.
pub struct TestCluster {
    directory: PathBuf,
    /// The nodes, in the order of their start.
    pub nodes: Vec<NodeProcess>,
}

impl TestCluster {
    /// Starts `count` nodes, all of which can reach all `switches`, and waits until every node sees every other
    /// alive and every switch attached.
    pub fn start(count: usize, switches: &[&TestSwitch]) -> Self {
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("fipple-test-{}-{number}", std::process::id()));
        let mut cluster = Self { directory, nodes: Vec::new() };
        (0..count).for_each(|index| cluster.start_node(index, switches));
        cluster.wait_until_whole(switches.len());
        cluster
    }

    /// Starts one more node, `node` and its number, which joins through the first that is left.
    pub fn start_node(&mut self, index: usize, switches: &[&TestSwitch]) {
        let name = format!("node{}", index + 1);
        let data_directory = self.directory.join(&name);
        let token_file = self.directory.join("join.token").display().to_string();
        let mut arguments = vec!["--name".to_owned(), name.clone()];
        if let Some(seed) = self.nodes.first() {
            let seed = own_address(seed);
            arguments.extend(["--seed".into(), seed, "--token-file".into(), token_file]);
        } else {
            NodeProcess::run(&data_directory, &["init", "--name", &name]);
            NodeProcess::run(&data_directory, &["token", "create", "--out", &token_file]);
        }
        for (number, switch) in switches.iter().enumerate() {
            arguments.extend(["--switch".into(), format!("fs{}={}", number + 1, switch.address)]);
        }
        self.nodes.push(NodeProcess::start(&data_directory, &arguments));
    }

    fn wait_until_whole(&self, switches: usize) {
        for node in &self.nodes {
            eventually("the cluster comes together", || {
                let members = node.data("/v2/cluster/members")?;
                let alive = count(&members, |member| member["state"] == "alive");
                let attached = count(&node.data("/v2/cluster/switches")?, |s| s["attached_to"].is_string());
                match (alive, attached) == (self.nodes.len(), switches) {
                    true => Ok(()),
                    false => Err(format!("{alive} nodes alive, {attached} switches attached: {members}")),
                }
            });
        }
    }

    /// The index of the node with this id.
    pub fn index_of(&self, id: &str) -> usize {
        let is_it = |node: &NodeProcess| own_id(node).as_deref() == Ok(id);
        self.nodes.iter().position(is_it).unwrap_or_else(|| panic!("no node answers to {id}"))
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        self.nodes.clear();
        if !std::thread::panicking() {
            let _leftovers = std::fs::remove_dir_all(&self.directory);
        }
    }
}

fn own_member(node: &NodeProcess) -> Result<Value, String> {
    let members = node.data("/v2/cluster/members")?;
    let own = members.as_array().into_iter().flatten().find(|member| member["local"] == true);
    own.cloned().ok_or_else(|| format!("no member is local: {members}"))
}

fn own_id(node: &NodeProcess) -> Result<String, String> {
    Ok(own_member(node)?["id"].as_str().unwrap_or_default().to_owned())
}

fn own_address(node: &NodeProcess) -> String {
    eventually("a node knows its own address", || {
        own_member(node)?["address"].as_str().map(str::to_owned).ok_or_else(|| "not yet".to_owned())
    })
}

fn count(list: &Value, wanted: impl Fn(&Value) -> bool) -> usize {
    list.as_array().into_iter().flatten().filter(|item| wanted(item)).count()
}
