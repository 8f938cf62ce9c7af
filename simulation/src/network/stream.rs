//! One end of a simulated TCP connection, as a program holds it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Fabric;
use super::tcp::{ConnectionEnd, Readable};

/// An open socket; dropping it closes the connection.
pub(super) struct TcpStream {
    fabric: Fabric,
    end: ConnectionEnd,
}

impl TcpStream {
    pub(super) fn new(fabric: Fabric, end: ConnectionEnd) -> Self {
        Self { fabric, end }
    }

    /// Waits until the other machine has answered.
    pub(super) async fn established(&self) -> io::Result<()> {
        poll_fn(|context| {
            let mut state = self.fabric.lock();
            match state.is_established(self.end) {
                Ok(true) => Poll::Ready(Ok(())),
                Ok(false) => {
                    state.wait(self.end, Some(context.waker()), None);
                    Poll::Pending
                }
                Err(failure) => Poll::Ready(Err(failure.into())),
            }
        })
        .await
    }

    /// Where the other end is.
    pub(super) fn peer_address(&self) -> io::Result<SocketAddr> {
        self.fabric.lock().peer_address(self.end).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.fabric.lock().close(self.end);
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.fabric.lock();
        match state.read(self.end, buffer.remaining()) {
            Readable::Bytes(bytes) => {
                buffer.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            Readable::End => Poll::Ready(Ok(())),
            Readable::Failed(failure) => Poll::Ready(Err(failure.into())),
            Readable::Nothing => {
                state.wait(self.end, Some(context.waker()), None);
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.fabric.lock();
        match state.write(self.end, bytes) {
            Ok(0) if !bytes.is_empty() => {
                state.wait(self.end, None, Some(context.waker()));
                Poll::Pending
            }
            Ok(written) => Poll::Ready(Ok(written)),
            Err(failure) => Poll::Ready(Err(failure.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fabric.lock().end_writing(self.end);
        Poll::Ready(Ok(()))
    }
}
