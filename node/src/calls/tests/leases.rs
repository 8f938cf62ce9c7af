use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::ChannelCommand;
use tokio::time::{Instant, sleep, timeout};

use super::world::{FALLBACK_REACHED, World, id};
use crate::limits::{FALLBACK_SECONDS_DEFAULT, LEASE_LEFT_SECONDS, LEASE_WATCHDOG_SECONDS};

/// Within this time after the death of all nodes a waiting caller is at the fallback.
const IN_TIME: Duration = Duration::from_secs(FALLBACK_SECONDS_DEFAULT);

/// What the watchdog takes at most to see that a call waits, which it does not look at more often.
const SEEN: Duration = Duration::from_secs(LEASE_WATCHDOG_SECONDS + 1);

async fn waiting_calls(world: &World, count: usize) -> Vec<String> {
    world.attached().await;
    let mut calls = Vec::new();
    for _ in 0..count {
        let uuid = world.call("park").await;
        world.channel_when(&uuid, |info| info.owner.is_some()).await;
        calls.push(uuid);
    }
    calls
}

async fn is_at_fallback(world: &World, uuid: &str) -> bool {
    let record = world.record(uuid).await;
    record.executions.iter().any(|execution| execution.argument == FALLBACK_REACHED)
}

async fn reaches_fallback(world: &World, uuid: &str) {
    while !is_at_fallback(world, uuid).await {
        sleep(Duration::from_millis(100)).await;
    }
}

fn kill_all(world: &std::sync::Arc<World>) {
    (1..=3).for_each(|number| world.kill(id(number)));
}

async fn nobody_was_ejected(world: &World, calls: &[String]) {
    for uuid in calls {
        assert!(!is_at_fallback(world, uuid).await, "{uuid}");
        assert!(world.record(uuid).await.ended.is_none(), "{uuid}");
    }
}

fn number_of(node: NodeId) -> u8 {
    (1..=3).find(|number| id(*number) == node).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_waiting_caller_reaches_the_fallback_when_all_nodes_die() {
    // Renewals, the watchdog and its whole seconds each have a time of their own.
    for pause_ms in [0, 900, 1_999, 2_500, 4_100] {
        let world = World::new(3).await;
        let calls = waiting_calls(&world, 30).await;
        sleep(Duration::from_millis(pause_ms)).await;
        kill_all(&world);
        sleep(IN_TIME).await;
        for uuid in &calls {
            assert!(is_at_fallback(&world, uuid).await, "{pause_ms}: {uuid}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bridged_and_dialling_calls_are_left_alone_until_they_are_not() {
    let world = World::new(3).await;
    let calls = waiting_calls(&world, 3).await;
    let [bridged, dialling, _waiting] = &calls[..] else { panic!("three calls") };
    let node = world.other_than(&[]);
    let bridge = |to: &str| ChannelCommand::Bridge { to: to.to_owned() };
    node.command(bridged, bridge("user/1001")).await.unwrap();
    world.channel_when(bridged, |info| info.bridged_to.is_some()).await;
    sleep(IN_TIME).await;
    node.command(dialling, bridge("sofia/external/noanswer1@host")).await.unwrap();
    world.channel_when(dialling, |info| info.application.as_deref() == Some("bridge")).await;
    kill_all(&world);
    // It rings for a minute, of which some seconds are left then.
    sleep(Duration::from_secs(55)).await;
    for uuid in [bridged, dialling] {
        assert!(!is_at_fallback(&world, uuid).await && world.record(uuid).await.ended.is_none());
    }
    timeout(Duration::from_secs(5) + SEEN, reaches_fallback(&world, dialling)).await.unwrap();
    let partner = world.switch.ledger().await.unwrap();
    let partner = partner.calls().find(|call| call.outbound && call.ended.is_none()).unwrap().uuid.clone();
    world.switch.caller_hangup(&partner).await.unwrap();
    timeout(SEEN, reaches_fallback(&world, bridged)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_death_of_owner_or_attached_node_or_both_ejects_nobody() {
    let world = World::new(3).await;
    let calls = waiting_calls(&world, 12).await;
    for round in 0..4 {
        let attached = world.attached().await;
        let owner = (1..=3).map(id).find(|node| *node != attached).unwrap();
        let dying = [vec![owner], vec![attached], vec![owner, attached]][round % 3].clone();
        dying.iter().for_each(|node| world.kill(*node));
        sleep(2 * IN_TIME).await;
        nobody_was_ejected(&world, &calls).await;
        for uuid in &calls {
            let info = world.channel_when(uuid, |info| info.owner.is_some()).await;
            assert!(!dying.contains(&info.owner.unwrap()), "{round}: {info:?}");
        }
        dying.iter().for_each(|node| world.start(number_of(*node)));
        sleep(IN_TIME).await;
    }
    nobody_was_ejected(&world, &calls).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_lease_ran_out_long_ago_is_given_calls_when_it_returns() {
    let world = World::new(2).await;
    let mut calls = waiting_calls(&world, 4).await;
    let returning = (1..=2).map(id).find(|node| *node != id(1)).unwrap();
    world.kill(returning);
    // Its task in the switch goes on, and finds its lease expired every time.
    sleep(5 * IN_TIME).await;
    for _ in 0..10 {
        world.start(number_of(returning));
        calls.extend(waiting_calls(&world, 4).await);
        sleep(IN_TIME).await;
        nobody_was_ejected(&world, &calls).await;
        world.kill(returning);
        sleep(2 * IN_TIME).await;
    }
    nobody_was_ejected(&world, &calls).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_ejected_while_nodes_drain_and_the_attachment_moves() {
    let world = World::new(3).await;
    let calls = waiting_calls(&world, 12).await;
    for _ in 0..3 {
        let attached = world.attached().await;
        let node = world.node(attached);
        node.drain().await;
        sleep(IN_TIME).await;
        nobody_was_ejected(&world, &calls).await;
        node.shutdown().await;
        world.kill(attached);
        sleep(2 * IN_TIME).await;
        world.start(number_of(attached));
        sleep(Duration::from_secs(5)).await;
    }
    nobody_was_ejected(&world, &calls).await;
}

#[tokio::test(start_paused = true)]
async fn calls_of_the_last_node_that_stops_wait_for_it_to_be_started_again_and_no_longer() {
    let world = World::new(1).await;
    let calls = waiting_calls(&world, 3).await;
    let stop = async || {
        let node = world.node(id(1));
        node.drain().await;
        node.shutdown().await;
        world.kill(id(1));
    };
    stop().await;
    sleep(Duration::from_secs(LEASE_LEFT_SECONDS - 5)).await;
    world.start(1);
    sleep(2 * IN_TIME).await;
    nobody_was_ejected(&world, &calls).await;
    world.node(id(1)).command(&calls[0], ChannelCommand::Answer).await.unwrap();
    stop().await;
    let stopped = Instant::now();
    for uuid in &calls {
        reaches_fallback(&world, uuid).await;
    }
    let waited = stopped.elapsed();
    assert!(waited >= Duration::from_secs(LEASE_LEFT_SECONDS) - Duration::from_secs(1), "{waited:?}");
    assert!(waited <= Duration::from_secs(LEASE_LEFT_SECONDS) + SEEN + Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_commands_a_call_that_went_to_the_fallback_while_all_nodes_were_dead() {
    let world = World::new(3).await;
    let calls = waiting_calls(&world, 6).await;
    kill_all(&world);
    sleep(2 * IN_TIME).await;
    for uuid in &calls {
        assert!(is_at_fallback(&world, uuid).await, "{uuid}");
    }
    (1..=3).for_each(|number| world.start(number));
    world.attached().await;
    sleep(IN_TIME).await;
    for uuid in &calls {
        let record = world.record(uuid).await;
        let last = record.executions.last().unwrap();
        assert_eq!((last.application.as_str(), last.connection), ("playback", None), "the fallback's own");
        let owner = world.other_than(&[]).find(uuid).await.unwrap().owner;
        assert_eq!(owner, None, "it is the operator's");
    }
}
