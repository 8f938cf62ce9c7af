//! The seam between fipple and the machine it runs on.
//!
//! Sockets, names, wall-clock time, randomness, files and threads are reached through a [`Host`] and nowhere
//! else (`clippy.toml` holds the rest of the crate to that). [`Host::system`] is the real machine; the
//! simulator and the tests hand in hosts of their own, so that the very same node runs over an in-memory
//! network under paused time. Monotonic time needs no seam: `tokio::time` pauses by itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use redb::StorageBackend;
use tokio::io::{AsyncRead, AsyncWrite};

mod disk;
mod system;
mod udp;

pub use disk::{DataDirectory, Disk};
pub use udp::PlainUdpSocket;

/// One machine, as a node sees it.
#[derive(Clone)]
pub struct Host {
    /// Sockets and names.
    pub network: Arc<dyn Network>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub random: Arc<dyn Random>,
    /// The node's data directory.
    pub disk: Arc<dyn Disk>,
    /// Where writes that wait for the disk run.
    pub store_thread: Arc<dyn StoreThread>,
    /// The bug that the simulator has planted in this machine's node.
    #[cfg(feature = "planted")]
    pub planted: Option<crate::planted::Planted>,
}

/// Sockets and names.
#[async_trait]
pub trait Network: Send + Sync {
    /// A UDP socket for QUIC.
    fn bind_udp(&self, address: SocketAddr) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>>;

    /// A listening TCP socket.
    async fn listen_tcp(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>>;

    /// A TCP connection. The caller sets the time-out.
    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<BoxStream>;

    /// The addresses of `host:port`, where `host` is a name or an address. An unknown name is an error.
    async fn resolve(&self, host_and_port: &str) -> io::Result<Vec<SocketAddr>>;
}

/// A listening TCP socket.
#[async_trait]
pub trait Listener: Send {
    /// The next connection, and where it comes from.
    async fn accept(&mut self) -> io::Result<(BoxStream, SocketAddr)>;

    /// Where it listens, with the port that the system chose if 0 was asked for.
    fn local_address(&self) -> io::Result<SocketAddr>;
}

/// A connected stream of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A connected stream of bytes, of whatever network.
pub type BoxStream = Box<dyn Stream>;

/// The time of day.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970. It may jump, and on a router it may start in 1970.
    fn unix_ms(&self) -> u64;
}

/// Unpredictable bytes.
pub trait Random: Send + Sync {
    /// Fills `bytes`, or fails where the machine has no randomness to give; nothing secret may then be made.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// Runs the jobs that wait for the disk, one after the other, so that no call waits for an fsync.
pub trait StoreThread: Send + Sync {
    /// Queues a job. A simulated host runs it at once.
    ///
    /// # Errors
    /// Gives the job back if [`STORE_QUEUE_JOBS`](crate::limits::STORE_QUEUE_JOBS) wait already.
    fn run(&self, job: StoreJob) -> Result<(), StoreJob>;
}

/// A job for the [`StoreThread`].
pub type StoreJob = Box<dyn FnOnce() + Send>;

/// A file for redb, opened through [`Disk`].
pub type BoxStorage = Box<dyn StorageBackend>;
