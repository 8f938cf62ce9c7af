//! `fipple-sim shrink`: a failing scenario, made as small as it can be and still fail.

use std::process::ExitCode;

use clap::Args;
use fipple_simulation::{Error, Scenario, Trace, run as play, simulate};

use super::play::PlayArguments;
use super::run::failure;
use super::{VIOLATED, unusable};

/// Takes faults out of a failing run, one after the other, as long as it fails, and prints what is left as a scenario.
///
/// Ends with 0 if the run failed and what is left fails too, and with 1 if the run did not fail.
#[derive(Args)]
#[command(after_help = "Example:
  fipple-sim shrink --seed 7 > seven.toml
  fipple-sim run --scenario seven.toml --trace /tmp/7.trace --log info")]
pub(crate) struct ShrinkArguments {
    /// The seed of the failing run.
    #[arg(long)]
    seed: u64,
    #[command(flatten)]
    play: PlayArguments,
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub(crate) fn run(arguments: &ShrinkArguments) -> ExitCode {
    match shrunk(arguments) {
        Ok(Some(scenario)) => {
            print!("{}", scenario.to_toml());
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!("fipple-sim shrink: everything holds under seed {}", arguments.seed);
            ExitCode::from(VIOLATED)
        }
        Err(error) => unusable("shrink", &error),
    }
}

fn shrunk(arguments: &ShrinkArguments) -> Result<Option<Scenario>, Error> {
    let seed = arguments.seed;
    let mut smallest = Scenario { seed: Some(seed), ..arguments.play.scenario(seed)? };
    let Some(invariant) = violated(seed, &smallest, arguments)? else { return Ok(None) };
    let mut index = smallest.faults.len();
    while let Some(next) = index.checked_sub(1) {
        index = next;
        let mut smaller = smallest.clone();
        smaller.faults.remove(index);
        if violated(seed, &smaller, arguments)?.as_ref() == Some(&invariant) {
            smallest = smaller;
            eprintln!("{} faults are enough", smallest.faults.len());
        }
    }
    Ok(Some(smallest))
}

/// The invariant that does not hold in a scenario.
fn violated(seed: u64, scenario: &Scenario, arguments: &ShrinkArguments) -> Result<Option<String>, Error> {
    let scenario = scenario.clone();
    let report = simulate(move || play(seed, &scenario, Trace::default()))?;
    eprint!("{}", failure(&report, &arguments.play));
    Ok(report.violation.map(|violation| violation.invariant))
}
