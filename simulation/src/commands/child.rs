//! Runs of this program, one process a seed: counters that libraries keep for a process start anew in each.

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use fipple_simulation::{Error, Report};

use super::play::PlayArguments;

/// Seeds from the first to before the last: `0..100`.
#[derive(Debug, Clone)]
pub(crate) struct Seeds(pub(crate) Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range of seeds; write 0..100 for the seeds 0 to 99");
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let range = first.parse().map_err(|_| wrong())?..end.parse().map_err(|_| wrong())?;
        if range.is_empty() { Err(wrong()) } else { Ok(Self(range)) }
    }
}

/// Plays one seed in a process of its own.
pub(crate) fn play(seed: u64, play: &PlayArguments, trace: Option<&Path>) -> Result<Report, Error> {
    let failed = |problem: String| Error::Process { seed, problem };
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut arguments: Vec<OsString> = vec!["run".into(), "--json".into(), "--seed".into()];
    arguments.push(seed.to_string().into());
    arguments.extend(play.as_arguments());
    if let Some(path) = trace {
        arguments.extend(["--trace".into(), path.into()]);
    }
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        failed(format!("{}; it said: {}", output.status, said.trim()))
    })
}

/// Does `work` for every seed, `jobs` at a time, and hands each result to `take` as it comes. Stops early once `take` says
/// so, by `false`.
pub(crate) fn for_each<T: Send>(
    seeds: &Seeds,
    jobs: usize,
    work: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(u64, T) -> bool,
) {
    let remaining = Mutex::new(seeds.0.clone());
    let next = || remaining.lock().ok()?.next();
    let stopped = AtomicBool::new(false);
    let (results, incoming) = sync_channel(jobs.max(1));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let results = results.clone();
            let (work, next, stopped) = (&work, &next, &stopped);
            scope.spawn(move || {
                while let Some(seed) = next().filter(|_| !stopped.load(Ordering::Relaxed)) {
                    // Nobody takes results any more after a stop.
                    if results.send((seed, work(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for (seed, result) in &incoming {
            if !stopped.load(Ordering::Relaxed) && !take(seed, result) {
                stopped.store(true, Ordering::Relaxed);
            }
        }
    });
}

/// Runs at a time: more than any machine has processors for.
pub(crate) const JOBS_MAX: usize = 256;

/// As many jobs as there are processors.
pub(crate) fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_seeds() {
        assert_eq!("0..100".parse::<Seeds>().unwrap().0, 0..100);
        for wrong in ["", "5", "5..5", "9..1", "a..b", "1..=3"] {
            assert!(wrong.parse::<Seeds>().unwrap_err().contains("0..100"), "{wrong}");
        }
    }

    #[test]
    fn every_seed_is_done_once_or_none_after_a_stop() {
        let mut done = Vec::new();
        for_each(
            &Seeds(0..50),
            4,
            |seed| seed * 2,
            |seed, twice| {
                done.push((seed, twice));
                true
            },
        );
        done.sort_unstable();
        assert!(done.iter().copied().eq((0..50).map(|seed| (seed, seed * 2))));
        let mut taken = 0;
        for_each(
            &Seeds(0..1_000_000),
            4,
            |seed| seed,
            |_, _| {
                taken += 1;
                false
            },
        );
        assert_eq!(taken, 1);
    }
}
