//! The list of members, put together from what is known.

use fipple_protocol::NodeId;
use fipple_protocol::probe::Verdict;

use super::facts::{FactBook, Facts};
use super::{Member, MemberState, Members};

/// All whose facts are believed, with the verdict of the probes, and this node itself. Whoever nobody has heard
/// yet is left out: to call it down would invite others to take over its calls.
pub(super) fn members(
    local: NodeId,
    own: &Facts,
    book: &FactBook,
    verdict: impl Fn(NodeId) -> Option<Verdict>,
) -> Members {
    let others = book.iter().filter_map(|(node, facts)| match verdict(node)? {
        Verdict::Unheard => None,
        Verdict::Alive => Some(member(node, facts, true)),
        Verdict::Down => Some(member(node, facts, false)),
    });
    let all = others.chain([member(local, own, true)]);
    Members { all: all.map(|member| (member.id, member)).collect() }
}

fn member(id: NodeId, facts: &Facts, alive: bool) -> Member {
    let state = match (alive, facts.leaving) {
        (false, _) => MemberState::Down,
        (true, true) => MemberState::Leaving,
        (true, false) => MemberState::Alive,
    };
    Member {
        id,
        name: facts.name.clone(),
        state,
        address: Some(facts.address.clone()).filter(|address| !address.is_empty()),
        api_address: facts.api_address.clone(),
        zone: facts.zone.clone(),
        weight: facts.weight,
        version: facts.version.clone(),
        started_at_ms: facts.started_at_ms,
        switches: facts.switches.clone(),
    }
}
