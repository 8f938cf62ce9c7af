use std::time::Duration;

use fipple_protocol::peer::ChannelCommand;
use tokio::time::{Instant, sleep};

use super::world::{FENCES, World, applications, id};
use crate::cluster::SwitchLink;
use crate::limits::{COMMAND_DEADLINE_MS, OWNED_UNATTENDED_MS, RECONCILE_INTERVAL_MS, SWITCH_PENDING_JOBS};
use crate::switch::Fence;

fn set(value: &str) -> ChannelCommand {
    ChannelCommand::Set { name: "mark".to_owned(), value: value.to_owned() }
}

/// Calls owned by a node that is not attached, and the attached node.
async fn call_with_remote_owner(world: &World, flow: &str) -> (String, fipple_protocol::NodeId) {
    let attached = world.attached().await;
    loop {
        let uuid = world.call(flow).await;
        let owner = world.channel_when(&uuid, |info| info.owner.is_some()).await.owner.unwrap();
        if owner != attached {
            return (uuid, owner);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_command_after_the_owners_death_succeeds() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        let (uuid, owner) = call_with_remote_owner(&world, "park").await;
        let third = world.other_than(&[world.attached().await, owner]);
        third.command(&uuid, set("before")).await.unwrap();
        world.kill(owner);
        // A command that must not run twice: the attached node tells by its id whether it has.
        third.command(&uuid, ChannelCommand::Play { file: "a.wav".to_owned() }).await.unwrap();
        let info = world.channel_when(&uuid, |info| info.owner != Some(owner)).await;
        assert!(info.owner.is_some() && info.epoch == 2, "{info:?}");
        sleep(Duration::from_secs(20)).await;
        assert_eq!(applications(&world.record(&uuid).await), ["playback"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_command_after_the_attached_nodes_death_succeeds() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        let (uuid, owner) = call_with_remote_owner(&world, "park").await;
        let attached = world.attached().await;
        let third = world.other_than(&[attached, owner]);
        third.command(&uuid, set("before")).await.unwrap();
        world.kill(attached);
        let begun = Instant::now();
        third.command(&uuid, set("after")).await.unwrap();
        assert!(begun.elapsed() < Duration::from_millis(COMMAND_DEADLINE_MS));
        let info = world.channel_when(&uuid, |info| info.owner.is_some()).await;
        // Whoever attaches raises what is fenced, so that nothing counts that was sent before.
        let epoch = if fence == Fence::None { 1 } else { 2 };
        assert_eq!((info.owner, info.epoch), (Some(owner), epoch), "an owner that lives keeps its call");
        assert_ne!(world.attached().await, attached);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_command_after_both_deaths_succeeds() {
    for fence in FENCES {
        let world = World::fenced(fence, 4).await;
        let (uuid, owner) = call_with_remote_owner(&world, "park").await;
        let attached = world.attached().await;
        let third = world.other_than(&[attached, owner]);
        world.kill(owner);
        world.kill(attached);
        third.command(&uuid, set("after")).await.unwrap();
        let info = world.channel_when(&uuid, |info| info.owner != Some(owner)).await;
        assert_eq!(info.epoch, if fence == Fence::None { 2 } else { 3 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_goes_on_after_its_owners_death_and_no_step_repeats() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        for pause_ms in [0, 1, 2, 3, 5, 10, 100, 1_000, 1_950, 1_999, 2_005] {
            let (uuid, owner) = call_with_remote_owner(&world, "three").await;
            sleep(Duration::from_millis(pause_ms)).await;
            world.kill(owner);
            let record = world.record_at_end(&uuid).await;
            assert_eq!(applications(&record), ["answer", "playback", "hangup"], "killed after {pause_ms} ms");
            assert_eq!(record.cause, "USER_BUSY");
            let number = (1..=3).find(|number| id(*number) == owner).unwrap();
            world.start(number);
            sleep(Duration::from_secs(3)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_goes_on_after_the_attached_nodes_death() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        for pause_ms in [0, 1, 3, 10, 500, 1_990, 2_010] {
            let (uuid, _) = call_with_remote_owner(&world, "three").await;
            sleep(Duration::from_millis(pause_ms)).await;
            let attached = world.attached().await;
            world.kill(attached);
            let record = world.record_at_end(&uuid).await;
            assert_eq!(record.cause, "USER_BUSY", "{fence:?}, killed after {pause_ms} ms");
            let steps = applications(&record);
            // Without a fence the step that runs at that moment may run once more.
            if fence == Fence::None {
                assert_eq!(steps.last(), Some(&"hangup"));
            } else {
                let once = ["answer", "playback", "hangup"];
                assert_eq!(steps, once, "{fence:?}, killed after {pause_ms} ms");
            }
            assert_eq!(world.violations(&uuid).await, [""; 0]);
            let number = (1..=3).find(|number| id(*number) == attached).unwrap();
            world.start(number);
            sleep(Duration::from_secs(3)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_returns_at_once_is_told_of_its_calls() {
    let world = World::new(3).await;
    let (uuid, owner) = call_with_remote_owner(&world, "park").await;
    world.kill(owner);
    let number = (1..=3).find(|number| id(*number) == owner).unwrap();
    // Before anybody has noticed that it was away.
    world.start(number);
    world.other_than(&[owner]).command(&uuid, set("after")).await.unwrap();
    let info = world.channel_when(&uuid, |info| info.epoch == 2).await;
    let running = world.node(info.owner.unwrap()).running().unwrap();
    assert!(running.owned.way_to(&uuid).is_some());
}

#[tokio::test(start_paused = true)]
async fn all_nodes_die_and_the_calls_go_on_when_they_return() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        world.attached().await;
        let (parked, played) = (world.call("park").await, world.call("three").await);
        world.channel_when(&played, |info| info.application.as_deref() == Some("playback")).await;
        world.channel_when(&parked, |info| info.owner.is_some()).await;
        (1..=3).for_each(|number| world.kill(id(number)));
        sleep(Duration::from_secs(20)).await;
        assert!(world.record(&played).await.ended.is_none(), "nobody is there to hang up");
        (1..=3).for_each(|number| world.start(number));
        let record = world.record_at_end(&played).await;
        assert_eq!(
            applications(&record),
            ["answer", "playback", "hangup"],
            "the channel had noted what is done"
        );
        world.other_than(&[]).command(&parked, set("after")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn lost_connections_are_made_again_and_calls_that_ended_meanwhile_are_forgotten() {
    let world = World::new(2).await;
    world.attached().await;
    let (kept, ended) = (world.call("park").await, world.call("park").await);
    for uuid in [&kept, &ended] {
        world.channel_when(uuid, |info| info.owner.is_some()).await;
    }
    world.switch.drop_connections().await.unwrap();
    world.switch.caller_hangup(&ended).await.unwrap();
    world.other_than(&[]).command(&kept, set("after")).await.unwrap();
    sleep(Duration::from_secs(120)).await;
    let owned: usize = (1..=2).map(|number| world.node(id(number)).running().unwrap().owned.len()).sum();
    assert_eq!(owned, 1, "the owner has asked after the call that ended unheard");
    let listed = world.other_than(&[]).list().await;
    assert_eq!(listed.channels.iter().map(|info| &info.uuid).collect::<Vec<_>>(), [&kept]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_hands_everything_over() {
    let world = World::new(3).await;
    let attached = world.attached().await;
    let mut calls = Vec::new();
    for _ in 0..30 {
        let uuid = world.call("park").await;
        world.channel_when(&uuid, |info| info.owner.is_some()).await;
        calls.push(uuid);
    }
    let leaving = world.node(attached);
    leaving.drain().await;
    assert_eq!(leaving.running().unwrap().owned.len(), 0);
    assert_eq!(world.link(attached), SwitchLink::Standby);
    let successor = world.attached().await;
    assert_ne!(successor, attached);
    assert!(leaving.switch_api("pbx", "status").await.is_ok(), "a node that leaves still works");
    world.node(successor).shutdown().await;
    world.kill(successor);
    for uuid in &calls {
        let info = world.channel_when(uuid, |info| info.owner.is_some()).await;
        assert_ne!(info.owner, Some(attached));
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_names_the_node_that_did_not_answer() {
    let world = World::new(3).await;
    let uuid = world.call("park").await;
    world.channel_when(&uuid, |info| info.owner.is_some()).await;
    let attached = world.attached().await;
    world.kill(attached);
    let listing = world.other_than(&[]).list().await;
    assert_eq!((listing.channels.len(), listing.unanswered), (0, vec![attached]));
}

#[tokio::test(start_paused = true)]
async fn one_node_attaches_and_one_that_loses_the_gate_lets_go() {
    let world = World::new(3).await;
    let attached = world.attached().await;
    let uuid = world.call("park").await;
    world.channel_when(&uuid, |info| info.owner.is_some()).await;
    sleep(Duration::from_secs(60)).await;
    let links = || (1..=3).filter(|number| world.link(id(*number)) == SwitchLink::Attached).count();
    assert_eq!((links(), world.attached().await), (1, attached));
    let other = (1..=3).map(id).find(|node| *node != attached).unwrap();
    let calls = world.node(attached);
    let core = calls.switch_api("pbx", "global_getvar core_uuid").await.unwrap();
    let key = format!("fipple/gate.{}", core.trim());
    assert_eq!(calls.switch_api("pbx", &format!("hash select/{key}")).await.unwrap(), attached.to_string());
    calls.switch_api("pbx", &format!("hash insert/{key}/{other}")).await.unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!((links(), world.attached().await), (1, other));
    world.node(attached).command(&uuid, set("after")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_a_pause_and_no_call() {
    let world = World::new(1).await;
    world.attached().await;
    for action in ["stand_by", "appoint", "send_event"] {
        *world.panics.lock().unwrap() = Some(action);
        if action == "stand_by" {
            world.switch.drop_connections().await.unwrap();
        }
        let uuid = world.call("three").await;
        assert_eq!(world.record_at_end(&uuid).await.cause, "USER_BUSY", "{action}");
        assert_eq!(*world.panics.lock().unwrap(), None, "{action} did not panic");
        sleep(Duration::from_secs(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_jobs_as_a_switch_may_run_do_not_cost_the_attachment() {
    let world = World::new(1).await;
    world.attached().await;
    let calls = world.other_than(&[]);
    let mut jobs = tokio::task::JoinSet::new();
    for _ in 0..SWITCH_PENDING_JOBS {
        let calls = calls.clone();
        jobs.spawn(async move { calls.switch_api("pbx", "msleep 70000").await });
    }
    // The table is compared with the switch meanwhile, which needs a job itself.
    sleep(Duration::from_millis(2 * RECONCILE_INTERVAL_MS)).await;
    assert_eq!(calls.metrics().switch("pbx").attachments.get(), 1);
    while let Some(job) = jobs.join_next().await {
        assert!(job.unwrap().unwrap().starts_with("+OK"));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_switch_that_never_returns_are_forgotten() {
    let world = World::new(2).await;
    world.attached().await;
    for flow in ["park", "three"] {
        let uuid = world.call(flow).await;
        world.channel_when(&uuid, |info| info.owner.is_some()).await;
    }
    let owned =
        || -> usize { (1..=2).map(|number| world.node(id(number)).running().unwrap().owned.len()).sum() };
    world.switch.crash().await;
    sleep(Duration::from_millis(OWNED_UNATTENDED_MS / 2)).await;
    assert_eq!(owned(), 2, "it may return");
    sleep(Duration::from_millis(OWNED_UNATTENDED_MS)).await;
    assert_eq!(owned(), 0);
}
