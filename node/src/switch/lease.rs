//! No call is trapped by a dead control plane: every node has a lease in the switch, and its calls go to the operator's
//! fallback when nobody renews it.
//!
//! The attached node renews the leases of all nodes that live, and so may control calls, in one command. The switch itself
//! looks whether a lease has expired, by its own clock (`deploy/freeswitch/scripts/fipple_watchdog.lua`): it raises the
//! epoch of every call of that node that is neither bridged nor dialling, and transfers it. The lease of a node that is
//! dead is left to expire; its calls have another owner long before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fipple_protocol::NodeId;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::attachment::Attachment;
use super::{Fallback, Fence};
use crate::calls::attached::AttachedSwitch;
use crate::cluster::{MemberState, Members};
use crate::limits::{
    LEASE_LEFT_SECONDS, LEASE_NODES_PER_COMMAND, LEASE_RENEWAL_SECONDS, UNKNOWN_NODE_GRACE_MS,
};

/// The leases of one switch, for as long as this node is attached to it.
pub(super) struct Leases {
    switch: Arc<AttachedSwitch>,
    attachment: Arc<Attachment>,
    /// When this node was started.
    started: Instant,
}

impl Leases {
    /// Renews the leases for the first time: before this node appoints owners, so that no call is given to a node whose
    /// lease ran out long ago.
    pub(super) async fn begin(
        switch: Arc<AttachedSwitch>,
        attachment: Arc<Attachment>,
        started: Instant,
    ) -> Self {
        let leases = Self { switch, attachment, started };
        if leases.are_kept() {
            leases.renew(&leases.living(), leases.switch.config.fallback.lease_seconds()).await;
        } else {
            tracing::warn!(
                switch = leases.switch.config.name,
                "a call that a node has claimed waits for ever if all nodes die: leases need the scripts of fence \
                 \"strict\" (see deploy/freeswitch). Only the dialplan's own timer protects calls, those that no node has \
                 claimed"
            );
        }
        leases
    }

    /// Renews the leases for as long as it is polled, and at once when another node may own calls.
    pub(super) async fn keep(&self) {
        if !self.are_kept() {
            return std::future::pending().await;
        }
        let seconds = self.switch.config.fallback.lease_seconds();
        let mut members = self.switch.peers.members();
        let mut renewed = BTreeSet::new();
        let mut due = interval(Duration::from_secs(LEASE_RENEWAL_SECONDS));
        // A node that stood still has nothing to make up for.
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_due = tokio::select! {
                biased;
                Ok(()) = members.changed() => false,
                _ = due.tick() => true,
            };
            members.mark_unchanged();
            let living = self.living();
            if is_due || !living.is_subset(&renewed) {
                self.renew(&living, seconds).await;
                renewed = living;
            }
        }
    }

    /// Lets the leases run out soon, but not before this node can have been started again: nobody else is there to renew
    /// them.
    pub(super) async fn leave(&self) {
        if self.are_kept() {
            self.renew(&self.living(), LEASE_LEFT_SECONDS).await;
        }
    }

    fn are_kept(&self) -> bool {
        self.attachment.fence() == Fence::Strict
    }

    async fn renew(&self, nodes: &BTreeSet<NodeId>, seconds: u64) {
        let nodes: Vec<_> = nodes.iter().copied().collect();
        for nodes in nodes.chunks(LEASE_NODES_PER_COMMAND) {
            let line = renewal(&self.switch.config.fallback, seconds, nodes);
            let failed = match self.attachment.connection().api(&line).await {
                Ok(reply) if reply.starts_with("+OK") => continue,
                Ok(reply) => reply.trim().to_owned(),
                Err(refusal) => refusal.to_string(),
            };
            self.switch.metrics.lease_renewals_failed.inc();
            tracing::warn!(switch = self.switch.config.name, "the leases were not renewed: {failed}");
        }
    }

    fn living(&self) -> BTreeSet<NodeId> {
        let members = self.switch.peers.members().borrow().clone();
        let unknown_may_live = self.started.elapsed() < Duration::from_millis(UNKNOWN_NODE_GRACE_MS);
        let owners = if unknown_may_live { self.switch.table().owners() } else { BTreeSet::new() };
        living(&members, self.switch.peers.local(), owners)
    }
}

/// The nodes that may control calls: this one, the members that are not down, and of the owners of calls those that nobody
/// has met yet.
fn living(members: &Members, local: NodeId, owners: BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let up = members.all.values().filter(|member| member.state != MemberState::Down);
    let unknown = owners.into_iter().filter(|owner| !members.all.contains_key(owner));
    up.map(|member| member.id).chain(unknown).chain([local]).collect()
}

fn renewal(fallback: &Fallback, seconds: u64, nodes: &[NodeId]) -> String {
    let Fallback { extension, dialplan, context, .. } = fallback;
    let mut line = format!("lua fipple_watchdog.lua renew {seconds} {extension} {dialplan} {context}");
    for node in nodes {
        line.push_str(&format!(" {node}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Member;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    #[test]
    fn the_dead_are_left_out_and_those_that_leave_or_were_not_met_yet_are_not() {
        let member = |number: u8, state| {
            let id = id(number);
            let member = Member {
                id,
                name: String::new(),
                state,
                address: None,
                api_address: None,
                zone: String::new(),
                weight: 1,
                version: String::new(),
                started_at_ms: 5,
                switches: Vec::new(),
            };
            (id, member)
        };
        let all =
            [member(1, MemberState::Alive), member(2, MemberState::Down), member(3, MemberState::Leaving)];
        let members = Members { all: all.into() };
        let owners = [id(2), id(9)].into();
        assert_eq!(living(&members, id(7), owners), [id(1), id(3), id(7), id(9)].into());
        assert_eq!(living(&Members::default(), id(7), BTreeSet::new()), [id(7)].into());
    }

    #[test]
    fn one_command_names_all() {
        let line = renewal(&Fallback::default(), 31, &[id(1), id(2)]);
        let expected =
            format!("lua fipple_watchdog.lua renew 31 fipple_fallback XML default {} {}", id(1), id(2));
        assert_eq!(line, expected);
    }
}
