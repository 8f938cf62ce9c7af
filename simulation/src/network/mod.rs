//! The network between simulated machines.
//!
//! Every packet takes a time that its link draws, and waits in its receiver's inbox until the engine delivers it: that is
//! how machines with clocks of their own agree on what came first.

mod datagram;
mod links;
mod packet;
mod stream;
mod system;
mod tcp;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fipple_emulator::Time;
use xxhash_rust::xxh3::xxh3_64;

use self::datagram::Mailbox;
use self::links::Links;
use self::packet::{Packet, Payload};
use self::tcp::{Listening, Tcp};
use crate::clock;
use crate::limits::FIRST_DYNAMIC_PORT;
use crate::trace::Trace;

pub use links::LinkQuality;
pub(crate) use packet::Arrived;
pub(crate) use system::HostNetwork;
pub(crate) use tcp::{ConnectionEnd, Readable};

/// A machine on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// The network, and what happened on it. Clones are the same network.
#[derive(Clone)]
pub struct Fabric {
    state: Arc<Mutex<State>>,
}

/// All of the network.
pub(crate) struct State {
    hosts: Vec<HostPorts>,
    addresses: BTreeMap<IpAddr, HostId>,
    names: BTreeMap<String, IpAddr>,
    links: Links,
    tcp: Tcp,
    sequence: u64,
    trace: Trace,
    /// What is done to the bytes of TCP on their way from one machine to another.
    rewriting: BTreeMap<(HostId, HostId), Rewrite>,
}

/// What becomes of bytes on their way; `None` for nothing.
pub(crate) type Rewrite = fn(&[u8]) -> Option<Vec<u8>>;

/// One machine's place on the network.
struct HostPorts {
    address: IpAddr,
    inbox: BinaryHeap<Reverse<Packet>>,
    udp: BTreeMap<SocketAddr, Mailbox>,
    listening: BTreeMap<SocketAddr, Listening>,
    next_port: u16,
    /// How many programs have run on the machine: a socket of one that was killed is not one of the next.
    life: u64,
}

impl Fabric {
    /// A network without machines. All its chance follows from `seed`, and all that happens is told to `trace`.
    pub fn new(seed: u64, trace: Trace) -> Self {
        let state = State {
            hosts: Vec::new(),
            addresses: BTreeMap::new(),
            names: BTreeMap::new(),
            links: Links::new(seed),
            tcp: Tcp::default(),
            sequence: 0,
            trace,
            rewriting: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Connects a machine of this name and address.
    pub fn add_host(&self, name: &str, address: IpAddr) -> HostId {
        let mut state = self.lock();
        let id = HostId(state.hosts.len());
        state.hosts.push(HostPorts {
            address,
            inbox: BinaryHeap::new(),
            udp: BTreeMap::new(),
            listening: BTreeMap::new(),
            next_port: FIRST_DYNAMIC_PORT,
            life: 0,
        });
        state.addresses.insert(address, id);
        state.names.insert(name.to_owned(), address);
        id
    }

    /// Sets how all links treat packets that nothing else is said of.
    pub fn set_quality(&self, quality: LinkQuality) {
        self.lock().links.set_default(quality);
    }

    /// Sets how one direction between two machines treats packets; `None` for the default.
    pub fn set_link(&self, from: HostId, to: HostId, quality: Option<LinkQuality>) {
        self.lock().links.set(from, to, quality);
    }

    /// How one direction between two machines treats packets.
    pub fn quality(&self, from: HostId, to: HostId) -> LinkQuality {
        self.lock().links.quality(from, to)
    }

    /// Cuts one direction between two machines, or takes back one cut.
    pub fn set_cut(&self, from: HostId, to: HostId, cut: bool) {
        self.lock().links.set_cut(from, to, cut);
    }

    /// The shortest time that any packet takes.
    pub(crate) fn latency_min(&self) -> Duration {
        self.lock().links.latency_min()
    }

    /// Switches a machine off: its sockets are gone without a word, and packets to it are lost.
    pub(crate) fn switch_off(&self, host: HostId) {
        let mut state = self.lock();
        state.links.set_off(host, true);
        state.tcp.forget_host(host);
        state.hosts[host.0].inbox.clear();
        drop(state);
        self.close_all(host);
    }

    /// Closes whatever a machine's program has left open, as its system does when it is killed.
    pub(crate) fn close_all(&self, host: HostId) {
        let mut state = self.lock();
        let ports = &mut state.hosts[host.0];
        ports.life += 1;
        ports.udp.clear();
        ports.listening.clear();
        state.close_all(host);
    }

    /// Switches a machine on again. It knows of nothing that was before.
    pub(crate) fn switch_on(&self, host: HostId) {
        self.lock().links.set_off(host, false);
    }

    /// Rewrites what TCP carries from one machine to another.
    pub(crate) fn rewrite(&self, from: HostId, to: HostId, rewrite: Rewrite) {
        self.lock().rewriting.insert((from, to), rewrite);
    }

    /// Adds a line to the trace.
    pub(crate) fn record(&self, what: fmt::Arguments<'_>) {
        self.lock().trace.record(clock::now(), what);
    }

    /// How many lines the trace has.
    pub(crate) fn trace_lines(&self) -> u64 {
        self.lock().trace.lines()
    }

    /// Ends the trace; what happens from now on is in none.
    pub(crate) fn take_trace(&self) -> Trace {
        std::mem::take(&mut self.lock().trace)
    }

    /// When the next packet arrives at a machine.
    pub(crate) fn next_arrival(&self, host: HostId) -> Option<Time> {
        self.lock().hosts[host.0].inbox.peek().map(|packet| packet.0.at)
    }

    /// Delivers the next packet that has arrived at a machine by now, and says what came. `None` when all have been.
    pub(crate) fn deliver(&self, host: HostId, now: Time) -> Option<Arrived> {
        self.lock().deliver(host, now)
    }

    /// Sends once more what TCP has not got through, where it is time to.
    pub(crate) fn retransmit(&self, before: Time) {
        self.lock().retransmit(before);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn host_of(&self, address: IpAddr) -> Option<HostId> {
        self.addresses.get(&address).copied()
    }

    /// The address of `host:port`, where `host` is a machine's name or its address.
    pub(crate) fn resolve(&self, host_and_port: &str) -> io::Result<SocketAddr> {
        if let Ok(address) = host_and_port.parse() {
            return Ok(address);
        }
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("{host_and_port} is unknown"));
        let (name, port) = host_and_port.rsplit_once(':').ok_or_else(unknown)?;
        let address = self.names.get(name).copied().ok_or_else(unknown)?;
        Ok(SocketAddr::new(address, port.parse().map_err(|_| unknown())?))
    }

    /// The address itself, or for port 0 the next free dynamic port of its machine.
    fn free_address(
        &mut self,
        host: HostId,
        wanted: SocketAddr,
        taken: impl Fn(&HostPorts, &SocketAddr) -> bool,
    ) -> io::Result<SocketAddr> {
        let ports = &mut self.hosts[host.0];
        let ip = if wanted.ip().is_unspecified() { ports.address } else { wanted.ip() };
        let in_use = || io::Error::new(io::ErrorKind::AddrInUse, format!("{wanted} is in use"));
        if wanted.port() != 0 {
            let address = SocketAddr::new(ip, wanted.port());
            return if taken(ports, &address) { Err(in_use()) } else { Ok(address) };
        }
        for _ in FIRST_DYNAMIC_PORT..=u16::MAX {
            let address = SocketAddr::new(ip, ports.next_port);
            ports.next_port = ports.next_port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT);
            if !taken(ports, &address) {
                return Ok(address);
            }
        }
        Err(in_use())
    }

    /// Sends a datagram. Where nobody listens it vanishes, as on any network.
    fn send_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let now = clock::now();
        let (Some(source), Some(target)) = (self.host_of(from.ip()), self.host_of(to.ip())) else { return };
        let hash = xxh3_64(&bytes);
        let len = bytes.len();
        self.trace.record(now, format_args!("udp {from} > {to} {len} {hash:016x}"));
        let passage = self.links.pass(source, target);
        for latency in [passage.arrives, passage.again].into_iter().flatten() {
            self.post(target, now + latency, Payload::Datagram { from, to, bytes: bytes.clone() });
        }
    }

    /// Puts a packet on its way.
    fn post(&mut self, to: HostId, at: Time, payload: Payload) {
        self.sequence += 1;
        self.hosts[to.0].inbox.push(Reverse(Packet { at, sequence: self.sequence, payload }));
    }

    fn deliver(&mut self, host: HostId, now: Time) -> Option<Arrived> {
        let inbox = &mut self.hosts[host.0].inbox;
        inbox.peek().filter(|packet| packet.0.at <= now)?;
        let Reverse(packet) = inbox.pop()?;
        Some(match packet.payload {
            Payload::Datagram { from, to, bytes } => {
                let hash = xxh3_64(&bytes);
                self.trace.record(packet.at, format_args!("udp {from} >> {to} {} {hash:016x}", bytes.len()));
                if let Some(mailbox) = self.hosts[host.0].udp.get_mut(&to) {
                    mailbox.deliver(from, bytes);
                }
                Arrived::Datagram
            }
            Payload::Segment { connection, side, segment } => {
                self.deliver_segment(packet.at, connection, side, segment)
            }
        })
    }
}
