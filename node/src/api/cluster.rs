//! `/v2/cluster`: members and switches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use fipple_protocol::NodeId;
use serde::Serialize;

use super::ApiState;
use super::body::{Data, SwitchApiCommand};
use super::envelope::{Failure, Success};
use super::idempotency::NoKey;
use super::path::Segment;
use crate::cluster::{Member, MemberState, Members, SwitchLink, SwitchTrouble};
use crate::switch::Fence;

/// A member as REST shows it.
#[derive(Serialize)]
struct MemberEntry<'a> {
    id: String,
    name: &'a str,
    state: &'static str,
    /// Whether it is the node that answers.
    local: bool,
    address: Option<&'a str>,
    api_address: Option<&'a str>,
    zone: &'a str,
    weight: u16,
    version: &'a str,
    started_at_ms: u64,
    switches: Vec<MemberSwitch<'a>>,
    /// When it was enrolled, in Unix milliseconds by its own clock; none until its record has arrived here.
    enrolled_at_ms: Option<u64>,
}

/// A member that is enrolled, and that this node has not heard since it was started.
#[derive(Serialize)]
struct UnheardMember<'a> {
    id: String,
    name: &'a str,
    state: &'static str,
    local: bool,
    enrolled_at_ms: u64,
}

/// A line of the listing.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Heard(Box<MemberEntry<'a>>),
    Unheard(UnheardMember<'a>),
}

/// How a member stands to a switch.
#[derive(Serialize)]
struct MemberSwitch<'a> {
    name: &'a str,
    link: &'static str,
    /// Why it cannot be reached from there, where it cannot.
    trouble: Option<&'static str>,
}

/// `GET /v2/cluster/members`
pub(super) async fn members(State(state): State<Arc<ApiState>>) -> Result<Success, Failure> {
    let members = state.cluster.members().borrow().clone();
    let local = state.cluster.local();
    // Gossip tells who is alive, the registry who belongs.
    let enrolled = state.documents.enrolled().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the registry cannot be read: members that were never heard are missing");
        Vec::new()
    });
    let enrolled_at: BTreeMap<_, _> =
        enrolled.iter().map(|record| (record.id, record.enrolled_at_ms)).collect();
    let heard = members.all.values().map(|member| {
        let entry = member_entry(member, local, enrolled_at.get(&member.id).copied());
        Entry::Heard(Box::new(entry))
    });
    let unheard = enrolled.iter().filter(|record| !members.all.contains_key(&record.id)).map(|record| {
        Entry::Unheard(UnheardMember {
            id: record.id.to_string(),
            name: &record.name,
            state: "down",
            local: false,
            enrolled_at_ms: record.enrolled_at_ms,
        })
    });
    Success::ok(&heard.chain(unheard).collect::<Vec<_>>())
}

fn member_entry(member: &Member, local: NodeId, enrolled_at_ms: Option<u64>) -> MemberEntry<'_> {
    let switches = member.switches.iter();
    MemberEntry {
        id: member.id.to_string(),
        name: &member.name,
        state: match member.state {
            MemberState::Alive => "alive",
            MemberState::Leaving => "leaving",
            MemberState::Down => "down",
        },
        local: member.id == local,
        address: member.address.as_deref(),
        api_address: member.api_address.as_deref(),
        zone: &member.zone,
        weight: member.weight,
        version: &member.version,
        started_at_ms: member.started_at_ms,
        switches: switches
            .map(|fact| MemberSwitch {
                name: &fact.name,
                link: fact.link.word(),
                trouble: fact.trouble.map(SwitchTrouble::word),
            })
            .collect(),
        enrolled_at_ms,
    }
}

/// A switch as REST shows it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct SwitchEntry<'a> {
    name: &'a str,
    zone: &'a str,
    /// Where the attached node reaches it; if none is attached, where some node looks for it.
    address: &'a str,
    /// `attached`; `detached`: reachable, and nobody has attached yet; and where no node reaches it, what the nodes know of
    /// why: `shut_down`, `crashed`, `silent`, `refused`, `not_running`, `unusable`, or `unreachable` where none knows.
    state: &'static str,
    /// The node that hears its events and carries its commands.
    attached_to: Option<String>,
    /// How the switch keeps a stale controller away: `strict`, `snippet` or `none`, as the attached node found it.
    fence: Option<&'static str>,
    /// When the attached node last found it to be another run than before, in Unix milliseconds.
    restarted_at_ms: Option<u64>,
    /// All nodes that reach it.
    reachable_from: Vec<String>,
}

/// `GET /v2/cluster/switches`
pub(super) async fn switches(State(state): State<Arc<ApiState>>) -> Result<Success, Failure> {
    let members = state.cluster.members().borrow().clone();
    Success::ok(&switch_entries(&members))
}

/// Every switch once, from what the members say. Those that are down say nothing any more.
fn switch_entries(members: &Members) -> Vec<SwitchEntry<'_>> {
    let mut entries: BTreeMap<&str, SwitchEntry<'_>> = BTreeMap::new();
    let mut troubles: BTreeMap<&str, BTreeSet<SwitchTrouble>> = BTreeMap::new();
    for member in members.all.values() {
        for fact in &member.switches {
            let entry = entries.entry(&fact.name).or_insert_with(|| SwitchEntry {
                name: &fact.name,
                zone: &fact.zone,
                address: &fact.address,
                state: "unreachable",
                attached_to: None,
                fence: None,
                restarted_at_ms: None,
                reachable_from: Vec::new(),
            });
            if member.state == MemberState::Down {
                continue;
            }
            if fact.link == SwitchLink::Unreachable {
                troubles.entry(&fact.name).or_default().extend(fact.trouble);
                continue;
            }
            entry.reachable_from.push(member.id.to_string());
            if fact.link == SwitchLink::Attached {
                entry.state = "attached";
                entry.address = &fact.address;
                entry.attached_to = Some(member.id.to_string());
                entry.fence = fact.fence.map(Fence::word);
                entry.restarted_at_ms = fact.restarted_at_ms;
            } else if entry.attached_to.is_none() {
                entry.state = "detached";
            }
        }
    }
    for entry in entries.values_mut().filter(|entry| entry.reachable_from.is_empty()) {
        // What one knows of its end, another that came later cannot know.
        let troubles = troubles.get(entry.name).into_iter().flatten();
        entry.state = troubles.min().map_or(SwitchLink::Unreachable.word(), |trouble| trouble.word());
    }
    entries.into_values().collect()
}

/// What a switch's API answered.
#[derive(Serialize)]
struct SwitchApiResult {
    result: String,
}

/// `POST /v2/cluster/switches/{name}/api`
pub(super) async fn switch_api(
    State(state): State<Arc<ApiState>>,
    Segment(name): Segment,
    _: NoKey,
    Data(api): Data<SwitchApiCommand>,
) -> Result<Success, Failure> {
    let result = state.calls.switch_api(&name, &api.command).await?;
    Success::ok(&SwitchApiResult { result })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::SwitchFact;

    fn member(number: u8, state: MemberState, links: &[(&str, SwitchLink)]) -> Member {
        let fact = |&(name, link): &(&str, SwitchLink)| SwitchFact {
            name: name.into(),
            zone: "west".into(),
            address: format!("10.0.0.{number}:8021"),
            link,
            fence: (link == SwitchLink::Attached).then_some(Fence::Strict),
            trouble: None,
            run: None,
            restarted_at_ms: None,
        };
        Member {
            id: NodeId::from_bytes([number; 16]),
            name: format!("node-{number}"),
            state,
            address: None,
            api_address: None,
            zone: "west".into(),
            weight: 1,
            version: "1".into(),
            started_at_ms: 0,
            switches: links.iter().map(fact).collect(),
        }
    }

    #[test]
    fn a_switch_is_listed_once_and_the_dead_have_no_say() {
        use SwitchLink::{Attached, Standby, Unreachable};
        let all = [
            member(1, MemberState::Down, &[("a", Attached), ("gone", Attached)]),
            member(2, MemberState::Alive, &[("a", Attached), ("b", Standby)]),
            member(3, MemberState::Leaving, &[("a", Standby), ("b", Unreachable)]),
        ];
        let members = Members { all: all.into_iter().map(|member| (member.id, member)).collect() };
        let id = |number: u8| NodeId::from_bytes([number; 16]).to_string();
        let entries = switch_entries(&members);
        let seen: Vec<_> = entries.iter().map(|entry| (entry.name, entry.state, entry.address)).collect();
        assert_eq!(
            seen,
            [
                ("a", "attached", "10.0.0.2:8021"),
                ("b", "detached", "10.0.0.2:8021"),
                ("gone", "unreachable", "10.0.0.1:8021"),
            ]
        );
        assert_eq!(entries[0].attached_to, Some(id(2)));
        assert_eq!(entries[0].reachable_from, [id(2), id(3)]);
        assert_eq!((entries[0].fence, entries[1].fence), (Some("strict"), None));
        assert_eq!(entries[1].attached_to, None);
    }
}
