//! The network between simulated machines.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fipple::net::BoxStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::datagram::Mailbox;
use crate::pipe;

/// A network in memory. Every packet takes the same time; none is lost but where a mailbox is full.
#[derive(Clone)]
pub struct Fabric {
    latency: Duration,
    ports: Arc<Mutex<Ports>>,
}

#[derive(Default)]
struct Ports {
    names: BTreeMap<String, IpAddr>,
    udp: BTreeMap<SocketAddr, Arc<Mailbox>>,
    tcp: BTreeMap<SocketAddr, mpsc::Sender<(BoxStream, SocketAddr)>>,
}

/// The first port given where none is asked for, as RFC 6335 sets dynamic ports apart.
const FIRST_DYNAMIC_PORT: u16 = 49_152;

impl Fabric {
    /// A network on which every packet takes `latency` one way.
    pub fn new(latency: Duration) -> Self {
        Self { latency, ports: Arc::default() }
    }

    /// Lets machines find `address` under `name`.
    pub fn name(&self, name: &str, address: IpAddr) {
        self.ports().names.insert(name.to_owned(), address);
    }

    pub(crate) fn latency(&self) -> Duration {
        self.latency
    }

    pub(crate) fn resolve(&self, name: &str) -> Option<IpAddr> {
        self.ports().names.get(name).copied()
    }

    pub(crate) fn bind_udp(&self, wanted: SocketAddr) -> io::Result<(SocketAddr, Arc<Mailbox>)> {
        let mut ports = self.ports();
        let address = free_address(wanted, |address| ports.udp.contains_key(address))?;
        let mailbox = Arc::new(Mailbox::default());
        ports.udp.insert(address, mailbox.clone());
        Ok((address, mailbox))
    }

    pub(crate) fn unbind_udp(&self, address: SocketAddr) {
        self.ports().udp.remove(&address);
    }

    /// Sends a datagram. Where nobody listens it vanishes, as on any network.
    pub(crate) fn send_datagram(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) {
        let mailbox = self.ports().udp.get(&to).cloned();
        if let Some(mailbox) = mailbox {
            mailbox.deliver(Instant::now() + self.latency, from, payload);
        }
    }

    pub(crate) fn listen_tcp(
        &self,
        wanted: SocketAddr,
        backlog: mpsc::Sender<(BoxStream, SocketAddr)>,
    ) -> io::Result<SocketAddr> {
        let mut ports = self.ports();
        // A listener that has been dropped leaves its port behind; its receiver is gone.
        let address = free_address(wanted, |address| ports.tcp.get(address).is_some_and(|l| !l.is_closed()))?;
        ports.tcp.insert(address, backlog);
        Ok(address)
    }

    pub(crate) async fn connect_tcp(&self, from: IpAddr, to: SocketAddr) -> io::Result<BoxStream> {
        let backlog = self.ports().tcp.get(&to).cloned();
        // A handshake takes one way there and one way back.
        tokio::time::sleep(2 * self.latency).await;
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens at {to}"));
        let (here, there) = pipe::connection(self.latency);
        let source = SocketAddr::new(from, FIRST_DYNAMIC_PORT);
        backlog.ok_or_else(refused)?.try_send((Box::new(there), source)).map_err(|_| refused())?;
        Ok(Box::new(here))
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address itself, or for port 0 the first free dynamic port of its machine.
fn free_address(wanted: SocketAddr, taken: impl Fn(&SocketAddr) -> bool) -> io::Result<SocketAddr> {
    let mut candidates = match wanted.port() {
        0 => FIRST_DYNAMIC_PORT..=u16::MAX,
        port => port..=port,
    };
    candidates
        .find_map(|port| Some(SocketAddr::new(wanted.ip(), port)).filter(|address| !taken(address)))
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, format!("{wanted} is in use")))
}
