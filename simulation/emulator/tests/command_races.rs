//! Controllers that race with commands: each key runs once and in its epoch, commands for two legs wait for each other in one
//! order, whoever raises an epoch is the only one who has it, and a node has one watchdog. Without the locks, or their order, the same races go wrong.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::race::{Race, hex, unlocked};
use fipple_emulator::{Config, ConnectionId};

const SEEDS: u64 = 100;

const STEP: &str = include_str!("../../../deploy/freeswitch/scripts/fipple_step.lua");
const FENCE: &str = include_str!("../../../deploy/freeswitch/scripts/fipple_fence.lua");

/// A switch whose scripts are held up between any two things that they do, longer with some seeds than with others.
fn config(seed: u64, step: &str, fence: &str) -> Config {
    let longest_pause_ms = [0, 1, 3, 20][seed as usize % 4];
    let mut config = Config { lua_pause_ms: 0..=longest_pause_ms, ..Config::default() };
    config.lua_scripts.insert("fipple_step.lua".into(), step.to_owned());
    config.lua_scripts.insert("fipple_fence.lua".into(), fence.to_owned());
    config
}

/// A command in the channel, or the same from outside.
fn command(race: &mut Race, controller: u64, epoch: &str, key: u64) {
    let line = if race.random.in_range(&(0..=1)) == 0 {
        let argument = hex(&format!("trail={key}"));
        format!(
            "sendmsg u\ncall-command: execute\nexecute-app-name: lua\nevent-lock: true\n\
             execute-app-arg: fipple_step.lua {epoch} k{key:016x} push {argument}"
        )
    } else {
        let argument = hex(&format!("u heard_{key} {controller}"));
        format!("bgapi lua fipple_fence.lua run u:{epoch} k{key:016x} uuid_setvar {argument}")
    };
    race.say(ConnectionId(controller), &line);
}

/// Two controllers that send the same commands, and then once more, while a third takes the call. Gives what went wrong, and
/// how many commands ran.
fn send_twice(seed: u64, step: &str, fence: &str) -> (Vec<String>, usize) {
    let mut race = Race::new(seed, config(seed, step, fence));
    for key in 1..=6 {
        for controller in [1, 2] {
            let epoch = if controller == 1 { "1" } else { "-" };
            command(&mut race, controller, epoch, key);
            race.wait_up_to(20);
        }
        if key == 3 {
            race.say(ConnectionId(3), "bgapi lua fipple_fence.lua take node3 u:2");
        }
    }
    race.wait(3_000);
    for key in 1..=6 {
        command(&mut race, 4, "-", key);
        race.wait(300);
    }
    race.wait(3_000);
    assert!(!race.is_locked(), "seed {seed}");
    let fence = race.switch.ledger().fence("u").unwrap();
    (fence.violations(), fence.commands.iter().filter(|run| !run.refused).count())
}

#[test]
fn a_command_that_two_controllers_send_runs_once() {
    for seed in 0..SEEDS {
        assert_eq!(send_twice(seed, STEP, FENCE), (vec![], 6), "seed {seed}");
    }
}

#[test]
fn without_the_lock_commands_run_again() {
    let wrong = |step: &str, fence: &str| {
        (0..SEEDS / 2).filter(|seed| !send_twice(*seed, step, fence).0.is_empty()).count()
    };
    let (step, fence) = (unlocked(STEP), unlocked(FENCE));
    let counts = [wrong(&step, &fence), wrong(&step, FENCE), wrong(STEP, &fence)];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

/// Controllers that bridge the same two calls in both orders of their names, while others raise their epochs. Gives how many
/// bridges came to be, and how many found a lock held for too long.
fn bridge_both_ways(seed: u64, fence: &str) -> (usize, usize) {
    let mut race = Race::new(seed, config(seed, STEP, fence));
    race.ask("originate {origination_uuid=v,fipple_epoch=1}null/x &park()");
    race.ask("uuid_setvar_multi u fipple_owner=n1;park_after_bridge=true");
    race.ask("uuid_setvar_multi v fipple_owner=n1;park_after_bridge=true");
    race.heard.clear();
    for round in 0..6_u64 {
        for (controller, [first, second]) in [(1, ["u", "v"]), (2, ["v", "u"])] {
            let (epoch, key) = (1 + round / 2, 10 * round + controller);
            let arguments = hex(&format!("{first} {second}"));
            let calls = format!("{first}:{epoch},{second}:{epoch}");
            let line = format!("api lua fipple_fence.lua run {calls} k{key:016x} uuid_bridge {arguments}");
            race.say(ConnectionId(controller), &line);
            race.wait_up_to(1);
        }
        if round % 2 == 1 {
            race.wait_up_to(30);
            race.say(ConnectionId(3), "api lua fipple_fence.lua raise v u");
        }
        race.wait_up_to(100);
    }
    race.wait(20_000);
    let replies = [1, 2].map(|controller| race.heard_by(controller)).concat();
    let raised = race.heard_by(3);
    assert!(!race.is_locked(), "seed {seed}");
    for uuid in ["u", "v"] {
        let violations = race.switch.ledger().fence(uuid).map(|fence| fence.violations()).unwrap_or_default();
        assert_eq!(violations, [""; 0], "seed {seed}");
    }
    let answered = replies.matches("Content-Length").count();
    assert_eq!((answered, raised.matches("Content-Length").count()), (12, 3), "seed {seed}");
    (replies.matches("+OK ").count(), (replies + &raised).matches(" locked").count())
}

#[test]
fn commands_for_two_legs_do_not_wait_for_each_other_in_a_circle() {
    let mut bridged = 0;
    for seed in 0..SEEDS {
        // With pauses of up to 20 ms a lock is held for longer than others wait.
        let (bridges, locked) = bridge_both_ways(seed, FENCE);
        assert!(locked == 0 || seed % 4 == 3, "seed {seed}: {locked} waited in vain");
        bridged += bridges;
    }
    assert!(bridged as u64 > 3 * SEEDS, "only {bridged} bridges");
    let unsorted = FENCE.replace("  table.sort(uuids)\n", "");
    assert_ne!(FENCE, unsorted);
    let stuck = (0..SEEDS / 2).filter(|seed| seed % 4 != 3).map(|seed| bridge_both_ways(seed, &unsorted).1);
    assert!(stuck.sum::<usize>() > 0, "the order makes no difference");
}

/// Whoever holds the gate raises, another takes, a third sends steps of the epoch that it was given first. Gives what went
/// wrong, and how many epochs were given.
fn raise_and_take(seed: u64, fence: &str) -> (Vec<String>, usize) {
    let mut race = Race::new(seed, config(seed, STEP, fence));
    race.ask("uuid_setvar u fipple_owner n1");
    race.heard.clear();
    for round in 1..=8_u64 {
        race.say(ConnectionId(1), "bgapi lua fipple_fence.lua raise u");
        race.wait_up_to(3);
        race.say(ConnectionId(2), "api lua fipple_fence.lua raise u");
        race.wait_up_to(3);
        let epoch = race.random.in_range(&(round..=3 * round));
        race.say(ConnectionId(3), &format!("api lua fipple_fence.lua take n2 u:{epoch}"));
        for step in 1..=2 {
            let line =
                format!("fipple_step.lua {epoch} {step} playback {}", hex("tone_stream://%(15,0,440)"));
            race.say(
                ConnectionId(4),
                &format!(
                    "sendmsg u\ncall-command: execute\nexecute-app-name: lua\nevent-lock: true\nexecute-app-arg: {line}"
                ),
            );
        }
        race.wait_up_to(60);
    }
    race.wait(10_000);
    let given = [2, 3].map(|controller| race.heard_by(controller)).concat();
    assert!(!race.is_locked(), "seed {seed}");
    let ledger = race.switch.ledger().fence("u").unwrap();
    let mut wrong = ledger.violations();
    let given: Vec<&str> = given.lines().filter_map(|line| line.strip_prefix("+OK u ")).collect();
    let number =
        |text: &&str| text.split(|end: char| !end.is_ascii_digit()).next().unwrap().parse::<u64>().unwrap();
    let mut given: Vec<u64> = given.iter().map(number).collect();
    let count = given.len();
    given.sort_unstable();
    wrong.extend(given.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| format!("{} twice", pair[0])));
    // Every epoch that was set was set once, whoever was told.
    let set: Vec<u64> = ledger.epochs.iter().map(|change| change.epoch).collect();
    wrong.extend(set.windows(2).filter(|pair| pair[1] <= pair[0]).map(|pair| format!("{pair:?}")));
    (wrong, count)
}

#[test]
fn an_epoch_that_is_raised_or_taken_has_one_holder() {
    let mut given = 0;
    for seed in 0..SEEDS {
        let (wrong, count) = raise_and_take(seed, FENCE);
        assert_eq!(wrong, [""; 0], "seed {seed}");
        given += count;
    }
    assert!(given as u64 > 8 * SEEDS, "only {given} epochs");
    let fence = unlocked(FENCE);
    let wrong = (0..SEEDS).filter(|seed| !raise_and_take(*seed, &fence).0.is_empty()).count() as u64;
    assert!(wrong > SEEDS / 4, "the lock makes little difference: {wrong}");
}

/// The watchdog of a node that seems to be dead finds no calls and goes, while the node comes back and several renew its lease.
/// Gives how many tasks and markers there are then.
fn retire_and_renew(seed: u64, watchdog: &str) -> (usize, usize) {
    let mut config = config(seed, STEP, FENCE);
    config.lua_scripts.insert("fipple_watchdog.lua".into(), watchdog.to_owned());
    let mut race = Race::new(seed, config);
    race.ask("lua fipple_watchdog.lua renew 2 rescue XML default n1");
    race.ask("hash insert/fipplelease/n1/1");
    race.say(ConnectionId(1), "api lua fipple_watchdog.lua n1 2 rescue XML default");
    for controller in 2..=4 {
        race.wait_up_to(30);
        race.say(ConnectionId(controller), "api lua fipple_watchdog.lua renew 2 rescue XML default n1");
    }
    // Until the scheduler has forgotten what was deleted, and before the lease is old.
    race.wait(900);
    let tasks = race.ask("show tasks").matches("fipple-watchdog-").count();
    (tasks, race.ask("hash_dump all").matches("fipplewatchdog_n1").count())
}

#[test]
fn a_node_that_comes_back_while_its_watchdog_goes_has_one() {
    let watchdog = include_str!("../../../deploy/freeswitch/scripts/fipple_watchdog.lua");
    for seed in 0..SEEDS {
        assert_eq!(retire_and_renew(seed, watchdog), (1, 1), "seed {seed}");
    }
    let careless = watchdog.replace(
        "if not is_expired(node, lease_seconds) then\n    make_task",
        "if false then\n    make_task",
    );
    assert_ne!(watchdog, careless);
    let without = (0..SEEDS).filter(|seed| retire_and_renew(*seed, &careless) != (1, 1)).count();
    assert!(without > 0, "to look again makes no difference");
}
