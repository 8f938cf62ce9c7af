//! What a program on a simulated machine sees of the network.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use fipple::net::{BoxStream, Listener, Network};

use super::datagram::{DatagramSocket, Mailbox};
use super::stream::TcpStream;
use super::{Fabric, HostId};

/// One machine's sockets and names.
pub(crate) struct HostNetwork {
    pub(crate) fabric: Fabric,
    pub(crate) host: HostId,
}

#[async_trait]
impl Network for HostNetwork {
    fn bind_udp(&self, address: SocketAddr) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
        let mut state = self.fabric.lock();
        let address =
            state.free_address(self.host, address, |ports, address| ports.udp.contains_key(address))?;
        let ports = &mut state.hosts[self.host.0];
        ports.udp.insert(address, Mailbox::default());
        let life = ports.life;
        Ok(Arc::new(DatagramSocket { fabric: self.fabric.clone(), host: self.host, address, life }))
    }

    async fn listen_tcp(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let mut state = self.fabric.lock();
        let address =
            state.free_address(self.host, address, |ports, address| ports.listening.contains_key(address))?;
        state.listen(self.host, address);
        let life = state.hosts[self.host.0].life;
        Ok(Box::new(TcpListener { fabric: self.fabric.clone(), host: self.host, address, life }))
    }

    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<BoxStream> {
        let end = self.fabric.lock().connect(self.host, address)?;
        let stream = TcpStream::new(self.fabric.clone(), end);
        stream.established().await?;
        Ok(Box::new(stream))
    }

    async fn resolve(&self, host_and_port: &str) -> io::Result<Vec<SocketAddr>> {
        self.fabric.lock().resolve(host_and_port).map(|address| vec![address])
    }
}

struct TcpListener {
    fabric: Fabric,
    host: HostId,
    address: SocketAddr,
    life: u64,
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let mut state = self.fabric.lock();
        if state.hosts[self.host.0].life == self.life {
            state.stop_listening(self.host, self.address);
        }
    }
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<(BoxStream, SocketAddr)> {
        let end = poll_fn(|context| {
            let mut state = self.fabric.lock();
            let Some(listening) = state.hosts[self.host.0].listening.get_mut(&self.address) else {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::NotConnected)));
            };
            if let Some(end) = listening.backlog.pop_front() {
                return Poll::Ready(Ok(end));
            }
            listening.acceptor = Some(context.waker().clone());
            Poll::Pending
        })
        .await?;
        let stream = TcpStream::new(self.fabric.clone(), end);
        let peer = stream.peer_address()?;
        Ok((Box::new(stream), peer))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
