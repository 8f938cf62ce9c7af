//! Gates of two to five nodes race for one switch, with every delay and fault drawn from a seed.
//!
//! [`world`] is a [`switch`] with a hash and events, and [`nodes`] that carry out what their [`Gate`](super::Gate)s ask
//! for; [`faults`] is what befalls them. What must hold is checked after everything that happens:
//!
//! 1. a node that the switch does not name may command it for [`GATE_UNREAD_MS`] more at most, and not at all once a
//!    reading has told it;
//! 2. a holder whose answer has reached the challenger is not usurped, nor is one that has been well for long enough to
//!    answer;
//! 3. once everything is healed one node is attached, the one that the switch names, and stays.

mod faults;
mod nodes;
mod switch;
mod world;

use self::faults::Kind;
use self::world::{Mistake, Setup, Tally, World};
use crate::limits::{GATE_ANSWER_MS, GATE_CHECK_MS, GATE_PATIENCE_MS};

/// How long faults last, in simulated milliseconds; how long until everything has settled; how long it stays so.
const FAULTS_MS: u64 = 14_000;
const SETTLED_MS: u64 = 2 * GATE_PATIENCE_MS + 2 * GATE_CHECK_MS + 4 * GATE_ANSWER_MS;
const STAYS_MS: u64 = 6_000;

/// Lets everything happen that the seed draws of these kinds.
fn race(seed: u64, kinds: &[Kind], mistake: Mistake) -> Result<Tally, String> {
    let mut world = World::new(seed, Setup { mistake, ..Setup::default() });
    world.plan_faults(kinds, FAULTS_MS);
    world.run_until(FAULTS_MS)?;
    world.heal();
    world.run_until(FAULTS_MS + SETTLED_MS)?;
    world.is_settled()?;
    let changes = world.tally.changes;
    world.run_until(FAULTS_MS + SETTLED_MS + STAYS_MS)?;
    if world.tally.changes != changes {
        return Err("it does not stay settled".to_owned());
    }
    world.is_settled().map(|()| world.tally)
}

/// Races with all of these seeds; what happened in them, each together.
fn race_all(seeds: std::ops::Range<u64>, kinds: &[Kind]) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds {
        match race(seed, kinds, Mistake::None) {
            Ok(tally) => sum.add(tally),
            Err(problem) => panic!("seed {seed}: {problem}"),
        }
    }
    sum
}

/// Whether a mistake is noticed with at least one of a few hundred seeds; says how.
fn is_found(kinds: &[Kind], mistake: Mistake, problem: &str) -> bool {
    (0..300).any(|seed| race(seed, kinds, mistake).is_err_and(|found| found.contains(problem)))
}

#[test]
fn nodes_that_die_return_and_leave() {
    let tally = race_all(0..3_000, &[Kind::Kill, Kind::Leave, Kind::GiveUp, Kind::Still]);
    assert!(tally.usurped > 100 && tally.believed > 1_000, "{tally:?}");
}

#[test]
fn nodes_that_are_cut_from_each_other_and_from_the_switch() {
    let tally =
        race_all(10_000..13_000, &[Kind::CutNodes, Kind::CutNodes, Kind::CutSwitch, Kind::DropConnection]);
    assert!(tally.usurped > 100 && tally.believed > 1_000, "{tally:?}");
}

#[test]
fn nodes_that_stand_still_while_others_are_cut_off() {
    let tally =
        race_all(20_000..22_500, &[Kind::Still, Kind::Still, Kind::CutNodes, Kind::CutSwitch, Kind::Forge]);
    assert!(tally.usurped > 100 && tally.believed > 1_000, "{tally:?}");
}

#[test]
fn everything_at_once_and_a_switch_that_is_restarted() {
    let tally = race_all(30_000..33_000, &Kind::ALL);
    assert!(tally.usurped > 100 && tally.believed > 1_000, "{tally:?}");
}

#[test]
fn a_dead_holders_gate_is_taken_in_time() {
    for seed in 0..300 {
        let mut world = World::new(seed, Setup { clusters: 1, ..Setup::default() });
        world.run_until(SETTLED_MS).unwrap();
        let dead = world.holder().unwrap();
        let second_is_still = seed % 2 == 1;
        world.kill(dead);
        if second_is_still {
            world.stand_still(world.first_of_the_living(), 60_000);
        }
        // What the members take to notice, the question, and five commands there and back.
        let mut limit_ms = world.notice_max_ms() + GATE_ANSWER_MS + 10 * world.delay_max_ms();
        if second_is_still {
            // Nobody counts on those that stand still once the members have noticed; until then the others are patient.
            limit_ms += GATE_PATIENCE_MS + GATE_CHECK_MS;
        }
        let others = world.count() - if second_is_still { 2 } else { 1 };
        world.run_until(SETTLED_MS + limit_ms).unwrap();
        let holder = world.holder();
        assert!(others == 0 || holder.is_some_and(|holder| holder != dead), "seed {seed}: {holder:?}");
    }
}

#[test]
fn two_clusters_with_one_switch_do_not_duel() {
    for seed in 0..300 {
        let mut world = World::new(seed, Setup { clusters: 2, ..Setup::default() });
        world.run_until(SETTLED_MS).unwrap();
        world.is_settled().unwrap();
        let (changes, asked) = (world.tally.changes, world.tally.asked);
        world.run_until(SETTLED_MS + 60_000).unwrap();
        assert_eq!(world.tally.changes, changes, "seed {seed}");
        assert!(world.tally.asked > asked, "seed {seed}: the other cluster asks");
    }
}

#[test]
fn the_race_notices_a_challenger_that_does_not_ask() {
    let kinds = [Kind::CutNodes];
    assert!(!is_found(&kinds, Mistake::None, ""));
    assert!(is_found(&kinds, Mistake::AsksNobody, "was well"));
}

#[test]
fn the_race_notices_a_challenger_that_ignores_the_answer() {
    assert!(is_found(&[Kind::CutNodes], Mistake::IgnoresAnswers, "has answered"));
}

#[test]
fn the_race_notices_a_holder_that_goes_on_after_its_loss() {
    assert!(is_found(&[Kind::Still], Mistake::BelievesItHolds, "may command"));
}

#[test]
fn the_race_notices_a_node_that_takes_a_gate_that_is_held() {
    assert!(is_found(&[Kind::Kill], Mistake::TakesRefusalForConsent, "may command"));
}
