//! A simulated machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use fipple::net::{BoxStream, Clock, Host, Listener, Network, Random, StoreJob, StoreThread};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::datagram::DatagramSocket;
use crate::disk::MemoryDisk;
use crate::fabric::Fabric;
use crate::limits::TCP_BACKLOG_CONNECTIONS;

/// A machine with one address, a disk of its own, and randomness that its seed decides.
pub struct Machine {
    fabric: Fabric,
    address: IpAddr,
    disk: MemoryDisk,
    random: Arc<SeededRandom>,
    clock: Arc<SimulatedClock>,
}

/// When every simulation begins: 2026-01-01 00:00:00 UTC, after any certificate that a node could hold.
const EPOCH_UNIX_MS: u64 = 1_767_225_600_000;

impl Machine {
    /// A machine on `fabric`. Call it inside a tokio runtime: its clock starts now.
    pub fn new(fabric: &Fabric, address: IpAddr, seed: u64) -> Self {
        Self {
            fabric: fabric.clone(),
            address,
            disk: MemoryDisk::default(),
            random: Arc::new(SeededRandom { state: Mutex::new(seed) }),
            clock: Arc::new(SimulatedClock { start: Instant::now() }),
        }
    }

    /// What a node sees of it. A node that is started again on the same machine finds its disk as it was.
    pub fn host(&self) -> Host {
        Host {
            network: Arc::new(SimulatedNetwork { fabric: self.fabric.clone(), address: self.address }),
            clock: self.clock.clone(),
            random: self.random.clone(),
            disk: Arc::new(self.disk.clone()),
            store_thread: Arc::new(Inline),
        }
    }
}

struct SimulatedNetwork {
    fabric: Fabric,
    address: IpAddr,
}

impl SimulatedNetwork {
    /// `0.0.0.0` means the machine's one address.
    fn own(&self, address: SocketAddr) -> SocketAddr {
        let ip = if address.ip().is_unspecified() { self.address } else { address.ip() };
        SocketAddr::new(ip, address.port())
    }
}

#[async_trait]
impl Network for SimulatedNetwork {
    fn bind_udp(&self, address: SocketAddr) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
        let (address, mailbox) = self.fabric.bind_udp(self.own(address))?;
        Ok(Arc::new(DatagramSocket { fabric: self.fabric.clone(), address, mailbox }))
    }

    async fn listen_tcp(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let (backlog, connections) = mpsc::channel(TCP_BACKLOG_CONNECTIONS);
        let address = self.fabric.listen_tcp(self.own(address), backlog)?;
        Ok(Box::new(SimulatedListener { address, connections }))
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<BoxStream> {
        self.fabric.connect_tcp(self.address, self.own(address)).await
    }

    async fn resolve(&self, host_and_port: &str) -> io::Result<Vec<SocketAddr>> {
        tokio::time::sleep(2 * self.fabric.latency()).await;
        if let Ok(address) = host_and_port.parse() {
            return Ok(vec![address]);
        }
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("{host_and_port} is unknown"));
        let (name, port) = host_and_port.rsplit_once(':').ok_or_else(unknown)?;
        let address = self.fabric.resolve(name).ok_or_else(unknown)?;
        Ok(vec![SocketAddr::new(address, port.parse().map_err(|_| unknown())?)])
    }
}

struct SimulatedListener {
    address: SocketAddr,
    connections: mpsc::Receiver<(BoxStream, SocketAddr)>,
}

#[async_trait]
impl Listener for SimulatedListener {
    async fn accept(&mut self) -> io::Result<(BoxStream, SocketAddr)> {
        self.connections.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

struct SimulatedClock {
    start: Instant,
}

impl Clock for SimulatedClock {
    fn unix_ms(&self) -> u64 {
        EPOCH_UNIX_MS + u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - EPOCH_UNIX_MS)
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and any seed will do.
struct SeededRandom {
    state: Mutex<u64>,
}

impl SeededRandom {
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&Self::next(&mut state).to_le_bytes()[..piece.len()]);
        }
        Ok(())
    }
}

/// Runs store jobs at once: a simulated disk makes nobody wait.
struct Inline;

impl StoreThread for Inline {
    fn run(&self, job: StoreJob) -> Result<(), StoreJob> {
        job();
        Ok(())
    }
}
