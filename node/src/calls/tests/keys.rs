use fipple_protocol::peer::{ChannelCommand, IdempotencyKey, OriginateCommand, Refusal, Request, Response};
use tokio::time::{Duration, sleep};

use super::world::{World, applications, id};
use crate::calls::lock;
use crate::cluster::Handler;

fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

fn play(file: &str) -> ChannelCommand {
    ChannelCommand::Play { file: file.to_owned() }
}

fn dial(endpoint: &str) -> OriginateCommand {
    OriginateCommand {
        switch: None,
        endpoint: endpoint.to_owned(),
        flow: None,
        caller_id_name: None,
        caller_id_number: None,
        timeout_seconds: Some(20),
    }
}

/// A call that waits for commands, once it has an owner.
async fn parked_call(world: &World) -> String {
    let uuid = world.call("park").await;
    world.channel_when(&uuid, |info| info.owner.is_some()).await;
    uuid
}

#[tokio::test(start_paused = true)]
async fn the_same_key_on_any_node_is_the_same_command() {
    let world = World::new(3).await;
    world.attached().await;
    let (uuid, other) = (parked_call(&world).await, parked_call(&world).await);
    let mut repeated = Vec::new();
    for number in [1, 2, 3, 1] {
        let calls = world.node(id(number));
        let commanded = calls.command_once(&uuid, play("a.wav"), Some(&key("one"))).await.unwrap();
        repeated.push(commanded.repeated);
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(repeated, [false, true, true, true]);
    let calls = world.node(id(1));
    for (uuid, name) in [(&uuid, "two"), (&other, "one")] {
        let commanded = calls.command_once(uuid, play("a.wav"), Some(&key(name))).await.unwrap();
        assert!(!commanded.repeated, "another key, another channel");
    }
    sleep(Duration::from_secs(20)).await;
    assert_eq!(applications(&world.record(&uuid).await), ["playback", "playback"]);
    assert_eq!(applications(&world.record(&other).await), ["playback"]);
    let reused = calls.command_once(&uuid, play("b.wav"), Some(&key("one"))).await.unwrap_err();
    assert!(matches!(reused, Refusal::KeyReused { .. }), "{reused}");
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_under_a_key_may_be_asked_for_again() {
    let world = World::new(2).await;
    world.attached().await;
    let uuid = parked_call(&world).await;
    let calls = world.node(id(1));
    let unknown = ChannelCommand::Execute { application: "nosuch".to_owned(), argument: String::new() };
    let refusal = calls.command_once(&uuid, unknown, Some(&key("k"))).await.unwrap_err();
    assert!(matches!(refusal, Refusal::InvalidArgument { .. }), "{refusal}");
    assert!(!calls.command_once(&uuid, play("a.wav"), Some(&key("k"))).await.unwrap().repeated);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_started_once_for_a_key() {
    let world = World::new(3).await;
    world.attached().await;
    let (calls, others) = (world.node(id(1)), world.node(id(2)));
    let one = key("one");
    let (first, second) = tokio::join!(
        calls.originate_once(dial("user/1001"), Some(&one)),
        others.originate_once(dial("user/1001"), Some(&one))
    );
    // Who was faster is chance; the other one is told to come back, or finds the call.
    let started: Vec<_> =
        [first, second].into_iter().filter(|one| matches!(one, Ok(call) if !call.repeated)).collect();
    assert_eq!(started.len(), 1, "{started:?}");
    let again = others.originate_once(dial("user/1001"), Some(&one)).await.unwrap();
    assert_eq!((again.uuid.as_str(), again.repeated), (one.call_uuid().as_str(), true));
    let reused = others.originate_once(dial("user/1002"), Some(&one)).await.unwrap_err();
    assert!(matches!(reused, Refusal::KeyReused { .. }), "{reused}");
    others.command(&again.uuid, ChannelCommand::Hangup { cause: None }).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(calls.originate_once(dial("user/1001"), Some(&one)).await.unwrap().repeated, "it was there");
    assert!(!calls.originate_once(dial("user/1001"), Some(&key("two"))).await.unwrap().repeated);
    let ledger = world.switch.ledger().await.unwrap();
    assert_eq!(ledger.calls().filter(|call| call.outbound).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_took_may_be_tried_again_under_its_key() {
    let world = World::new(2).await;
    world.attached().await;
    let calls = world.node(id(1));
    let one = key("one");
    let busy = calls.originate_once(dial("user/busy1"), Some(&one)).await.unwrap_err();
    assert!(matches!(busy, Refusal::SwitchRefused { .. }), "{busy}");
    assert!(!calls.originate_once(dial("user/1001"), Some(&one)).await.unwrap().repeated);
}

#[tokio::test(start_paused = true)]
async fn a_command_takes_two_hops_at_most_whatever_the_nodes_believe() {
    let world = World::new(3).await;
    let attached = world.attached().await;
    let uuid = parked_call(&world).await;
    let owner = world.channel_when(&uuid, |info| info.owner.is_some()).await.owner.unwrap();
    // Every node is asked for every part by every other one, as if each believed something else.
    let mut ids = 0..;
    let mut id_of_command = || ids.next().unwrap();
    for asked in (1..=3).map(id) {
        for asking in (1..=3).map(id) {
            let (channel, command) = (uuid.clone(), ChannelCommand::Answer);
            let request = [
                Request::CommandCall {
                    call: uuid.clone(),
                    channel: channel.clone(),
                    command: command.clone(),
                    id: id_of_command(),
                },
                Request::CommandChannel { switch: "pbx".to_owned(), channel, command, id: id_of_command() },
            ];
            for request in request {
                lock(&world.commands).clear();
                let to_owner = matches!(request, Request::CommandCall { .. });
                let answer = Handler::request(&world.node(asked), asking, request).await;
                let passed_on = std::mem::take(&mut *lock(&world.commands));
                let expected =
                    if to_owner && asked == owner { vec![(owner, attached, false)] } else { Vec::new() };
                assert_eq!(passed_on, expected, "{asked} asked by {asking}: {answer:?}");
                match (to_owner, asked == owner, asked == attached, asking == owner) {
                    (true, true, ..) | (false, _, true, true) => {
                        assert!(matches!(answer, Response::Text(_)), "{answer:?}");
                    }
                    (true, false, ..) | (false, _, true, false) => {
                        assert!(matches!(answer, Response::Refused(Refusal::NotOwner { .. })), "{answer:?}");
                    }
                    (false, _, false, _) => {
                        let unavailable = Refusal::SwitchUnavailable {
                            switch: "pbx".to_owned(),
                            detail: "this node is not attached to it".to_owned(),
                        };
                        assert_eq!(answer, Response::Refused(unavailable));
                    }
                }
            }
        }
    }
}
