//! The engine of the simulator: two real nodes (QUIC with TLS, gossip, documents, REST, Event Socket) and an emulated
//! switch on machines that exist only in memory. Time jumps from deadline to deadline, so nothing here depends on how
//! fast this machine is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fipple::cluster::{MemberState, Members};
use fipple::config::Config;
use fipple::switch::{Fallback, SwitchConfig};
use fipple_emulator::ledger::CallRecord;
use fipple_emulator::{Config as SwitchSetup, InboundCall};
use fipple_simulation::{LinkQuality, Purpose, RestRequest, Trace, World, simulate};

/// How long anything may take, in simulated time.
const LIMIT: Duration = Duration::from_secs(60);

fn two_nodes_and_a_switch() -> World {
    let mut world = World::new(1, LinkQuality::default(), Trace::default()).unwrap();
    world.add_switch(SwitchSetup::default()).unwrap();
    let switch = SwitchConfig {
        name: "fs1".into(),
        zone: "default".into(),
        address: "fs1:8021".into(),
        password: "ClueCon".into(),
        fallback: Fallback::default(),
        fence: None,
    };
    for _ in 0..2 {
        let node = world.add_node(Config { switches: vec![switch.clone()], ..Config::default() }).unwrap();
        world.start_node(node).unwrap();
    }
    world
}

fn alive(world: &mut World, node: usize) -> usize {
    let members = world.ask(node, async |node| node.cluster().members().borrow().clone());
    let alive = |members: Arc<Members>| {
        members.all.values().filter(|member| member.state == MemberState::Alive).count()
    };
    members.map_or(0, alive)
}

/// A call comes in; gives its uuid.
fn call(world: &mut World, flow: Option<&str>) -> String {
    let mut call = InboundCall::new("1001", "5000");
    call.variables.extend(flow.map(|flow| ("fipple_flow".to_owned(), flow.to_owned())));
    world.act(0, |switch, now| switch.inbound_call(now, &call)).unwrap().unwrap().to_string()
}

fn record(world: &World, uuid: &str) -> CallRecord {
    world.switch(0).unwrap().ledger().call(uuid).unwrap().clone()
}

fn ended(world: &mut World, uuid: &str) -> CallRecord {
    let record =
        world.eventually(LIMIT, |world| Some(record(world, uuid)).filter(|call| call.ended.is_some()));
    record.unwrap_or_else(|| panic!("{uuid} did not end"))
}

/// Commands a call by the REST of a node; gives the answer's status.
fn command(world: &mut World, node: usize, uuid: &str, data: &str) -> u16 {
    world.send_rest(
        node,
        RestRequest {
            method: "POST",
            path: format!("/v2/channels/{uuid}"),
            body: Some(format!("{{\"data\":{data}}}")),
            purpose: Purpose::Command(uuid.to_owned()),
        },
    );
    let answer = world.eventually(LIMIT, World::next_answer).unwrap();
    answer.outcome.unwrap().0
}

#[test]
fn two_nodes_and_a_switch_live_in_a_simulated_world() {
    simulate(|| {
        let mut world = two_nodes_and_a_switch();
        let met = world.eventually(LIMIT, |world| (0..2).all(|node| alive(world, node) == 2).then_some(()));
        assert_eq!(met, Some(()), "both nodes see each other");
        for node in 0..2 {
            let names = world.eventually(LIMIT, |world| {
                let enrolled = world.ask(node, async |node| node.documents().enrolled().await.unwrap())?;
                let names: BTreeSet<String> = enrolled.into_iter().map(|member| member.name).collect();
                Some(names).filter(|names| names.len() == 2)
            });
            assert_eq!(names, Some(["node1", "node2"].map(str::to_owned).into()), "on the disk of {node}");
        }

        // Calls until each node owns one, each commanded through both nodes.
        let mut owners = BTreeSet::new();
        while owners.len() < 2 {
            let uuid = call(&mut world, Some("park"));
            let owner = world.eventually(LIMIT, |world| {
                Some(world.switch(0)?.channel_variable(&uuid, "fipple_owner")?.to_owned())
            });
            owners.insert(owner.unwrap());
            assert_eq!(command(&mut world, 0, &uuid, r#"{"action":"answer"}"#), 200);
            assert_eq!(command(&mut world, 1, &uuid, r#"{"action":"hangup","cause":"USER_BUSY"}"#), 200);
            let record = ended(&mut world, &uuid);
            assert!(record.answered.is_some() && record.cause == "USER_BUSY", "{record:?}");
        }
        let known: BTreeSet<String> = (0..2).map(|node| world.node_id(node).to_owned()).collect();
        assert_eq!(owners, known);

        // The built-in flow controls a call by itself.
        let uuid = call(&mut world, None);
        let record = ended(&mut world, &uuid);
        let ran = record.executions.iter().map(|execution| execution.application.as_str());
        let ran: Vec<_> = ran.filter(|application| *application != "set").collect();
        let expected = ["park", "lua", "answer", "lua", "playback", "lua", "hangup"];
        assert_eq!(ran, expected, "the dialplan's one step, then the flow's, each in its fence");

        assert_eq!(command(&mut world, 0, "no-such-call", r#"{"action":"answer"}"#), 404);
        for node in 0..2 {
            world.stop_node(node);
        }
        let stopped = world.eventually(LIMIT, |world| {
            let ended = |node| matches!(world.node_state(node), fipple_simulation::NodeState::Ended(None));
            (0..2).all(ended).then_some(())
        });
        assert_eq!(stopped, Some(()), "both nodes stop");
    });
}
