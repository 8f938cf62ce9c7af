//! One connection to one peer: what is sent on it, and what becomes of what arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fipple_protocol::NodeId;
use fipple_protocol::peer::{
    CallEvent, ControlMessage, Hello, ProbeMessage, Refusal, Request, Response, StreamKind, write_frame,
};
use minicbor::Encode;
use minicbor::bytes::{ByteSlice, ByteVec};
use quinn::{RecvStream, VarInt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::inbox::{Inbox, Signal};
use super::metrics::Metrics;
use super::requests::Requests;
use super::streams::{Outgoing, ReadFailure, read};
use crate::limits::{
    CONTROL_ANSWER_MAX_BYTES, EVENT_STREAMS, GOSSIP_MESSAGE_MAX_BYTES, GOSSIP_STREAM_TIMEOUT,
    REQUESTS_IN_FLIGHT,
};

/// The first byte of a stream that carries one gossip message and ends: one that fits no datagram.
const GOSSIP_STREAM: u8 = 0x10;

/// The first byte of a datagram with a gossip message; [`ProbeMessage::TAG`] is the other one.
const GOSSIP_DATAGRAM: u8 = 1;

/// Why a connection is closed, for the peer to read.
#[derive(Clone, Copy)]
pub(super) enum Close {
    /// The node stops.
    Shutdown,
    /// There is another connection between the two.
    Duplicate,
    /// The peer broke the protocol.
    Malformed,
    /// The peer is not one to talk to.
    Refused,
    /// The peer was found to be down.
    Down,
}

impl Close {
    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Shutdown => 1,
            Self::Duplicate => 2,
            Self::Malformed => 3,
            Self::Refused => 4,
            Self::Down => 5,
        })
    }
}

/// A connection to a peer whose identity TLS has proved.
pub(super) struct Connection {
    pub(super) peer: NodeId,
    /// Where the peer was when the connection was made.
    pub(super) address: SocketAddr,
    /// Whether this node dialled.
    pub(super) dialled: bool,
    pub(super) established: Instant,
    quic: quinn::Connection,
    outgoing: Outgoing,
    requests: Requests,
    in_flight: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Connection {
    pub(super) fn new(quic: quinn::Connection, peer: NodeId, dialled: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            peer,
            address: quic.remote_address(),
            dialled,
            established: Instant::now(),
            outgoing: Outgoing::new(quic.clone(), metrics.clone()),
            quic,
            requests: Requests::new(peer, metrics.clone()),
            in_flight: Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT)),
            metrics,
        }
    }

    /// Whether it still stands, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.quic.close_reason().is_none()
    }

    /// Whether this is that very connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.quic.stable_id() == other.quic.stable_id()
    }

    /// Ends it. What waits for answers is told at once.
    pub(super) fn close(&self, why: Close, reason: &str) {
        self.quic.close(why.code(), reason.as_bytes());
        self.requests.fail();
    }

    // --- Sending ---

    /// Introduces this node.
    pub(super) fn greet(&self, address: Option<SocketAddr>) -> Result<(), Refusal> {
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            observed: Some(self.address.to_string()),
        };
        self.outgoing.try_send(StreamKind::Control, 0, frame(&ControlMessage::Hello(hello))?)
    }

    /// Asks the peer and waits for its answer.
    pub(super) async fn request(&self, request: Request, deadline: Duration) -> Response {
        let pending = match self.requests.begin() {
            Ok(pending) => pending,
            Err(refusal) => return Response::Refused(refusal),
        };
        let message = ControlMessage::Request { id: pending.id, request };
        let sent = frame(&message).and_then(|frame| self.outgoing.try_send(StreamKind::Control, 0, frame));
        if let Err(refusal) = sent {
            return Response::Refused(refusal);
        }
        pending.answer(deadline).await
    }

    /// Queues a call's event. The events of one call arrive in their order.
    pub(super) fn send_event(&self, event: &CallEvent) -> Result<(), Refusal> {
        // Any spread will do: ids of calls are random in most of their digits.
        let sum = event.call.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        self.outgoing.try_send(StreamKind::CallEvents, sum % EVENT_STREAMS, frame(event)?)
    }

    /// Queues a message of the documents.
    pub(super) fn send_document(&self, message: &[u8]) -> Result<(), Refusal> {
        let message: &ByteSlice = message.into();
        self.outgoing.try_send(StreamKind::Documents, 0, frame(&message)?)
    }

    /// Sends a probe, which may be lost.
    pub(super) fn send_probe(&self, message: &ProbeMessage) {
        let mut datagram = vec![ProbeMessage::TAG];
        // Writing to a Vec cannot fail.
        let _infallible = minicbor::encode(message, &mut datagram);
        let _may_be_lost = self.quic.send_datagram(datagram.into());
    }

    /// Sends a gossip message, which may be lost: as a datagram if it fits, else on a stream of its own.
    pub(super) fn send_gossip(&self, message: Bytes) {
        if self.quic.max_datagram_size().is_some_and(|max_bytes| message.len() < max_bytes) {
            let _may_be_lost = self.quic.send_datagram([&[GOSSIP_DATAGRAM], &message[..]].concat().into());
            return;
        }
        let quic = self.quic.clone();
        tokio::spawn(timeout(GOSSIP_STREAM_TIMEOUT, async move {
            let mut stream = quic.open_uni().await?;
            stream.write_all(&[GOSSIP_STREAM]).await?;
            stream.write_all(&message).await?;
            let _ended_already = stream.finish();
            Ok::<_, quinn::WriteError>(())
        }));
    }

    // --- Receiving ---

    /// Reads all that arrives until the connection ends, and says why it did.
    pub(super) async fn run(self: &Arc<Self>, inbox: &Arc<Inbox>) -> quinn::ConnectionError {
        let _watched = CloseOnPanic(self);
        let error = loop {
            tokio::select! {
                biased;
                stream = self.quic.accept_uni() => match stream {
                    // QUIC bounds how many there are at a time.
                    Ok(stream) => drop(tokio::spawn(self.clone().read_stream(stream, inbox.clone()))),
                    Err(error) => break error,
                },
                datagram = self.quic.read_datagram() => match datagram {
                    Ok(datagram) => self.take_datagram(&datagram, inbox),
                    Err(error) => break error,
                },
            }
        };
        self.requests.fail();
        error
    }

    fn take_datagram(&self, datagram: &[u8], inbox: &Inbox) {
        match datagram.split_first() {
            Some((&GOSSIP_DATAGRAM, message)) => self.take_gossip(message, inbox),
            Some((&ProbeMessage::TAG, message)) => match minicbor::decode(message) {
                Ok(message) => inbox.signal(Signal::Probe { from: self.peer, message }),
                Err(error) => self.malformed(&error.to_string()),
            },
            // One of a newer version.
            _ => {}
        }
    }

    fn take_gossip(&self, message: &[u8], inbox: &Inbox) {
        inbox.signal(Signal::Heard(self.peer));
        if let Err(reason) = inbox.gossip(self.address, message) {
            self.malformed(&reason);
        }
    }

    async fn read_stream(self: Arc<Self>, mut stream: RecvStream, inbox: Arc<Inbox>) {
        let _watched = CloseOnPanic(&self);
        let mut kind = [0];
        if stream.read_exact(&mut kind).await.is_err() {
            return;
        }
        let read = match (kind[0], StreamKind::from_byte(kind[0])) {
            (GOSSIP_STREAM, _) => return self.read_gossip(stream, &inbox).await,
            (_, Some(kind)) => self.read_frames(kind, &mut stream, &inbox).await,
            // One of a newer version: the stream is given up, the connection stays.
            (_, None) => return,
        };
        if let Err(ReadFailure::Malformed(error)) = read {
            self.malformed(&error.to_string());
        }
    }

    async fn read_gossip(&self, mut stream: RecvStream, inbox: &Inbox) {
        let whole = timeout(GOSSIP_STREAM_TIMEOUT, stream.read_to_end(GOSSIP_MESSAGE_MAX_BYTES)).await;
        if let Ok(Ok(message)) = whole {
            self.take_gossip(&message, inbox);
        }
    }

    async fn read_frames(
        self: &Arc<Self>,
        kind: StreamKind,
        stream: &mut RecvStream,
        inbox: &Arc<Inbox>,
    ) -> Result<(), ReadFailure> {
        let metrics = &self.metrics;
        match kind {
            StreamKind::Control | StreamKind::Bulk => {
                read(stream, kind, metrics, |message| self.take_control(message, inbox)).await
            }
            StreamKind::CallEvents => {
                read(stream, kind, metrics, |event| inbox.handler.event(self.peer, event)).await
            }
            StreamKind::Documents => {
                read(stream, kind, metrics, |message: ByteVec| inbox.handler.document(self.peer, &message))
                    .await
            }
        }
    }

    fn take_control(self: &Arc<Self>, message: ControlMessage, inbox: &Arc<Inbox>) {
        match message {
            ControlMessage::Hello(hello) => inbox.signal(Signal::Greeted { peer: self.peer, hello }),
            ControlMessage::Response { id, response } => self.requests.complete(id, response),
            ControlMessage::Request { id, request } => match self.in_flight.clone().try_acquire_owned() {
                Ok(permit) => {
                    let (connection, inbox) = (self.clone(), inbox.clone());
                    tokio::spawn(async move {
                        let response = inbox.handler.request(connection.peer, request).await;
                        connection.respond(id, response).await;
                        drop(permit);
                    });
                }
                Err(_) => self.refuse(id),
            },
        }
    }

    /// Answers a request; it stays in flight until there is room for the answer.
    async fn respond(&self, id: u32, response: Response) {
        let answer = frame(&ControlMessage::Response { id, response })
            .or_else(|refusal| frame(&ControlMessage::Response { id, response: Response::Refused(refusal) }));
        let Ok(answer) = answer else { return };
        let large = answer.len() > CONTROL_ANSWER_MAX_BYTES;
        self.outgoing.send(if large { StreamKind::Bulk } else { StreamKind::Control }, 0, answer).await;
    }

    /// Sends a peer away that asks too much at once. If even that finds no room, its deadline tells it.
    fn refuse(&self, id: u32) {
        let refusal =
            Refusal::Overloaded { detail: format!("{REQUESTS_IN_FLIGHT} requests are being carried out") };
        let answer = frame(&ControlMessage::Response { id, response: Response::Refused(refusal) });
        let _no_room = answer.and_then(|answer| self.outgoing.try_send(StreamKind::Control, 0, answer));
    }

    fn malformed(&self, reason: &str) {
        tracing::warn!(peer = %self.peer, reason, "a peer broke the protocol and was disconnected");
        self.metrics.malformed.inc();
        self.close(Close::Malformed, reason);
    }
}

/// Ends a connection whose reader panics. Otherwise the peer would go on sending to nobody; so it dials anew.
struct CloseOnPanic<'a>(&'a Connection);

impl Drop for CloseOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(peer = %self.0.peer, "what a peer sent could not be dealt with: it is disconnected");
            self.0.close(Close::Malformed, "a message could not be dealt with");
        }
    }
}

/// A message as a frame. One that is too large comes back as a refusal.
fn frame<M: Encode<()>>(message: &M) -> Result<Bytes, Refusal> {
    let mut bytes = Vec::new();
    match write_frame(message, &mut bytes) {
        Ok(()) => Ok(bytes.into()),
        Err(error) => Err(Refusal::Overloaded { detail: error.to_string() }),
    }
}
