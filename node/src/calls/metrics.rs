//! What Prometheus learns of switches and calls.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::control_metrics::{ControlMetrics, SwitchControl};
use crate::metrics::{Counter, Family, Gauge};
use crate::switch::metrics::{GateCounters, GateMetrics};

/// Of all switches and calls of this node. Cloning yields the same figures.
#[derive(Clone, Debug)]
pub struct CallMetrics {
    events: Family<SwitchLabel, Counter>,
    bytes_received: Family<SwitchLabel, Counter>,
    gaps: Family<SwitchLabel, Counter>,
    channels: Family<SwitchLabel, Gauge>,
    attached: Family<SwitchLabel, Gauge>,
    attachments: Family<SwitchLabel, Counter>,
    control: ControlMetrics,
    lease_renewals_failed: Family<SwitchLabel, Counter>,
    gates: GateMetrics,
    /// Commands for channels that were asked of this node.
    pub(crate) commands: Counter,
    /// Those of them that were refused or timed out.
    pub(crate) commands_failed: Counter,
    /// How long they took.
    pub(crate) command_seconds: Histogram,
    /// Calls that this node owns.
    pub(crate) owned: Gauge,
}

/// The figures of one switch.
#[derive(Clone, Debug)]
pub(crate) struct SwitchMetrics {
    pub(crate) events: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) gaps: Counter,
    pub(crate) channels: Gauge,
    pub(crate) attached: Gauge,
    pub(crate) attachments: Counter,
    pub(crate) control: SwitchControl,
    pub(crate) lease_renewals_failed: Counter,
    pub(crate) gate: GateCounters,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct SwitchLabel {
    switch: String,
}

/// From what a command takes on a quiet loopback to what it takes when its owner and its attachment have just
/// died.
const COMMAND_SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

impl Default for CallMetrics {
    fn default() -> Self {
        Self {
            events: Family::default(),
            bytes_received: Family::default(),
            gaps: Family::default(),
            channels: Family::default(),
            attached: Family::default(),
            attachments: Family::default(),
            control: ControlMetrics::default(),
            lease_renewals_failed: Family::default(),
            gates: GateMetrics::default(),
            commands: Counter::default(),
            commands_failed: Counter::default(),
            command_seconds: Histogram::new(COMMAND_SECONDS),
            owned: Gauge::default(),
        }
    }
}

impl CallMetrics {
    /// Adds all of them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let mut family = |name: &str, help: &str, metric: &Family<SwitchLabel, Counter>| {
            registry.register(name, help, metric.clone());
        };
        family("fipple_switch_events", "Events that came from a switch", &self.events);
        family("fipple_switch_received_bytes", "Bytes that came from a switch", &self.bytes_received);
        family("fipple_switch_gaps", "Events that could not be read, stored or sent on", &self.gaps);
        family("fipple_switch_attachments", "How often this node attached to a switch", &self.attachments);
        let help = "Renewals of leases that failed: calls go to the fallback if it lasts";
        family("fipple_lease_renewals_failed", help, &self.lease_renewals_failed);
        self.gates.register(registry);
        registry.register("fipple_switch_channels", "Channels of an attached switch", self.channels.clone());
        let help = "1 where this node is attached to the switch";
        registry.register("fipple_switch_attached", help, self.attached.clone());
        registry.register(
            "fipple_commands",
            "Commands for channels asked of this node",
            self.commands.clone(),
        );
        let help = "Commands for channels that were refused or timed out";
        registry.register("fipple_commands_failed", help, self.commands_failed.clone());
        let help = "How long commands for channels took";
        registry.register("fipple_command_seconds", help, self.command_seconds.clone());
        registry.register("fipple_calls_owned", "Calls that this node owns", self.owned.clone());
        self.control.register(registry);
    }

    /// The figures of one switch.
    pub(crate) fn switch(&self, name: &str) -> SwitchMetrics {
        let label = SwitchLabel { switch: name.to_owned() };
        SwitchMetrics {
            events: self.events.get_or_create(&label),
            bytes_received: self.bytes_received.get_or_create(&label),
            gaps: self.gaps.get_or_create(&label),
            channels: self.channels.get_or_create(&label),
            attached: self.attached.get_or_create(&label),
            attachments: self.attachments.get_or_create(&label),
            control: self.control.switch(name),
            lease_renewals_failed: self.lease_renewals_failed.get_or_create(&label),
            gate: self.gates.switch(name),
        }
    }
}
