//! A switch that is served: its connections over streams, its timers by the runtime's clock.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

use std::time::Duration;

use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::{Config, Connecting, Error, InboundCall, Stream, SwitchHandle, serve, serve_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

async fn read_until(stream: &mut DuplexStream, text: &str) -> String {
    let mut seen = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the connection ended before {text:?}: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
        let so_far = String::from_utf8_lossy(&seen);
        if so_far.contains(text) {
            return so_far.into_owned();
        }
    }
}

async fn log_in(switch: &SwitchHandle) -> DuplexStream {
    let (mut own, theirs) = duplex(4096);
    switch.connect(theirs).await.unwrap();
    read_until(&mut own, "auth/request\n\n").await;
    own.write_all(b"auth ClueCon\n\n").await.unwrap();
    read_until(&mut own, "+OK accepted\n\n").await;
    own
}

#[tokio::test(start_paused = true)]
async fn a_controller_takes_a_call_over_a_stream() {
    let (switch, task) = serve(Config::default(), 7);
    tokio::spawn(task);
    let mut controller = log_in(&switch).await;
    controller.write_all(b"event plain CHANNEL_PARK\n\n").await.unwrap();
    read_until(&mut controller, "enabled plain").await;
    let uuid = switch.inbound_call(InboundCall::new("100", "200")).await.unwrap();
    let event = read_until(&mut controller, "variable_current_application: park").await;
    assert!(event.contains(&format!("Unique-ID: {uuid}\n")));
    let sleep =
        format!("sendmsg {uuid}\ncall-command: execute\nexecute-app-name: sleep\nexecute-app-arg: 500\n\n");
    controller.write_all(sleep.as_bytes()).await.unwrap();
    read_until(&mut controller, "Reply-Text: +OK").await;
    // Paused time passes only when everybody waits: the switch's timer is what moves it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ledger = switch.ledger().await.unwrap();
    let run = ledger.call(&uuid).unwrap().executions.last().unwrap().clone();
    let slept_micros = run.ended.unwrap().micros_since(run.started);
    assert_eq!((run.application.as_str(), slept_micros), ("sleep", 500_000));
    switch.caller_hangup(&uuid).await.unwrap();
    let counts = switch.counts().await.unwrap();
    assert_eq!((counts.channels, counts.channels_created, counts.channels_ended), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn connections_end_with_exit_with_a_cut_and_with_a_crash() {
    let (switch, task) = serve(Config::default(), 7);
    let task = tokio::spawn(task);
    let mut first = log_in(&switch).await;
    first.write_all(b"exit\n\n").await.unwrap();
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"http://www.cluecon.com/\n"));
    let mut second = log_in(&switch).await;
    let uuid = switch.inbound_call(InboundCall::new("100", "200")).await.unwrap();
    switch.drop_connections().await.unwrap();
    assert_eq!(second.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    let mut third = log_in(&switch).await;
    assert_eq!(switch.counts().await.unwrap().channels, 1);
    switch.crash().await;
    task.await.unwrap();
    assert_eq!(third.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert_eq!(switch.caller_hangup(&uuid).await, Err(Error::Stopped));
}

/// freeswitch README "A slow reader freezes the switch".
#[tokio::test(start_paused = true)]
async fn a_reader_that_stopped_freezes_the_others_until_it_is_gone() {
    let config = Config { listener_queue_max: 1_000, unwritten_max_bytes: 4_096, ..Config::default() };
    let (switch, task) = serve(config, 7);
    tokio::spawn(task);
    let mut slow = log_in(&switch).await;
    slow.write_all(b"event plain CUSTOM flood\n\n").await.unwrap();
    read_until(&mut slow, "enabled plain").await;
    let mut other = log_in(&switch).await;
    let round = b"sendevent CUSTOM\nEvent-Subclass: flood\n\n".repeat(100);
    let mut reply = [0; 82];
    let answered = loop {
        // The listener of the slow one looks at its queue, and its socket fills.
        tokio::time::sleep(Duration::from_millis(60)).await;
        other.write_all(&round).await.unwrap();
        let answered = async {
            for _ in 0..100 {
                // Each reply is 82 bytes: "+OK " and the event's uuid.
                other.read_exact(&mut reply).await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), answered).await.is_err() {
            break false;
        }
    };
    assert!(!answered, "the others stand still");
    let uuid = switch.inbound_call(InboundCall::new("100", "200")).await;
    assert_eq!(uuid, Err(Error::Frozen), "and so do calls");
    drop(slow);
    other.write_all(b"api echo alive\n\n").await.unwrap();
    read_until(&mut other, "alive").await;
    assert_eq!(switch.counts().await.unwrap().connections, 1);
    assert!(switch.inbound_call(InboundCall::new("100", "200")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_dialplan_connects_through_the_callers_connector() {
    let (ends, mut opened) = mpsc::channel(4);
    let connector = move |address: String| -> Connecting {
        let (own, theirs) = duplex(4096);
        let _ = ends.try_send((address, theirs));
        Box::pin(std::future::ready(Ok(Box::new(own) as Box<dyn Stream>)))
    };
    let actions = vec![Action::new("socket", "127.0.0.1:8084 async full"), Action::new("park", "")];
    let dialplan = Dialplan { extensions: vec![Extension { destination: "*".into(), actions }] };
    let (switch, task) = serve_with(Config { dialplan, ..Config::default() }, 7, connector);
    tokio::spawn(task);
    let uuid = switch.inbound_call(InboundCall::new("100", "200")).await.unwrap();
    let (address, mut controller) = opened.recv().await.unwrap();
    assert_eq!(address, "127.0.0.1:8084");
    controller.write_all(b"connect\n\n").await.unwrap();
    let block = read_until(&mut controller, "Control: full\n\n").await;
    assert!(block.contains(&format!("Unique-ID: {uuid}\n")));
}
