//! The real machine.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::{TcpListener, TcpStream};

use super::{
    BoxStream, Clock, DataDirectory, Host, Listener, Network, PlainUdpSocket, Random, StoreJob, StoreThread,
};
use crate::limits::STORE_QUEUE_JOBS;

impl Host {
    /// This machine, with `data_directory` as the node's disk.
    ///
    /// # Errors
    /// If the directory cannot be made, or the store thread cannot be started.
    pub fn system(data_directory: &Path) -> io::Result<Self> {
        Ok(Self {
            network: Arc::new(SystemNetwork),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandomness(SystemRandom::new())),
            disk: Arc::new(DataDirectory::open(data_directory)?),
            store_thread: Arc::new(OneThread::start()?),
            #[cfg(feature = "planted")]
            planted: None,
        })
    }
}

/// The system's sockets, through tokio.
struct SystemNetwork;

#[async_trait]
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
impl Network for SystemNetwork {
    fn bind_udp(&self, address: SocketAddr) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(PlainUdpSocket::new(tokio::net::UdpSocket::from_std(socket)?))
    }

    async fn listen_tcp(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(SystemListener(TcpListener::bind(address).await?)))
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<BoxStream> {
        let stream = TcpStream::connect(address).await?;
        // Commands are small and each waits for its answer: Nagle would add 40 ms to them.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn resolve(&self, host_and_port: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host(host_and_port).await?.collect())
    }
}

struct SystemListener(TcpListener);

#[async_trait]
impl Listener for SystemListener {
    async fn accept(&mut self) -> io::Result<(BoxStream, SocketAddr)> {
        let (stream, address) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), address))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn unix_ms(&self) -> u64 {
        let since_1970 = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
    }
}

struct SystemRandomness(SystemRandom);

impl Random for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.fill(bytes).map_err(|_| io::Error::other("the system has no randomness to give"))
    }
}

/// One thread that runs store jobs in the order in which they came; it ends when its host is dropped.
struct OneThread {
    jobs: SyncSender<StoreJob>,
}

impl OneThread {
    #[expect(clippy::disallowed_methods, reason = "this is the seam: the one thread beside the runtime")]
    fn start() -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<StoreJob>(STORE_QUEUE_JOBS);
        std::thread::Builder::new().name("fipple-store".into()).spawn(move || {
            for job in queue {
                // A job that panics loses its own answer; the panic's message is logged by its hook. The store itself
                // is consistent: what was not committed is not there.
                let _panicked = std::panic::catch_unwind(AssertUnwindSafe(job));
            }
        })?;
        Ok(Self { jobs })
    }
}

impl StoreThread for OneThread {
    fn run(&self, job: StoreJob) -> Result<(), StoreJob> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn the_store_thread_outlives_a_job_that_panics() {
        let thread = OneThread::start().unwrap();
        let (sender, receiver) = sync_channel(1);
        assert!(thread.run(Box::new(|| panic!("a job that panics"))).is_ok());
        assert!(thread.run(Box::new(move || sender.send(7).unwrap())).is_ok());
        assert_eq!(receiver.recv(), Ok(7));
    }
}
