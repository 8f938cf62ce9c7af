//! Simulated UDP, under quinn.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::{Fabric, HostId};
use crate::limits::UDP_QUEUE_DATAGRAMS;

/// The datagrams that have arrived at one socket.
#[derive(Default)]
pub(super) struct Mailbox {
    arrived: VecDeque<(SocketAddr, Bytes)>,
    reader: Option<Waker>,
}

impl Mailbox {
    /// Takes a datagram, or loses it if too many wait.
    pub(super) fn deliver(&mut self, from: SocketAddr, bytes: Bytes) {
        if self.arrived.len() < UDP_QUEUE_DATAGRAMS {
            self.arrived.push_back((from, bytes));
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }
}

/// A UDP socket.
pub(super) struct DatagramSocket {
    pub(super) fabric: Fabric,
    pub(super) host: HostId,
    pub(super) address: SocketAddr,
    pub(super) life: u64,
}

impl fmt::Debug for DatagramSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatagramSocket({})", self.address)
    }
}

impl Drop for DatagramSocket {
    fn drop(&mut self) {
        let ports = &mut self.fabric.lock().hosts[self.host.0];
        if ports.life == self.life {
            ports.udp.remove(&self.address);
        }
    }
}

impl AsyncUdpSocket for DatagramSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let bytes = Bytes::copy_from_slice(transmit.contents);
        self.fabric.lock().send_datagram(self.address, transmit.destination, bytes);
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.fabric.lock();
        let Some(mailbox) = state.hosts[self.host.0].udp.get_mut(&self.address) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Some((from, bytes)) = mailbox.arrived.pop_front() else { break };
            let len = bytes.len().min(buffer.len());
            buffer[..len].copy_from_slice(&bytes[..len]);
            *meta = RecvMeta { addr: from, len, stride: len, ecn: None, dst_ip: None };
            received += 1;
        }
        if received > 0 {
            return Poll::Ready(Ok(received));
        }
        mailbox.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    /// As the socket that nodes use on real machines says: quinn then leaves path MTU discovery off.
    fn may_fragment(&self) -> bool {
        true
    }
}

/// A network never makes a sender of datagrams wait: it loses them.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
