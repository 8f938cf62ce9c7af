//! `fipple-sim check-determinism`: the same seed twice must give the same trace.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use fipple_simulation::Error;

use super::child::{JOBS_MAX, Seeds, default_jobs, for_each, play};
use super::play::{PlayArguments, up_to};
use super::{UNUSABLE, VIOLATED, print, unusable};

/// Plays every seed twice, in two processes, and shows where the two first differ.
///
/// Ends with 0 if none did, with 1 if one did, and with 2 if a seed could not be played.
#[derive(Args)]
pub(crate) struct CheckArguments {
    /// The seeds, from the first to before the last.
    #[arg(long, value_name = "A..B")]
    seeds: Seeds,
    /// How many are checked at a time [default: as many as there are processors].
    #[arg(long, value_parser = up_to(JOBS_MAX))]
    jobs: Option<usize>,
    #[command(flatten)]
    play: PlayArguments,
}

/// Where two traces first differ.
struct Divergence {
    line: u64,
    first: String,
    second: String,
}

pub(crate) fn run(arguments: &CheckArguments) -> ExitCode {
    if !fipple_determinism::SUPPORTED {
        return unusable(
            "check-determinism",
            &"on this platform libc's clocks and randomness cannot be decided",
        );
    }
    // What is wrong with every seed is said once.
    if let Err(error) = arguments.play.scenario(arguments.seeds.0.start) {
        return unusable("check-determinism", &error);
    }
    let (mut same, mut different, mut unplayable) = (0_u64, 0_u64, 0_u64);
    let jobs = arguments.jobs.unwrap_or_else(default_jobs);
    for_each(
        &arguments.seeds,
        jobs,
        |seed| check(seed, &arguments.play),
        |seed, result| {
            match result {
                Ok(None) => same += 1,
                Ok(Some(Divergence { line, first, second })) => {
                    different += 1;
                    eprintln!(
                        "seed {seed} gave two traces, which differ first at line {line}:\n  {first}\n  {second}"
                    );
                }
                Err(error) => {
                    unplayable += 1;
                    eprintln!("seed {seed} could not be played: {error}");
                }
            }
            true
        },
    );
    let code = match (different, unplayable) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(UNUSABLE),
        _ => ExitCode::from(VIOLATED),
    };
    print("check-determinism", &format!("{same} passed, {} failed\n", different + unplayable), code)
}

fn check(seed: u64, arguments: &PlayArguments) -> Result<Option<Divergence>, Error> {
    let traces = [1, 2].map(|run| trace_path(seed, run));
    let digests: Result<Vec<String>, Error> = traces
        .iter()
        .map(|path| play(seed, arguments, Some(path)).map(|report| report.trace_sha256))
        .collect();
    let result = digests.and_then(|digests| {
        if digests[0] == digests[1] {
            return Ok(None);
        }
        let found = first_difference(&traces[0], &traces[1]);
        found.map(Some).map_err(|source| Error::File { path: traces[0].clone(), source })
    });
    for path in &traces {
        // It may never have been made.
        let _ = std::fs::remove_file(path);
    }
    result
}

fn trace_path(seed: u64, run: u32) -> PathBuf {
    std::env::temp_dir().join(format!("fipple-sim-{}-{seed}-{run}.trace", std::process::id()))
}

#[expect(clippy::disallowed_methods, reason = "traces are on the real disk")]
fn first_difference(first: &Path, second: &Path) -> io::Result<Divergence> {
    let lines = |path: &Path| File::open(path).map(|file| BufReader::new(file).lines());
    let (mut first, mut second) = (lines(first)?, lines(second)?);
    let mut line = 0;
    loop {
        line += 1;
        let mut next = || Ok::<_, io::Error>((first.next().transpose()?, second.next().transpose()?));
        let ended = || "(the trace has ended)".to_owned();
        match next()? {
            (first, second) if first == second && first.is_some() => {}
            (first, second) => {
                let (first, second) = (first.unwrap_or_else(ended), second.unwrap_or_else(ended));
                return Ok(Divergence { line, first, second });
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "traces are on the real disk")]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_found() {
        let [first, second] = ["first", "second"].map(|name| {
            std::env::temp_dir().join(format!("fipple-difference-{name}-{}", std::process::id()))
        });
        std::fs::write(&first, "a\nb\nc\n").unwrap();
        std::fs::write(&second, "a\nb\nd\n").unwrap();
        let found = first_difference(&first, &second).unwrap();
        assert_eq!((found.line, &*found.first, &*found.second), (3, "c", "d"));
        std::fs::write(&second, "a\nb\n").unwrap();
        assert_eq!(first_difference(&first, &second).unwrap().second, "(the trace has ended)");
        std::fs::remove_file(first).unwrap();
        std::fs::remove_file(second).unwrap();
    }
}
