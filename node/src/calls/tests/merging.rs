use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::call::Flow;
use fipple_protocol::peer::ChannelCommand;
use tokio::time::sleep;

use super::world::{World, applications, id};

/// Two calls of different owners: the first waits for commands, the other one follows a flow.
async fn two_calls(world: &World, flow: &str) -> [(String, NodeId); 2] {
    world.attached().await;
    let (first, owner) = owned_call(world, "park").await;
    loop {
        let (second, other) = owned_call(world, flow).await;
        if other != owner {
            return [(first, owner), (second, other)];
        }
    }
}

async fn owned_call(world: &World, flow: &str) -> (String, NodeId) {
    let uuid = world.call(flow).await;
    let owner = world.channel_when(&uuid, |info| info.owner.is_some()).await.owner.unwrap();
    (uuid, owner)
}

fn owns(world: &World, node: NodeId, call: &str) -> bool {
    world.node(node).running().unwrap().owned.way_to(call).is_some()
}

fn bridge(to: &str) -> ChannelCommand {
    ChannelCommand::Bridge { to: to.to_owned() }
}

/// Both calls have this owner, the other one is under a higher epoch, and no flow goes on.
async fn have_one_owner(world: &World, owner: NodeId, [first, second]: [&str; 2], former: NodeId) {
    for call in [first, second] {
        world.channel_when(call, |info| info.owner == Some(owner)).await;
    }
    let info = world.channel_when(second, |info| info.flow.as_deref() == Some(Flow::PARK)).await;
    assert!(info.epoch > 1, "{info:?}");
    let is_told = || owns(world, owner, first) && owns(world, owner, second) && !owns(world, former, second);
    for _ in 0..100 {
        if is_told() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("both owners are told, the former one to forget it");
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_command_bridges_have_the_owner_of_the_one_that_was_commanded() {
    let world = World::new(3).await;
    for pause_ms in [0, 500] {
        let [(first, owner), (second, former)] = two_calls(&world, "three").await;
        sleep(Duration::from_millis(pause_ms)).await;
        let third = world.other_than(&[owner, former]);
        third.command(&first, bridge(&second)).await.unwrap();
        world.channel_when(&first, |info| info.bridged_to.as_deref() == Some(&second)).await;
        have_one_owner(&world, owner, [&first, &second], former).await;
        sleep(Duration::from_secs(30)).await;
        let record = world.record(&second).await;
        assert!(record.ended.is_none() && !applications(&record).contains(&"hangup"), "its flow is over");
        // Whichever is named, the command finds its way.
        third.command(&second, ChannelCommand::Hangup { cause: Some("USER_BUSY".into()) }).await.unwrap();
        assert_eq!(world.record_at_end(&second).await.cause, "USER_BUSY");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_command_did_not_reach_goes_on_with_its_flow_under_its_new_owner() {
    let world = World::new(3).await;
    let [(first, owner), (second, former)] = two_calls(&world, "three").await;
    let third = world.other_than(&[]);
    // Somebody holds the first call, so that whoever commands it is refused; then they try again.
    let lock = format!("fipplelock/{first}");
    third.switch_api("pbx", &format!("hash insert/{lock}/somebody")).await.unwrap();
    let command = tokio::spawn({
        let (third, first, second) = (third.clone(), first.clone(), second.clone());
        async move { third.command(&first, bridge(&second)).await }
    });
    let info = world.channel_when(&second, |info| info.owner == Some(owner) && info.epoch > 1).await;
    assert!(info.bridged_to.is_none() && owns(&world, owner, &first));
    let record = world.record_at_end(&second).await;
    assert_eq!((applications(&record), record.cause), (vec!["answer", "playback", "hangup"], "USER_BUSY"));
    sleep(Duration::from_secs(1)).await;
    assert!(!owns(&world, former, &second) && !owns(&world, owner, &second));
    command.abort();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_intercepted_gets_the_owner_of_the_one_that_took_it() {
    let world = World::new(3).await;
    let [(first, owner), (second, former)] = two_calls(&world, "park").await;
    let third = world.other_than(&[]);
    third.command(&second, bridge("user/1001")).await.unwrap();
    let partner = world.channel_when(&second, |info| info.bridged_to.is_some()).await.bridged_to.unwrap();
    third.command(&first, ChannelCommand::Intercept { of: second.clone() }).await.unwrap();
    world.channel_when(&first, |info| info.bridged_to.as_deref() == Some(&second)).await;
    assert_eq!(world.record_at_end(&partner).await.cause, "PICKED_OFF");
    have_one_owner(&world, owner, [&first, &second], former).await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_goes_on_until_its_call_is_intercepted_and_then_no_more() {
    let world = World::new(3).await;
    let [(first, owner), (second, former)] = two_calls(&world, "three").await;
    world.channel_when(&second, |info| info.application.as_deref() == Some("playback")).await;
    let third = world.other_than(&[]);
    third.command(&first, ChannelCommand::Intercept { of: second.clone() }).await.unwrap();
    world.channel_when(&first, |info| info.bridged_to.as_deref() == Some(&second)).await;
    have_one_owner(&world, owner, [&first, &second], former).await;
    sleep(Duration::from_secs(30)).await;
    assert!(world.record(&second).await.ended.is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_that_the_switch_bridges_by_itself_have_one_owner_too() {
    let world = World::new(3).await;
    for flow in ["park", "three"] {
        let [(first, owner), (second, former)] = two_calls(&world, flow).await;
        let line = format!("uuid_bridge {first} {second}");
        world.other_than(&[]).switch_api("pbx", &line).await.unwrap();
        world.channel_when(&first, |info| info.bridged_to.as_deref() == Some(&second)).await;
        let one = [(owner, former, [&first, &second]), (former, owner, [&second, &first])];
        let survivor = world.channel_when(&first, |_| true).await.owner.unwrap();
        let (owner, former, [first, second]) = *one.iter().find(|(owner, ..)| *owner == survivor).unwrap();
        have_one_owner(&world, owner, [first, second], former).await;
    }
}

#[tokio::test(start_paused = true)]
async fn bridged_calls_have_one_owner_whichever_node_dies() {
    let world = World::new(3).await;
    for dying in ["owner", "attached"] {
        let [(first, owner), (second, _)] = two_calls(&world, "park").await;
        world.other_than(&[]).command(&first, bridge(&second)).await.unwrap();
        world.channel_when(&first, |info| info.bridged_to.is_some()).await;
        let node = if dying == "owner" { owner } else { world.attached().await };
        world.kill(node);
        sleep(Duration::from_secs(20)).await;
        let owners = [
            world.channel_when(&first, |info| info.owner.is_some_and(|owner| owner != node)).await.owner,
            world.channel_when(&second, |info| info.owner.is_some_and(|owner| owner != node)).await.owner,
        ];
        assert_eq!(owners[0], owners[1], "{dying}");
        world.start((1..=3).find(|number| id(*number) == node).unwrap());
        sleep(Duration::from_secs(5)).await;
    }
}
