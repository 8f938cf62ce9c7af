use fipple_protocol::peer::{ChannelCommand, Refusal};
use tokio::time::{Duration, sleep};

use super::world::{World, id};

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
