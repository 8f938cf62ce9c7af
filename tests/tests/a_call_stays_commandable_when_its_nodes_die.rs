//! Three nodes, one switch, one call. It is commanded through a node that neither owns it nor is attached to its
//! switch; then its owner is killed, then the attached node; every time the next command reaches it.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

use fipple_tests::{NodeProcess, TestCluster, TestSwitch, eventually};
use serde_json::{Value, json};

/// The call as this node tells it, once it has an owner that is none of `dead`.
fn owned_call(node: &NodeProcess, uuid: &str, dead: &[String]) -> Value {
    eventually("the call has an owner", || {
        let call = node.data(&format!("/v2/channels/{uuid}"))?;
        let owner = call["owner"].as_str().ok_or_else(|| call.to_string())?;
        if dead.iter().all(|dead| dead != owner) { Ok(call) } else { Err(call.to_string()) }
    })
}

/// The node that is attached to the only switch.
fn attached_node(node: &NodeProcess) -> String {
    text(&node.data("/v2/cluster/switches").expect("a node lists its switches")[0]["attached_to"])
}

fn command(node: &NodeProcess, uuid: &str, data: Value) {
    let answer = node.client.post(&format!("/v2/channels/{uuid}"), data.clone()).expect("the node answers");
    assert_eq!(answer.status, 200, "{data}: {answer:?}");
    assert_eq!(answer.body["status"], "success", "{data}: {answer:?}");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

#[test]
fn a_call_stays_commandable_when_its_nodes_die() {
    let switch = TestSwitch::start(1);
    let mut cluster = TestCluster::start(3, &[&switch]);

    // A call whose owner is not the attached node, so that the third node is neither.
    let (uuid, owner, attached) = loop {
        let uuid = switch.inbound_call("park").to_string();
        let call = owned_call(&cluster.nodes[0], &uuid, &[]);
        let (owner, attached) = (text(&call["owner"]), attached_node(&cluster.nodes[0]));
        if owner != attached {
            break (uuid, owner, attached);
        }
    };
    let (owner_index, attached_index) = (cluster.index_of(&owner), cluster.index_of(&attached));
    let third = 3 - owner_index - attached_index;

    command(&cluster.nodes[third], &uuid, json!({"action": "answer"}));
    command(&cluster.nodes[third], &uuid, json!({"action": "set", "name": "first", "value": "yes"}));

    cluster.nodes[owner_index].kill();
    command(&cluster.nodes[third], &uuid, json!({"action": "set", "name": "second", "value": "yes"}));
    let call = owned_call(&cluster.nodes[third], &uuid, std::slice::from_ref(&owner));
    assert!(call["epoch"].as_u64() > Some(1), "the takeover raised the epoch: {call}");

    cluster.nodes[attached_index].kill();
    command(&cluster.nodes[third], &uuid, json!({"action": "set", "name": "third", "value": "yes"}));
    owned_call(&cluster.nodes[third], &uuid, &[owner, attached]);

    let api = |command: String| {
        let answer =
            cluster.nodes[third].client.post("/v2/cluster/switches/fs1/api", json!({"command": command}));
        text(&answer.expect("the node answers").body["data"]["result"])
    };
    for name in ["first", "second", "third"] {
        assert_eq!(api(format!("uuid_getvar {uuid} {name}")), "yes", "every command arrived");
    }

    command(&cluster.nodes[third], &uuid, json!({"action": "hangup", "cause": "USER_BUSY"}));
    let record = eventually("the call ends", || {
        let ledger = switch.ledger();
        let record = ledger.call(&uuid).filter(|record| record.ended.is_some());
        record.cloned().ok_or_else(|| "it goes on".to_owned())
    });
    assert!(record.answered.is_some(), "{record:?}");
    assert_eq!(record.cause, "USER_BUSY", "{record:?}");
}
