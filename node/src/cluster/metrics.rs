//! What the cluster's room counts.

use fipple_protocol::peer::StreamKind;
use prometheus_client::registry::Registry;

use super::{MemberState, Members};
use crate::metrics::{Counter, Family, Gauge};

/// Label names and their values.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The cluster's counters and gauges.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Peers with a connection.
    pub peers_connected: Gauge,
    /// Handshakes that ended well, dialled or accepted.
    pub handshakes: Counter,
    /// Dials that failed.
    pub dials_failed: Counter,
    /// Requests to peers that wait for their answers.
    pub requests_in_flight: Gauge,
    /// Call events for which there was no room or no connection.
    pub events_overflowed: Counter,
    /// Facts that were not believed: a wrong signature, or another's.
    pub facts_refused: Counter,
    /// Connections that were closed because the peer broke the protocol.
    pub malformed: Counter,
    members: Family<Labels<1>, Gauge>,
    frames: Family<Labels<2>, Counter>,
    bytes: Family<Labels<2>, Counter>,
}

impl Metrics {
    /// Adds them to what `GET /metrics` answers.
    pub fn register(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| registry.register(name, help, gauge.clone());
        gauge("fipple_peers_connected", "Peers with a connection", &self.peers_connected);
        gauge(
            "fipple_requests_in_flight",
            "Requests to peers without an answer yet",
            &self.requests_in_flight,
        );
        let mut counter =
            |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("fipple_handshakes", "Handshakes with peers that ended well", &self.handshakes);
        counter("fipple_dials_failed", "Dials to peers that failed", &self.dials_failed);
        counter(
            "fipple_events_overflowed",
            "Call events that could not be queued to a peer",
            &self.events_overflowed,
        );
        counter("fipple_facts_refused", "Facts of members that were not believed", &self.facts_refused);
        counter(
            "fipple_peers_malformed",
            "Connections closed over a breach of the protocol",
            &self.malformed,
        );
        registry.register("fipple_members", "Members by state", self.members.clone());
        registry.register("fipple_peer_frames", "Frames to and from peers", self.frames.clone());
        registry.register("fipple_peer_bytes", "Bytes of frames to and from peers", self.bytes.clone());
    }

    pub(super) fn sent(&self, kind: StreamKind, frames: usize, bytes: usize) {
        self.count("sent", kind, frames, bytes);
    }

    pub(super) fn received(&self, kind: StreamKind, frames: usize, bytes: usize) {
        self.count("received", kind, frames, bytes);
    }

    fn count(&self, direction: &'static str, kind: StreamKind, frames: usize, bytes: usize) {
        let stream = match kind {
            StreamKind::Control => "control",
            StreamKind::CallEvents => "call_events",
            StreamKind::Documents => "documents",
            StreamKind::Bulk => "bulk",
        };
        let labels = [("direction", direction), ("stream", stream)];
        self.frames.get_or_create(&labels).inc_by(frames as u64);
        self.bytes.get_or_create(&labels).inc_by(bytes as u64);
    }

    /// Counts the members anew.
    pub(super) fn count_members(&self, members: &Members) {
        let states =
            [(MemberState::Alive, "alive"), (MemberState::Leaving, "leaving"), (MemberState::Down, "down")];
        for (state, name) in states {
            let count = members.all.values().filter(|member| member.state == state).count();
            self.members.get_or_create(&[("state", name)]).set(count as u64);
        }
    }
}
