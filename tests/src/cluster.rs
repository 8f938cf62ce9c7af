//! A cluster of real processes that share switches.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::{NodeProcess, TestSwitch, eventually};

/// Some `fipple node` processes, joined through the first.
pub struct TestCluster {
    directory: PathBuf,
    /// How many switches there are.
    switches: usize,
    /// What each node is started with.
    arguments: Box<dyn Fn(usize) -> Vec<String> + Send>,
    /// The nodes, in the order of their start.
    pub nodes: Vec<NodeProcess>,
}

impl TestCluster {
    /// Starts `count` nodes, all of which can reach all `switches`, and waits until every node sees every other
    /// alive and every switch attached.
    pub fn start(count: usize, switches: &[&TestSwitch]) -> Self {
        Self::start_with(count, switches, &[])
    }

    /// [`TestCluster::start`], each node with these arguments besides.
    pub fn start_with(count: usize, switches: &[&TestSwitch], arguments: &[String]) -> Self {
        let mut all = arguments.to_vec();
        for (number, switch) in switches.iter().enumerate() {
            all.extend(["--switch".into(), format!("fs{}={}", number + 1, switch.address)]);
        }
        Self::start_each(count, switches.len(), move |_| all.clone())
    }

    /// [`TestCluster::start`], each node with arguments of its own, which name this many switches.
    pub fn start_each(
        count: usize,
        switches: usize,
        arguments: impl Fn(usize) -> Vec<String> + Send + 'static,
    ) -> Self {
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("fipple-test-{}-{number}", std::process::id()));
        let mut cluster = Self { directory, switches, arguments: Box::new(arguments), nodes: Vec::new() };
        (0..count).for_each(|_| cluster.start_node());
        cluster.wait_until_whole();
        cluster
    }

    /// Starts one more node, `node` and its number, which joins through the first that is left.
    pub fn start_node(&mut self) {
        let node = self.run_node(self.nodes.len(), self.nodes.first());
        self.nodes.push(node);
    }

    /// Starts a node again that was killed, with the data that it had; it finds the others through one that lives.
    pub fn restart_node(&mut self, index: usize) {
        let alive = |node: &&NodeProcess| node.client.get("/health").is_ok();
        let seed = self.nodes.iter().find(alive);
        self.nodes[index] = self.run_node(index, seed);
    }

    fn run_node(&self, index: usize, seed: Option<&NodeProcess>) -> NodeProcess {
        let name = format!("node{}", index + 1);
        let data_directory = self.directory.join(&name);
        let token_file = self.directory.join("join.token").display().to_string();
        let mut arguments = vec!["--name".to_owned(), name.clone()];
        if let Some(seed) = seed {
            arguments.extend(["--seed".into(), own_address(seed), "--token-file".into(), token_file]);
        } else {
            NodeProcess::run(&data_directory, &["init", "--name", &name]);
            NodeProcess::run(&data_directory, &["token", "create", "--out", &token_file]);
        }
        arguments.extend((self.arguments)(index));
        NodeProcess::start(&data_directory, &arguments)
    }

    /// Waits until every node sees every other alive, and every switch attached.
    pub fn wait_until_whole(&self) {
        for node in &self.nodes {
            eventually("the cluster comes together", || {
                let members = node.data("/v2/cluster/members")?;
                let alive = count(&members, |member| member["state"] == "alive");
                let attached = count(&node.data("/v2/cluster/switches")?, |s| s["attached_to"].is_string());
                match (alive, attached) == (self.nodes.len(), self.switches) {
                    true => Ok(()),
                    false => Err(format!("{alive} nodes alive, {attached} switches attached: {members}")),
                }
            });
        }
    }

    /// The ids of the nodes, in the order of their start. They stay when a node is started again.
    pub fn ids(&self) -> Vec<String> {
        self.nodes.iter().map(|node| own_id(node).expect("a node that lives tells its id")).collect()
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
