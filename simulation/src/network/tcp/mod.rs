//! Simulated TCP: ordered, with a window, resent where the link loses it, and reset where nobody knows it.

mod segments;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use bytes::{Buf, Bytes};
use fipple_emulator::Time;

use super::{HostId, Rewrite, State};
use crate::clock;
use crate::limits::{TCP_WINDOW_BYTES, TCP_WINDOW_UPDATE_BYTES};

/// A connection, which both ends call by the same number.
pub(super) type ConnectionNumber = u64;

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Server,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One end of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionEnd {
    pub(super) connection: ConnectionNumber,
    pub(super) side: Side,
}

impl ConnectionEnd {
    pub(super) fn peer(self) -> Self {
        Self { connection: self.connection, side: self.side.other() }
    }
}

/// What one end says to the other.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    Connect,
    Accept,
    Data(Written),
    /// So many bytes have been read, and as many more may be sent.
    Window(usize),
    End,
    Reset,
}

/// Bytes as a program wrote them.
#[derive(Debug, Clone)]
pub(super) struct Written {
    bytes: Bytes,
    /// When it did.
    at: Time,
}

/// All connections of a network.
#[derive(Default)]
pub(super) struct Tcp {
    connections: BTreeMap<ConnectionNumber, [End; 2]>,
    last: ConnectionNumber,
    /// Ends whose oldest unsent segment is tried again, and when.
    retries: BTreeSet<(Time, ConnectionEnd)>,
}

/// A port that is listened on.
#[derive(Default)]
pub(super) struct Listening {
    pub(super) backlog: VecDeque<ConnectionEnd>,
    pub(super) acceptor: Option<Waker>,
}

/// What one machine knows of a connection.
pub(super) struct End {
    host: HostId,
    pub(super) address: SocketAddr,
    /// The machine has heard of the connection: the accepting one has not before it is connected to.
    is_known: bool,
    established: bool,
    /// The program has let go of it, or the machine was switched off.
    gone: bool,
    /// Why it is over, if it did not end in peace.
    failure: Option<io::ErrorKind>,
    inbound: VecDeque<Written>,
    /// The peer has said all, behind `inbound`.
    peer_ended: bool,
    ended: bool,
    /// Bytes read and not yet reported.
    read_bytes: usize,
    /// Bytes sent that the peer has not reported as read.
    unread_bytes: usize,
    /// Segments that wait behind one that has to be sent again.
    unsent: VecDeque<Segment>,
    attempts: u32,
    last_arrival: Time,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl End {
    fn new(host: HostId, address: SocketAddr, is_known: bool) -> Self {
        Self {
            host,
            address,
            is_known,
            established: false,
            gone: false,
            failure: None,
            inbound: VecDeque::new(),
            peer_ended: false,
            ended: false,
            read_bytes: 0,
            unread_bytes: 0,
            unsent: VecDeque::new(),
            attempts: 0,
            last_arrival: Time(0),
            reader: None,
            writer: None,
        }
    }

    fn fail(&mut self, failure: io::ErrorKind) {
        self.failure.get_or_insert(failure);
        self.unsent.clear();
        self.wake();
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// What there is to read.
pub(crate) enum Readable {
    /// Nothing yet.
    Nothing,
    /// These bytes.
    Bytes(Bytes),
    /// The peer has said all.
    End,
    /// The connection is broken.
    Failed(io::ErrorKind),
}

impl Tcp {
    pub(super) fn end(&mut self, end: ConnectionEnd) -> Option<&mut End> {
        self.connections.get_mut(&end.connection).map(|ends| &mut ends[end.side as usize])
    }

    /// Forgets every end on a machine, without a word to the other ends.
    pub(super) fn forget_host(&mut self, host: HostId) {
        for end in self.connections.values_mut().flatten().filter(|end| end.host == host && end.is_known) {
            end.gone = true;
            end.unsent.clear();
            end.inbound.clear();
        }
        self.drop_finished();
    }

    fn drop_finished(&mut self) {
        let finished = |ends: &[End; 2]| ends.iter().all(|end| end.gone && end.unsent.is_empty());
        self.connections.retain(|_, ends| !finished(ends));
    }
}

impl State {
    /// Begins to connect; the result comes to the end that is returned.
    pub(crate) fn connect(&mut self, host: HostId, to: SocketAddr) -> io::Result<ConnectionEnd> {
        let wanted = SocketAddr::new(self.hosts[host.0].address, 0);
        let from = self.free_address(host, wanted, |ports, address| ports.listening.contains_key(address))?;
        let target = self.host_of(to.ip()).ok_or(io::ErrorKind::HostUnreachable)?;
        self.tcp.last += 1;
        let connection = self.tcp.last;
        self.tcp.connections.insert(connection, [End::new(host, from, true), End::new(target, to, false)]);
        let end = ConnectionEnd { connection, side: Side::Client };
        self.transmit(end, Segment::Connect);
        Ok(end)
    }

    /// Takes bytes for sending, as many as there is room for; none where the writer has to wait.
    pub(crate) fn write(&mut self, end: ConnectionEnd, bytes: &[u8]) -> Result<usize, io::ErrorKind> {
        let rewrite = self.rewrite_of(end);
        let own = self.tcp.end(end).ok_or(io::ErrorKind::NotConnected)?;
        if let Some(failure) = own.failure {
            return Err(failure);
        }
        if own.ended {
            return Err(io::ErrorKind::BrokenPipe);
        }
        let taken = bytes.len().min(TCP_WINDOW_BYTES.saturating_sub(own.unread_bytes));
        own.unread_bytes += taken;
        if taken > 0 {
            let rewritten = rewrite.and_then(|rewrite| rewrite(&bytes[..taken]));
            let data = rewritten.map_or_else(|| Bytes::copy_from_slice(&bytes[..taken]), Bytes::from);
            self.transmit(end, Segment::Data(Written { bytes: data, at: clock::now() }));
        }
        Ok(taken)
    }

    fn rewrite_of(&self, end: ConnectionEnd) -> Option<Rewrite> {
        if self.rewriting.is_empty() {
            return None;
        }
        let ends = self.tcp.connections.get(&end.connection)?;
        let hosts = (ends[end.side as usize].host, ends[end.side.other() as usize].host);
        self.rewriting.get(&hosts).copied()
    }

    /// When the other program wrote what is to be read next; `None` where there is nothing.
    pub(crate) fn written_at(&mut self, end: ConnectionEnd) -> Option<Time> {
        self.tcp.end(end)?.inbound.front().map(|written| written.at)
    }

    /// Takes up to `limit` bytes that have come.
    pub(crate) fn read(&mut self, end: ConnectionEnd, limit: usize) -> Readable {
        let Some(own) = self.tcp.end(end) else { return Readable::Failed(io::ErrorKind::NotConnected) };
        let Some(first) = own.inbound.front_mut() else {
            return match own.failure {
                Some(failure) => Readable::Failed(failure),
                None if own.peer_ended => Readable::End,
                None => Readable::Nothing,
            };
        };
        let bytes = first.bytes.split_to(first.bytes.len().min(limit));
        if !first.bytes.has_remaining() {
            own.inbound.pop_front();
        }
        own.read_bytes += bytes.len();
        if own.read_bytes >= TCP_WINDOW_UPDATE_BYTES {
            let read_bytes = std::mem::take(&mut own.read_bytes);
            self.transmit(end, Segment::Window(read_bytes));
        }
        Readable::Bytes(bytes)
    }

    /// Says that nothing more will be written.
    pub(crate) fn end_writing(&mut self, end: ConnectionEnd) {
        if let Some(own) = self.tcp.end(end).filter(|own| !own.ended && !own.gone) {
            own.ended = true;
            self.transmit(end, Segment::End);
        }
    }

    /// The program lets go of its end, or has been killed: what it wrote is still sent. If something is there that it has
    /// not read, the other end is told by a reset.
    pub(crate) fn close(&mut self, end: ConnectionEnd) {
        self.end_writing(end);
        let unread = |own: &&mut End| !own.gone && !own.inbound.is_empty();
        if self.tcp.end(end).filter(unread).is_some() {
            self.transmit(end, Segment::Reset);
        }
        if let Some(own) = self.tcp.end(end) {
            own.gone = true;
            own.inbound.clear();
            self.tcp.drop_finished();
        }
    }

    /// Listens on an address. There is nothing to wake: the engine sees who connects.
    pub(crate) fn listen(&mut self, host: HostId, address: SocketAddr) {
        self.hosts[host.0].listening.insert(address, Listening::default());
    }

    /// Takes the connection that has waited longest.
    pub(crate) fn accept(&mut self, host: HostId, address: SocketAddr) -> Option<ConnectionEnd> {
        self.hosts[host.0].listening.get_mut(&address)?.backlog.pop_front()
    }

    /// Refuses whoever connects from now on, and those who wait.
    pub(crate) fn stop_listening(&mut self, host: HostId, address: SocketAddr) {
        if let Some(listening) = self.hosts[host.0].listening.remove(&address) {
            listening.backlog.into_iter().for_each(|end| self.close(end));
        }
    }

    /// Whether the other machine has answered.
    pub(crate) fn is_established(&mut self, end: ConnectionEnd) -> Result<bool, io::ErrorKind> {
        let own = self.tcp.end(end).ok_or(io::ErrorKind::NotConnected)?;
        own.failure.map_or(Ok(own.established), Err)
    }

    /// Where the other end is.
    pub(crate) fn peer_address(&mut self, end: ConnectionEnd) -> Option<SocketAddr> {
        self.tcp.end(end.peer()).map(|peer| peer.address)
    }

    /// Closes every connection of a machine.
    pub(super) fn close_all(&mut self, host: HostId) {
        let mut open = Vec::new();
        for (connection, ends) in &self.tcp.connections {
            for side in [Side::Client, Side::Server] {
                let end = &ends[side as usize];
                if end.host == host && end.is_known && !end.gone {
                    open.push(ConnectionEnd { connection: *connection, side });
                }
            }
        }
        open.into_iter().for_each(|end| self.close(end));
    }

    /// Registers who is to be woken when there is something to read, or room to write.
    pub(super) fn wait(&mut self, end: ConnectionEnd, reader: Option<&Waker>, writer: Option<&Waker>) {
        let Some(own) = self.tcp.end(end) else { return };
        if let Some(waker) = reader {
            own.reader = Some(waker.clone());
        }
        if let Some(waker) = writer {
            own.writer = Some(waker.clone());
        }
    }
}
