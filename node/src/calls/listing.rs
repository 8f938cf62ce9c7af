//! All channels of all attached switches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::{ChannelInfo, Request, Response};
use tokio::task::JoinSet;

use super::Calls;
use super::peers::Peers;
use crate::cluster::{Member, MemberState, Members, SwitchLink};
use crate::limits::{LIST_MAX_CHANNELS, LIST_PAGE_CHANNELS, LIST_TIMEOUT_MS};

/// The channels that were found, and who could not be asked.
#[derive(Debug, Default)]
pub struct Listing {
    /// In the order of their uuids.
    pub channels: Vec<ChannelInfo>,
    /// Nodes attached to a switch that did not answer in time: the listing lacks their channels.
    pub unanswered: Vec<NodeId>,
    /// Whether there are more than the listing may hold.
    pub truncated: bool,
}

/// What one node has listed.
struct Part {
    node: NodeId,
    channels: Vec<ChannelInfo>,
    complete: bool,
}

impl Calls {
    /// All channels of all attached switches, as far as their nodes answer; and of the others, what the owners of their calls
    /// remember.
    pub async fn list(&self) -> Listing {
        let Ok(running) = self.running() else { return Listing::default() };
        let members = running.peers.members().borrow().clone();
        let local = running.peers.local();
        let mut asked = JoinSet::new();
        let mut listing = Listing::default();
        let anybody = has_unattended(&members);
        for member in members.all.values().filter(|member| member.id != local) {
            if !was_attached(member) && (!anybody || member.state == MemberState::Down) {
                continue;
            }
            if member.state != MemberState::Down {
                asked.spawn(list_of(running.peers.clone(), member.id));
            } else if lacks_successor(&members, member) {
                listing.unanswered.push(member.id);
            }
        }
        asked.spawn(list_of(running.peers.clone(), local));
        let mut channels = BTreeMap::new();
        while let Some(part) = asked.join_next().await {
            let Ok(part) = part else { continue };
            for channel in part.channels {
                // Who reaches the switch knows better than who remembers.
                let is_remembered = channel.state == ChannelInfo::UNREACHABLE;
                if !is_remembered || !channels.contains_key(&channel.uuid) {
                    channels.insert(channel.uuid.clone(), channel);
                }
            }
            if !part.complete {
                listing.unanswered.push(part.node);
            }
        }
        listing.truncated = channels.len() > LIST_MAX_CHANNELS;
        listing.channels = channels.into_values().take(LIST_MAX_CHANNELS).collect();
        listing.unanswered.sort_unstable();
        listing
    }
}

/// All channels of one node, page by page.
async fn list_of(peers: Arc<dyn Peers>, node: NodeId) -> Part {
    let mut part = Part { node, channels: Vec::new(), complete: false };
    loop {
        let after = part.channels.last().map(|last: &ChannelInfo| last.uuid.clone()).unwrap_or_default();
        let request = Request::ListChannels { after, limit: LIST_PAGE_CHANNELS };
        let Response::Channels(page) =
            peers.request(node, request, Duration::from_millis(LIST_TIMEOUT_MS)).await
        else {
            return part;
        };
        let is_last = page.len() < LIST_PAGE_CHANNELS as usize;
        part.channels.extend(page);
        // One more than fits shows that there are more.
        if is_last || part.channels.len() > LIST_MAX_CHANNELS {
            part.complete = true;
            return part;
        }
    }
}

fn was_attached(member: &Member) -> bool {
    member.switches.iter().any(|fact| fact.link == SwitchLink::Attached)
}

/// Whether nobody is attached to some switch, so that only the owners of its calls know any of them.
fn has_unattended(members: &Members) -> bool {
    let facts = members.all.values().flat_map(|member| &member.switches);
    facts.into_iter().any(|fact| super::route::attached_node(members, &fact.name).is_none())
}

/// Whether a switch of a node that is down has found no other node yet.
fn lacks_successor(members: &Members, dead: &Member) -> bool {
    let attached = dead.switches.iter().filter(|fact| fact.link == SwitchLink::Attached);
    attached.into_iter().any(|fact| super::route::attached_node(members, &fact.name).is_none())
}
