//! What can go wrong around a simulation, as opposed to in it.

use std::io;
use std::path::PathBuf;

/// A simulation could not be run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No runtime could be had for a machine, which stays off.
    #[error("no runtime for {machine}: {source}")]
    Runtime {
        /// The machine's name.
        machine: String,
        /// What the system said.
        source: io::Error,
    },
    /// A node could not be prepared; the simulation has not begun.
    #[error("{node} could not be prepared: {source}")]
    Prepare {
        /// The node's name.
        node: String,
        /// Why.
        source: fipple::Error,
    },
    /// A scenario asks for something that there is not. Nothing was run.
    #[error("the scenario: {problem}")]
    Scenario {
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Log levels that are none. Nothing was run.
    #[error("log levels {levels:?}: {problem}")]
    LogLevels {
        /// What was given.
        levels: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another run of this program could not be started, or ended without saying what came of it.
    #[error("the run of seed {seed}: {problem}")]
    Process {
        /// The seed.
        seed: u64,
        /// What was wrong.
        problem: String,
    },
}
