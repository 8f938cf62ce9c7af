//! Every recording of a real FreeSWITCH, played again on the emulated one: what the controller wrote goes in, and what
//! comes out is compared with what the real switch wrote.
//!
//! The differences that are known are listed, with their reasons, in `known_differences.txt`. A difference that is not
//! listed fails the test, and so does a listed one that no longer occurs: the list can only shrink. The test prints
//! lines as the list has them. To take off the list what you have mended:
//!
//!     FIPPLE_REPLAY_TAKE_OFF=1 cargo test -p fipple-emulator --test replay
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]
#![allow(clippy::disallowed_methods, reason = "the recordings are read from the real disk")]

mod alignment;
mod comparison;
mod cues;
mod frame;
mod known;
mod lab;
mod normal;
mod recording;
mod scenario;
mod stage;
mod untold;
mod uuids;

use std::collections::BTreeSet;

use known::Reckoning;
use recording::Recording;
use scenario::{Scenario, scenarios};

/// Recordings that cannot be played on the emulated switch, and why.
const NOT_PLAYED: &[(&str, &str)] = &[
    ("o_ordering/sample_inversion", "an excerpt: what the controller wrote was not recorded"),
    ("o_ordering/sample_inversion_terminal", "an excerpt: what the controller wrote was not recorded"),
];

fn is_played(recording: &Recording) -> bool {
    !NOT_PLAYED.iter().any(|(name, _)| *name == recording.name)
}

#[test]
fn the_emulated_switch_says_what_the_real_one_said() {
    let recordings: Vec<Recording> = recording::all().into_iter().filter(is_played).collect();
    let found: BTreeSet<String> = scenarios(&recordings).iter().flat_map(differences_of).collect();
    let Reckoning { unlisted, gone } = known::reckon(&found);
    let lines = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    assert!(
        unlisted.is_empty() && gone.is_empty(),
        "{} differences are not listed:\n{}\n{} listed differences no longer occur; take them off the list:\n{}",
        unlisted.len(),
        lines(&unlisted),
        gone.len(),
        lines(&gone)
    );
}

/// Plays a scenario and compares what each of its connections heard.
fn differences_of(scenario: &Scenario<'_>) -> Vec<String> {
    let performance = stage::perform(scenario);
    let connections = scenario.connections.iter().zip(&performance.heard);
    connections
        .flat_map(|((_, recording), heard)| comparison::compare(recording, heard, &performance.uuids).lines())
        .collect()
}

#[test]
fn a_recording_that_is_not_played_is_there_and_was_not_forgotten() {
    let recordings = recording::all();
    for (name, _) in NOT_PLAYED {
        assert!(recordings.iter().any(|recording| recording.name == *name), "{name}");
    }
    let played = recordings.iter().filter(|recording| is_played(recording));
    assert!(played.clone().all(|recording| recording.has_controller));
    assert_eq!(played.count(), 106);
}
