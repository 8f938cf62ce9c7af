use fipple_protocol::NodeId;
use fipple_protocol::peer::{ChannelCommand, Refusal};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::{Duration, sleep};

use super::world::{World, id};

/// A call whose owner is not the node that is attached to its switch: the call, its owner, the attached node.
async fn call_with_remote_owner(world: &World, flow: &str) -> (String, NodeId, NodeId) {
    let attached = world.attached().await;
    loop {
        let uuid = world.call(flow).await;
        let owner = world.channel_when(&uuid, |info| info.owner.is_some()).await.owner.unwrap();
        if owner != attached {
            return (uuid, owner, attached);
        }
    }
}

/// What Prometheus reads at a node.
fn metrics(world: &World, node: NodeId) -> String {
    let mut registry = Registry::default();
    world.node(node).metrics().register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn any_node_tells_what_all_of_them_remember_of_a_call_even_after_its_end() {
    let world = World::new(3).await;
    let attached = world.attached().await;
    let uuid = world.call("park").await;
    let owner = world.channel_when(&uuid, |info| info.owner.is_some()).await.owner.unwrap();
    world.other_than(&[attached, owner]).command(&uuid, ChannelCommand::Answer).await.unwrap();
    world.node(owner).command(&uuid, ChannelCommand::Hangup { cause: None }).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for number in 1..=3 {
        let trace = world.node(id(number)).trace(&uuid).await.unwrap();
        assert!(trace.unanswered.is_empty() && !trace.truncated);
        let told = |node, words: &str| {
            let found = trace.entries.iter().any(|entry| entry.node == node && entry.text.contains(words));
            assert!(found, "{words}: {:#?}", trace.entries);
        };
        told(attached, "answered");
        told(attached, "hung up: NORMAL_CLEARING");
        told(owner, "hangup");
    }
    let refusal = world.node(id(1)).trace("no-such-call").await.unwrap_err();
    assert!(matches!(refusal, Refusal::UnknownChannel { .. }), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_tell_any_more_is_named() {
    let world = World::new(3).await;
    let attached = world.attached().await;
    let uuid = world.call("park").await;
    world.channel_when(&uuid, |info| info.owner.is_some()).await;
    world.node(attached).command(&uuid, ChannelCommand::Answer).await.unwrap();
    let dead = (1..=3).map(id).find(|node| *node != attached).unwrap();
    world.kill(dead);
    for pause_ms in [0, 2_000] {
        sleep(Duration::from_millis(pause_ms)).await;
        let trace = world.node(attached).trace(&uuid).await.unwrap();
        assert_eq!(trace.unanswered, [dead], "silent at first, and known to be dead afterwards");
        assert!(!trace.entries.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_takeover_is_told_with_its_reason_and_measured() {
    let world = World::new(3).await;
    let (uuid, owner, attached) = call_with_remote_owner(&world, "park").await;
    world.kill(owner);
    world.channel_when(&uuid, |info| info.owner.is_some_and(|now| now != owner)).await;
    assert!(
        metrics(&world, attached).contains("fipple_takeover_seconds_count 0\n"),
        "nobody has commanded it"
    );
    world.node(attached).command(&uuid, ChannelCommand::Answer).await.unwrap();
    let told = metrics(&world, attached);
    assert!(told.contains("fipple_takeover_seconds_count 1\n"), "{told}");
    let takeovers = "fipple_call_takeovers_total{switch=\"pbx\",reason=\"owner_died\"}";
    assert!(told.contains(takeovers), "{told}");
    let trace = world.node(attached).trace(&uuid).await.unwrap();
    let appointments: Vec<_> = trace.entries.iter().filter(|entry| entry.kind == "appointment").collect();
    let reasons: Vec<_> =
        appointments.iter().map(|entry| (entry.epoch, entry.text.rsplit(": ").next().unwrap())).collect();
    assert_eq!(reasons, [(Some(1), "it is new"), (Some(2), "its owner died")]);
}

#[tokio::test(start_paused = true)]
async fn steps_are_counted_by_what_became_of_them() {
    let world = World::new(1).await;
    world.attached().await;
    let uuid = world.call("three").await;
    world.record_at_end(&uuid).await;
    sleep(Duration::from_secs(1)).await;
    let told = metrics(&world, id(1));
    assert!(told.contains("fipple_steps_total{switch=\"pbx\",result=\"done\"} 2\n"), "{told}");
    assert!(told.contains("fipple_switch_fence{switch=\"pbx\"} 2\n"), "{told}");
    let trace = world.node(id(1)).trace(&uuid).await.unwrap();
    for words in ["step 1 is done", "step 2 was sent", "hung up: USER_BUSY"] {
        assert!(
            trace.entries.iter().any(|entry| entry.text.contains(words)),
            "{words}: {:#?}",
            trace.entries
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_the_fence_refuses_is_tried_in_the_new_epoch_and_otherwise_refused_as_fenced() {
    let world = World::new(2).await;
    let attached = world.attached().await;
    let uuid = world.call("park").await;
    world.channel_when(&uuid, |info| info.owner.is_some()).await;
    let calls = world.node(attached);
    calls.switch_api("pbx", &format!("uuid_setvar {uuid} fipple_epoch 50")).await.unwrap();
    calls.command(&uuid, ChannelCommand::Answer).await.unwrap();
    assert!(world.channel_when(&uuid, |info| info.epoch > 50).await.owner.is_some());
    assert!(!metrics(&world, attached).contains("fipple_commands_fenced_total{switch=\"pbx\"} 0\n"));
    let trace = calls.trace(&uuid).await.unwrap();
    assert!(trace.entries.iter().any(|entry| entry.text.contains("answer was not done: call")), "{trace:#?}");
    // Somebody else takes the call again and again: no epoch of ours ever holds.
    let (usurper, call) = (calls.clone(), uuid.clone());
    tokio::spawn(async move {
        for epoch in 1_000.. {
            usurper.switch_api("pbx", &format!("uuid_setvar {call} fipple_epoch {epoch}000")).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    });
    sleep(Duration::from_millis(100)).await;
    let refusal = calls.command(&uuid, ChannelCommand::Break).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Fenced { .. }), "{refusal}");
}
