//! The segments of simulated TCP: sent in their order, sent again where the link loses them, and delivered.

use std::io;

use fipple_emulator::Time;
use xxhash_rust::xxh3::xxh3_64;

use super::{ConnectionEnd, ConnectionNumber, End, Segment, Side};
use crate::clock;
use crate::limits::{TCP_BACKLOG_CONNECTIONS, TCP_RETRANSMIT_MAX, TCP_RETRANSMIT_MIN, TCP_RETRIES_MAX};
use crate::network::State;
use crate::network::packet::{Arrived, Payload};

impl State {
    /// Sends a segment behind all others of its direction.
    pub(super) fn transmit(&mut self, end: ConnectionEnd, segment: Segment) {
        let is_reset = matches!(segment, Segment::Reset);
        let speaks = |own: &&mut End| own.failure.is_none() || is_reset;
        let Some(own) = self.tcp.end(end).filter(speaks) else { return };
        if !own.unsent.is_empty() {
            own.unsent.push_back(segment);
        } else if let Some(segment) = self.try_send(end, segment) {
            self.retry_later(end, segment);
        }
    }

    /// Sends a segment; gives it back if the link has lost it.
    fn try_send(&mut self, end: ConnectionEnd, segment: Segment) -> Option<Segment> {
        let ends = self.tcp.connections.get(&end.connection)?;
        let (from, to) = (&ends[end.side as usize], &ends[end.side.other() as usize]);
        let (source, target) = (from.host, to.host);
        let now = clock::now();
        let line = describe(&segment);
        self.trace.record(now, format_args!("tcp {} > {} {line}", from.address, to.address));
        let Some(latency) = self.links.pass(source, target).arrives else { return Some(segment) };
        let own = self.tcp.end(end)?;
        let at = own.last_arrival.max(now + latency);
        own.last_arrival = at;
        let peer = end.peer();
        self.post(target, at, Payload::Segment { connection: peer.connection, side: peer.side, segment });
        None
    }

    /// Keeps a segment that was lost, and those behind it, until it is time to send it again.
    fn retry_later(&mut self, end: ConnectionEnd, segment: Segment) {
        let now = clock::now();
        let Some(own) = self.tcp.end(end) else { return };
        own.unsent.push_front(segment);
        own.attempts += 1;
        if own.attempts > TCP_RETRIES_MAX {
            own.fail(io::ErrorKind::TimedOut);
            return;
        }
        let pause = TCP_RETRANSMIT_MIN * 2_u32.saturating_pow(own.attempts - 1);
        self.tcp.retries.insert((now + pause.min(TCP_RETRANSMIT_MAX), end));
    }

    pub(in crate::network) fn retransmit(&mut self, before: Time) {
        while let Some(&(at, end)) = self.tcp.retries.first().filter(|(at, _)| *at < before) {
            self.tcp.retries.remove(&(at, end));
            while let Some(segment) = self.tcp.end(end).and_then(|own| own.unsent.pop_front()) {
                if let Some(lost) = self.try_send(end, segment) {
                    self.retry_later(end, lost);
                    break;
                }
                if let Some(own) = self.tcp.end(end) {
                    own.attempts = 0;
                }
            }
        }
        self.tcp.drop_finished();
    }

    /// A segment has come to this end.
    pub(in crate::network) fn deliver_segment(
        &mut self,
        at: Time,
        connection: ConnectionNumber,
        side: Side,
        segment: Segment,
    ) -> Arrived {
        let end = ConnectionEnd { connection, side };
        let Some(peer) = self.tcp.end(end.peer()).map(|peer| peer.address) else { return Arrived::Nothing };
        let Some(own) = self.tcp.end(end) else { return Arrived::Nothing };
        let line = describe(&segment);
        let address = own.address;
        self.trace.record(at, format_args!("tcp {peer} >> {address} {line}"));
        match segment {
            Segment::Connect => self.deliver_connect(end),
            Segment::Reset => self.deliver_reset(end),
            segment => self.deliver_other(end, segment),
        }
    }

    fn deliver_connect(&mut self, end: ConnectionEnd) -> Arrived {
        let Some(own) = self.tcp.end(end) else { return Arrived::Nothing };
        let (host, address) = (own.host, own.address);
        let listening = self.hosts[host.0].listening.get_mut(&address);
        let Some(listening) = listening.filter(|port| port.backlog.len() < TCP_BACKLOG_CONNECTIONS) else {
            return self.refuse(end);
        };
        listening.backlog.push_back(end);
        if let Some(waker) = listening.acceptor.take() {
            waker.wake();
        }
        if let Some(own) = self.tcp.end(end) {
            own.is_known = true;
            own.established = true;
        }
        self.transmit(end, Segment::Accept);
        Arrived::Connected(end)
    }

    fn deliver_reset(&mut self, end: ConnectionEnd) -> Arrived {
        let Some(own) = self.tcp.end(end) else { return Arrived::Nothing };
        own.fail(if own.established {
            io::ErrorKind::ConnectionReset
        } else {
            io::ErrorKind::ConnectionRefused
        });
        Arrived::Changed(end)
    }

    fn deliver_other(&mut self, end: ConnectionEnd, segment: Segment) -> Arrived {
        let Some(own) = self.tcp.end(end) else { return Arrived::Nothing };
        if own.gone {
            // Whoever is told of bytes that it can give to nobody says so; the end of a peer needs no answer.
            return if matches!(segment, Segment::Data(_)) { self.refuse(end) } else { Arrived::Nothing };
        }
        match segment {
            Segment::Accept => own.established = true,
            Segment::Data(written) => own.inbound.push_back(written),
            Segment::Window(bytes) => own.unread_bytes = own.unread_bytes.saturating_sub(bytes),
            Segment::End => own.peer_ended = true,
            Segment::Connect | Segment::Reset => {}
        }
        own.wake();
        Arrived::Changed(end)
    }

    /// Answers that there is no such connection here.
    fn refuse(&mut self, end: ConnectionEnd) -> Arrived {
        self.transmit(end, Segment::Reset);
        if let Some(own) = self.tcp.end(end) {
            own.gone = true;
        }
        Arrived::Nothing
    }
}

fn describe(segment: &Segment) -> String {
    match segment {
        Segment::Connect => "connect".into(),
        Segment::Accept => "accept".into(),
        Segment::Data(written) => format!("{} {:016x}", written.bytes.len(), xxh3_64(&written.bytes)),
        Segment::Window(bytes) => format!("window {bytes}"),
        Segment::End => "end".into(),
        Segment::Reset => "reset".into(),
    }
}
