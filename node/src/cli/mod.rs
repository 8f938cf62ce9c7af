//! The command line: `fipple` with its commands.
//!
//! Exit status: 0 if it was done, 2 if the command line itself was wrong; `exit_status` says the others.

mod arguments;
mod call;
mod client;
mod daemon;
mod install;
mod listings;
mod logging;
pub(crate) mod output;
mod pinned;
mod setup;
pub(crate) mod signals;
pub(crate) mod table;
mod trace;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use client::{Client, Reply};

use crate::Error;
use arguments::{Arguments, Calls, Command, Switch};

/// Exit status of a command that failed for any other reason than those below.
const FAILED: u8 = 1;
/// Exit status of a command line that makes no sense; clap's own as well.
const USAGE: u8 = 2;
/// Exit status where a call, a channel or a switch is not there.
const UNKNOWN: u8 = 3;
/// Exit status where the node or the switch will not do it, nor later.
const REFUSED: u8 = 4;
/// Exit status where nothing was done, and trying again makes sense.
const NOT_NOW: u8 = 5;
/// Exit status where nobody knows whether it was done.
const NO_ANSWER: u8 = 6;

/// The program: reads the command line, does what it says, and returns the exit status.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(exit_status(&error))
        }
    }
}

/// What a script can tell failures apart by.
fn exit_status(error: &Error) -> u8 {
    match error {
        Error::Usage(_) | Error::Configuration { .. } => USAGE,
        Error::Answer { status: 404, .. } => UNKNOWN,
        Error::Answer { status: 400 | 409, .. } => REFUSED,
        Error::Answer { status: 429 | 503, .. } => NOT_NOW,
        Error::Answer { status: 504, .. } => NO_ANSWER,
        _ => FAILED,
    }
}

fn run(arguments: Arguments) -> Result<(), Error> {
    check_environment()?;
    // One thread: a node's work is many small tasks, and handing them between threads costs more than it gains.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start the runtime"))?;
    runtime.block_on(dispatch(arguments))
}

async fn dispatch(arguments: Arguments) -> Result<(), Error> {
    let Arguments { data_dir, json, command } = arguments;
    let client = || Client::open(&data_dir);
    match command {
        Command::Init(init) => setup::init(&data_dir, init),
        Command::Token(token) => setup::token(&data_dir, token),
        Command::Node(node) => daemon::run(&data_dir, *node).await,
        Command::Members => listings::members(&client()?, json).await,
        Command::Switches => listings::switches(&client()?, json).await,
        Command::Switch(Switch::Install(directories)) => install::install(&directories),
        Command::Calls { command: None | Some(Calls::List) } => listings::calls(&client()?, json).await,
        Command::Calls { command: Some(Calls::Trace { uuid }) } => trace::show(&client()?, &uuid, json).await,
        Command::Status => listings::status(&client()?, json).await,
        Command::Call { uuid, key, action } => call::command(&client()?, &uuid, key, action, json).await,
        Command::Originate(originate) => call::originate(&client()?, originate, json).await,
        Command::Api { switch, command } => call::switch_api(&client()?, &switch, &command, json).await,
        #[cfg(feature = "demo")]
        Command::Demo(demo) => crate::demo::run(demo, json).await,
    }
}

/// A mistyped `FIPPLE_*` variable would otherwise be ignored in silence.
fn check_environment() -> Result<(), Error> {
    let known = known_variables();
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    match unknown_variable(set, &known) {
        None => Ok(()),
        Some(name) => Err(Error::Configuration {
            origin: format!("environment variable {name}"),
            detail: format!("there is no such setting; there are {}", known.join(", ")),
        }),
    }
}

/// All variables that some flag of some command reads, in alphabetical order.
fn known_variables() -> Vec<String> {
    let root = Arguments::command();
    let commands = std::iter::once(&root).chain(root.get_subcommands());
    let variables = commands.flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_env);
    let mut known: Vec<_> = variables.map(|name| name.to_string_lossy().into_owned()).collect();
    known.sort();
    known.dedup();
    known
}

fn unknown_variable(set: impl IntoIterator<Item = String>, known: &[String]) -> Option<String> {
    // Kubernetes puts these into every container next to a service called fipple.
    let injected = |name: &str| name.starts_with("FIPPLE_SERVICE_") || name.starts_with("FIPPLE_PORT");
    set.into_iter().find(|name| name.starts_with("FIPPLE_") && !known.contains(name) && !injected(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn each_kind_of_failure_has_an_exit_status_of_its_own() {
        let answered = |status| exit_status(&Error::Answer { status, message: String::new() });
        let statuses = [404, 400, 409, 429, 503, 504, 500, 401].map(answered);
        assert_eq!(statuses, [3, 4, 4, 5, 5, 6, 1, 1]);
        assert_eq!(exit_status(&Error::Usage(String::new())), 2);
    }

    #[test]
    fn every_key_has_a_variable_and_a_mistyped_one_is_found() {
        let known = known_variables();
        for key in
            ["DATA_DIR", "NAME", "LISTEN", "API", "SEEDS", "SWITCH", "FLOW", "LOG_LEVEL", "API_TLS_KEY"]
        {
            assert!(known.contains(&format!("FIPPLE_{key}")), "{key}");
        }
        let found = |name: &str| unknown_variable([name.to_owned()], &known);
        assert_eq!(found("FIPPLE_LISTN").as_deref(), Some("FIPPLE_LISTN"));
        assert_eq!(found("FIPPLE_LISTEN"), None);
        assert_eq!(found("FIPPLE_SERVICE_HOST"), None);
        assert_eq!(found("PATH"), None);
    }
}
