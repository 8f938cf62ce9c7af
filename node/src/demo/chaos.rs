//! The node that is killed, and what becomes of its calls.

use std::collections::BTreeMap;
use std::time::Duration;

use fipple_emulator::Time;
use fipple_emulator::ledger::CallRecord;

use super::figures::Durations;
use super::nodes::{Node, Nodes};
use super::observe::ClusterView;
use super::traffic::Traffic;

/// The calls that a killed node owned.
pub(super) struct Orphans {
    /// Which node it was.
    pub(super) node: String,
    /// How many calls it owned.
    pub(super) owned: usize,
    /// Those that have not ended: the moment of the kill by their switch's clock.
    waiting: BTreeMap<String, Time>,
    /// Those to which another node gave a command afterwards, and that ended well.
    pub(super) taken_over: usize,
    /// How long they waited for that command, from the kill or from when the step that was running ended.
    pub(super) waits: Durations,
}

impl Orphans {
    /// Calls with the moment of the kill by the clock of their switch.
    pub(super) fn new(node: String, calls: BTreeMap<String, Time>) -> Self {
        Self { node, owned: calls.len(), waiting: calls, taken_over: 0, waits: Durations::default() }
    }

    /// A call has ended, of these or of others.
    pub(super) fn ended(&mut self, record: &CallRecord, well: bool) {
        let Some(killed_at) = self.waiting.remove(&*record.uuid) else { return };
        let Some(waited) = wait_after(record, killed_at) else { return };
        self.waits.add(waited);
        self.taken_over += usize::from(well);
    }
}

/// How long a call waited for its next command after `killed_at`; none if there was no further command.
fn wait_after(record: &CallRecord, killed_at: Time) -> Option<Duration> {
    let commands = || record.executions.iter().filter(|run| run.connection.is_some());
    let next = commands().find(|run| run.started > killed_at)?;
    // A step that was running went on without its owner; the next was due only when it ended.
    let due = commands().filter(|run| run.started <= killed_at).filter_map(|run| run.ended).max();
    Some(Duration::from_micros(next.started.micros_since(due.unwrap_or(killed_at).max(killed_at))))
}

/// Kills the node that owns most calls. Those that it owned are from then on orphans.
pub(super) fn kill_busiest(nodes: &mut Nodes, view: &ClusterView, traffic: &mut Traffic) {
    let owned_by = |node: &Node| view.owned_by(&node.name).len();
    let Some(victim) = nodes.all.iter_mut().filter(|node| !node.killed).max_by_key(|node| owned_by(node))
    else {
        return;
    };
    victim.kill();
    traffic.orphan(victim.name.clone(), view.owned_by(&victim.name).iter().cloned());
}

#[cfg(test)]
mod tests {
    use fipple_emulator::ConnectionId;
    use fipple_emulator::ledger::Execution;

    use super::*;

    #[test]
    fn a_wait_counts_from_when_the_next_step_was_due() {
        let run = |started, ended: Option<u64>, commanded: bool| Execution {
            application: "playback".into(),
            argument: String::new(),
            application_uuid: String::new(),
            started: Time(started),
            ended: ended.map(Time),
            connection: commanded.then_some(ConnectionId(1)),
        };
        let record = |executions| CallRecord {
            uuid: "u".into(),
            outbound: false,
            caller: String::new(),
            destination: String::new(),
            created: Time(0),
            answered: None,
            executions,
            executions_dropped: 0,
            ended: None,
            cause: "",
            hung_up_by: None,
        };
        let wait = |executions, killed_at| wait_after(&record(executions), Time(killed_at));
        let playing = || vec![run(1, None, false), run(10, Some(100), true), run(130, Some(131), true)];
        assert_eq!(wait(playing(), 50), Some(Duration::from_micros(30)), "from the end of what was playing");
        assert_eq!(wait(playing(), 110), Some(Duration::from_micros(20)), "from the kill");
        assert_eq!(wait(playing(), 130), None, "nothing came after");
    }
}
