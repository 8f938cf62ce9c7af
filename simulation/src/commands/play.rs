//! What `run`, `sweep` and `check-determinism` have in common: which scenario is played.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::RangedU64ValueParser;
use fipple_simulation::{Error, NODES_MAX, PlantedBug, SWITCHES_MAX, Scenario};

/// Which scenario is played.
#[derive(Args, Clone)]
pub(crate) struct PlayArguments {
    /// Nodes, in place of the number that the seed draws.
    #[arg(long, value_parser = up_to(NODES_MAX))]
    nodes: Option<usize>,
    /// Switches, in place of the number that the seed draws.
    #[arg(long, value_parser = up_to(SWITCHES_MAX))]
    switches: Option<usize>,
    /// A scenario in a TOML file, in place of the one that the seed draws. `run --print-scenario` shows one.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Makes a bug happen, to see that the checkers find it.
    #[arg(long, value_name = "BUG")]
    plant: Option<PlantedBug>,
}

/// A number from 1 to a limit.
pub(crate) fn up_to(limit: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=limit as u64)
}

impl PlayArguments {
    /// The scenario of a file, as it is there.
    pub(crate) fn of_file(path: &Path) -> Self {
        Self { nodes: None, switches: None, scenario: Some(path.to_owned()), plant: None }
    }

    /// The scenario of a seed.
    pub(crate) fn scenario(&self, seed: u64) -> Result<Scenario, Error> {
        let mut scenario = match &self.scenario {
            Some(path) => {
                let mut scenario = Scenario::from_file(path)?;
                scenario.nodes = self.nodes.unwrap_or(scenario.nodes);
                scenario.switches = self.switches.unwrap_or(scenario.switches);
                scenario
            }
            None => Scenario::swarm(seed, self.nodes, self.switches),
        };
        scenario.planted = self.plant.or(scenario.planted);
        scenario.check()?;
        Ok(scenario)
    }

    /// The same as arguments of another run of this program.
    pub(crate) fn as_arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        if let Some(nodes) = self.nodes {
            add("--nodes", nodes.to_string().into());
        }
        if let Some(switches) = self.switches {
            add("--switches", switches.to_string().into());
        }
        if let Some(scenario) = &self.scenario {
            add("--scenario", scenario.into());
        }
        if let Some(bug) = self.plant.and_then(|bug| clap::ValueEnum::to_possible_value(&bug)) {
            add("--plant", bug.get_name().into());
        }
        arguments
    }

    /// The command that plays a seed again, to be typed.
    pub(crate) fn replay_command(&self, seed: u64) -> String {
        let mut command = format!("fipple-sim run --seed {seed}");
        for argument in self.as_arguments() {
            let argument = argument.to_string_lossy();
            let is_plain = argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
            // A single quote ends the quotes, stands quoted by itself, and begins them anew.
            let quoted = format!("'{}'", argument.replace('\'', "'\\''"));
            command.push(' ');
            command.push_str(if is_plain { &argument } else { &quoted });
        }
        command
    }
}
