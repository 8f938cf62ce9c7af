use std::time::Duration;

use fipple_emulator::InboundCall;
use fipple_protocol::peer::{ChannelCommand, ChannelInfo, Refusal};
use tokio::time::sleep;

use super::world::{FENCES, World};
use crate::limits::COMMANDS_UNSTARTED_MAX;
use crate::switch::Fence;

fn command(json: &str) -> ChannelCommand {
    serde_json::from_str(json).unwrap()
}

#[tokio::test(start_paused = true)]
async fn any_node_commands_any_call() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        let attached = world.attached().await;
        let uuid = world.call("park").await;
        let owner = world.channel_when(&uuid, |info| info.owner.is_some()).await.owner.unwrap();
        let third = world.other_than(&[attached, owner]);
        third.command(&uuid, ChannelCommand::Answer).await.unwrap();
        let answered = world.channel_when(&uuid, |info| info.answered_at_ms.is_some()).await;
        assert_eq!(answered.state, "active");
        third
            .command(&uuid, command(r#"{"action":"set","name":"colour","value":"deep blue"}"#))
            .await
            .unwrap();
        let value = third.switch_api("pbx", &format!("uuid_getvar {uuid} colour")).await.unwrap();
        assert_eq!(value.trim(), "deep blue");
        third.command(&uuid, command(r#"{"action":"play","file":"long.wav"}"#)).await.unwrap();
        let playing = world.channel_when(&uuid, |info| info.application.as_deref() == Some("playback")).await;
        assert!(playing.parked);
        third.command(&uuid, ChannelCommand::Break).await.unwrap();
        world.channel_when(&uuid, |info| info.application.as_deref() != Some("playback")).await;
        third.command(&uuid, command(r#"{"action":"hangup","cause":"USER_BUSY"}"#)).await.unwrap();
        assert_eq!(world.record_at_end(&uuid).await.cause, "USER_BUSY");
        sleep(Duration::from_secs(1)).await;
        let refusal = third.command(&uuid, ChannelCommand::Answer).await.unwrap_err();
        assert_eq!(refusal, Refusal::UnknownChannel { channel: uuid });
    }
}

#[tokio::test(start_paused = true)]
async fn harmful_commands_are_refused_and_the_call_lives() {
    let world = World::new(2).await;
    world.attached().await;
    let uuid = world.call("park").await;
    world.channel_when(&uuid, |info| info.owner.is_some()).await;
    let calls = world.other_than(&[]);
    let to_itself = format!(r#"{{"action":"bridge","to":"{uuid}"}}"#);
    for json in [
        r#"{"action":"execute","application":"nosuchapp"}"#,
        r#"{"action":"set","name":"fipple_owner","value":"me"}"#,
        r#"{"action":"transfer","extension":"1 2"}"#,
        &to_itself,
    ] {
        let refusal = calls.command(&uuid, command(json)).await.unwrap_err();
        assert!(matches!(refusal, Refusal::InvalidArgument { .. }), "{json}: {refusal}");
    }
    let refusal = calls.command("nosuch", ChannelCommand::Answer).await.unwrap_err();
    assert!(matches!(refusal, Refusal::UnknownChannel { .. }), "{refusal}");
    let refusal = calls.switch_api("nosuch", "status").await.unwrap_err();
    assert!(matches!(refusal, Refusal::UnknownSwitch { .. }), "{refusal}");
    let result = calls.switch_api("pbx", "nosuch command").await.unwrap();
    assert!(result.starts_with("-ERR"), "the switch's own words: {result}");
    assert!(world.record(&uuid).await.ended.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_command_that_sends_the_call_elsewhere_ends_its_flow() {
    for fence in FENCES {
        let world = World::fenced(fence, 2).await;
        world.attached().await;
        let uuid = world.call("three").await;
        world.channel_when(&uuid, |info| info.application.as_deref() == Some("playback")).await;
        world.other_than(&[]).command(&uuid, ChannelCommand::Park).await.unwrap();
        sleep(Duration::from_secs(30)).await;
        let record = world.record(&uuid).await;
        assert_eq!((record.ended, super::world::applications(&record)), (None, vec!["answer", "playback"]));
        let info = world.channel_when(&uuid, |_| true).await;
        assert_eq!((info.parked, info.flow.as_deref()), (true, Some("park")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_break_ends_what_is_played_and_no_step_behind_it() {
    for fence in FENCES {
        let world = World::fenced(fence, 2).await;
        world.attached().await;
        let uuid = world.call("three").await;
        let plays = |info: &ChannelInfo| info.application.as_deref() == Some("playback");
        world.channel_when(&uuid, plays).await;
        let calls = world.other_than(&[]);
        // Behind the step that plays, and before the one that hangs up.
        calls.command(&uuid, command(r#"{"action":"play","file":"other.wav"}"#)).await.unwrap();
        calls.command(&uuid, ChannelCommand::Break).await.unwrap();
        let done =
            || async { calls.switch_api("pbx", &format!("uuid_getvar {uuid} fipple_done")).await.unwrap() };
        world.channel_when(&uuid, |info| info.done == 2 && plays(info)).await;
        assert_eq!(done().await, "2", "the switch itself knows of the step that was broken off");
        calls.command(&uuid, ChannelCommand::Break).await.unwrap();
        assert_eq!(world.record_at_end(&uuid).await.cause, "USER_BUSY", "the flow goes on to its end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bridged_caller_is_played_to_at_once() {
    for fence in FENCES {
        let world = World::fenced(fence, 2).await;
        world.attached().await;
        let uuid = world.call("park").await;
        world.channel_when(&uuid, |info| info.owner.is_some()).await;
        let calls = world.other_than(&[]);
        calls.command(&uuid, ChannelCommand::Bridge { to: "user/1001".to_owned() }).await.unwrap();
        world.channel_when(&uuid, |info| info.bridged_to.is_some()).await;
        calls.command(&uuid, command(r#"{"action":"play","file":"long.wav"}"#)).await.unwrap();
        let info = world.channel_when(&uuid, |info| info.application.as_deref() == Some("playback")).await;
        assert!(info.bridged_to.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn the_leg_that_a_call_has_dialled_is_commanded_like_any() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        world.attached().await;
        let uuid = world.call("park").await;
        world.channel_when(&uuid, |info| info.owner.is_some()).await;
        let calls = world.other_than(&[]);
        calls.command(&uuid, ChannelCommand::Bridge { to: "user/1001".to_owned() }).await.unwrap();
        let leg = world.channel_when(&uuid, |info| info.bridged_to.is_some()).await.bridged_to.unwrap();
        calls.command(&leg, command(r#"{"action":"set","name":"colour","value":"blue"}"#)).await.unwrap();
        let value = calls.switch_api("pbx", &format!("uuid_getvar {leg} colour")).await.unwrap();
        assert_eq!(value.trim(), "blue", "{fence:?}");
        calls.command(&leg, command(r#"{"action":"play","file":"long.wav"}"#)).await.unwrap();
        sleep(Duration::from_millis(200)).await;
        let executions = world.record(&leg).await.executions;
        let played = executions.iter().any(|run| run.application == "playback" && run.argument == "long.wav");
        assert!(played || fence != Fence::Strict, "{executions:?}");
        calls.command(&leg, command(r#"{"action":"hangup"}"#)).await.unwrap();
        assert_eq!(world.record_at_end(&leg).await.cause, "NORMAL_CLEARING");
        world.channel_when(&uuid, |info| info.parked && info.bridged_to.is_none()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_calls_are_bridged() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        world.attached().await;
        let (one, two) = (world.call("park").await, world.call("park").await);
        for uuid in [&one, &two] {
            world.channel_when(uuid, |info| info.owner.is_some()).await;
            world.other_than(&[]).command(uuid, ChannelCommand::Answer).await.unwrap();
        }
        let bridge = ChannelCommand::Bridge { to: two.clone() };
        world.other_than(&[]).command(&one, bridge).await.unwrap();
        let info = world.channel_when(&one, |info| info.bridged_to.is_some()).await;
        assert_eq!(info.bridged_to.as_deref(), Some(two.as_str()));
        let info = world.channel_when(&two, |info| info.bridged_to.is_some()).await;
        assert_eq!((info.bridged_to.as_deref(), info.parked), (Some(one.as_str()), false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_fipples_is_commanded_and_otherwise_left_alone() {
    for fence in FENCES {
        let world = World::fenced(fence, 3).await;
        let attached = world.attached().await;
        let uuid = world.switch.inbound_call(InboundCall::new("1", "foreign")).await.unwrap().to_string();
        let info = world.channel_when(&uuid, |info| info.parked).await;
        assert_eq!((info.owner, info.epoch), (None, 0));
        sleep(Duration::from_secs(60)).await;
        assert!(world.record(&uuid).await.ended.is_none());
        world.other_than(&[attached]).command(&uuid, command(r#"{"action":"hangup"}"#)).await.unwrap();
        assert_eq!(world.record_at_end(&uuid).await.cause, "NORMAL_CLEARING");
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_commanded_faster_than_it_follows_says_so_and_harms_no_other() {
    for fence in FENCES {
        let world = World::fenced(fence, 2).await;
        world.attached().await;
        let uuid = world.call("park").await;
        world.channel_when(&uuid, |info| info.owner.is_some()).await;
        let calls = world.other_than(&[]);
        let play = || {
            calls.command(
                &uuid,
                command(
                    r#"{"action":"execute","application":"playback","argument":"silence_stream://600000"}"#,
                ),
            )
        };
        play().await.unwrap();
        world.channel_when(&uuid, |info| info.application.as_deref() == Some("playback")).await;
        for queued in 0..COMMANDS_UNSTARTED_MAX {
            assert!(play().await.is_ok(), "{queued} wait");
        }
        let refused = play().await;
        assert!(matches!(refused, Err(Refusal::Overloaded { .. })), "{refused:?}");
        calls.command(&uuid, ChannelCommand::Break).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        play().await.unwrap();
        assert!(play().await.is_err(), "one has begun, and made room for one");
    }
}
