//! A machine on which a real node runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fipple::Node;
use fipple::cluster::Identity;
use fipple::config::Config;
use fipple::net::Host;
use fipple::planted::Planted;
use fipple_crdt::Edit;
use fipple_determinism::Stream;
use fipple_emulator::Time;
use futures_util::FutureExt;
use serde_json::{Map, Value};

use super::runtime::{ClockError, RuntimeHost};
use crate::error::Error;
use crate::machine::Machine;
use crate::network::{Fabric, HostId};

/// Where every simulated node speaks QUIC.
pub(crate) const QUIC_PORT: u16 = 7400;
/// Where every simulated node serves REST.
pub(crate) const API_PORT: u16 = 8000;

/// Writes and syncs that one write of a document takes at most: the power fails before, between and after all of them.
const OPERATIONS_OF_A_WRITE: u64 = 40;

/// What the process on the machine is doing.
enum Process {
    Starting,
    Up(Box<Node>),
    Stopping,
    /// It ended by itself: it could not start, or was asked to stop and did.
    Ended(Option<String>),
}

/// How a machine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// Switched off, or killed.
    Off,
    /// The node is starting.
    Starting,
    /// The node works.
    Up,
    /// The node was asked to stop, and hands over its work.
    Stopping,
    /// The node's process does nothing for a while.
    Paused,
    /// The node ended by itself; with what it said, if that was an error.
    Ended(Option<String>),
}

/// A node's machine.
pub(super) struct NodeHost {
    pub(super) name: String,
    pub(super) id: HostId,
    pub(super) address: IpAddr,
    /// The node's own id, which is also what it calls itself at the switches.
    pub(super) node_id: String,
    seed: u64,
    fabric: Fabric,
    machine: Machine,
    config: Config,
    clock: ClockError,
    running: Option<RuntimeHost>,
    process: Arc<Mutex<Process>>,
    paused: bool,
    planted: Option<Planted>,
    /// How often it has been switched on.
    lives: u64,
}

impl NodeHost {
    /// A machine with an identity on its disk: the cluster's first, or one that is let in by `token`.
    pub(super) fn prepare(
        fabric: &Fabric,
        id: HostId,
        address: IpAddr,
        seed: u64,
        name: &str,
        token: Option<&[u8]>,
        config: Config,
    ) -> Result<Self, Error> {
        let machine = Machine::new(Stream::new(seed, &format!("{name}.random")));
        let host = machine.host(fabric, id);
        let identity = match token {
            None => Identity::init(&host, "simulation"),
            Some(token) => Identity::enrol(&host, token),
        };
        let identity = identity.map_err(|source| Error::Prepare { node: name.to_owned(), source })?;
        let config = Config {
            name: Some(name.to_owned()),
            listen: SocketAddr::new(address, QUIC_PORT),
            api: SocketAddr::new(address, API_PORT),
            ..config
        };
        Ok(Self {
            name: name.to_owned(),
            id,
            address,
            node_id: identity.id().to_string(),
            seed,
            fabric: fabric.clone(),
            machine,
            config,
            clock: ClockError::default(),
            running: None,
            process: Arc::new(Mutex::new(Process::Ended(None))),
            paused: false,
            planted: None,
            lives: 0,
        })
    }

    /// What lets other nodes into the cluster. Only the first node's machine yields one.
    pub(super) fn token(&self) -> Option<Vec<u8>> {
        let identity = Identity::load(&self.machine.host(&self.fabric, self.id)).ok()??;
        Some(identity.token().ok()?.as_bytes().to_vec())
    }

    /// The key with which its REST lets one in.
    pub(super) fn admin_key(&self) -> Option<String> {
        fipple::api::read_admin_key(&self.machine.host(&self.fabric, self.id)).ok()?
    }

    pub(super) fn state(&self) -> NodeState {
        if self.running.is_none() {
            return NodeState::Off;
        }
        match &*lock(&self.process) {
            _ if self.paused => NodeState::Paused,
            Process::Starting => NodeState::Starting,
            Process::Up(_) => NodeState::Up,
            Process::Stopping => NodeState::Stopping,
            Process::Ended(error) => NodeState::Ended(error.clone()),
        }
    }

    /// Switches the machine on; its node starts on the disk as it is.
    pub(super) fn start(&mut self, now: Time) -> Result<(), Error> {
        if self.running.is_some() {
            return Ok(());
        }
        self.lives += 1;
        self.paused = false;
        self.fabric.switch_on(self.id);
        let libc = Stream::new(self.seed, &format!("{}.libc.{}", self.name, self.lives));
        let mut running = RuntimeHost::start(&self.fabric, self.id, &self.name, now, self.clock, libc)?;
        let host = Host { planted: self.planted, ..self.machine.host(&self.fabric, self.id) };
        let config = self.config.clone();
        self.process = Arc::new(Mutex::new(Process::Starting));
        let process = self.process.clone();
        running.enter(|runtime| {
            runtime.spawn(async move {
                let started = Node::start(host, config).await;
                *lock(&process) = match started {
                    Ok(node) => Process::Up(Box::new(node)),
                    Err(error) => Process::Ended(Some(error.to_string())),
                };
            })
        });
        self.running = Some(running);
        Ok(())
    }

    /// Asks the node to stop, as SIGTERM does. It hands over its work first.
    pub(super) fn stop(&mut self) {
        let Some(running) = &mut self.running else { return };
        let mut process = lock(&self.process);
        if !matches!(*process, Process::Up(_)) {
            return;
        }
        let Process::Up(node) = std::mem::replace(&mut *process, Process::Stopping) else { return };
        drop(process);
        let process = self.process.clone();
        running.enter(|runtime| {
            runtime.spawn(async move {
                node.shutdown().await;
                *lock(&process) = Process::Ended(None);
            })
        });
    }

    /// Kills the process, as SIGKILL does: the system closes its sockets.
    pub(super) fn kill(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        // What destructors still do reaches neither the disk nor, since nothing runs any more, the network.
        self.machine.disk.end_life();
        let process = std::mem::replace(&mut *lock(&self.process), Process::Ended(None));
        running.enter(|_| {
            // Replication holds the node that holds it.
            if let Process::Up(node) = &process {
                node.documents().shutdown();
            }
            drop(process);
        });
        drop(running);
        // What a node that was not shut down keeps alive by itself is the system's to close.
        self.fabric.close_all(self.id);
    }

    /// The power fails while the node writes something: nobody is told anything, and what was not synced may be lost.
    pub(super) fn power_off(&mut self, chance: &mut Stream) {
        self.fabric.switch_off(self.id);
        let last_operation = chance.in_range(0..=OPERATIONS_OF_A_WRITE) as usize;
        self.machine.disk.fail_after(last_operation);
        let document = format!("member.{}", self.node_id);
        let edit =
            Edit::Patch(Map::from_iter([("interrupted".to_owned(), Value::from(chance.next_u64() >> 32))]));
        // Nobody is there any more to be told what came of it.
        let _ = self.ask(async |node| node.documents().write("cluster", &document, edit).await);
        self.machine.disk.end_life();
        self.machine.disk.lose_power(chance);
        self.kill();
    }

    /// From its next start on the node has this bug.
    pub(super) fn plant(&mut self, planted: Planted) {
        self.planted = Some(planted);
    }

    /// From now on the disk only says that it has synced.
    pub(super) fn ignore_syncs(&self) {
        self.machine.disk.ignore_syncs();
    }

    pub(super) fn pause(&mut self) {
        self.paused = self.running.is_some();
    }

    pub(super) fn resume(&mut self, now: Time) {
        if let Some(running) = self.running.as_mut().filter(|_| self.paused) {
            running.catch_up(now);
        }
        self.paused = false;
    }

    /// Sets how far its time of day is ahead, in milliseconds.
    pub(super) fn set_offset_ms(&mut self, offset_ms: i64) {
        self.clock.offset_ms = offset_ms;
        if let Some(running) = &mut self.running {
            running.set_offset_ms(offset_ms);
        }
    }

    /// Sets how much too fast its clocks run from its next start on, in millionths.
    pub(super) fn set_drift_ppm(&mut self, drift_ppm: i32) {
        self.clock.drift_ppm = drift_ppm;
    }

    pub(super) fn run(&mut self, until: Time) {
        match &mut self.running {
            Some(running) if self.paused => running.stand_still(until),
            Some(running) => running.run(until),
            None => {}
        }
    }

    /// Asks the node something that it can answer at once; `None` where it does not work or would have to wait.
    pub(super) fn ask<T>(&mut self, ask: impl AsyncFnOnce(&Node) -> T) -> Option<T> {
        let running = self.running.as_mut().filter(|_| !self.paused)?;
        let process = lock(&self.process);
        let Process::Up(node) = &*process else { return None };
        running.enter(|runtime| runtime.block_on(async { ask(node).now_or_never() }))
    }
}

impl Drop for NodeHost {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
