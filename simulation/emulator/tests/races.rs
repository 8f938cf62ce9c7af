//! Controllers that race for a call, one of them stale with all its steps queued: nothing is repeated, nothing is lost.
//! The scripts are held up at random between any two things that they do, and the same races without the fence go wrong.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::race::{OBSERVER, Race, hex, unlocked};
use fipple_emulator::dialplan::{Action, Extension};
use fipple_emulator::{Config, ConnectionId};

const SEEDS: u64 = 150;

/// The steps of the flow: what they write down is `trail`, an array on the channel.
const STEPS: u64 = 6;

/// The application of a step: every other plays something, so that others come while it runs.
fn application(step: u64) -> (&'static str, String) {
    match step % 2 {
        1 => ("push", format!("trail={step}")),
        _ => ("playback", format!("tone_stream://%({},0,440)", 20 * step)),
    }
}

/// How a controller sends a step.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    Script,
    Snippet,
    Bare,
}

fn message(how: Sent, epoch: u64, step: u64) -> String {
    let (name, argument) = application(step);
    let before = step - 1;
    let (name, argument) = match how {
        Sent::Script => ("lua", format!("fipple_step.lua {epoch} {step} {name} {}", hex(&argument))),
        Sent::Snippet => (
            "execute_extension",
            format!(
                "%;[fipple_run={step}:{epoch};fe={epoch};fd={before};fn={step};fx={name}:{argument}]step XML fipple"
            ),
        ),
        Sent::Bare => (name, argument),
    };
    format!(
        "sendmsg u\ncall-command: execute\nexecute-app-name: {name}\nexecute-app-arg: {argument}\nevent-lock: true"
    )
}

/// A first controller that queues its steps and never hears that others took the call, a second and a third that take
/// it at some moment and go on from what they find. Gives what the steps wrote, and the switch.
fn run(seed: u64, how: Sent) -> (String, Race) {
    let longest_pause_ms = [0, 1, 3, 40][seed as usize % 4];
    run_with(seed, how, Config { lua_pause_ms: 0..=longest_pause_ms, ..Config::default() })
}

fn run_with(seed: u64, how: Sent, config: Config) -> (String, Race) {
    let mut race = Race::new(seed, config);
    let mut unsent: Vec<u64> = (1..=STEPS).collect();
    for taker in 2..=3 {
        let first = race.random.in_range(&(0..=STEPS)) as usize;
        for step in unsent.drain(..first.min(unsent.len())).collect::<Vec<_>>() {
            race.say(ConnectionId(1), &message(how, 1, step));
        }
        race.wait_up_to(300);
        if how != Sent::Bare {
            let reply = race.ask(&format!("lua fipple_fence.lua take node{taker} u:{taker}"));
            assert_eq!(reply, format!("+OK u {taker}\n"));
        }
        let done = match how {
            Sent::Bare => race.variable("trail").matches(|digit: char| digit.is_ascii_digit()).count() as u64,
            _ => race.number("fipple_done"),
        };
        for step in done + 1..=STEPS {
            race.say(ConnectionId(taker), &message(how, taker, step));
            if race.random.in_range(&(0..=3)) == 0 {
                race.wait_up_to(50);
            }
        }
        race.wait_up_to(200);
    }
    for step in unsent {
        race.say(ConnectionId(1), &message(how, 1, step));
    }
    race.wait(20_000);
    (race.variable("trail"), race)
}

fn assert_exact(how: Sent) {
    let mut stale = 0;
    for seed in 0..SEEDS {
        let (trail, mut race) = run(seed, how);
        assert_eq!(trail, "ARRAY::1|:3|:5", "seed {seed}");
        assert_eq!(race.variable("fipple_done"), STEPS.to_string(), "seed {seed}");
        assert_eq!(race.variable("fipple_run"), "_undef_", "seed {seed}");
        let fence = race.switch.ledger().fence("u").unwrap();
        assert_eq!(fence.violations(), [""; 0], "seed {seed}");
        let runs: Vec<u64> = fence.runs.iter().map(|run| run.step).collect();
        assert_eq!(runs, (1..=STEPS).collect::<Vec<_>>(), "seed {seed}");
        for verdict in &fence.verdicts {
            // Each epoch is one controller's.
            assert_eq!(verdict.connection, Some(ConnectionId(verdict.epoch)), "seed {seed}");
        }
        let done = fence.verdicts.iter().filter(|verdict| verdict.result == "done").count();
        assert_eq!(done as u64, STEPS, "seed {seed}");
        stale += fence.verdicts.iter().filter(|verdict| verdict.result == "stale").count();
    }
    assert!(stale as u64 > SEEDS, "only {stale} steps were stale");
}

#[test]
fn the_script_lets_each_step_run_once() {
    assert_exact(Sent::Script);
}

#[test]
fn the_snippet_lets_each_step_run_once() {
    assert_exact(Sent::Snippet);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let written = |seed| {
        let (_, mut race) = run(seed, Sent::Script);
        race.say(OBSERVER, "event json ALL");
        race.ask("lua fipple_watchdog.lua node3 3 rescue");
        race.written
    };
    assert!(written(3) == written(3), "two runs of one seed differ");
    assert!(written(3) != written(7));
}

#[test]
fn without_a_fence_steps_are_repeated() {
    let wrong = (0..SEEDS).filter(|seed| run(*seed, Sent::Bare).0 != "ARRAY::1|:3|:5").count() as u64;
    assert!(wrong > SEEDS / 2, "only {wrong} of {SEEDS} races went wrong");
}

#[test]
fn a_step_that_looks_at_the_epoch_before_it_marks_runs_unseen() {
    let text = include_str!("../../../deploy/freeswitch/scripts/fipple_step.lua");
    let mark = "session:setVariable(\"fipple_run\", step .. \":\" .. epoch)\n";
    let late = "session:setVariable(\"app_uuid\"";
    let marks_late = text.replace(mark, "").replace(late, &format!("{mark}{late}"));
    assert_ne!(text, marks_late);
    let unseen = |seed| {
        let mut config = Config { lua_pause_ms: 0..=40, ..Config::default() };
        config.lua_scripts.insert("fipple_step.lua".into(), marks_late.clone());
        let (_, race) = run_with(seed, Sent::Script, config);
        race.switch.ledger().fence("u").unwrap().violations().len()
    };
    assert!((0..SEEDS).map(unseen).sum::<usize>() > 0, "nothing ran unseen");
}

/// Four takers that each try to raise the epoch, time and again: how many epochs were given twice or went back.
fn take_in_races(seed: u64, fence: Option<String>) -> usize {
    let mut config = Config { lua_pause_ms: 0..=3, ..Config::default() };
    if let Some(text) = fence {
        config.lua_scripts.insert("fipple_fence.lua".into(), text);
    }
    let mut race = Race::new(seed, config);
    race.heard.clear();
    for round in 2..12 {
        for taker in 1..=4 {
            race.say(ConnectionId(taker), &format!("api lua fipple_fence.lua take node{taker} u:{round}"));
            race.wait_up_to(2);
        }
        race.wait_up_to(30);
    }
    race.wait(3_000);
    let replies: String =
        race.heard.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
    let taken: Vec<u64> = replies
        .lines()
        .filter_map(|line| line.strip_prefix("+OK u "))
        .map(|epoch| epoch.split(|end: char| !end.is_ascii_digit()).next().unwrap().parse().unwrap())
        .collect();
    assert!(taken.len() >= 5, "seed {seed}: only {} were taken of {replies}", taken.len());
    let wrong = taken.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    wrong + usize::from(race.number("fipple_epoch") != *taken.iter().max().unwrap())
}

#[test]
fn an_epoch_is_given_once_and_never_goes_back() {
    let wrong: usize = (0..40).map(|seed| take_in_races(seed, None)).sum();
    assert_eq!(wrong, 0);
}

/// The fence, with a lock that holds nobody back.
fn unlocked_fence() -> String {
    unlocked(include_str!("../../../deploy/freeswitch/scripts/fipple_fence.lua"))
}

#[test]
fn without_the_lock_an_epoch_is_given_twice() {
    let wrong: usize = (0..40).map(|seed| take_in_races(seed, Some(unlocked_fence()))).sum();
    assert!(wrong > 20, "only {wrong} epochs went wrong");
}

/// A node takes a call at the moment at which the watchdog of its dead owner finds it: whether the node got it, and
/// whether the watchdog sent it to the fallback.
fn take_from_the_watchdog(seed: u64, fence: Option<String>) -> (bool, bool) {
    let mut config = Config { lua_pause_ms: 0..=3, ..Config::default() };
    // An extension that leaves the epoch alone, as a fallback must.
    let rescue = Extension { destination: "rescue".into(), actions: vec![Action::new("park", "")] };
    config.dialplan.extensions.insert(0, rescue);
    if let Some(text) = fence {
        config.lua_scripts.insert("fipple_fence.lua".into(), text);
    }
    let mut race = Race::new(seed, config);
    race.ask("uuid_setvar_multi u fipple_owner=n1;fipple_epoch=5");
    // Until `show channels` lists it.
    race.wait(500);
    race.heard.clear();
    race.say(ConnectionId(1), "api lua fipple_watchdog.lua n1 0 rescue");
    race.wait_up_to(60);
    race.say(ConnectionId(2), "api lua fipple_fence.lua take n2 u:6");
    race.wait(2_000);
    let heard = |connection: u64, text: &str| {
        let own = race.heard.iter().filter(|(heard_by, _)| *heard_by == ConnectionId(connection));
        own.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).any(|reply| reply.contains(text))
    };
    (heard(2, "+OK u 6"), heard(1, "moved 1"))
}

#[test]
fn a_call_is_either_taken_over_or_sent_to_the_fallback() {
    let outcomes: Vec<_> = (0..100).map(|seed| take_from_the_watchdog(seed, None)).collect();
    assert!(outcomes.iter().all(|(taken, moved)| taken != moved), "{outcomes:?}");
    assert!(outcomes.iter().any(|(taken, _)| *taken) && outcomes.iter().any(|(_, moved)| *moved));
    let unlocked = (0..100).map(|seed| take_from_the_watchdog(seed, Some(unlocked_fence())));
    assert!(unlocked.filter(|(taken, moved)| *taken && *moved).count() > 0, "the lock makes no difference");
}

/// A node whose lease ran out long ago comes back, and is given a call at the moment at which its watchdog goes through the
/// switch: whether it got the call, and where the call is.
fn take_as_the_watchdog_looks(seed: u64) -> (bool, String) {
    let mut config = Config { lua_pause_ms: 0..=3, ..Config::default() };
    let rescue = Extension { destination: "rescue".into(), actions: vec![Action::new("park", "")] };
    config.dialplan.extensions.insert(0, rescue);
    let mut race = Race::new(seed, config);
    for other in 0..20 {
        race.ask(&format!("originate {{origination_uuid=a{other}}}null/x &park()"));
    }
    race.ask("originate {origination_uuid=v,fipple_owner=n2,fipple_epoch=5}null/x &park()");
    // Until `show channels` lists them. The watchdog has others to look at before it comes to the last.
    race.wait(500);
    race.heard.clear();
    race.say(ConnectionId(1), "api lua fipple_watchdog.lua n1 3 rescue");
    race.wait_up_to(40);
    // One connection: the second is read when the first has been answered.
    race.say(ConnectionId(2), "api lua fipple_watchdog.lua renew 3 rescue XML default n1");
    race.say(ConnectionId(2), "api lua fipple_fence.lua take n1 v:6");
    race.wait(1_000);
    let own = race.heard.iter().filter(|(heard_by, _)| *heard_by == ConnectionId(2));
    let taken = own
        .map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
        .any(|reply| reply.contains("+OK v 6"));
    (taken, race.ask("uuid_getvar v fipple_owner"))
}

#[test]
fn a_call_that_is_given_to_a_node_whose_lease_was_just_renewed_stays_with_it() {
    for seed in 0..200 {
        assert_eq!(take_as_the_watchdog_looks(seed), (true, "n1".to_owned()), "{seed}");
    }
}
