//! `fipple-sim` as people use it.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

use std::path::PathBuf;
use std::process::{Command, Output};

/// A short scenario with something of everything, in a file of its own.
struct ScenarioFile(PathBuf);

impl ScenarioFile {
    #[expect(clippy::disallowed_methods, reason = "it is a real file")]
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fipple-sim-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for ScenarioFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const SHORT: &str = r#"
nodes = 3
switches = 1
disturbed_s = 8
quiet_s = 2
[workload]
calls_per_100_s = 200
[[faults]]
at_ms = 4000
for_ms = 2000
kind = "kill"
place = "node1"
"#;

fn fipple_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fipple-sim")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The digest that a run prints.
fn digest(output: &Output) -> String {
    let printed = text(&output.stdout);
    let line = printed.lines().find(|line| line.starts_with("trace ")).unwrap();
    line.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn the_same_seed_gives_the_same_trace_in_two_processes_and_another_seed_another() {
    let scenario = ScenarioFile::new("same", SHORT);
    let run = |seed| {
        let output = fipple_sim(&["run", "--seed", seed, "--scenario", scenario.path()]);
        (output.status.code(), digest(&output))
    };
    let first = run("7");
    assert_eq!(first.0, Some(0));
    assert_eq!(run("7"), first);
    assert_ne!(run("8").1, first.1);
    let checked = fipple_sim(&["check-determinism", "--seeds", "1..3", "--scenario", scenario.path()]);
    assert_eq!((checked.status.code(), &*text(&checked.stdout)), (Some(0), "2 passed, 0 failed\n"));
}

#[test]
fn a_planted_bug_is_found_and_the_report_says_how_to_see_it_again() {
    let swept =
        fipple_sim(&["sweep", "--seeds", "0..20", "--plant", "snapshot-before-epoch", "--stop-at-first"]);
    assert_eq!(swept.status.code(), Some(1));
    let said = text(&swept.stderr);
    for part in ["of commit ", "FAILED at ", "invariant: ", "seen: ", "again: "] {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
    let again = said.lines().find_map(|line| line.trim().strip_prefix("again:")).unwrap().trim();
    let arguments: Vec<&str> = again.strip_prefix("fipple-sim ").unwrap().split(' ').collect();
    let again = fipple_sim(&arguments);
    assert_eq!(again.status.code(), Some(1));
    let invariant = |said: &str| said.lines().find(|line| line.contains("invariant: ")).unwrap().to_owned();
    assert_eq!(invariant(&text(&again.stderr)), invariant(&said));
}

#[test]
fn a_scenario_that_is_printed_plays_as_the_seed_that_drew_it() {
    let printed = fipple_sim(&["run", "--seed", "3", "--print-scenario"]);
    let scenario = ScenarioFile::new("printed", &text(&printed.stdout));
    let drawn = fipple_sim(&["run", "--seed", "3"]);
    assert_eq!(digest(&fipple_sim(&["run", "--scenario", scenario.path()])), digest(&drawn));
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_played() {
    let nowhere = ScenarioFile::new("nowhere", &SHORT.replace("node1", "node9"));
    let empty = ScenarioFile::new("empty", "");
    let misspelt = ScenarioFile::new("misspelt", &SHORT.replace("switches", "swtiches"));
    for (arguments, named) in [
        (vec!["run", "--scenario", nowhere.path()], "node9"),
        (vec!["run", "--scenario", misspelt.path()], "swtiches"),
        (vec!["run", "--scenario", "/nonexistent.toml"], "/nonexistent.toml"),
        (vec!["run", "--nodes", "0"], "0 is not in 1..=128"),
        (vec!["run", "--nodes", "1000"], "128"),
        (vec!["run", "--log", "loud=very"], "loud=very"),
        (vec!["run", "--seed", "many"], "many"),
        (vec!["run", "--log", "bogus"], "bogus"),
        (vec!["run", "--scenario", empty.path()], "sets nothing"),
        (vec!["sweep", "--seeds", "9..1"], "0..100"),
        (vec!["sweep", "--seeds", "0..1", "--jobs", "0"], "1..=256"),
        (vec!["bench", "--nodes", "0"], "1..=128"),
        (vec!["switch", "--rate", "nan"], "--rate"),
        (vec!["switch", "--rate", "1e-300"], "--rate"),
        (vec!["switch", "--patience", "1e19"], "a year"),
        (vec!["sweep", "--seeds", "0..1", "--scenario", nowhere.path()], "node9"),
    ] {
        let output = fipple_sim(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(named), "{arguments:?}: {said}");
    }
}

#[test]
fn a_failing_run_is_shrunk_to_what_it_needs() {
    // The fault has nothing to do with it.
    let scenario = ScenarioFile::new("shrunk", SHORT);
    let failing = ["--seed", "7", "--scenario", scenario.path(), "--plant", "repeated-steps"];
    let shrunk = fipple_sim(&[&["shrink"], &failing[..]].concat());
    assert_eq!(shrunk.status.code(), Some(0), "{}", text(&shrunk.stderr));
    let left = ScenarioFile::new("left", &text(&shrunk.stdout));
    assert!(!text(&shrunk.stdout).contains("[[faults]]"), "{}", text(&shrunk.stdout));
    let again = fipple_sim(&["run", "--scenario", left.path()]);
    assert!(again.status.code() == Some(1) && text(&again.stderr).contains("no step twice"));
    let holds = fipple_sim(&["shrink", "--seed", "7", "--scenario", scenario.path()]);
    assert_eq!(holds.status.code(), Some(1));
}
