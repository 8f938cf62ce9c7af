//! What a run consists of: machines, what people do, and what breaks when. A TOML file, or drawn by a seed.

mod fault;
mod swarm;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::Place;
use crate::error::Error;
use crate::limits::{FAULTS_MAX, NODES_MAX, SECONDS_MAX, SWITCHES_MAX};
use crate::network::LinkQuality;

pub use fault::{Fault, TimedFault};
use swarm::swarm;

/// What a run consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// The seed that it is played under, if no other is named.
    pub seed: Option<u64>,
    /// Nodes: `node1` and so on. All may attach to all switches.
    pub nodes: usize,
    /// Switches: `fs1` and so on.
    pub switches: usize,
    /// How long faults happen, in simulated seconds. Faults that last longer are ended.
    pub disturbed_s: u64,
    /// How long nothing breaks after that, until everything has to be in order.
    pub quiet_s: u64,
    /// A bug to be found: the checkers are tried on it.
    pub planted: Option<PlantedBug>,
    /// How links treat packets that no fault concerns.
    pub network: LinkQuality,
    /// Of a million events of a switch, how many others overtake; 60 were recorded on a busy one.
    pub disorder_ppm: u64,
    /// What people do.
    pub workload: Workload,
    /// Nodes whose clocks are off from the start.
    pub clocks: Vec<ClockSetting>,
    /// What breaks, and when.
    pub faults: Vec<TimedFault>,
}

/// What people do, all the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Calls that come in at all switches together, in a hundred seconds.
    pub calls_per_100_s: u64,
    /// Commands by REST for a call that waits for them, on average over all such calls.
    pub commands_per_call: u64,
    /// Writes to documents by all nodes together, in a hundred seconds.
    pub writes_per_100_s: u64,
    /// Listings of all channels by REST, in a hundred seconds.
    pub listings_per_100_s: u64,
}

/// A node whose clocks are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSetting {
    /// Its number, from 1.
    pub node: usize,
    /// How far its time of day is ahead, in milliseconds.
    #[serde(default)]
    pub offset_ms: i64,
    /// How much too fast its clocks run, in millionths.
    #[serde(default)]
    pub drift_ppm: i32,
}

/// A bug that is not in the program, but made to happen around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum PlantedBug {
    /// The first node takes every refusal of the gate for a consent.
    IgnoredRefusal,
    /// No node hears that a call has ended.
    MissedHangups,
    /// The disks of all nodes only say that they have synced.
    IgnoredSync,
    /// Every step of a flow comes to its switch twice.
    RepeatedSteps,
    /// A command for a call that is played to comes to its switch three hundred times.
    FloodedQueue,
    /// A step that plays something comes to its switch as another one.
    ChangedSteps,
    /// Nodes acknowledge writes that they have not made.
    ForgottenWrites,
    /// Every command that REST took comes to its switch twice.
    RepeatedCommands,
    /// Every third step bears the epoch before.
    FallingEpochs,
    /// REST answers that it failed where it did not.
    FailingRest,
}

impl Default for Scenario {
    /// Three nodes, two switches, one minute of calls, and nothing breaks.
    fn default() -> Self {
        Self {
            seed: None,
            nodes: 3,
            switches: 2,
            disturbed_s: 60,
            quiet_s: 30,
            planted: None,
            network: LinkQuality::default(),
            disorder_ppm: 60,
            workload: Workload::default(),
            clocks: Vec::new(),
            faults: Vec::new(),
        }
    }
}

impl Default for Workload {
    /// A small office in the morning.
    fn default() -> Self {
        Self { calls_per_100_s: 100, commands_per_call: 3, writes_per_100_s: 20, listings_per_100_s: 20 }
    }
}

impl Scenario {
    /// The scenario that a seed draws from the default swarm, with numbers of nodes and switches in place of the drawn ones,
    /// neither of them 0.
    pub fn swarm(seed: u64, nodes: Option<usize>, switches: Option<usize>) -> Self {
        swarm(seed, nodes, switches)
    }

    /// Reads a scenario from a TOML file.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Scenario`].
    #[expect(clippy::disallowed_methods, reason = "a scenario is written by people, on the real disk")]
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let scenario: Self = toml::from_str(&text)
            .map_err(|error| Error::Scenario { problem: format!("{}: {error}", path.display()) })?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The scenario as a TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Checks that everything it names is there.
    ///
    /// # Errors
    /// [`Error::Scenario`].
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |problem: String| Err(Error::Scenario { problem });
        if !(1..=NODES_MAX).contains(&self.nodes) || !(1..=SWITCHES_MAX).contains(&self.switches) {
            return wrong(format!("1 to {NODES_MAX} nodes and 1 to {SWITCHES_MAX} switches are needed"));
        }
        if self.disturbed_s.saturating_add(self.quiet_s) > SECONDS_MAX {
            return wrong(format!("disturbed_s and quiet_s together are at most {SECONDS_MAX}"));
        }
        if self.faults.len() > FAULTS_MAX {
            return wrong(format!("at most {FAULTS_MAX} faults"));
        }
        if let Some(clock) = self.clocks.iter().find(|clock| !(1..=self.nodes).contains(&clock.node)) {
            return wrong(format!("a clock of node {}: there are nodes 1 to {}", clock.node, self.nodes));
        }
        let known = |place: &Place| match place {
            Place::Node(node) => *node < self.nodes,
            Place::Switch(switch) => *switch < self.switches,
            Place::Client => true,
        };
        for timed in &self.faults {
            timed.fault.check().map_err(|problem| Error::Scenario { problem })?;
            if let Some(unknown) = timed.fault.places().iter().find(|place| !known(place)) {
                return wrong(format!("a fault at {unknown}, of which the scenario has no such machine"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_the_same_after_a_round_through_its_file() {
        for seed in 0..50 {
            let scenario = swarm(seed, None, None);
            scenario.check().unwrap();
            assert_eq!(toml::from_str::<Scenario>(&scenario.to_toml()).unwrap(), scenario);
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let text = "nodes = 2\n[[faults]]\nat_ms = 1\nfor_ms = 1\nkind = \"kill\"\nplace = \"node3\"\n";
        let problem = toml::from_str::<Scenario>(text).unwrap().check().unwrap_err().to_string();
        assert!(problem.contains("node3"), "{problem}");
        assert!(toml::from_str::<Scenario>("nodse = 2").unwrap_err().to_string().contains("nodse"));
        assert!(toml::from_str::<Scenario>(&text.replace("node3", "tower")).is_err());
    }
}
