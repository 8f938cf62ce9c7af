//! Who owns the calls of an attached switch: the attached node appoints, and writes it into the switch first.

use std::collections::BTreeSet;

use fipple_protocol::NodeId;
use fipple_protocol::ownership;
use tokio::time::Instant;

use super::channel::Claim;
use super::table::Table;
use crate::cluster::{MemberState, Members};
use crate::limits::EPOCH_MAX;

/// Where and under which epoch a call is to be owned from now on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Appointment {
    pub(crate) owner: NodeId,
    pub(crate) epoch: u64,
    /// The switch names this owner and epoch already.
    pub(crate) written: bool,
    /// The owner may stay the same, and the epoch is raised all the same.
    pub(crate) renewed: bool,
}

/// What an appointment is decided by.
pub(crate) struct Electorate<'a> {
    pub(crate) now: Instant,
    pub(crate) members: &'a Members,
    pub(crate) zone: &'a str,
    /// The attached node itself, which owns where nobody else can.
    pub(crate) local: NodeId,
    /// A node that nobody has heard of may still come; later on it counts as dead.
    pub(crate) unknown_may_live: bool,
}

impl Electorate<'_> {
    /// Whether a node of which no more is known than its name may be alive and keep what it owns.
    fn may_keep(&self, node: NodeId) -> bool {
        match self.members.all.get(&node) {
            Some(member) => match member.state {
                MemberState::Alive => true,
                MemberState::Leaving => self.members.candidates(self.zone).next().is_none(),
                MemberState::Down => false,
            },
            None => node == self.local,
        }
    }

    fn is_unknown(&self, node: NodeId) -> bool {
        node != self.local && !self.members.all.contains_key(&node)
    }

    fn started_at_ms(&self, node: NodeId) -> u64 {
        self.members.all.get(&node).map_or(0, |member| member.started_at_ms)
    }

    /// Whether the call has an owner that knows of it and lives.
    fn is_settled(&self, claim: &Claim) -> bool {
        !claim.renew
            && claim.accepted.is_some_and(|(node, started_at_ms)| {
                self.may_keep(node) && self.started_at_ms(node) == started_at_ms
            })
    }
}

impl Table {
    /// Looks through all calls for those whose owner is gone.
    pub(crate) fn find_unowned(&mut self, electorate: &Electorate<'_>) {
        for (uuid, channel) in &self.channels {
            let Some(claim) = &channel.claim else { continue };
            let may_come =
                electorate.unknown_may_live && claim.owner.is_some_and(|owner| electorate.is_unknown(owner));
            let waits = claim.not_before.is_some_and(|not_before| electorate.now < not_before);
            if !(claim.appointing || channel.hung_up || may_come || waits || electorate.is_settled(claim)) {
                self.unowned.insert(uuid.clone());
            }
        }
    }

    /// The nodes that the switch names as owners.
    pub(crate) fn owners(&self) -> BTreeSet<NodeId> {
        self.channels.values().filter_map(|channel| channel.claim.as_ref()?.owner).collect()
    }

    /// The next call that needs an owner, marked as being appointed.
    pub(crate) fn take_unowned(&mut self, now: Instant) -> Option<String> {
        while let Some(uuid) = self.unowned.pop_first() {
            if let Some(claim) = self.channels.get_mut(&uuid).and_then(|channel| channel.claim.as_mut())
                && !claim.appointing
                && claim.not_before.is_none_or(|not_before| not_before <= now)
            {
                claim.appointing = true;
                return Some(uuid);
            }
        }
        None
    }

    /// Decides who is to own a call. An owner that lives keeps it; `refused` have said no. None if the call is
    /// gone or everybody has said no.
    pub(crate) fn decide(
        &self,
        call: &str,
        electorate: &Electorate<'_>,
        refused: &BTreeSet<NodeId>,
    ) -> Option<Appointment> {
        let channel = self.channels.get(call)?;
        let epoch = channel.info.epoch;
        let claim = channel.claim.as_ref()?;
        let restarted = claim
            .accepted
            .is_some_and(|(node, started_at_ms)| electorate.started_at_ms(node) != started_at_ms);
        let next_epoch = next_epoch(epoch);
        if let Some(owner) = claim.owner
            && electorate.may_keep(owner)
            && !restarted
            && !refused.contains(&owner)
        {
            let epoch = if claim.renew { next_epoch } else { epoch };
            return Some(Appointment { owner, epoch, written: !claim.renew, renewed: claim.renew });
        }
        let candidates = electorate.members.candidates(electorate.zone);
        let ranking = ownership::ranking(call.as_bytes(), candidates);
        let next = ranking.into_iter().chain([electorate.local]).find(|node| !refused.contains(node));
        Some(Appointment { owner: next?, epoch: next_epoch, written: false, renewed: claim.renew })
    }

    /// Notes what has been written into the switch. Returns the owner that the call has been taken from.
    pub(crate) fn written(&mut self, call: &str, appointment: &Appointment) -> Option<NodeId> {
        let channel = self.channels.get_mut(call)?;
        let claim = channel.claim.as_mut()?;
        channel.info.epoch = appointment.epoch;
        claim.accepted = None;
        claim.renew = false;
        claim.not_before = None;
        let before = claim.owner.replace(appointment.owner);
        before.filter(|before| *before != appointment.owner)
    }

    /// Notes that an appointment has ended, and which node accepted the call if one did.
    pub(crate) fn appointed(&mut self, call: &str, accepted: Option<NodeId>, electorate: &Electorate<'_>) {
        if let Some(claim) = self.channels.get_mut(call).and_then(|channel| channel.claim.as_mut()) {
            claim.appointing = false;
            claim.accepted = accepted.map(|node| (node, electorate.started_at_ms(node)));
        }
    }
}

/// The epoch after that one. A dialplan may set any; at the highest there is no other to give.
pub(super) fn next_epoch(epoch: u64) -> u64 {
    epoch.saturating_add(1).min(EPOCH_MAX).max(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::channel::Channel;
    use crate::cluster::Member;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    fn members(states: &[MemberState]) -> Members {
        let member = |(number, state): (u8, &MemberState)| {
            let id = id(number);
            let member = Member {
                id,
                name: String::new(),
                state: *state,
                address: None,
                api_address: None,
                zone: "west".to_owned(),
                weight: 1,
                version: String::new(),
                started_at_ms: 5,
                switches: Vec::new(),
            };
            (id, member)
        };
        Members { all: (1..).zip(states).map(member).collect() }
    }

    fn table(owner: Option<NodeId>) -> Table {
        let mut table = Table::new("pbx");
        let dump = super::super::channel::ChannelDump::parse("{}").unwrap();
        let mut channel = Channel::from_dump("pbx", "call", &dump);
        channel.claim = Some(Claim { owner, ..Claim::default() });
        channel.info.epoch = 4;
        table.channels.insert("call".to_owned(), channel);
        table
    }

    fn electorate(members: &Members, unknown_may_live: bool) -> Electorate<'_> {
        Electorate { now: Instant::now(), members, zone: "west", local: id(1), unknown_may_live }
    }

    fn decide(table: &Table, members: &Members, refused: &[u8]) -> Option<(NodeId, u64, bool)> {
        let refused = refused.iter().map(|number| id(*number)).collect();
        let appointment = table.decide("call", &electorate(members, false), &refused)?;
        Some((appointment.owner, appointment.epoch, appointment.written))
    }

    #[test]
    fn an_owner_that_lives_keeps_its_call_and_a_dead_one_loses_it() {
        use MemberState::{Alive, Down, Leaving};
        for number in 1..=3 {
            let table = table(Some(id(number)));
            assert_eq!(decide(&table, &members(&[Alive; 3]), &[]), Some((id(number), 4, true)));
            for gone in [Down, Leaving] {
                let mut states = [Alive; 3];
                states[usize::from(number) - 1] = gone;
                let (owner, epoch, written) = decide(&table, &members(&states), &[]).unwrap();
                assert!(owner != id(number) && epoch == 5 && !written);
            }
        }
    }

    #[test]
    fn who_refuses_is_passed_over_and_the_attached_node_is_the_last_resort() {
        use MemberState::{Alive, Down, Leaving};
        let table = table(None);
        let members = members(&[Leaving, Alive, Alive, Down]);
        let (first, ..) = decide(&table, &members, &[]).unwrap();
        let second = if first == id(2) { 3 } else { 2 };
        assert_eq!(decide(&table, &members, &[first.as_bytes()[0]]), Some((id(second), 5, false)));
        assert_eq!(decide(&table, &members, &[2, 3]), Some((id(1), 5, false)));
        assert_eq!(decide(&table, &members, &[1, 2, 3]), None);
    }

    #[test]
    fn the_highest_epoch_is_not_passed() {
        let mut table = table(None);
        table.channels.get_mut("call").unwrap().info.epoch = u64::MAX;
        let members = members(&[MemberState::Alive]);
        assert_eq!(decide(&table, &members, &[]), Some((id(1), u64::MAX, false)));
    }

    #[test]
    fn a_call_is_settled_while_the_node_that_took_it_runs() {
        use MemberState::{Alive, Down};
        let unowned = |table: &mut Table, members: &Members, unknown_may_live: bool| {
            table.find_unowned(&electorate(members, unknown_may_live));
            let call = table.take_unowned(Instant::now());
            table.appointed("call", None, &electorate(members, unknown_may_live));
            call.is_some()
        };
        let alive = members(&[Alive, Alive]);
        let mut table = table(Some(id(2)));
        assert!(unowned(&mut table, &alive, false), "it has not been told yet");
        table.appointed("call", Some(id(2)), &electorate(&alive, false));
        table.find_unowned(&electorate(&alive, false));
        assert_eq!(table.take_unowned(Instant::now()), None);
        let mut restarted = alive.clone();
        restarted.all.get_mut(&id(2)).unwrap().started_at_ms = 6;
        assert!(unowned(&mut table, &restarted, false), "it has forgotten everything");
        assert!(unowned(&mut table, &members(&[Alive, Down]), false));
        assert!(unowned(&mut table, &members(&[Alive]), false));
        assert!(!unowned(&mut table, &members(&[Alive]), true), "nobody has met it yet");
    }
}
