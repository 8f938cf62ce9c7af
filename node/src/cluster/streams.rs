//! The long-lived streams of a connection: one of each kind in each direction, opened at its first frame.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fipple_protocol::peer::{FrameDecoder, FrameError, Refusal, StreamKind};
use minicbor::Decode;
use quinn::{ReadError, RecvStream, WriteError};
use tokio::sync::mpsc;

use super::metrics::Metrics;
use crate::limits::{
    BULK_QUEUE_FRAMES, CONTROL_QUEUE_FRAMES, DOCUMENT_QUEUE_FRAMES, EVENT_QUEUE_FRAMES, READ_CHUNK_BYTES,
    WRITE_BATCH_FRAMES,
};

/// A stream that is written: its kind, and which of several of that kind.
type Slot = (StreamKind, u8);

/// The writing halves, with a bounded queue each.
pub(super) struct Outgoing {
    quic: quinn::Connection,
    queues: Mutex<BTreeMap<Slot, mpsc::Sender<Bytes>>>,
    metrics: Arc<Metrics>,
}

impl Outgoing {
    pub(super) fn new(quic: quinn::Connection, metrics: Arc<Metrics>) -> Self {
        Self { quic, queues: Mutex::default(), metrics }
    }

    /// Queues a frame without waiting.
    pub(super) fn try_send(&self, kind: StreamKind, shard: u8, frame: Bytes) -> Result<(), Refusal> {
        self.queue((kind, shard)).try_send(frame).map_err(|_| Refusal::Overloaded {
            detail: format!("the {kind:?} stream's queue of {} frames is full", queue_frames(kind)),
        })
    }

    /// Queues a frame once there is room. A connection that ends meanwhile swallows it.
    pub(super) async fn send(&self, kind: StreamKind, shard: u8, frame: Bytes) {
        let queue = self.queue((kind, shard));
        let _connection_ended = queue.send(frame).await;
    }

    fn queue(&self, slot: Slot) -> mpsc::Sender<Bytes> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            let (sender, queue) = mpsc::channel(queue_frames(slot.0));
            let (quic, metrics) = (self.quic.clone(), self.metrics.clone());
            tokio::spawn(async move {
                // The connection has ended, as whoever reads from it is told.
                let _connection_ended = write(&quic, slot.0, queue, &metrics).await;
            });
            sender
        };
        queues.entry(slot).or_insert_with(start).clone()
    }
}

fn queue_frames(kind: StreamKind) -> usize {
    match kind {
        StreamKind::Control => CONTROL_QUEUE_FRAMES,
        StreamKind::CallEvents => EVENT_QUEUE_FRAMES,
        StreamKind::Documents => DOCUMENT_QUEUE_FRAMES,
        StreamKind::Bulk => BULK_QUEUE_FRAMES,
    }
}

/// Writes whatever has gathered whenever the stream is free: no timer delays a lone frame, and frames that come
/// fast share packets.
async fn write(
    quic: &quinn::Connection,
    kind: StreamKind,
    mut queue: mpsc::Receiver<Bytes>,
    metrics: &Metrics,
) -> Result<(), WriteError> {
    let mut stream = quic.open_uni().await?;
    // Lower kinds are more urgent, and QUIC sends higher priorities first. Only a closed stream refuses.
    let _open = stream.set_priority(-i32::from(kind as u8));
    stream.write_all(&[kind as u8]).await?;
    let mut frames = Vec::with_capacity(WRITE_BATCH_FRAMES);
    while queue.recv_many(&mut frames, WRITE_BATCH_FRAMES).await > 0 {
        metrics.sent(kind, frames.len(), frames.iter().map(Bytes::len).sum());
        stream.write_all_chunks(&mut frames).await?;
        frames.clear();
    }
    Ok(())
}

/// Why a stream is no longer read.
pub(super) enum ReadFailure {
    /// The connection or the stream has ended.
    Ended,
    /// The peer does not keep to the protocol.
    Malformed(FrameError),
}

impl From<ReadError> for ReadFailure {
    fn from(_: ReadError) -> Self {
        Self::Ended
    }
}

impl From<FrameError> for ReadFailure {
    fn from(error: FrameError) -> Self {
        Self::Malformed(error)
    }
}

/// Reads a stream to its end and hands over its messages one by one.
pub(super) async fn read<M: for<'b> Decode<'b, ()>>(
    stream: &mut RecvStream,
    kind: StreamKind,
    metrics: &Metrics,
    mut take: impl FnMut(M),
) -> Result<(), ReadFailure> {
    let mut decoder = FrameDecoder::default();
    while let Some(chunk) = stream.read_chunk(READ_CHUNK_BYTES, true).await? {
        decoder.feed(&chunk.bytes);
        let mut frames = 0;
        while let Some(message) = decoder.next_message()? {
            take(message);
            frames += 1;
        }
        metrics.received(kind, frames, chunk.bytes.len());
    }
    Ok(())
}
