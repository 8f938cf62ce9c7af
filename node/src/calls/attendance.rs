//! Whether anybody is attached to the switches of owned calls, and what it means for calls that are gone when somebody is
//! again. Nobody closes a call because its switch cannot be reached: people go on talking through it.

use std::collections::{BTreeMap, BTreeSet};

use fipple_protocol::NodeId;

use crate::cluster::{MemberState, Members, SwitchFact, SwitchLink, SwitchTrouble};
use crate::limits::{OWNED_RETURN_MS, OWNED_UNATTENDED_MS};

/// The switches of one node's calls.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    watches: BTreeMap<String, Watch>,
}

#[derive(Debug)]
struct Watch {
    /// Who is attached, and to which run of the switch; or was, while nobody is.
    attached: Option<(NodeId, Option<u64>)>,
    since_ms: u64,
    is_attended: bool,
    /// How the switch ended, as far as anybody has said.
    trouble: Option<SwitchTrouble>,
    /// Why calls are gone that were last seen before somebody attached again.
    cause: &'static str,
}

/// What a switch has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody is attached to it any more.
    Unattended,
    /// Somebody is attached again, or another node.
    Attended {
        /// It is another run of the switch.
        restarted: bool,
    },
    /// Nobody was for too long.
    GivenUp,
}

/// FreeSWITCH's own names for what ended the calls of a switch, and the one for what nobody knows.
const SHUT_DOWN: &str = "SYSTEM_SHUTDOWN";
const CRASHED: &str = "CRASH";
const UNKNOWN: &str = "unknown";

impl Attendance {
    /// Looks at the switches that carry calls; what has changed.
    pub(super) fn observe(
        &mut self,
        now_ms: u64,
        members: &Members,
        switches: &BTreeSet<String>,
    ) -> Vec<(String, Turn)> {
        self.watches.retain(|switch, _| switches.contains(switch));
        let mut turns = Vec::new();
        for switch in switches {
            let watch = self.watches.entry(switch.clone()).or_insert_with(|| Watch::new(now_ms));
            let turn = match attached(members, switch) {
                Some(attached) => watch.attended(now_ms, attached),
                None => watch.unattended(now_ms, trouble(members, switch)),
            };
            turns.extend(turn.map(|turn| (switch.clone(), turn)));
        }
        turns
    }

    /// Whether nobody is attached to a switch.
    pub(super) fn is_unattended(&self, switch: &str) -> bool {
        self.watches.get(switch).is_some_and(|watch| !watch.is_attended)
    }

    /// Calls that were last seen before this are to be asked after: whoever has attached has by now told of all that it
    /// found.
    pub(super) fn ask_if_seen_before_ms(&self, switch: &str, now_ms: u64) -> Option<u64> {
        let watch = self.watches.get(switch).filter(|watch| watch.is_attended)?;
        (now_ms >= watch.since_ms + OWNED_RETURN_MS).then_some(watch.since_ms)
    }

    /// Why a call is gone that was last seen then, where nothing else tells.
    pub(super) fn cause(&self, switch: &str, seen_at_ms: u64) -> &'static str {
        match self.watches.get(switch) {
            Some(watch) if seen_at_ms < watch.since_ms => watch.cause,
            _ => UNKNOWN,
        }
    }
}

impl Watch {
    fn new(now_ms: u64) -> Self {
        Self { attached: None, since_ms: now_ms, is_attended: true, trouble: None, cause: UNKNOWN }
    }

    fn attended(&mut self, now_ms: u64, attached: (NodeId, Option<u64>)) -> Option<Turn> {
        let before = self.attached.replace(attached);
        if self.is_attended && before.is_none_or(|before| before == attached) {
            return None;
        }
        let restarted = before.is_some_and(|(_, run)| run.is_some() && run != attached.1);
        self.cause = match self.trouble.take() {
            _ if !restarted => UNKNOWN,
            Some(SwitchTrouble::ShutDown) => SHUT_DOWN,
            _ => CRASHED,
        };
        (self.is_attended, self.since_ms) = (true, now_ms);
        Some(Turn::Attended { restarted })
    }

    fn unattended(&mut self, now_ms: u64, trouble: Option<SwitchTrouble>) -> Option<Turn> {
        self.trouble = match (self.trouble, trouble) {
            (Some(before), Some(next)) => Some(before.then(next)),
            (before, next) => next.or(before),
        };
        if std::mem::replace(&mut self.is_attended, false) {
            self.since_ms = now_ms;
            return Some(Turn::Unattended);
        }
        (now_ms > self.since_ms + OWNED_UNATTENDED_MS).then_some(Turn::GivenUp)
    }
}

fn facts<'a>(members: &'a Members, switch: &'a str) -> impl Iterator<Item = (NodeId, &'a SwitchFact)> {
    let up = members.all.values().filter(|member| member.state != MemberState::Down);
    let facts = up.flat_map(|member| member.switches.iter().map(move |fact| (member.id, fact)));
    facts.filter(move |(_, fact)| fact.name == switch)
}

fn attached(members: &Members, switch: &str) -> Option<(NodeId, Option<u64>)> {
    let mut attached = facts(members, switch).filter(|(_, fact)| fact.link == SwitchLink::Attached);
    attached.next().map(|(node, fact)| (node, fact.run))
}

/// What is known of how a switch ended: who heard it say so knows more than who came later.
fn trouble(members: &Members, switch: &str) -> Option<SwitchTrouble> {
    facts(members, switch).filter_map(|(_, fact)| fact.trouble).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Member;

    const PBX: &str = "pbx";

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    /// One member, which says this of the switch.
    fn members(link: SwitchLink, run: u64, trouble: Option<SwitchTrouble>) -> Members {
        let fact = SwitchFact {
            name: PBX.to_owned(),
            zone: String::new(),
            address: String::new(),
            link,
            fence: None,
            trouble,
            run: Some(run),
            restarted_at_ms: None,
        };
        let member = Member {
            id: id(1),
            name: String::new(),
            state: MemberState::Alive,
            address: None,
            api_address: None,
            zone: String::new(),
            weight: 1,
            version: String::new(),
            started_at_ms: 0,
            switches: vec![fact],
        };
        Members { all: [(id(1), member)].into() }
    }

    #[test]
    fn what_ended_the_calls_of_a_switch_is_told_by_how_it_ended_and_by_which_run_returns() {
        use SwitchLink::{Attached, Unreachable};
        use SwitchTrouble::{Crashed, NotRunning, ShutDown, Silent};
        for (ends, run, cause) in [
            (vec![ShutDown, NotRunning], 8, "SYSTEM_SHUTDOWN"),
            (vec![Crashed, NotRunning], 8, "CRASH"),
            (vec![Silent], 8, "CRASH"),
            (vec![], 8, "CRASH"),
            (vec![Silent], 7, "unknown"),
        ] {
            let mut attendance = Attendance::default();
            let switches = [PBX.to_owned()].into();
            assert_eq!(attendance.observe(0, &members(Attached, 7, None), &switches), []);
            assert!(!attendance.is_unattended(PBX));
            let gone = members(Unreachable, 7, None);
            assert_eq!(attendance.observe(10, &gone, &switches), [(PBX.to_owned(), Turn::Unattended)]);
            for end in &ends {
                let gone = members(Unreachable, 7, Some(*end));
                assert_eq!(attendance.observe(20, &gone, &switches), []);
            }
            assert!(attendance.is_unattended(PBX));
            let turn = Turn::Attended { restarted: run != 7 };
            assert_eq!(
                attendance.observe(30, &members(Attached, run, None), &switches),
                [(PBX.to_owned(), turn)]
            );
            assert_eq!(attendance.cause(PBX, 5), cause, "{ends:?}");
            assert_eq!(attendance.cause(PBX, 40), "unknown", "it was seen after the return");
            assert_eq!(attendance.ask_if_seen_before_ms(PBX, 31), None, "not all has been told yet");
            assert_eq!(attendance.ask_if_seen_before_ms(PBX, 30 + OWNED_RETURN_MS), Some(30));
        }
    }

    #[test]
    fn a_switch_that_nobody_reaches_is_given_up_at_last() {
        let mut attendance = Attendance::default();
        let switches = [PBX.to_owned()].into();
        let nobody = Members::default();
        assert_eq!(attendance.observe(0, &nobody, &switches), [(PBX.to_owned(), Turn::Unattended)]);
        assert_eq!(attendance.observe(OWNED_UNATTENDED_MS, &nobody, &switches), []);
        let given_up = [(PBX.to_owned(), Turn::GivenUp)];
        assert_eq!(attendance.observe(OWNED_UNATTENDED_MS + 1, &nobody, &switches), given_up);
    }
}
