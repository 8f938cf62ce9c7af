use std::time::Duration;

use fipple_protocol::peer::{OriginateCommand, Refusal};
use tokio::time::sleep;

use super::world::{FENCES, World, applications, id};
use crate::cluster::SwitchLink;

#[tokio::test(start_paused = true)]
async fn a_parked_call_is_answered_played_to_and_hung_up() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        let attached = world.attached().await;
        let mut calls = Vec::new();
        for _ in 0..20 {
            calls.push(world.call("").await);
        }
        for uuid in &calls {
            let record = world.record_at_end(uuid).await;
            assert_eq!(applications(&record), ["answer", "playback", "hangup"]);
            assert_eq!((record.cause, record.answered.is_some()), ("NORMAL_CLEARING", true));
        }
        sleep(Duration::from_secs(1)).await;
        for number in 1..=3 {
            let running = world.node(id(number)).running().unwrap();
            assert_eq!(running.owned.len(), 0, "a call that is over is nobody's");
        }
        assert_eq!(world.node(attached).list().await.channels.len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_spread_over_the_nodes() {
    let world = World::new(3).await;
    world.attached().await;
    let mut owners = std::collections::BTreeMap::new();
    for _ in 0..60 {
        let uuid = world.call("park").await;
        let info = world.channel_when(&uuid, |info| info.owner.is_some()).await;
        assert_eq!((info.epoch, info.done, info.flow.as_deref()), (1, 0, Some("park")));
        *owners.entry(info.owner).or_insert(0) += 1;
    }
    assert_eq!(owners.len(), 3, "{owners:?}");
    let listing = world.other_than(&[]).list().await;
    assert_eq!((listing.channels.len(), listing.unanswered.len(), listing.truncated), (60, 0, false));
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_nobody_knows_leaves_the_call_to_commands() {
    let world = World::new(1).await;
    world.attached().await;
    let uuid = world.call("nosuch").await;
    let info = world.channel_when(&uuid, |info| info.owner.is_some()).await;
    assert!(info.parked);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(applications(&world.record(&uuid).await), [""; 0]);
    assert_eq!(world.node(id(1)).running().unwrap().owned.len(), 1, "it is asked after, and kept");
}

#[tokio::test(start_paused = true)]
async fn a_new_call_is_claimed_once_it_is_answered() {
    for fence in FENCES {
        let world = World::fenced(fence, 2).await;
        world.attached().await;
        let originate = |endpoint: &str| OriginateCommand {
            switch: Some("pbx".to_owned()),
            endpoint: endpoint.to_owned(),
            flow: Some("three".to_owned()),
            caller_id_name: Some("Ann Other".to_owned()),
            caller_id_number: None,
            timeout_seconds: Some(5),
        };
        let calls = world.other_than(&[]);
        let uuid = calls.originate(originate("user/1001")).await.unwrap();
        let record = world.record_at_end(&uuid).await;
        assert_eq!(record.cause, "USER_BUSY", "the flow's own end");
        let refusal = calls.originate(originate("user/busy1")).await.unwrap_err();
        assert!(
            matches!(&refusal, Refusal::SwitchRefused { reply } if reply.contains("USER_BUSY")),
            "{refusal}"
        );
        let refusal = calls.originate(originate("user/1001 &hangup()")).await.unwrap_err();
        assert!(matches!(refusal, Refusal::InvalidArgument { .. }));
        let elsewhere = OriginateCommand { switch: Some("nosuch".to_owned()), ..originate("user/1001") };
        assert!(matches!(calls.originate(elsewhere).await.unwrap_err(), Refusal::UnknownSwitch { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_leaves_the_switch_unreachable_until_it_is_right() {
    let world = World::new(0).await;
    "wrong".clone_into(&mut world.password.lock().unwrap());
    world.start(1);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.link(id(1)), SwitchLink::Unreachable);
    let refusal = world.node(id(1)).find("x").await.unwrap_err();
    assert!(matches!(refusal, Refusal::SwitchUnavailable { .. }), "{refusal}");
    "ClueCon".clone_into(&mut world.password.lock().unwrap());
    world.start(2);
    assert_eq!(world.attached().await, id(2));
}
