//! What all nodes remember of one call.

use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::{Refusal, Request, Response, TraceEntry};
use tokio::task::JoinSet;

use crate::calls::{Calls, Running};
use crate::cluster::MemberState;
use crate::limits::{TRACE_ANSWER_ENTRIES, TRACE_TIMEOUT_MS};

/// What was found of a call, and what may be missing.
#[derive(Debug, Default)]
pub struct CallTrace {
    /// In the order of their times, each by the clock of its own node; where two are the same, by epoch and node.
    pub entries: Vec<TraceEntry>,
    /// Nodes that are down, or did not answer in time: what they remember is missing.
    pub unanswered: Vec<NodeId>,
    /// Whether some node remembers more than it may tell at once.
    pub truncated: bool,
}

impl Calls {
    /// What the living nodes remember of a call, asked all at once. A channel that is another leg of a call that
    /// still lasts leads to it.
    ///
    /// # Errors
    /// `UnknownChannel` if all have answered and none remembers it.
    pub async fn trace(&self, call: &str) -> Result<CallTrace, Refusal> {
        let running = self.running()?;
        let mut trace = running.trace_of(call).await;
        if trace.entries.is_empty()
            && let Some(info) = running.find_now(call).await
            && info.call != call
        {
            trace = running.trace_of(&info.call).await;
        }
        if trace.entries.is_empty() && trace.unanswered.is_empty() {
            return Err(Refusal::UnknownChannel { channel: call.to_owned() });
        }
        Ok(trace)
    }
}

impl Running {
    async fn trace_of(&self, call: &str) -> CallTrace {
        let members = self.peers.members().borrow().clone();
        let local = self.peers.local();
        let mut asked = JoinSet::new();
        let mut trace = CallTrace::default();
        let mut parts = vec![self.trace.of(call, local)];
        for member in members.all.values().filter(|member| member.id != local) {
            if member.state == MemberState::Down {
                trace.unanswered.push(member.id);
                continue;
            }
            let (peers, node) = (self.peers.clone(), member.id);
            let request = Request::Trace { call: call.to_owned() };
            let deadline = Duration::from_millis(TRACE_TIMEOUT_MS);
            asked.spawn(async move { (node, peers.request(node, request, deadline).await) });
        }
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((_, Response::Trace(entries))) => parts.push(entries),
                Ok((node, _)) => trace.unanswered.push(node),
                Err(_) => {}
            }
        }
        trace.truncated = parts.iter().any(|entries| entries.len() >= TRACE_ANSWER_ENTRIES);
        trace.entries = merge(parts);
        trace.unanswered.sort_unstable();
        trace
    }
}

/// One list in the order of time. What a node noted stays in the order in which it did so, whatever its clock does.
fn merge(parts: Vec<Vec<TraceEntry>>) -> Vec<TraceEntry> {
    let mut parts: Vec<_> = parts.into_iter().map(|part| part.into_iter().peekable()).collect();
    let mut merged = Vec::new();
    loop {
        let heads = parts.iter_mut().enumerate().filter_map(|(index, part)| {
            part.peek().map(|entry| ((entry.at_ms, entry.epoch, entry.node), index))
        });
        let Some((_, earliest)) = heads.min() else { return merged };
        merged.extend(parts[earliest].next());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_decide_then_epochs_then_nodes_and_no_node_is_put_out_of_its_own_order() {
        let entry = |at_ms, node: u8, epoch, text: &str| TraceEntry {
            at_ms,
            node: NodeId::from_bytes([node; 16]),
            epoch,
            kind: "event".to_owned(),
            text: text.to_owned(),
        };
        let first = vec![
            entry(1, 1, None, "a"),
            entry(5, 1, Some(3), "d"),
            entry(2, 1, None, "e, by a clock set back"),
        ];
        let second = vec![entry(3, 2, None, "b"), entry(5, 2, Some(2), "c"), entry(9, 2, None, "f")];
        let merged = merge(vec![second, Vec::new(), first]);
        let texts: Vec<_> = merged.iter().map(|entry| &*entry.text).collect();
        assert_eq!(texts, ["a", "b", "c", "d", "e, by a clock set back", "f"]);
    }
}
