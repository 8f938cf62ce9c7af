//! A plain UDP socket under QUIC.
//!
//! quinn's own socket sends and receives in batches, for which it keeps a receive buffer of 3 MB an endpoint,
//! all of it resident on MIPS; it also refuses to start under Wine. A control plane sends a few thousand
//! packets a second at most, so every node uses this one: 0.66 MB private memory against 3.6.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// A tokio socket, one datagram a call.
#[derive(Debug)]
pub struct PlainUdpSocket {
    socket: UdpSocket,
}

impl PlainUdpSocket {
    /// Wraps a bound socket.
    pub fn new(socket: UdpSocket) -> Arc<Self> {
        Arc::new(Self { socket })
    }
}

impl AsyncUdpSocket for PlainUdpSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller { socket: self })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.socket.try_send_to(transmit.contents, transmit.destination) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // Anything else concerns this one datagram (a route that is gone, a port that is closed), and a
            // lost datagram is QUIC's daily bread; an error here would end the whole endpoint.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), metas.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        loop {
            let mut filled = ReadBuf::new(buffer);
            match ready!(self.socket.poll_recv_from(context, &mut filled)) {
                Ok(address) => {
                    let len = filled.filled().len();
                    *meta = RecvMeta { addr: address, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                // What an earlier datagram met at a closed port: it says nothing about this socket.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The system may cut datagrams, and quinn then leaves path MTU discovery off: [`crate::cluster`] sets a
    /// datagram size that every path carries.
    fn may_fragment(&self) -> bool {
        true
    }
}

/// Waits until the socket takes another datagram.
struct Poller {
    socket: Arc<PlainUdpSocket>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poller")
    }
}

impl UdpPoller for Poller {
    fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.socket.poll_send_ready(context)
    }
}
