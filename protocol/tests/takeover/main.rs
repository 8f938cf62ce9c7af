//! Controllers that die, stand still and come back, raced over thousands of seeds against one call whose channel checks
//! its steps: whatever happens, each step runs once, in order, and the flow comes to its end.
//!
//! The machine is the real one ([`fipple_protocol::call::CallMachine`]). The switch is a model of the channel's own thread and
//! of the deployed step script, cut into the moments between which anything else may happen. What an attached node does
//! is the recipe: raise the epoch, only then read the channel, then appoint. Each mistake in that order, planted, is found.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod chance;
mod race;
mod switch;

use race::{Mistake, race};

/// How many seeds are raced.
const SEEDS: u64 = 10_000;

#[test]
fn no_step_is_repeated_or_lost_whoever_dies() {
    for seed in 0..SEEDS {
        if let Err(problem) = race(seed, Mistake::None) {
            panic!("seed {seed}: {problem}");
        }
    }
}

/// Which seeds go wrong with a mistake.
fn found(mistake: Mistake) -> usize {
    (0..SEEDS / 5).filter(|seed| race(*seed, mistake).is_err()).count()
}

#[test]
fn a_channel_that_does_not_check_the_epoch_is_found_out() {
    assert!(found(Mistake::EpochNotChecked) > 0);
}

#[test]
fn a_channel_that_does_not_check_the_number_is_found_out() {
    assert!(found(Mistake::NumberNotChecked) > 0);
}

#[test]
fn a_snapshot_that_is_read_before_the_epoch_is_raised_is_found_out() {
    assert!(found(Mistake::SnapshotBeforeEpoch) > 0);
}

#[test]
fn an_adoption_that_is_taken_for_final_is_found_out() {
    assert!(found(Mistake::AdoptionFinal) > 0);
}

#[test]
fn a_channel_that_does_not_mark_what_runs_is_found_out() {
    assert!(found(Mistake::NotMarked) > 0);
}
