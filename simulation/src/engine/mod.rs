//! The engine: machines with clocks of their own, which agree on what came first.
//!
//! Time goes in steps of the shortest latency. Within a step every machine runs by itself, since nothing that another does
//! in the same step can reach it before the next; in which order they run, the seed decides anew for every step.

mod client;
mod node_host;
mod runtime;
mod seen;
mod switch_host;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use fipple::Node;
use fipple::config::Config as NodeConfig;
use fipple::planted::Planted;
use fipple_determinism::{Clocks, Stream, decide, release};
use fipple_emulator::journal::Entry;
use fipple_emulator::{Config as SwitchConfig, Switch, Time};

use self::client::ClientHost;
use self::node_host::{API_PORT, NodeHost};
use self::switch_host::SwitchHost;
use crate::clock;
use crate::error::Error;
use crate::limits::{NODES_MAX, SWITCHES_MAX};
use crate::network::{Fabric, HostId, LinkQuality, Rewrite};
use crate::trace::Trace;

pub use client::{Purpose, RestAnswer, RestRequest};
pub use node_host::NodeState;
pub(crate) use node_host::QUIC_PORT;
pub use seen::{Observer, Seen};
pub(crate) use switch_host::EVENT_SOCKET_PORT;

/// A machine of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The machine of a node, by its number.
    Node(usize),
    /// The machine of a switch, by its number.
    Switch(usize),
    /// The machine of the REST clients.
    Client,
}

/// Machines, and the network between them.
pub struct World {
    seed: u64,
    fabric: Fabric,
    now: Time,
    nodes: Vec<NodeHost>,
    node_addresses: Vec<IpAddr>,
    switches: Vec<SwitchSite>,
    client: ClientHost,
    client_id: HostId,
    /// Decides in which order machines run within a step.
    order: Stream,
    /// Decides what a power failure leaves on a disk.
    power: Stream,
}

/// A switch's machine, and what is needed to start the switch again.
struct SwitchSite {
    name: String,
    id: HostId,
    address: IpAddr,
    config: SwitchConfig,
    lives: u64,
    host: Option<SwitchHost>,
    /// The switch of a program that has crashed: what it had written to disk is there.
    crashed: Option<SwitchHost>,
}

impl World {
    /// A world without nodes and switches, whose whole fate follows from `seed`. From now on this thread's time and chance
    /// are the world's; see [`simulate`](crate::simulate) for why it should be a fresh one.
    ///
    /// # Errors
    /// [`Error::Runtime`].
    pub fn new(seed: u64, quality: LinkQuality, trace: Trace) -> Result<Self, Error> {
        clock::set_world(Time(0));
        clock::set_local(None, "");
        decide(Clocks { unix: clock::unix, monotonic: clock::monotonic }, Stream::new(seed, "world.libc"));
        let fabric = Fabric::new(seed, trace);
        fabric.set_quality(quality);
        let client_id = fabric.add_host("client", IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1)));
        let client = ClientHost::start(&fabric, client_id, seed, Time(0))?;
        Ok(Self {
            seed,
            fabric,
            now: Time(0),
            nodes: Vec::new(),
            node_addresses: Vec::new(),
            switches: Vec::new(),
            client,
            client_id,
            order: Stream::new(seed, "order"),
            power: Stream::new(seed, "power"),
        })
    }

    /// Adds a switch, which works from now on. It is found as `fs1` and so on, in the order of adding. Gives its number.
    ///
    /// # Errors
    /// [`Error::Scenario`] if there are too many.
    pub fn add_switch(&mut self, config: SwitchConfig) -> Result<usize, Error> {
        let number = self.switches.len();
        if number >= SWITCHES_MAX {
            return Err(Error::Scenario { problem: format!("at most {SWITCHES_MAX} switches") });
        }
        let name = format!("fs{}", number + 1);
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 1, number as u8 + 1));
        let id = self.fabric.add_host(&name, address);
        let config = SwitchConfig { switch_name: name.clone(), ..config };
        self.switches.push(SwitchSite { name, id, address, config, lives: 0, host: None, crashed: None });
        self.start_switch(number);
        Ok(number)
    }

    /// Adds a node's machine, which is off. It is found as `node1` and so on; the others join by the first. Its name,
    /// addresses and seeds are set here. Gives its number.
    ///
    /// # Errors
    /// [`Error::Prepare`]; [`Error::Scenario`] if there are too many.
    pub fn add_node(&mut self, config: NodeConfig) -> Result<usize, Error> {
        let number = self.nodes.len();
        if number >= NODES_MAX {
            return Err(Error::Scenario { problem: format!("at most {NODES_MAX} nodes") });
        }
        let name = format!("node{}", number + 1);
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, number as u8 + 1));
        let id = self.fabric.add_host(&name, address);
        let config = NodeConfig { seeds: vec![format!("node1:{QUIC_PORT}")], ..config };
        let token = self.nodes.first().and_then(NodeHost::token);
        let host = NodeHost::prepare(&self.fabric, id, address, self.seed, &name, token.as_deref(), config)?;
        self.nodes.push(host);
        self.node_addresses.push(address);
        Ok(number)
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The number of nodes' machines.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The number of switches' machines.
    pub fn switch_count(&self) -> usize {
        self.switches.len()
    }

    /// How a node's machine stands.
    pub fn node_state(&self, node: usize) -> NodeState {
        self.nodes.get(node).map_or(NodeState::Off, NodeHost::state)
    }

    /// The id by which a node is known in the cluster and at the switches.
    pub fn node_id(&self, node: usize) -> &str {
        self.nodes.get(node).map_or("", |host| &host.node_id)
    }

    /// A switch; `None` while it does not work.
    pub fn switch(&self, switch: usize) -> Option<&Switch> {
        Some(self.switches.get(switch)?.host.as_ref()?.switch())
    }

    /// When a switch was started, from which its own time counts; `None` while it does not work.
    pub fn switch_started(&self, switch: usize) -> Option<Time> {
        Some(self.switches.get(switch)?.host.as_ref()?.started())
    }

    /// The network.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// Switches a node's machine on.
    ///
    /// # Errors
    /// [`Error::Runtime`].
    pub fn start_node(&mut self, node: usize) -> Result<(), Error> {
        let now = self.now;
        self.nodes.get_mut(node).map_or(Ok(()), |host| host.start(now))
    }

    /// Asks a node to stop, as SIGTERM does.
    pub fn stop_node(&mut self, node: usize) {
        self.with_node(node, |host, _, _| host.stop());
    }

    /// Kills a node, as SIGKILL does; its machine goes on and closes its sockets.
    pub fn kill_node(&mut self, node: usize) {
        self.with_node(node, |host, _, _| host.kill());
    }

    /// Cuts the power of a node's machine: nobody is told, and what was not synced to the disk may be lost.
    pub fn power_off_node(&mut self, node: usize) {
        self.with_node(node, |host, _, power| host.power_off(power));
    }

    /// Stops a node's process, as SIGSTOP does.
    pub fn pause_node(&mut self, node: usize) {
        self.with_node(node, |host, _, _| host.pause());
    }

    /// Lets a paused node go on.
    pub fn resume_node(&mut self, node: usize) {
        self.with_node(node, |host, now, _| host.resume(now));
    }

    /// Sets a node's time of day this far ahead of the world's.
    pub fn set_clock_offset_ms(&mut self, node: usize, offset_ms: i64) {
        self.with_node(node, |host, _, _| host.set_offset_ms(offset_ms));
    }

    /// Sets how much too fast a node's clocks run from its next start on, in millionths.
    pub fn set_clock_drift_ppm(&mut self, node: usize, drift_ppm: i32) {
        self.with_node(node, |host, _, _| host.set_drift_ppm(drift_ppm));
    }

    fn with_node(&mut self, node: usize, act: impl FnOnce(&mut NodeHost, Time, &mut Stream)) {
        if let Some(host) = self.nodes.get_mut(node) {
            act(host, self.now, &mut self.power);
        }
    }

    /// Starts a switch that does not work: another Core-UUID, and no calls.
    pub fn start_switch(&mut self, switch: usize) {
        let Some(site) = self.switches.get_mut(switch).filter(|site| site.host.is_none()) else { return };
        site.crashed = None;
        let seed = site.next_seed(self.seed);
        self.fabric.switch_on(site.id);
        let config = SwitchConfig {
            wall_clock_at_start_micros: (clock::EPOCH.as_micros() as u64) + self.now.0,
            ..site.config.clone()
        };
        let host = SwitchHost::start(&self.fabric, site.id, site.address, config, seed, self.now);
        site.host = Some(host);
    }

    /// Kills a switch: the system closes its connections, its calls are gone.
    pub fn kill_switch(&mut self, switch: usize) {
        if let Some(host) = self.switches.get_mut(switch).and_then(|site| site.host.take()) {
            host.kill();
        }
    }

    /// Kills a switch whose disk will be there when it is started again.
    pub fn crash_switch(&mut self, switch: usize) {
        let Some(site) = self.switches.get_mut(switch) else { return };
        let Some(mut host) = site.host.take() else { return };
        clock::set_world(self.now);
        let seed = site.next_seed(self.seed);
        host.act(self.now, |switch, now| switch.restart(now, seed, false));
        host.close();
        site.crashed = Some(host);
    }

    /// Starts a switch again that has crashed: another Core-UUID, and those of its calls that come back if they are to. One
    /// that was not crashed, or was killed since, is started anew.
    pub fn restart_switch(&mut self, switch: usize, recover: bool) {
        let site = self.switches.get_mut(switch).filter(|site| site.host.is_none());
        let Some((site, mut host)) = site.and_then(|site| site.crashed.take().map(|host| (site, host)))
        else {
            return self.start_switch(switch);
        };
        clock::set_world(self.now);
        let seed = site.next_seed(self.seed);
        self.fabric.switch_on(site.id);
        host.listen();
        host.act(self.now, |switch, now| switch.restart(now, seed, recover));
        site.host = Some(host);
    }

    /// Cuts the power of a switch's machine: nobody is told.
    pub fn power_off_switch(&mut self, switch: usize) {
        let Some(site) = self.switches.get_mut(switch) else { return };
        if site.host.take().is_some() {
            self.fabric.switch_off(site.id);
        }
    }

    /// Does something to a switch, such as letting a call come in. `None` while it does not work.
    pub fn act<R>(&mut self, switch: usize, act: impl FnOnce(&mut Switch, Time) -> R) -> Option<R> {
        let host = self.switches.get_mut(switch)?.host.as_mut()?;
        clock::set_world(self.now);
        Some(host.act(self.now, act))
    }

    /// Cuts the network from one machine to another, in this direction, or heals what was cut.
    pub fn set_cut(&mut self, from: Place, to: Place, cut: bool) {
        if let (Some(from), Some(to)) = (self.host_id(from), self.host_id(to)) {
            self.fabric.set_cut(from, to, cut);
        }
    }

    /// Sets how one direction between two machines treats packets; `None` for as all others.
    pub fn set_link(&mut self, from: Place, to: Place, quality: Option<LinkQuality>) {
        if let (Some(from), Some(to)) = (self.host_id(from), self.host_id(to)) {
            self.fabric.set_link(from, to, quality);
        }
    }

    /// Rewrites what TCP carries from one machine to another.
    pub(crate) fn rewrite(&self, from: Place, to: Place, rewrite: Rewrite) {
        if let (Some(from), Some(to)) = (self.host_id(from), self.host_id(to)) {
            self.fabric.rewrite(from, to, rewrite);
        }
    }

    /// From their next start on all nodes have this bug.
    pub(crate) fn plant(&mut self, planted: Planted) {
        self.nodes.iter_mut().for_each(|node| node.plant(planted));
    }

    /// From now on the disks of all nodes only say that they have synced.
    pub(crate) fn ignore_syncs(&self) {
        self.nodes.iter().for_each(NodeHost::ignore_syncs);
    }

    fn host_id(&self, place: Place) -> Option<HostId> {
        match place {
            Place::Node(node) => self.nodes.get(node).map(|host| host.id),
            Place::Switch(switch) => self.switches.get(switch).map(|site| site.id),
            Place::Client => Some(self.client_id),
        }
    }

    /// Asks a node something that it can answer at once; `None` where it does not work or would have to wait.
    pub fn ask<T>(&mut self, node: usize, ask: impl AsyncFnOnce(&Node) -> T) -> Option<T> {
        self.nodes.get_mut(node)?.ask(ask)
    }

    /// Sends a request to a node's REST, from the clients' machine.
    pub fn send_rest(&mut self, node: usize, request: RestRequest) {
        let Some(host) = self.nodes.get(node) else { return };
        let (address, key) = (SocketAddr::new(host.address, API_PORT), host.admin_key().unwrap_or_default());
        self.client.send(node, address, key, request);
    }

    /// What became of a request, oldest first.
    pub fn next_answer(&mut self) -> Option<RestAnswer> {
        self.client.next_answer()
    }

    /// Adds a line to the trace.
    pub fn record(&self, what: std::fmt::Arguments<'_>) {
        clock::set_world(self.now);
        self.fabric.record(what);
    }

    /// How many lines the trace has.
    pub fn trace_lines(&self) -> u64 {
        self.fabric.trace_lines()
    }

    /// Ends the trace and gives it.
    pub fn take_trace(&self) -> Trace {
        self.fabric.take_trace()
    }

    /// Lets everything run for the shortest latency.
    pub fn step(&mut self, observer: &mut dyn Observer) {
        let until = self.now + self.fabric.latency_min();
        clock::set_world(self.now);
        self.fabric.retransmit(until);
        let mut order: Vec<Place> = (0..self.nodes.len()).map(Place::Node).collect();
        order.extend((0..self.switches.len()).map(Place::Switch));
        order.push(Place::Client);
        self.order.shuffle(&mut order);
        for place in order {
            clock::set_world(self.now);
            match place {
                Place::Node(node) => self.nodes[node].run(until),
                Place::Switch(switch) => self.run_switch(switch, until, observer),
                Place::Client => self.client.run(until),
            }
        }
        self.now = until;
        clock::set_world(until);
    }

    fn run_switch(&mut self, switch: usize, until: Time, observer: &mut dyn Observer) {
        let Some(host) = &mut self.switches[switch].host else { return };
        let (fabric, addresses) = (&self.fabric, &self.node_addresses);
        host.run(until, &mut |at, host| {
            while let Some(entry) = host.take_journal() {
                fabric.record(format_args!("fs{} {entry:?}", switch + 1));
                let written_at = match &entry {
                    Entry::Command { connection, .. } => host.take_written(*connection),
                    _ => None,
                };
                let state = host.switch();
                observer.happened(&Seen { at, switch, written_at, state, host, addresses }, &entry);
            }
        });
    }

    /// Lets everything run until `moment`.
    pub fn run_until(&mut self, moment: Time, observer: &mut dyn Observer) {
        while self.now < moment {
            self.step(observer);
        }
    }

    /// Lets everything run until `attempt` yields something, for `limit` at most.
    pub fn eventually<T>(
        &mut self,
        limit: Duration,
        mut attempt: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let end = self.now + limit;
        loop {
            if let Some(value) = attempt(self) {
                return Some(value);
            }
            if self.now >= end {
                return None;
            }
            self.step(&mut ());
        }
    }
}

impl SwitchSite {
    /// The chance of the switch's next life.
    fn next_seed(&mut self, seed: u64) -> u64 {
        self.lives += 1;
        Stream::new(seed, &format!("{}.{}", self.name, self.lives)).next_u64()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nodes.clear();
        release();
    }
}
