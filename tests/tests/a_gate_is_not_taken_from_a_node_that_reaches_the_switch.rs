//! Who commands a switch when nodes do not see each other, or stand still: in the simulator, so that every delay is decided
//! by a seed and nothing depends on how fast this machine is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeMap;
use std::time::Duration;

use fipple::config::Config;
use fipple::switch::SwitchConfig;
use fipple_emulator::journal::Entry;
use fipple_emulator::{Config as SwitchSetup, InboundCall};
use fipple_simulation::{LinkQuality, Observer, Place, Seen, Trace, World, simulate};

/// How long anything may take, in simulated time.
const LIMIT: Duration = Duration::from_secs(60);

/// What was commanded at the switch, and by which node.
#[derive(Default)]
struct Commands(Vec<(usize, String)>);

impl Observer for Commands {
    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) {
        if let Entry::Command { connection, line } = entry
            && let Some(node) = seen.node_of(*connection)
        {
            self.0.push((node, line.clone()));
        }
    }
}

/// Nodes, and a switch that carries one call for each of them at least.
fn world(seed: u64, nodes: usize) -> (World, Vec<String>) {
    let mut world = World::new(seed, LinkQuality::default(), Trace::default()).unwrap();
    world.add_switch(SwitchSetup::default()).unwrap();
    let switch = SwitchConfig {
        name: "fs1".into(),
        zone: "default".into(),
        address: "fs1:8021".into(),
        password: "ClueCon".into(),
        fallback: Default::default(),
        fence: None,
    };
    for _ in 0..nodes {
        let node = world.add_node(Config { switches: vec![switch.clone()], ..Config::default() }).unwrap();
        world.start_node(node).unwrap();
    }
    world.eventually(LIMIT, holder).unwrap();
    let settled = world.now() + Duration::from_secs(10);
    world.run_until(settled, &mut ());
    let mut calls = Vec::new();
    for _ in 0..8 {
        let mut call = InboundCall::new("1001", "5000");
        call.variables.push(("fipple_flow".to_owned(), "park".to_owned()));
        calls.push(world.act(0, |switch, now| switch.inbound_call(now, &call)).unwrap().unwrap().to_string());
    }
    let owned =
        |world: &mut World| owners(world, &calls).values().all(|(owner, _)| owner.is_some()).then_some(());
    world.eventually(LIMIT, owned).unwrap();
    (world, calls)
}

/// The node that holds the switch's gate.
fn holder(world: &mut World) -> Option<usize> {
    let switch = world.switch(0)?;
    let holder = switch.hash_value("fipple", &format!("gate.{}", switch.core_uuid()))?.to_owned();
    (0..world.node_count()).find(|node| world.node_id(*node) == holder)
}

/// Who owns each call, and in which epoch, as the switch says.
fn owners(world: &World, calls: &[String]) -> BTreeMap<String, (Option<usize>, String)> {
    let switch = world.switch(0).unwrap();
    let owner = |uuid: &String| {
        let owner = switch.channel_variable(uuid, "fipple_owner");
        let owner = (0..world.node_count()).find(|node| Some(world.node_id(*node)) == owner);
        let epoch = switch.channel_variable(uuid, "fipple_epoch").unwrap_or_default().to_owned();
        (uuid.clone(), (owner, epoch))
    };
    calls.iter().map(owner).collect()
}

fn cut(world: &mut World, one: usize, other: usize, cut: bool) {
    world.set_cut(Place::Node(one), Place::Node(other), cut);
    world.set_cut(Place::Node(other), Place::Node(one), cut);
}

#[test]
fn two_nodes_that_reach_the_switch_but_not_each_other_do_not_duel() {
    simulate(|| {
        let (mut world, calls) = world(1, 2);
        let attached = holder(&mut world).unwrap();
        let before = owners(&world, &calls);
        assert!(before.values().any(|(owner, _)| *owner == Some(attached)), "{before:?}");
        cut(&mut world, 0, 1, true);
        let mut commands = Commands::default();
        for _ in 0..600 {
            let moment = world.now() + Duration::from_millis(100);
            world.run_until(moment, &mut commands);
            assert_eq!(holder(&mut world), Some(attached), "at {:?}", world.now());
        }
        // Those of the node that the attached one cannot reach any more are its own by now.
        let after = owners(&world, &calls);
        for (uuid, owner) in &before {
            if owner.0 == Some(attached) {
                assert_eq!(&after[uuid], owner, "nobody has touched it");
            }
            assert_eq!(after[uuid].0, Some(attached));
        }
        let asked = commands.0.iter().any(|(node, line)| *node != attached && line == "sendevent CUSTOM");
        let answered = commands.0.iter().any(|(node, line)| *node == attached && line == "sendevent CUSTOM");
        assert!(asked && answered, "the other has asked whether the holder lives, and was answered");
        let from_other =
            commands.0.iter().filter(|(node, _)| *node != attached).map(|(_, line)| line.as_str());
        let allowed =
            ["sendevent CUSTOM", "event ", "api hash select/", "auth ", "api global_getvar core_uuid"];
        for line in from_other {
            assert!(allowed.iter().any(|start| line.starts_with(start)), "{line:?}");
        }
        cut(&mut world, 0, 1, false);
        let healed = world.now() + Duration::from_secs(30);
        world.run_until(healed, &mut ());
        assert_eq!((holder(&mut world), owners(&world, &calls)), (Some(attached), after));
    });
}

#[test]
fn a_node_that_stood_still_reads_the_gate_before_it_commands_anything() {
    for seed in 1..=3 {
        simulate(move || {
            let (mut world, calls) = world(seed, 3);
            let attached = holder(&mut world).unwrap();
            world.pause_node(attached);
            let paused = world.now() + Duration::from_secs(20);
            // What had left the node before is none of its doing.
            world.run_until(paused, &mut ());
            let successor = holder(&mut world).unwrap();
            assert_ne!(successor, attached, "another has taken its place");
            let between = owners(&world, &calls);
            assert!(between.values().all(|(owner, _)| owner.is_some_and(|owner| owner != attached)));
            // It wakes to work: its calls end, and others come in.
            for uuid in &calls[..3] {
                world.act(0, |switch, now| switch.caller_hangup(now, uuid));
            }
            world.resume_node(attached);
            let mut commands = Commands::default();
            let moment = world.now() + Duration::from_secs(30);
            world.run_until(moment, &mut commands);
            let mut its =
                commands.0.iter().filter(|(node, _)| *node == attached).map(|(_, line)| line.as_str());
            let first = its.find(|line| !line.starts_with("event ")).unwrap_or_default();
            assert!(first.starts_with("api hash select/fipple/gate."), "seed {seed}: {first:?} came first");
            let controls = |line: &&str| {
                line.starts_with("sendmsg") || line.contains(" uuid_") || line.contains(" lua ")
            };
            assert_eq!(its.find(controls), None, "seed {seed}: and it has lost it");
            assert_eq!(holder(&mut world), Some(successor));
        });
    }
}
