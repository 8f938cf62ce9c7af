use std::time::Duration;

use fipple_protocol::peer::ChannelCommand;
use tokio::time::sleep;

use super::world::{FENCES, World, applications, id};
use crate::cluster::SwitchLink;
use crate::switch::Fence;

#[tokio::test(start_paused = true)]
async fn the_best_fence_that_is_there_is_used_and_said() {
    for fence in FENCES {
        let world = World::fenced(fence, 2).await;
        let attached = world.attached().await;
        assert_eq!(world.fact(attached).fence, Some(fence));
        let other = (1..=2).map(id).find(|node| *node != attached).unwrap();
        assert_eq!(world.fact(other).fence, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_without_the_fence_that_is_configured_is_not_attached() {
    for (there, wanted) in [(Fence::Snippet, Fence::Strict), (Fence::None, Fence::Snippet)] {
        let world = World::fenced(there, 0).await;
        *world.wanted_fence.lock().unwrap() = Some(wanted);
        world.start(1);
        sleep(Duration::from_secs(30)).await;
        assert_ne!(world.link(id(1)), SwitchLink::Attached);
        *world.wanted_fence.lock().unwrap() = Some(Fence::None);
        world.start(2);
        assert_eq!(world.attached().await, id(2));
        assert_eq!(world.fact(id(2)).fence, Some(Fence::None), "as it is configured");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_runs_once_whoever_dies_while_it_runs() {
    for fence in [Fence::Strict, Fence::Snippet] {
        for pause_ms in (0..60).step_by(4).chain([500, 1_990, 2_000, 2_020, 2_040, 2_060]) {
            let world = World::fenced(fence, 4).await;
            let attached = world.attached().await;
            let uuid = world.call("three").await;
            let owner = world.channel_when(&uuid, |info| info.owner.is_some()).await.owner.unwrap();
            sleep(Duration::from_millis(pause_ms)).await;
            world.kill(attached);
            if owner != attached {
                world.kill(owner);
            }
            let record = world.record_at_end(&uuid).await;
            let steps = applications(&record);
            assert_eq!(steps, ["answer", "playback", "hangup"], "{fence:?}, after {pause_ms} ms");
            assert_eq!(record.cause, "USER_BUSY");
            assert_eq!(world.violations(&uuid).await, [""; 0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_nodes_may_die_at_any_moment_and_every_step_runs_once() {
    for fence in [Fence::Strict, Fence::Snippet] {
        for pause_ms in (0..60).step_by(4).chain([500, 1_990, 2_000, 2_020, 2_040, 2_060]) {
            let world = World::fenced(fence, 3).await;
            world.attached().await;
            let uuid = world.call("three").await;
            sleep(Duration::from_millis(pause_ms)).await;
            (1..=3).for_each(|number| world.kill(id(number)));
            sleep(Duration::from_millis(700)).await;
            (1..=3).for_each(|number| world.start(number));
            let record = world.record_at_end(&uuid).await;
            let steps = applications(&record);
            assert_eq!(steps, ["answer", "playback", "hangup"], "{fence:?}, after {pause_ms} ms");
            assert_eq!(world.violations(&uuid).await, [""; 0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_node_still_has_to_say_when_it_comes_back_is_refused_by_the_channel() {
    for fence in [Fence::Strict, Fence::Snippet] {
        for step in 1..=3 {
            let world = World::fenced(fence, 3).await;
            let attached = world.attached().await;
            *world.cut_off_at_step.lock().unwrap() = Some(step);
            let mut calls = Vec::new();
            for _ in 0..8 {
                calls.push(world.call("three").await);
            }
            while !world.is_cut_off(attached) {
                sleep(Duration::from_millis(1)).await;
            }
            // Long enough for another node to attach, and for no call to end.
            sleep(Duration::from_secs(2)).await;
            world.reconnect(attached);
            let mut refused = 0;
            for uuid in &calls {
                let record = world.record_at_end(uuid).await;
                let steps = applications(&record);
                assert_eq!(steps, ["answer", "playback", "hangup"], "{fence:?}, cut off at step {step}");
                assert_eq!(world.violations(uuid).await, [""; 0]);
                refused += world.refused_as_stale(uuid).await;
            }
            // After the last step there is no channel left to refuse anything.
            assert_eq!(refused > 0, step < 3, "{fence:?}: what the node had left to say at step {step}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_controller_on_the_switch_itself_gets_nothing_done() {
    let world = World::fenced(Fence::Strict, 3).await;
    let attached = world.attached().await;
    let uuid = world.call("park").await;
    world.channel_when(&uuid, |info| info.owner.is_some()).await;
    world.kill(attached);
    world.channel_when(&uuid, |info| info.epoch > 1).await;
    let calls = world.other_than(&[]);
    let run = format!("lua fipple_fence.lua run {uuid}:1 - uuid_kill {}", hex(&uuid));
    let reply = calls.switch_api("pbx", &run).await.unwrap();
    assert!(reply.starts_with("-ERR stale "), "{reply}");
    assert!(world.record(&uuid).await.ended.is_none());
}

#[tokio::test(start_paused = true)]
async fn many_calls_of_a_dead_owner_are_taken_over_together() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        let attached = world.attached().await;
        let mut calls = Vec::new();
        for _ in 0..300 {
            calls.push(world.call("park").await);
        }
        for uuid in &calls {
            world.channel_when(uuid, |info| info.owner.is_some()).await;
        }
        let dead = (1..=3).map(id).find(|node| *node != attached).unwrap();
        world.kill(dead);
        for uuid in &calls {
            let info = world.channel_when(uuid, |info| info.owner != Some(dead)).await;
            let owner = world.node(info.owner.unwrap()).running().unwrap();
            for _ in 0..100 {
                if owner.owned.way_to(uuid).is_some() {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
            assert!(owner.owned.way_to(uuid).is_some(), "{fence:?}: its owner knows of it");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_back_into_fipples_extension_begins_anew() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        world.attached().await;
        let uuid = world.call("three").await;
        world.channel_when(&uuid, |info| info.application.as_deref() == Some("playback")).await;
        let transfer =
            ChannelCommand::Transfer { extension: "back".to_owned(), dialplan: None, context: None };
        world.other_than(&[]).command(&uuid, transfer).await.unwrap();
        let record = world.record_at_end(&uuid).await;
        let steps = applications(&record);
        let anew = ["answer", "playback", "hangup"];
        assert_eq!(steps[steps.len() - 3..], anew, "{fence:?}: {steps:?}");
        assert_eq!(record.cause, "USER_BUSY");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_switch_recovers_after_its_end_go_on_under_a_new_epoch() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        world.attached().await;
        let (parked, played) = (world.call("park").await, world.call("three").await);
        for uuid in [&parked, &played] {
            world.channel_when(uuid, |info| info.answered_at_ms.is_some() || info.owner.is_some()).await;
            world.other_than(&[]).command(uuid, ChannelCommand::Answer).await.unwrap();
        }
        let before =
            world.channel_when(&played, |info| info.application.as_deref() == Some("playback")).await;
        sleep(Duration::from_millis(500)).await;
        world.switch.restart(8, true).await.unwrap();
        let info = world.channel_when(&played, |info| info.epoch > before.epoch).await;
        assert!(info.owner.is_some(), "{fence:?}: {info:?}");
        let record = world.record_at_end(&played).await;
        assert_eq!(record.cause, "USER_BUSY", "{fence:?}: the flow goes on to its end");
        world.channel_when(&parked, |info| info.epoch > 1).await;
        let hang_up = ChannelCommand::Hangup { cause: None };
        world.other_than(&[]).command(&parked, hang_up).await.unwrap();
        assert_eq!(world.record_at_end(&parked).await.cause, "NORMAL_CLEARING");
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
