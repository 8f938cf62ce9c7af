use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::{ChannelCommand, ChannelInfo, Refusal};
use tokio::time::sleep;

use super::world::{World, id};
use crate::cluster::{SwitchLink, SwitchTrouble};
use crate::limits::GATE_UNREAD_MS;
use crate::switch::metrics::GateCounters;

fn counters(world: &World, node: NodeId) -> GateCounters {
    world.node(node).metrics().switch("pbx").gate
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_the_members_take_for_dead_keeps_the_gate_as_long_as_it_answers() {
    let world = World::new(3).await;
    let attached = world.attached().await;
    let uuid = world.call("park").await;
    let before = world.channel_when(&uuid, |info| info.owner.is_some()).await;
    world.take_for_dead(attached);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.link(attached), SwitchLink::Attached);
    let others: Vec<_> = (1..=3).map(id).filter(|node| *node != attached).collect();
    let refuted: u64 = others.iter().map(|node| counters(&world, *node).refuted.get()).sum();
    assert!(refuted >= 5 && counters(&world, attached).answered.get() >= refuted);
    assert!(others.iter().all(|node| world.link(*node) == SwitchLink::Standby));
    let after = world.node(attached).find(&uuid).await.unwrap();
    assert_eq!((after.owner, after.epoch), (before.owner, before.epoch), "no call has changed hands");
    world.kill(attached);
    sleep(Duration::from_secs(10)).await;
    let taken: u64 = others.iter().map(|node| counters(&world, *node).taken_over.get()).sum();
    assert_eq!(taken, 1, "once it is dead, it is usurped");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_lives_but_does_not_reach_the_switch_is_replaced_and_stands_by_when_it_is_back() {
    let world = World::new(2).await;
    let attached = world.attached().await;
    let other = (1..=2).map(id).find(|node| *node != attached).unwrap();
    world.cut_from_switch(attached, true);
    sleep(Duration::from_millis(GATE_UNREAD_MS + 100)).await;
    assert_ne!(world.link(attached), SwitchLink::Attached, "it does not wait to be told");
    sleep(Duration::from_secs(12)).await;
    assert_eq!(world.link(other), SwitchLink::Attached);
    let fact = world.fact(attached);
    assert_eq!((fact.link, fact.trouble), (SwitchLink::Unreachable, Some(SwitchTrouble::Silent)));
    world.cut_from_switch(attached, false);
    sleep(Duration::from_secs(20)).await;
    assert_eq!((world.link(attached), world.link(other)), (SwitchLink::Standby, SwitchLink::Attached));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_switch_is_told_apart_and_so_is_its_return() {
    let world = World::new(1).await;
    world.attached().await;
    let first_run = world.fact(id(1)).run;
    let how_it_stands = || (world.fact(id(1)).link, world.fact(id(1)).trouble);
    world.switch.shutdown().await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(how_it_stands(), (SwitchLink::Unreachable, Some(SwitchTrouble::ShutDown)));
    world.switch.restart(8, false).await.unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(how_it_stands(), (SwitchLink::Attached, None));
    let fact = world.fact(id(1));
    assert!(fact.run != first_run && fact.run.is_some() && fact.restarted_at_ms.is_some(), "{fact:?}");
    assert_eq!(counters(&world, id(1)).restarts.get(), 1);
    world.switch.drop_connections().await.unwrap();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(how_it_stands(), (SwitchLink::Unreachable, Some(SwitchTrouble::Crashed)));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(how_it_stands(), (SwitchLink::Attached, None));
    assert_eq!(world.fact(id(1)).run, fact.run, "the same run");
    world.switch.crash().await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(how_it_stands(), (SwitchLink::Unreachable, Some(SwitchTrouble::Crashed)));
}

/// How many calls all nodes together own.
fn owned(world: &World, nodes: u8) -> usize {
    (1..=nodes).map(|number| world.node(id(number)).running().unwrap().owned.len()).sum()
}

/// How all nodes say that a call has ended.
async fn end_of(world: &World, uuid: &str) -> Vec<String> {
    let entries = world.other_than(&[]).trace(uuid).await.unwrap().entries;
    let mut ends: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry.text.starts_with("hung up"))
        .map(|entry| entry.text)
        .collect();
    ends.dedup();
    ends
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_switch_that_nobody_reaches_are_kept_and_listed_as_what_they_were() {
    let world = World::new(3).await;
    let attached = world.attached().await;
    let (kept, ended) = (world.call("park").await, world.call("park").await);
    for uuid in [&kept, &ended] {
        world.channel_when(uuid, |info| info.owner.is_some()).await;
    }
    let before = world.node(attached).find(&kept).await.unwrap();
    (1..=3).for_each(|number| world.cut_from_switch(id(number), true));
    // Less than a lease lasts, after which the switch itself sends its calls away.
    sleep(Duration::from_secs(20)).await;
    let listing = world.other_than(&[]).list().await;
    let listed: Vec<_> =
        listing.channels.iter().map(|info| (info.uuid.as_str(), info.state.as_str())).collect();
    let mut expected = [(kept.as_str(), "unreachable"), (ended.as_str(), "unreachable")];
    expected.sort_unstable();
    assert_eq!((listed, listing.unanswered), (expected.to_vec(), vec![]));
    let info = world.other_than(&[]).find(&kept).await.unwrap();
    let as_before = ChannelInfo { state: "unreachable".to_owned(), ..before.clone() };
    assert_eq!(info, as_before, "what its owner remembers");
    let refusal = world.other_than(&[]).command(&kept, ChannelCommand::Answer).await.unwrap_err();
    assert!(matches!(refusal, Refusal::SwitchUnavailable { .. }), "{refusal}");
    assert_eq!(owned(&world, 3), 2, "nobody has closed them");
    world.switch.caller_hangup(&ended).await.unwrap();
    (1..=3).for_each(|number| world.cut_from_switch(id(number), false));
    sleep(Duration::from_secs(40)).await;
    let listing = world.other_than(&[]).list().await;
    assert_eq!(listing.channels.iter().map(|info| &info.uuid).collect::<Vec<_>>(), [&kept]);
    let after = &listing.channels[0];
    assert_eq!((after.owner, after.state.as_str()), (before.owner, before.state.as_str()));
    assert_eq!((owned(&world, 3), end_of(&world, &ended).await), (1, vec!["hung up: unknown".to_owned()]));
    world.other_than(&[]).command(&kept, ChannelCommand::Answer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_switch_that_was_started_anew_are_closed_by_how_it_ended_unless_it_has_them_again() {
    let world = World::new(2).await;
    world.attached().await;
    let (gone, recovered) = (world.call("park").await, world.call("park").await);
    for uuid in [&gone, &recovered] {
        world.channel_when(uuid, |info| info.owner.is_some()).await;
    }
    world.other_than(&[]).command(&recovered, ChannelCommand::Answer).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    world.switch.restart(8, true).await.unwrap();
    sleep(Duration::from_secs(40)).await;
    assert_eq!(end_of(&world, &gone).await, ["hung up: CRASH"]);
    assert_eq!((owned(&world, 2), end_of(&world, &recovered).await), (1, vec![]));
    world.switch.shutdown().await.unwrap();
    sleep(Duration::from_secs(40)).await;
    assert_eq!(
        (owned(&world, 2), end_of(&world, &recovered).await),
        (0, vec!["hung up: SYSTEM_SHUTDOWN".to_owned()])
    );
}
