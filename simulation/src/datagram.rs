//! Simulated UDP.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::fabric::Fabric;
use crate::limits::UDP_QUEUE_DATAGRAMS;

/// The datagrams on their way to one socket.
#[derive(Default)]
pub(crate) struct Mailbox {
    state: Mutex<MailboxState>,
}

#[derive(Default)]
struct MailboxState {
    /// In the order of their arrival, which with one latency for all is the order of sending.
    arriving: VecDeque<(Instant, SocketAddr, Bytes)>,
    reader: Option<Waker>,
    /// Runs until the first datagram of the queue arrives.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Mailbox {
    /// Puts a datagram on its way, or loses it if too many are.
    pub(crate) fn deliver(&self, arrival: Instant, from: SocketAddr, payload: Bytes) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.arriving.len() < UDP_QUEUE_DATAGRAMS {
            state.arriving.push_back((arrival, from, payload));
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
        }
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<(SocketAddr, Bytes)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((arrival, ..)) = state.arriving.front() {
            let arrival = *arrival;
            if arrival <= Instant::now() {
                state.alarm = None;
                if let Some((_, from, payload)) = state.arriving.pop_front() {
                    return Poll::Ready((from, payload));
                }
            }
            let alarm = state.alarm.get_or_insert_with(|| Box::pin(sleep_until(arrival)));
            if alarm.as_mut().poll(context).is_pending() {
                break;
            }
            state.alarm = None;
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A simulated UDP socket under QUIC.
pub(crate) struct DatagramSocket {
    pub(crate) fabric: Fabric,
    pub(crate) address: SocketAddr,
    pub(crate) mailbox: Arc<Mailbox>,
}

impl fmt::Debug for DatagramSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatagramSocket({})", self.address)
    }
}

impl Drop for DatagramSocket {
    fn drop(&mut self) {
        self.fabric.unbind_udp(self.address);
    }
}

impl AsyncUdpSocket for DatagramSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let payload = Bytes::copy_from_slice(transmit.contents);
        self.fabric.send_datagram(self.address, transmit.destination, payload);
        Ok(())
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
        self.mailbox.poll_receive(context).map(|(from, payload)| {
            let len = payload.len().min(buffer.len());
            buffer[..len].copy_from_slice(&payload[..len]);
            *meta = RecvMeta { addr: from, len, stride: len, ecn: None, dst_ip: None };
            Ok(1)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A mailbox never makes a sender wait.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
