//! `fipple-sim shrink`: a failing scenario, made as small as it can be and still fail.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use fipple_simulation::{Error, Scenario};

use super::child::play;
use super::play::PlayArguments;
use super::{VIOLATED, print, unusable};

/// Takes faults out of a failing run, one after the other, as long as it fails, and prints what is left as a scenario.
///
/// Ends with 0 if the run failed and what is left fails too, with 1 if the run did not fail, and with 2 if it could not be
/// played.
#[derive(Args)]
#[command(after_help = "Example:
  fipple-sim shrink --seed 7 > seven.toml &&
  fipple-sim run --scenario seven.toml --trace /tmp/7.trace --log info")]
pub(crate) struct ShrinkArguments {
    /// The seed of the failing run.
    #[arg(long)]
    seed: u64,
    #[command(flatten)]
    play: PlayArguments,
}

pub(crate) fn run(arguments: &ShrinkArguments) -> ExitCode {
    match shrunk(arguments) {
        Ok(Some(scenario)) => print("shrink", &scenario.to_toml(), ExitCode::SUCCESS),
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
    let file = std::env::temp_dir().join(format!("fipple-sim-shrink-{}.toml", std::process::id()));
    let result = remove_faults(seed, &mut smallest, &file);
    // It may never have been made.
    let _ = std::fs::remove_file(&file);
    result.map(|failed| failed.then_some(smallest))
}

/// Takes out every fault without which the same invariant is still violated; `false` if none is with all of them.
fn remove_faults(seed: u64, smallest: &mut Scenario, file: &Path) -> Result<bool, Error> {
    let Some(invariant) = violated(seed, smallest, file)? else { return Ok(false) };
    let mut index = smallest.faults.len();
    while let Some(next) = index.checked_sub(1) {
        index = next;
        let mut smaller = smallest.clone();
        smaller.faults.remove(index);
        if violated(seed, &smaller, file)?.as_ref() == Some(&invariant) {
            *smallest = smaller;
            eprintln!("{} faults are enough for {invariant:?} not to hold", smallest.faults.len());
        }
    }
    Ok(true)
}

/// The invariant that does not hold in a scenario, which is played in a process of its own.
#[expect(clippy::disallowed_methods, reason = "the other process reads it from the real disk")]
fn violated(seed: u64, scenario: &Scenario, file: &Path) -> Result<Option<String>, Error> {
    std::fs::write(file, scenario.to_toml())
        .map_err(|source| Error::File { path: file.to_owned(), source })?;
    let report = play(seed, &PlayArguments::of_file(file), None)?;
    Ok(report.violation.map(|violation| violation.invariant))
}
