//! What the members say about a switch: who may hold its gate, and who is to take it.

use std::sync::Arc;
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::gate::{Cluster, Intent, Standing};
use fipple_protocol::ownership::{self, Candidate};
use tokio::time::Instant;

use crate::calls::attached::AttachedSwitch;
use crate::cluster::{MemberState, Members, SwitchFact, SwitchLink};
use crate::limits::UNKNOWN_NODE_GRACE_MS;

/// The members at one moment, as far as they concern one switch.
pub(super) struct SwitchMembers<'a> {
    pub(super) switch: &'a AttachedSwitch,
    pub(super) members: Arc<Members>,
    pub(super) intent: Intent,
    /// When this node was started.
    pub(super) started: Instant,
}

impl SwitchMembers<'_> {
    fn fact<'a>(&self, switches: &'a [SwitchFact]) -> Option<&'a SwitchFact> {
        switches.iter().find(|fact| fact.name == self.switch.config.name)
    }

    fn reaches(&self, switches: &[SwitchFact]) -> bool {
        self.fact(switches).is_some_and(|fact| fact.link != SwitchLink::Unreachable)
    }

    /// Nodes that can reach the switch and are to stay, but for this one.
    fn others(&self) -> impl Iterator<Item = Candidate> {
        let local = self.switch.peers.local();
        let others = self.members.all.values().filter(move |member| member.id != local);
        let alive = others.filter(|member| self.members.is_alive(member.id));
        alive.filter(|member| self.reaches(&member.switches)).map(|member| Candidate {
            node: member.id,
            weight: member.weight,
            in_zone: member.zone == self.switch.config.zone,
        })
    }
}

impl Cluster for SwitchMembers<'_> {
    fn intent(&self) -> Intent {
        self.intent
    }

    fn standing(&self, node: NodeId) -> Standing {
        match self.members.all.get(&node) {
            Some(member) if member.state == MemberState::Down => Standing::Dead,
            Some(member) if self.reaches(&member.switches) => Standing::Alive,
            Some(_) => Standing::OutOfReach,
            // It may not have been met yet.
            None if self.started.elapsed() <= Duration::from_millis(UNKNOWN_NODE_GRACE_MS) => Standing::Alive,
            None => Standing::Unknown,
        }
    }

    fn goes_first(&self) -> bool {
        let local = self.switch.peers.local();
        let member = self.members.all.get(&local);
        let this = Candidate {
            node: local,
            weight: member.map_or(1, |member| member.weight),
            in_zone: member.is_some_and(|member| member.zone == self.switch.config.zone),
        };
        let name = self.switch.config.name.as_bytes();
        ownership::owner(name, self.others().chain([this])) == Some(local)
    }

    fn has_successor(&self) -> bool {
        self.others().next().is_some()
    }
}
