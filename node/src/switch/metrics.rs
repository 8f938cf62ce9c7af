//! What Prometheus learns of gates, and of how switches stand.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::registry::Registry;

use crate::cluster::{SwitchLink, SwitchTrouble};
use crate::metrics::{Counter, Family, Gauge};

/// Of all switches.
#[derive(Clone, Debug, Default)]
pub(crate) struct GateMetrics {
    changes: Family<KindLabel, Counter>,
    challenges: Family<KindLabel, Counter>,
    restarts: Family<SwitchLabel, Counter>,
    states: Family<StateLabel, Gauge>,
}

/// Of one switch.
#[derive(Clone, Debug)]
pub(crate) struct GateCounters {
    /// It was taken when it was free.
    pub(crate) taken: Counter,
    /// It was taken from a node that did not answer.
    pub(crate) taken_over: Counter,
    /// Another node took it from this one.
    pub(crate) lost: Counter,
    /// It was given back.
    pub(crate) released: Counter,
    /// A holder that was thought to be gone was asked.
    pub(crate) asked: Counter,
    /// Another node's question was answered.
    pub(crate) answered: Counter,
    /// A holder that was asked has answered.
    pub(crate) refuted: Counter,
    /// The switch was found to be another run than before.
    pub(crate) restarts: Counter,
    states: Vec<(&'static str, Gauge)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct SwitchLabel {
    switch: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct KindLabel {
    switch: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct StateLabel {
    switch: String,
    state: &'static str,
}

impl GateMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "How often this node took, took over, lost or released a switch's gate";
        registry.register("fipple_gate_changes", help, self.changes.clone());
        let help =
            "Questions to holders of gates: asked by this node, answered by it, refuted by who was asked";
        registry.register("fipple_gate_challenges", help, self.challenges.clone());
        let help = "How often a switch was found to be another run than before";
        registry.register("fipple_switch_restarts", help, self.restarts.clone());
        let help = "1 for the state in which this node sees the switch";
        registry.register("fipple_switch_state", help, self.states.clone());
    }

    pub(crate) fn switch(&self, name: &str) -> GateCounters {
        let of = |family: &Family<KindLabel, Counter>, kind| {
            family.get_or_create(&KindLabel { switch: name.to_owned(), kind })
        };
        let state = |state| {
            let label = StateLabel { switch: name.to_owned(), state };
            (state, self.states.get_or_create(&label))
        };
        let links =
            [SwitchLink::Attached, SwitchLink::Standby, SwitchLink::Unreachable].map(SwitchLink::word);
        GateCounters {
            taken: of(&self.changes, "taken"),
            taken_over: of(&self.changes, "taken_over"),
            lost: of(&self.changes, "lost"),
            released: of(&self.changes, "released"),
            asked: of(&self.challenges, "asked"),
            answered: of(&self.challenges, "answered"),
            refuted: of(&self.challenges, "refuted"),
            restarts: self.restarts.get_or_create(&SwitchLabel { switch: name.to_owned() }),
            states: links.into_iter().chain(SwitchTrouble::ALL.map(SwitchTrouble::word)).map(state).collect(),
        }
    }
}

impl GateCounters {
    /// Notes the state in which the switch is seen.
    pub(super) fn set_state(&self, link: SwitchLink, trouble: Option<SwitchTrouble>) {
        let word = trouble.map_or(link.word(), SwitchTrouble::word);
        for (state, gauge) in &self.states {
            gauge.set(u64::from(*state == word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_in_one_state() {
        let counters = GateMetrics::default().switch("pbx");
        let states = || -> Vec<_> {
            counters.states.iter().filter(|(_, gauge)| gauge.get() == 1).map(|(state, _)| *state).collect()
        };
        counters.set_state(SwitchLink::Unreachable, None);
        assert_eq!(states(), ["unreachable"]);
        counters.set_state(SwitchLink::Unreachable, Some(SwitchTrouble::Crashed));
        assert_eq!(states(), ["crashed"]);
        counters.set_state(SwitchLink::Attached, None);
        assert_eq!(states(), ["attached"]);
    }
}
