//! `fipple-sim run`: one seed, watched by all checkers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use fipple_simulation::{Error, Report, Trace, log_to_stderr, run as play, simulate};

use super::play::PlayArguments;
use super::{VIOLATED, print, unusable};

/// Plays one seed and says whether everything held.
///
/// Prints the SHA-256 of the trace: the same seed gives the same one, in every run of the same program.
///
/// Ends with 0 if everything held, with 1 if something did not, and with 2 if it could not be played.
#[derive(Args)]
#[command(after_help = "Examples:
  fipple-sim run --seed 7
  fipple-sim run --seed 7 --trace /tmp/7.trace --log info
  fipple-sim run --seed 7 --print-scenario > seven.toml
      then change seven.toml, and
  fipple-sim run --scenario seven.toml")]
pub(crate) struct RunArguments {
    /// What decides everything that the scenario leaves open [default: the scenario's own, or 1].
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    play: PlayArguments,
    /// Writes the trace to a file: every packet, everything that happens to a call, every fault, a line each.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Prints the scenario as TOML and plays nothing.
    #[arg(long, conflicts_with = "json")]
    print_scenario: bool,
    /// Prints the result as one JSON object; nothing if it could not be played.
    #[arg(long)]
    json: bool,
    /// Shows what the nodes log, on standard error: a level, or levels by module such as `info,fipple::calls=debug`.
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

/// The seed where neither the command line nor the scenario names one.
const DEFAULT_SEED: u64 = 1;

pub(crate) fn run(arguments: &RunArguments) -> ExitCode {
    match outcome(arguments) {
        Ok(code) => code,
        Err(error) => unusable("run", &error),
    }
}

fn outcome(arguments: &RunArguments) -> Result<ExitCode, Error> {
    let mut scenario = arguments.play.scenario(arguments.seed.unwrap_or(DEFAULT_SEED))?;
    let seed = arguments.seed.or(scenario.seed).unwrap_or(DEFAULT_SEED);
    scenario.seed = Some(seed);
    if arguments.print_scenario {
        return Ok(print("run", &scenario.to_toml(), ExitCode::SUCCESS));
    }
    if let Some(levels) = &arguments.log {
        log_to_stderr(levels)?;
    }
    let trace = match &arguments.trace {
        Some(path) => Trace::to_file(path).map_err(|source| Error::File { path: path.clone(), source })?,
        None => Trace::default(),
    };
    let report = simulate(move || play(seed, &scenario, trace))?;
    let text = match arguments.json {
        true => format!("{}\n", serde_json::to_string(&report).unwrap_or_default()),
        false => describe(&report),
    };
    if report.violation.is_none() {
        return Ok(print("run", &text, ExitCode::SUCCESS));
    }
    let code = print("run", &text, ExitCode::from(VIOLATED));
    eprint!("{}", failure(&report, &arguments.play));
    Ok(code)
}

fn describe(report: &Report) -> String {
    let Report { seed, trace_sha256, trace_lines, simulated_s, faults, calls, applications, .. } = report;
    let held = if report.violation.is_some() { "something did not hold" } else { "everything held" };
    format!(
        "seed {seed}: {held}. {simulated_s:.1} simulated seconds, {faults} faults, {calls} calls, \
         {applications} applications, {} of {} commands and {} of {} listings by REST, {} of {} writes\n\
         trace {trace_sha256} ({trace_lines} lines)\n",
        report.commands.done,
        report.commands.asked,
        report.listings.done,
        report.listings.asked,
        report.writes.done,
        report.writes.asked,
    )
}

/// What somebody needs who is to see a failing run again.
pub(crate) fn failure(report: &Report, play: &PlayArguments) -> String {
    let Some(violation) = &report.violation else { return String::new() };
    format!(
        "seed {} of commit {} FAILED at {:.6} s\n  invariant: {}\n  seen:      {}\n  again:     {}\n",
        report.seed,
        env!("FIPPLE_COMMIT"),
        violation.at_us as f64 / 1e6,
        violation.invariant,
        violation.what,
        play.replay_command(report.seed),
    )
}
