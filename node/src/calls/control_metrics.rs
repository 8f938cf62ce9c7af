//! What Prometheus learns of who controls calls.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::trace::Why;
use crate::metrics::{Counter, Family, Gauge};
use crate::switch::Fence;

/// Of all switches of this node. Cloning yields the same figures.
#[derive(Clone, Debug)]
pub(super) struct ControlMetrics {
    takeovers: Family<ReasonLabel, Counter>,
    takeover_seconds: Histogram,
    steps: Family<ResultLabel, Counter>,
    commands_fenced: Family<SwitchLabel, Counter>,
    fences: Family<SwitchLabel, Gauge>,
}

/// The figures of one switch.
#[derive(Clone, Debug)]
pub(crate) struct SwitchControl {
    all: ControlMetrics,
    switch: String,
    /// See `fipple_takeover_seconds`.
    pub(super) takeover_seconds: Histogram,
    /// See `fipple_commands_fenced`.
    pub(super) commands_fenced: Counter,
    fence: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct SwitchLabel {
    switch: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ReasonLabel {
    switch: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ResultLabel {
    switch: String,
    result: &'static str,
}

/// From what a takeover takes once the death is known to what it takes where the attached node died as well.
const TAKEOVER_SECONDS: [f64; 11] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

impl Default for ControlMetrics {
    fn default() -> Self {
        Self {
            takeovers: Family::default(),
            takeover_seconds: Histogram::new(TAKEOVER_SECONDS),
            steps: Family::default(),
            commands_fenced: Family::default(),
            fences: Family::default(),
        }
    }
}

impl ControlMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Calls that this attached node gave to another owner, by the reason: owner_died, owner_leaves, declined, \
                    merged";
        registry.register("fipple_call_takeovers", help, self.takeovers.clone());
        let help = "From when this attached node knew that the owner of a call had died to when the switch had accepted the \
                    first step or command of its new owner; left out where none came within a minute";
        registry.register("fipple_takeover_seconds", help, self.takeover_seconds.clone());
        let help = "Steps of flows by what became of them: done, stale, duplicate, gap and interrupted (as those are that hang up) as the channels say; \
                    refused by this node or the switch; adopted where one ran as its call got a new owner";
        registry.register("fipple_steps", help, self.steps.clone());
        let help = "Commands that a switch refused because the call had another epoch";
        registry.register("fipple_commands_fenced", help, self.commands_fenced.clone());
        let help = "How an attached switch keeps a stale controller away: 2 strict, 1 snippet, 0 not at all";
        registry.register("fipple_switch_fence", help, self.fences.clone());
    }

    /// The figures of one switch.
    pub(super) fn switch(&self, name: &str) -> SwitchControl {
        let label = SwitchLabel { switch: name.to_owned() };
        SwitchControl {
            all: self.clone(),
            switch: name.to_owned(),
            takeover_seconds: self.takeover_seconds.clone(),
            commands_fenced: self.commands_fenced.get_or_create(&label),
            fence: self.fences.get_or_create(&label),
        }
    }
}

impl SwitchControl {
    /// Counts a call that got another owner.
    pub(super) fn takeover(&self, why: Why) {
        let label = ReasonLabel { switch: self.switch.clone(), reason: why.label() };
        self.all.takeovers.get_or_create(&label).inc();
    }

    /// Counts a step by what became of it.
    pub(super) fn step(&self, result: &'static str) {
        self.all.steps.get_or_create(&ResultLabel { switch: self.switch.clone(), result }).inc();
    }

    /// Which fence the switch has while this node is attached to it.
    pub(super) fn fence(&self, fence: Fence) {
        self.fence.set(match fence {
            Fence::None => 0,
            Fence::Snippet => 1,
            Fence::Strict => 2,
        });
    }
}
