//! A claimed call that waits on a switch which no node can control goes to the operator's fallback in time; and no call does
//! while its controllers are well, or are replaced as they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fipple::limits::{
    FALLBACK_SECONDS_DEFAULT, GATE_CHECK_MS, LEASE_RENEWAL_SECONDS, SWITCH_REPLY_TIMEOUT_MS,
    TAKEOVER_WORST_MS,
};
use fipple_emulator::journal::Entry;
use fipple_emulator::{Switch, Time};

use super::{Checker, Finding, Sample, Verdict};
use crate::engine::{NodeState, Place, Seen, World};
use crate::flows::FALLBACK_REACHED;
use crate::scenario::Fault;

/// How long a call may wait with nobody who could control it: what an operator is promised, and a second for that it is
/// looked at once a second.
const TRAPPED_AFTER: Duration = Duration::from_secs(FALLBACK_SECONDS_DEFAULT + 1);

/// How long something has to be wrong before a lease may run out: it outlives two takeovers and was renewed an interval
/// before, and a renewal takes its time to arrive.
const EJECTED_AFTER: Duration = Duration::from_millis(2 * TAKEOVER_WORST_MS - LEASE_RENEWAL_SECONDS * 1_000);

/// How long after a fault its effects may last: the pause between two readings of the gate, the longest wait for an answer, and
/// what TCP had not got through, which it sends again as long after a cut as the cut was: 15 s in the swarm.
const TROUBLE_LASTS: Duration = Duration::from_millis(GATE_CHECK_MS + SWITCH_REPLY_TIMEOUT_MS + 16_000);

/// How long nodes take to find each other, and the switches, after they were started for the first time.
const STARTED_AFTER: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(super) struct NoCallIsTrapped {
    /// Nodes that cannot do anything.
    idle: BTreeSet<usize>,
    /// How many faults keep packets from passing in this direction.
    cut: BTreeMap<(Place, Place), u32>,
    /// The groups that partitions have cut off.
    away: Vec<Vec<Place>>,
    /// Since when no node has been able to control a switch.
    alone_since: BTreeMap<usize, Time>,
    /// Since when a claimed call of a switch has been waiting.
    waiting_since: BTreeMap<(usize, String), Time>,
    /// Calls that a node has claimed since they came to fipple's extension. The others have a timer of their own.
    claimed: BTreeSet<(usize, String)>,
    trouble: Trouble,
}

/// Disturbances in a row, each within the time that the one before it may still have had its effect.
#[derive(Default)]
struct Trouble {
    ongoing: u32,
    since: Time,
    until: Option<Time>,
}

impl Trouble {
    fn note(&mut self, at: Time, begins: bool) {
        if self.lasted(at).is_none() {
            self.since = at;
        }
        self.ongoing = if begins { self.ongoing + 1 } else { self.ongoing.saturating_sub(1) };
        self.until = Some(at);
    }

    /// For how long something has been wrong; none if nothing is.
    fn lasted(&self, now: Time) -> Option<Duration> {
        let is_wrong = self.ongoing > 0 || self.until.is_some_and(|until| now <= until + TROUBLE_LASTS);
        is_wrong.then(|| Duration::from_micros(now.micros_since(self.since)))
    }
}

impl NoCallIsTrapped {
    /// Whether a node might control a switch, as far as can be said from outside.
    fn is_able(&self, node: usize, switch: usize) -> bool {
        let (node_place, switch_place) = (Place::Node(node), Place::Switch(switch));
        let is_cut = |from, to| self.cut.get(&(from, to)).is_some_and(|count| *count > 0);
        let is_apart = |away: &Vec<Place>| away.contains(&node_place) != away.contains(&switch_place);
        !self.idle.contains(&node)
            && !is_cut(node_place, switch_place)
            && !is_cut(switch_place, node_place)
            && !self.away.iter().any(is_apart)
    }

    /// Looks at all calls of a switch that no node can control.
    fn look_at(&mut self, number: usize, switch: &Switch, now: Time) -> Verdict {
        let alone_since = self.alone_since.get(&number).copied();
        let waiting: BTreeSet<String> =
            switch.living_channels().filter(|uuid| waits(switch, uuid)).map(ToString::to_string).collect();
        self.waiting_since.retain(|(of, uuid), _| *of != number || waiting.contains(uuid));
        for uuid in waiting {
            let since = *self.waiting_since.entry((number, uuid.clone())).or_insert(now);
            let Some(alone_since) = alone_since else { continue };
            let trapped_since = since.max(alone_since);
            if now > trapped_since + TRAPPED_AFTER {
                let waited = Duration::from_micros(now.micros_since(trapped_since));
                let place = Place::Switch(number);
                return Err(Finding::new(format!(
                    "call {uuid} on {place} has been waiting for {waited:?}, and nobody can control it"
                )));
            }
        }
        Ok(())
    }
}

impl Checker for NoCallIsTrapped {
    fn invariant(&self) -> &'static str {
        "no call is trapped"
    }

    fn faulted(&mut self, at: Time, fault: &Fault, begins: bool) {
        // The time of day decides nothing: leases are in the switch's own time.
        if matches!(fault, Fault::WrongClock { .. }) {
            return;
        }
        self.trouble.note(at, begins);
        match fault {
            Fault::CutOneWay { from, to } => {
                let count = self.cut.entry((*from, *to)).or_default();
                *count = if begins { *count + 1 } else { count.saturating_sub(1) };
            }
            Fault::Split { some, others } => {
                for (one, other) in some.iter().flat_map(|one| others.iter().map(move |other| (one, other))) {
                    for link in [(*one, *other), (*other, *one)] {
                        let count = self.cut.entry(link).or_default();
                        *count = if begins { *count + 1 } else { count.saturating_sub(1) };
                    }
                }
            }
            Fault::Partition { away } if begins => self.away.push(away.clone()),
            Fault::Partition { away } => {
                if let Some(healed) = self.away.iter().position(|known| known == away) {
                    self.away.remove(healed);
                }
            }
            _ => {}
        }
    }

    fn sampled(&mut self, sample: &Sample) -> Verdict {
        let is_idle = matches!(sample.state, NodeState::Off | NodeState::Paused | NodeState::Ended(_));
        if is_idle {
            self.idle.insert(sample.node);
        } else {
            self.idle.remove(&sample.node);
        }
        Ok(())
    }

    fn looked(&mut self, world: &World) -> Verdict {
        let now = world.now();
        for number in 0..world.switch_count() {
            let Some(switch) = world.switch(number) else {
                self.alone_since.remove(&number);
                continue;
            };
            if (0..world.node_count()).any(|node| self.is_able(node, number)) {
                self.alone_since.remove(&number);
            } else {
                self.alone_since.entry(number).or_insert(now);
            }
            self.look_at(number, switch, now)?;
        }
        Ok(())
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        let call = |uuid: &str| (seen.switch, uuid.to_owned());
        let uuid = match entry {
            Entry::FlowBegan { uuid } | Entry::Ended { uuid } => {
                self.claimed.remove(&call(uuid));
                return Ok(());
            }
            Entry::EpochSet { uuid, change } => {
                self.claimed.extend(change.connection.map(|_| call(uuid)));
                return Ok(());
            }
            Entry::Started { uuid, application, argument, .. }
                if application == "set" && argument == FALLBACK_REACHED =>
            {
                uuid
            }
            _ => return Ok(()),
        };
        let switch = Place::Switch(seen.switch);
        if !self.claimed.contains(&call(uuid)) {
            if self.trouble.lasted(seen.at).is_some() || seen.at < Time(0) + STARTED_AFTER {
                return Ok(());
            }
            return Err(Finding::new(format!(
                "nobody claimed call {uuid} on {switch}, and nothing was wrong"
            )));
        }
        let lasted = self.trouble.lasted(seen.at);
        if lasted.is_some_and(|lasted| lasted >= EJECTED_AFTER) {
            return Ok(());
        }
        let lasted = lasted.map_or("nothing was wrong".to_owned(), |lasted| {
            format!("something had been wrong for {lasted:?} only")
        });
        Err(Finding::new(format!("call {uuid} on {switch} was sent to the fallback, and {lasted}")))
    }
}

/// Whether a call is claimed, and neither bridged nor dialling.
fn waits(switch: &Switch, uuid: &str) -> bool {
    let is_set = |name| switch.channel_variable(uuid, name).is_some_and(|value| !value.is_empty());
    let connects = switch.ledger().call(uuid).is_some_and(|record| {
        let mut running = record.executions.iter().filter(|execution| execution.ended.is_none());
        running.any(|execution| ["bridge", "intercept"].contains(&execution.application.as_str()))
    });
    is_set("fipple_owner") && !is_set("bridge_to") && !connects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: u64) -> Time {
        Time(second * 1_000_000)
    }

    #[test]
    fn trouble_lasts_from_the_first_of_several_disturbances_that_follow_each_other() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.lasted(second(5)), None);
        trouble.note(second(10), true);
        trouble.note(second(20), false);
        trouble.note(second(25), true);
        assert_eq!(trouble.lasted(second(100)), Some(Duration::from_secs(90)));
        trouble.note(second(100), false);
        assert_eq!(trouble.lasted(second(101)), Some(Duration::from_secs(91)));
        assert_eq!(trouble.lasted(second(200)), None, "it is over");
        trouble.note(second(300), true);
        assert_eq!(trouble.lasted(second(301)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_node_is_able_that_works_and_reaches_the_switch_both_ways() {
        let mut checker = NoCallIsTrapped::default();
        let (node, switch) = (Place::Node(0), Place::Switch(0));
        assert!(checker.is_able(0, 0));
        for fault in [
            Fault::CutOneWay { from: switch, to: node },
            Fault::CutOneWay { from: node, to: switch },
            Fault::Partition { away: vec![switch] },
            Fault::Partition { away: vec![node, Place::Node(1)] },
        ] {
            checker.faulted(second(1), &fault, true);
            assert!(!checker.is_able(0, 0), "{fault:?}");
            checker.faulted(second(2), &fault, false);
            assert!(checker.is_able(0, 0), "{fault:?}");
        }
        checker.faulted(second(3), &Fault::Partition { away: vec![node, switch] }, true);
        assert!(checker.is_able(0, 0), "both are on the same side");
    }
}
