//! What a run consists of: machines, what people do, and what breaks when. A TOML file, or drawn by a seed.

mod fault;
mod shapes;
mod swarm;

use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::Place;
use crate::error::Error;
use crate::limits::{
    CLOCK_OFFSET_MAX_MS, COMMANDS_PER_CALL_MAX, DRIFT_MAX_PPM, FAULTS_MAX, LATENCY_MAX_MS, NODES_MAX,
    PER_100_S_MAX, SECONDS_MAX, SWITCHES_MAX,
};
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
    /// How long a script of a switch may be held up whenever it asks something, in milliseconds: other things happen then
    /// between what it does, as they do on a real switch, where it runs in a thread.
    pub script_pause_ms: u64,
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
    /// How long a caller stays at most whom nobody hangs up, in seconds; most stay at least half as long.
    pub patience_s: u64,
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
    /// The switch's script runs every step of a flow twice.
    RepeatedSteps,
    /// A command for a call that is played to comes to its switch three hundred times.
    FloodedQueue,
    /// A step that plays something comes to its switch as another one.
    ChangedSteps,
    /// Nodes acknowledge writes that they have not made.
    ForgottenWrites,
    /// The switch's script runs every command that REST took twice.
    RepeatedCommands,
    /// The switch's script lowers epochs that it is to raise.
    FallingEpochs,
    /// The switch's script does not look at the epoch of a step.
    UncheckedEpoch,
    /// The switch's scripts do not look at the epoch of a command.
    UnfencedQueue,
    /// A node that attaches reads the calls before it raises their epochs.
    SnapshotBeforeEpoch,
    /// A step that was seen running when a call was taken over counts as running until it is done.
    FinalAdoption,
    /// A node goes on appointing owners after it has lost the gate.
    AppointsAfterLoss,
    /// REST answers that it failed where it did not.
    FailingRest,
    /// No renewal of a lease comes to its switch.
    ForgottenLeases,
    /// Leases are renewed for less than a takeover takes.
    ShortLeases,
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
            script_pause_ms: 0,
            workload: Workload::default(),
            clocks: Vec::new(),
            faults: Vec::new(),
        }
    }
}

impl Default for Workload {
    /// A small office in the morning.
    fn default() -> Self {
        Self {
            calls_per_100_s: 100,
            patience_s: 40,
            commands_per_call: 3,
            writes_per_100_s: 20,
            listings_per_100_s: 20,
        }
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
        let wrong = |problem: String| Error::Scenario { problem: format!("{}: {problem}", path.display()) };
        let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if table.is_empty() {
            return Err(wrong(
                "it sets nothing; `fipple-sim run --print-scenario` shows what can be set".into(),
            ));
        }
        let scenario: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        scenario.check_numbers().and_then(|()| scenario.check_faults()).map_err(wrong)?;
        Ok(scenario)
    }

    /// The scenario as a TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Checks that everything it names is there, and that every number is one that makes sense.
    ///
    /// # Errors
    /// [`Error::Scenario`].
    pub fn check(&self) -> Result<(), Error> {
        self.check_numbers().and_then(|()| self.check_faults()).map_err(|problem| Error::Scenario { problem })
    }

    fn check_numbers(&self) -> Result<(), String> {
        within("nodes", self.nodes as u64, 1..=NODES_MAX as u64)?;
        within("switches", self.switches as u64, 1..=SWITCHES_MAX as u64)?;
        within("disturbed_s", self.disturbed_s, 0..=SECONDS_MAX)?;
        within("quiet_s", self.quiet_s, 0..=SECONDS_MAX)?;
        within("disturbed_s and quiet_s together", self.disturbed_s + self.quiet_s, 1..=SECONDS_MAX)?;
        within("disorder_ppm", self.disorder_ppm, 0..=1_000_000)?;
        within("script_pause_ms", self.script_pause_ms, 0..=LATENCY_MAX_MS)?;
        self.network.check("network")?;
        let Workload { calls_per_100_s, patience_s, commands_per_call, writes_per_100_s, listings_per_100_s } =
            self.workload;
        within("calls_per_100_s", calls_per_100_s, 0..=PER_100_S_MAX)?;
        within("patience_s", patience_s, 1..=SECONDS_MAX)?;
        within("commands_per_call", commands_per_call, 0..=COMMANDS_PER_CALL_MAX)?;
        within("writes_per_100_s", writes_per_100_s, 0..=PER_100_S_MAX)?;
        within("listings_per_100_s", listings_per_100_s, 0..=PER_100_S_MAX)?;
        for clock in &self.clocks {
            within("the node of a clock", clock.node as u64, 1..=self.nodes as u64)?;
            within("offset_ms, whatever its sign,", clock.offset_ms.unsigned_abs(), 0..=CLOCK_OFFSET_MAX_MS)?;
            within(
                "drift_ppm, whatever its sign,",
                clock.drift_ppm.unsigned_abs().into(),
                0..=DRIFT_MAX_PPM,
            )?;
        }
        Ok(())
    }

    fn check_faults(&self) -> Result<(), String> {
        within("the number of faults", self.faults.len() as u64, 0..=FAULTS_MAX as u64)?;
        let exists = |place: &Place| match place {
            Place::Node(node) => *node < self.nodes,
            Place::Switch(switch) => *switch < self.switches,
            Place::Client => true,
        };
        for TimedFault { at_ms, for_ms, fault } in &self.faults {
            fault.check()?;
            if let Some(unknown) = fault.places().iter().find(|place| !exists(place)) {
                return Err(format!(
                    "a fault at {unknown}: there are node1 to node{}, fs1 to fs{} and client",
                    self.nodes, self.switches
                ));
            }
            within("at_ms of a fault", *at_ms, 0..=self.disturbed_s * 1_000)?;
            within("for_ms of a fault", *for_ms, 0..=SECONDS_MAX * 1_000)?;
        }
        Ok(())
    }
}

/// Checks a number, and names it if it is out of its range.
pub(crate) fn within(name: &str, value: u64, range: RangeInclusive<u64>) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(format!("{name} is {value}, and has to be from {} to {}", range.start(), range.end()))
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
        let problem = |text: &str| {
            let read = toml::from_str::<Scenario>(text).map_err(|error| error.to_string());
            read.and_then(|scenario| scenario.check().map_err(|error| error.to_string())).unwrap_err()
        };
        for (text, named) in [
            (text.to_owned(), "node3"),
            (text.replace("node3", "client"), "client"),
            (text.replace("node3", "node1") + "foo = 3\n", "foo"),
            (text.replace("node3", "node1").replace("at_ms = 1", "at_ms = 18446744073709551615"), "at_ms"),
            ("disturbed_s = 0\nquiet_s = 0".into(), "quiet_s"),
            ("[network]\nlatency_min_ms = 0".into(), "latency_min_ms"),
            ("[network]\nlatency_min_ms = 9\nlatency_max_ms = 8".into(), "latency_max_ms"),
            ("[network]\nloss_ppm = 5000000".into(), "loss_ppm"),
            ("[workload]\ncalls_per_100_s = 9223372036854775807".into(), "calls_per_100_s"),
            ("[[clocks]]\nnode = 1\noffset_ms = 9223372036854775807".into(), "offset_ms"),
            ("[[clocks]]\nnode = 1\ndrift_ppm = -2147483648".into(), "drift_ppm"),
        ] {
            let said = problem(&text);
            assert!(said.contains(named), "{text}: {said}");
        }
        assert!(toml::from_str::<Scenario>("nodse = 2").unwrap_err().to_string().contains("nodse"));
        assert!(toml::from_str::<Scenario>(&text.replace("node3", "tower")).is_err());
    }
}
