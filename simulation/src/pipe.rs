//! Simulated TCP: two pipes, one a direction.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::TCP_WINDOW_BYTES;

/// The two ends of a new connection on which every byte takes `latency`.
pub(crate) fn connection(latency: Duration) -> (PipeEnd, PipeEnd) {
    let [there, back] = [(); 2].map(|()| Arc::new(Pipe::new(latency)));
    let end = |incoming: &Arc<Pipe>, outgoing: &Arc<Pipe>| PipeEnd {
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
    };
    (end(&back, &there), end(&there, &back))
}

/// One end of a connection.
pub(crate) struct PipeEnd {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

/// One direction of a connection.
struct Pipe {
    latency: Duration,
    state: Mutex<PipeState>,
}

#[derive(Default)]
struct PipeState {
    arriving: VecDeque<(Instant, Bytes)>,
    size_bytes: usize,
    /// Set once the writer has said all; the reader sees the end after the bytes that are under way.
    ended: bool,
    /// Set once the reader is gone; writing fails from then on.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Pipe {
    fn new(latency: Duration) -> Self {
        Self { latency, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        while let Some((arrival, _)) = state.arriving.front() {
            let arrival = *arrival;
            if arrival <= Instant::now() {
                state.take_front(buffer);
                return Poll::Ready(Ok(()));
            }
            let alarm = state.alarm.get_or_insert_with(|| Box::pin(sleep_until(arrival)));
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            state.alarm = None;
        }
        if state.ended {
            return Poll::Ready(Ok(()));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        if state.deaf || state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = TCP_WINDOW_BYTES.saturating_sub(state.size_bytes);
        if room == 0 {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let taken = Bytes::copy_from_slice(&bytes[..bytes.len().min(room)]);
        let len = taken.len();
        state.size_bytes += len;
        state.arriving.push_back((Instant::now() + self.latency, taken));
        wake(&mut state.reader);
        Poll::Ready(Ok(len))
    }

    fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        wake(&mut state.reader);
    }

    fn stop_listening(&self) {
        let mut state = self.state();
        state.deaf = true;
        wake(&mut state.writer);
    }
}

impl PipeState {
    /// Moves as much of the first piece as fits into `buffer`, and lets a waiting writer go on.
    fn take_front(&mut self, buffer: &mut ReadBuf<'_>) {
        self.alarm = None;
        let Some((_, piece)) = self.arriving.front_mut() else { return };
        let len = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..len]);
        piece.advance(len);
        if piece.is_empty() {
            self.arriving.pop_front();
        }
        self.size_bytes -= len;
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl AsyncRead for PipeEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.incoming.poll_read(context, buffer)
    }
}

impl AsyncWrite for PipeEnd {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.stop_listening();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn bytes_arrive_in_order_after_the_latency_and_then_the_end() {
        let (mut here, mut there) = connection(Duration::from_millis(5));
        let start = Instant::now();
        here.write_all(b"one ").await.unwrap();
        here.write_all(b"two").await.unwrap();
        drop(here);
        let mut text = String::new();
        there.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), start.elapsed()), ("one two", Duration::from_millis(5)));
        assert!(there.write_all(b"late").await.is_err(), "nobody reads any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_makes_the_writer_wait() {
        let (mut here, mut there) = connection(Duration::from_millis(1));
        let sent = vec![7; 3 * TCP_WINDOW_BYTES];
        let expected = sent.clone();
        let writing = tokio::spawn(async move { here.write_all(&sent).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!writing.is_finished(), "the window is full");
        let mut received = Vec::new();
        there.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, expected);
        writing.await.unwrap().unwrap();
    }
}
