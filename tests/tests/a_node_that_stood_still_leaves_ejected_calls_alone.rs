//! A node that controls calls stands still for longer than its lease. The switch sends the calls that wait to the operator's
//! fallback, and the node commands nothing of them when it goes on, whatever it still believes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::time::Duration;

use fipple::config::Config;
use fipple::limits::FALLBACK_SECONDS_DEFAULT;
use fipple::switch::{Fallback, SwitchConfig};
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::{Config as SwitchSetup, InboundCall};
use fipple_protocol::call::{Flow, Step};
use fipple_simulation::{LinkQuality, Trace, World, simulate};

/// How long anything may take, in simulated time.
const LIMIT: Duration = Duration::from_secs(60);

/// What a call's thread sets when it has come to the operator's fallback.
const FALLBACK_REACHED: &str = "fallback=reached";

fn one_node_and_a_switch() -> World {
    let mut world = World::new(1, LinkQuality::default(), Trace::default()).unwrap();
    let mut dialplan = Dialplan::park_everything();
    let actions = [("set", FALLBACK_REACHED), ("answer", ""), ("playback", "silence_stream://3600000")];
    let actions = actions.map(|(application, argument)| Action::new(application, argument)).to_vec();
    let destination = Fallback::default().extension;
    dialplan.extensions.insert(0, Extension { destination, actions });
    world.add_switch(SwitchSetup { dialplan, ..SwitchSetup::default() }).unwrap();
    let switch = SwitchConfig {
        name: "fs1".into(),
        zone: "default".into(),
        address: "fs1:8021".into(),
        password: "ClueCon".into(),
        fallback: Fallback::default(),
        fence: None,
    };
    // Each step of this flow is over while the node stands still, or is the next when it goes on.
    let step = |application: &str, argument: &str| Step {
        application: application.to_owned(),
        argument: argument.to_owned(),
    };
    let play = || step("playback", "silence_stream://3000");
    let flow = Flow { name: "slow".to_owned(), steps: vec![play(), play(), step("hangup", "USER_BUSY")] };
    let config = Config { switches: vec![switch], flows: vec![flow], ..Config::default() };
    let node = world.add_node(config).unwrap();
    world.start_node(node).unwrap();
    world
}

fn call(world: &mut World, flow: &str) -> String {
    let mut call = InboundCall::new("1001", "5000");
    call.variables.push(("fipple_flow".to_owned(), flow.to_owned()));
    world.act(0, |switch, now| switch.inbound_call(now, &call)).unwrap().unwrap().to_string()
}

fn variable(world: &World, uuid: &str, name: &str) -> Option<String> {
    world.switch(0)?.channel_variable(uuid, name).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// What ran on a call, and whether a controller asked for it; without the script that refuses what comes too late.
fn ran(world: &World, uuid: &str) -> Vec<(String, bool)> {
    let record = world.switch(0).unwrap().ledger().call(uuid).unwrap();
    let what = |argument: &str| argument == FALLBACK_REACHED;
    let runs = record.executions.iter().filter(|run| run.application != "lua");
    runs.map(|run| {
        let name = if what(&run.argument) { "fallback" } else { &run.application };
        (name.to_owned(), run.connection.is_some())
    })
    .collect()
}

fn pass(world: &mut World, duration: Duration) {
    let end = world.now() + duration;
    let _: Option<()> = world.eventually(duration, |world| (world.now() >= end).then_some(()));
}

#[test]
fn a_node_that_stood_still_leaves_ejected_calls_alone() {
    simulate(|| {
        let mut world = one_node_and_a_switch();
        let calls = [call(&mut world, "slow"), call(&mut world, "park")];
        for uuid in &calls {
            let owner = world.eventually(LIMIT, |world| variable(world, uuid, "fipple_owner"));
            assert_eq!(owner.as_deref(), Some(world.node_id(0)));
        }
        pass(&mut world, Duration::from_secs(1));
        let epochs = calls.clone().map(|uuid| variable(&world, &uuid, "fipple_epoch").unwrap());
        world.pause_node(0);
        pass(&mut world, Duration::from_secs(FALLBACK_SECONDS_DEFAULT + 20));
        for (uuid, before) in calls.iter().zip(&epochs) {
            assert!(
                ran(&world, uuid).iter().any(|(name, _)| name == "fallback"),
                "{uuid} is at the fallback"
            );
            assert_eq!(variable(&world, uuid, "fipple_owner"), None);
            let epoch: u64 = variable(&world, uuid, "fipple_epoch").unwrap().parse().unwrap();
            assert!(epoch > before.parse().unwrap(), "the node's epoch is no longer the call's");
        }
        let before = calls.clone().map(|uuid| ran(&world, &uuid));
        world.resume_node(0);
        pass(&mut world, Duration::from_secs(90));
        for (uuid, before) in calls.iter().zip(&before) {
            assert_eq!(&ran(&world, uuid), before, "nothing more ran on {uuid}");
            assert_eq!(variable(&world, uuid, "fipple_owner"), None, "nobody has taken {uuid} back");
        }
        // The node works, and calls that come now are controlled as ever.
        let uuid = call(&mut world, "slow");
        let ended = world.eventually(LIMIT, |world| world.switch(0)?.ledger().call(&uuid)?.ended);
        assert!(ended.is_some());
    });
}
