//! Every kind of failure has an HTTP status and a word of its own, and a message that says what to do.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

use fipple_tests::{NodeProcess, TestCluster, TestSwitch, eventually};
use serde_json::{Value, json};

/// Status, word and whether there is a message.
fn post(node: &NodeProcess, path: &str, data: Value) -> (u16, String) {
    let answer = node.client.post(path, data.clone()).expect("the node answers");
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(
        answer.status < 400 || message.len() > 20,
        "{path} {data}: a message that teaches, not {message:?}"
    );
    assert!(answer.body["request_id"].is_string(), "{answer:?}");
    (answer.status, answer.body["error"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn rest_tells_each_failure_apart() {
    let switch = TestSwitch::start(3);
    let cluster = TestCluster::start(2, &[&switch]);
    let node = &cluster.nodes[1];

    let call = json!({"endpoint": "user/1001", "flow": "park"});
    let answer = node.client.post("/v2/channels", call).expect("the node answers");
    assert_eq!((answer.status, &answer.body["status"]), (201, &json!("success")), "{answer:?}");
    let uuid = answer.body["data"]["uuid"].as_str().expect("a call has a uuid").to_owned();
    let channel = format!("/v2/channels/{uuid}");
    eventually("the call is listed", || {
        let listed = node.data("/v2/channels")?;
        let found = listed.as_array().into_iter().flatten().any(|channel| channel["uuid"] == uuid.as_str());
        if found { Ok(()) } else { Err(listed.to_string()) }
    });

    let refused = |path: &str, data: Value, status: u16, error: &str| {
        assert_eq!(post(node, path, data.clone()), (status, error.to_owned()), "{path} {data}");
    };
    let busy = json!({"endpoint": "user/busy1"});
    refused("/v2/channels", busy, 409, "refused_by_switch");
    refused("/v2/channels", json!({"switch": "fs9", "endpoint": "user/1001"}), 404, "unknown_switch");
    refused("/v2/channels/no-such-call", json!({"action": "answer"}), 404, "unknown_channel");
    refused(&channel, json!({"action": "execute", "application": "nosuch"}), 400, "invalid_argument");
    refused(&channel, json!({"action": "bridge", "to": uuid}), 400, "invalid_argument");
    refused(&channel, json!({"action": "hangup", "cause": "X\n\napi shutdown"}), 400, "invalid_argument");
    refused(&channel, json!({"action": "dance"}), 400, "invalid_request");

    assert_eq!(post(node, &channel, json!({"action": "hangup"})), (200, String::new()));
    eventually("the ended call is unknown", || match node.client.get(&channel)?.status {
        404 => Ok(()),
        status => Err(status.to_string()),
    });
    // Nobody knows whether a switch that hangs has had a command, and one that cannot be asked has not.
    let answer =
        node.client.post("/v2/channels", json!({"endpoint": "user/1001"})).expect("the node answers");
    let channel =
        format!("/v2/channels/{}", answer.body["data"]["uuid"].as_str().expect("a call has a uuid"));
    let frozen = switch.freeze();
    refused(&channel, json!({"action": "play", "file": "a.wav"}), 504, "timed_out");
    drop(frozen);
    drop(switch);
    let gone = post(node, "/v2/cluster/switches/fs1/api", json!({"command": "status"}));
    assert_eq!(gone, (503, "switch_unavailable".to_owned()));
}
