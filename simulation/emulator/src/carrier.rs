//! One connection of a served switch: a task that carries its bytes both ways and reports what it did.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::limits::{FRAMES_PER_WRITE_MAX, SOCKET_READ_BYTES};
use crate::switch::{ConnectId, ConnectionId};

/// What a connection can run over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is being opened.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// Opens the connections that the application `socket` wants: over TCP, or in memory. A closure will do.
pub trait Connector: Send + 'static {
    /// Connects to `<host>:<port>`.
    fn connect(&self, address: String) -> Connecting;
}

impl<F: Fn(String) -> Connecting + Send + 'static> Connector for F {
    fn connect(&self, address: String) -> Connecting {
        self(address)
    }
}

/// What tasks report to the one that owns the switch.
pub(crate) enum Report {
    /// Bytes of a controller.
    Received(ConnectionId, Bytes),
    /// A socket took this many bytes.
    Written(ConnectionId, usize),
    /// Either side has ended the connection.
    Ended(ConnectionId),
    /// What became of a connection that the switch wanted.
    Connected(ConnectId, io::Result<Box<dyn Stream>>),
}

/// The switch's own end of a connection.
pub(crate) struct Peer {
    outgoing: Arc<Outgoing>,
    task: AbortHandle,
}

/// Frames on their way to the socket: as many as the switch hands out before they are reported as written.
#[derive(Default)]
struct Outgoing {
    frames: Mutex<Frames>,
    changed: Notify,
}

#[derive(Default)]
struct Frames {
    waiting: VecDeque<Bytes>,
    /// Nothing more comes.
    ended: bool,
}

impl Peer {
    /// Starts the task of a connection.
    pub(crate) fn start(id: ConnectionId, stream: Box<dyn Stream>, report: mpsc::Sender<Report>) -> Self {
        let outgoing = Arc::new(Outgoing::default());
        let task = tokio::spawn(carry(id, stream, outgoing.clone(), report)).abort_handle();
        Self { outgoing, task }
    }

    /// Writes this after all that came before.
    pub(crate) fn send(&self, bytes: Bytes) {
        self.outgoing.frames().waiting.push_back(bytes);
        self.outgoing.changed.notify_one();
    }

    /// Ends the connection once everything is written.
    pub(crate) fn end(&self) {
        self.outgoing.frames().ended = true;
        self.outgoing.changed.notify_one();
    }

    /// Cuts the connection off.
    pub(crate) fn abort(&self) {
        self.task.abort();
    }
}

impl Outgoing {
    fn frames(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what waits into `frames`, waiting for it; none at the end.
    async fn take(&self, frames: &mut VecDeque<Bytes>) {
        loop {
            {
                let mut state = self.frames();
                frames.append(&mut state.waiting);
                if state.ended || !frames.is_empty() {
                    return;
                }
            }
            self.changed.notified().await;
        }
    }
}

/// Carries one connection's bytes both ways until either side ends it.
async fn carry(
    id: ConnectionId,
    stream: Box<dyn Stream>,
    outgoing: Arc<Outgoing>,
    report: mpsc::Sender<Report>,
) {
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        biased;
        () = write(id, writer, &outgoing, &report) => {}
        () = read(id, reader, &report) => {}
    }
    // The switch may have stopped meanwhile.
    let _ = report.send(Report::Ended(id)).await;
}

async fn write(
    id: ConnectionId,
    mut writer: WriteHalf<Box<dyn Stream>>,
    outgoing: &Outgoing,
    report: &mpsc::Sender<Report>,
) {
    let mut frames = VecDeque::new();
    loop {
        outgoing.take(&mut frames).await;
        if frames.is_empty() {
            // The other side may be gone already.
            let _ = writer.shutdown().await;
            return;
        }
        while !frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE_MAX];
            for (slice, frame) in slices.iter_mut().zip(&frames) {
                *slice = IoSlice::new(frame);
            }
            let count = frames.len().min(FRAMES_PER_WRITE_MAX);
            let written = match writer.write_vectored(&slices[..count]).await {
                Ok(0) | Err(_) => return,
                Ok(written) => written,
            };
            advance(&mut frames, written);
            if report.send(Report::Written(id, written)).await.is_err() {
                return;
            }
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
}

/// Drops what was written from the front.
fn advance(frames: &mut VecDeque<Bytes>, mut size_bytes: usize) {
    while let Some(frame) = frames.front_mut() {
        if frame.len() > size_bytes {
            return frame.advance(size_bytes);
        }
        size_bytes -= frame.len();
        frames.pop_front();
    }
}

async fn read(id: ConnectionId, mut reader: ReadHalf<Box<dyn Stream>>, report: &mpsc::Sender<Report>) {
    loop {
        let mut buffer = BytesMut::with_capacity(SOCKET_READ_BYTES);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if report.send(Report::Received(id, buffer.freeze())).await.is_err() {
                    return;
                }
            }
        }
    }
}
