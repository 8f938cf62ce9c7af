//! `fipple-sim sweep`: many seeds.

use std::process::ExitCode;

use clap::Args;
use fipple_simulation::{Error, Report};

use super::child::{JOBS_MAX, Seeds, default_jobs, for_each, play};
use super::play::{PlayArguments, up_to};
use super::run::failure;
use super::{UNUSABLE, VIOLATED, print, unusable};

/// Plays many seeds, each in a process of its own, and says which of them failed.
///
/// Ends with 0 if everything held, with 1 if something did not, and with 2 if a seed could not be played.
#[derive(Args)]
#[command(after_help = "Examples:
  fipple-sim sweep --seeds 0..100
  fipple-sim sweep --seeds 0..100 --plant ignored-refusal --stop-at-first='one controller a call'
      which must fail: it shows that the checkers find a node that ignores a refusal")]
pub(crate) struct SweepArguments {
    /// The seeds, from the first to before the last.
    #[arg(long, value_name = "A..B")]
    seeds: Seeds,
    /// How many are played at a time [default: as many as there are processors].
    #[arg(long, value_parser = up_to(JOBS_MAX))]
    jobs: Option<usize>,
    /// Plays no more seeds after one that failed; with an invariant, after one that failed by that.
    #[arg(long, value_name = "INVARIANT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    stop_at_first: Option<String>,
    #[command(flatten)]
    play: PlayArguments,
    /// Prints the summary as one JSON object, with the failing seeds' reports.
    #[arg(long)]
    json: bool,
}

/// What came of all seeds.
#[derive(Default, serde::Serialize)]
struct Summary {
    passed: u64,
    failed: u64,
    unplayable: u64,
    simulated_s: f64,
    calls: u64,
    faults: usize,
    failures: Vec<Report>,
}

pub(crate) fn run(arguments: &SweepArguments) -> ExitCode {
    // What is wrong with every seed is said once.
    if let Err(error) = arguments.play.scenario(arguments.seeds.0.start) {
        return unusable("sweep", &error);
    }
    let mut summary = Summary::default();
    let total = arguments.seeds.0.end - arguments.seeds.0.start;
    let jobs = arguments.jobs.unwrap_or_else(default_jobs);
    for_each(
        &arguments.seeds,
        jobs,
        |seed| play(seed, &arguments.play, None),
        |seed, result| {
            summary.add(seed, result, &arguments.play);
            let done = summary.passed + summary.failed + summary.unplayable;
            if done.is_multiple_of(PROGRESS_SEEDS) && done < total {
                eprintln!("{done} of {total} seeds, {} failed", summary.failed);
            }
            !arguments.stop_at_first.as_ref().is_some_and(|invariant| summary.has_failed_by(invariant))
        },
    );
    let code = match (summary.failed, summary.unplayable) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(UNUSABLE),
        _ => ExitCode::from(VIOLATED),
    };
    print("sweep", &describe(&summary, arguments.json), code)
}

/// After how many seeds progress is told.
const PROGRESS_SEEDS: u64 = 20;

/// Reports of failing seeds that are kept: a person reads a few.
const FAILURES_MAX: usize = 100;

impl Summary {
    /// Whether something did not hold: this invariant, or any if it is empty.
    fn has_failed_by(&self, invariant: &str) -> bool {
        let mut violations = self.failures.iter().filter_map(|report| report.violation.as_ref());
        violations.any(|violation| invariant.is_empty() || violation.invariant == invariant)
    }

    fn add(&mut self, seed: u64, result: Result<Report, Error>, arguments: &PlayArguments) {
        let report = match result {
            Ok(report) => report,
            Err(error) => {
                eprintln!("seed {seed} could not be played: {error}");
                self.unplayable += 1;
                return;
            }
        };
        self.simulated_s += report.simulated_s;
        self.calls += report.calls;
        self.faults += report.faults;
        if report.violation.is_none() {
            self.passed += 1;
            return;
        }
        eprint!("{}", failure(&report, arguments));
        self.failed += 1;
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(report);
        }
    }
}

fn describe(summary: &Summary, json: bool) -> String {
    if json {
        return serde_json::to_string(summary).unwrap_or_default() + "\n";
    }
    let Summary { passed, failed, unplayable, simulated_s, calls, faults, .. } = summary;
    let unplayed =
        if *unplayable > 0 { format!("{unplayable} seeds could not be played\n") } else { String::new() };
    format!(
        "{simulated_s:.0} simulated seconds, {calls} calls, {faults} faults\n{unplayed}{passed} passed, {} failed\n",
        failed + unplayable
    )
}
