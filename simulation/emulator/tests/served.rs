//! A switch that is served: its end and its next start, its phones, and callers who have a script.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

use std::time::Duration;

use fipple_emulator::far_end::{Act, Step};
use fipple_emulator::ledger::HungUpBy;
use fipple_emulator::registrar::Phone;
use fipple_emulator::traffic::{self, Traffic, TrafficReport};
use fipple_emulator::{Config, Error, InboundCall, SwitchHandle, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn served() -> SwitchHandle {
    let (switch, task) = serve(Config::default(), 7);
    tokio::spawn(task);
    switch
}

async fn controller(switch: &SwitchHandle) -> DuplexStream {
    let (mut own, theirs) = duplex(1 << 20);
    switch.connect(theirs).await.unwrap();
    own.write_all(b"auth ClueCon\n\n").await.unwrap();
    hears(&mut own, "+OK accepted\n\n").await;
    own
}

async fn hears(stream: &mut DuplexStream, text: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "it ended before {text:?}");
    }
    String::from_utf8_lossy(&seen).into_owned()
}

async fn ask(stream: &mut DuplexStream, command: &str, reply: &str) {
    stream.write_all(format!("api {command}\n\n").as_bytes()).await.unwrap();
    hears(stream, reply).await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_restarts_under_its_controllers_feet() {
    let switch = served();
    let mut before = controller(&switch).await;
    let uuid = switch.inbound_call(InboundCall::new("1", "9")).await.unwrap();
    ask(&mut before, &format!("uuid_answer {uuid}"), "+OK\n").await;
    switch.restart(8, true).await.unwrap();
    // A bare end, as after kill -9.
    let mut rest = Vec::new();
    before.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    let mut after = controller(&switch).await;
    ask(&mut after, &format!("uuid_getvar {uuid} recovered"), "true").await;
    // The scheduler works again too.
    ask(&mut after, "sched_api +1 group hash insert/a/b/late", "+OK Added").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ask(&mut after, "hash select/a/b", "late").await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_is_shut_down_by_whoever_runs_it() {
    let switch = served();
    let mut controller = controller(&switch).await;
    switch.shutdown().await.unwrap();
    let mut rest = String::new();
    controller.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("The system is being shut down.\n"), "{rest}");
    assert_eq!(switch.inbound_call(InboundCall::new("1", "9")).await, Err(Error::NotTakingCalls));
    let (mut late, theirs) = duplex(1024);
    switch.connect(theirs).await.unwrap();
    assert_eq!(late.read_to_end(&mut Vec::new()).await.unwrap(), 0, "nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn phones_register_at_a_served_switch() {
    let switch = served();
    let mut controller = controller(&switch).await;
    let phone = Phone::new("1001", "lab");
    switch.register(phone.clone()).await.unwrap();
    ask(&mut controller, "sofia_contact 1001@lab", "sofia/internal/sip:1001@127.0.0.1:6060").await;
    switch.unregister(phone).await.unwrap();
    ask(&mut controller, "sofia_contact 1001@lab", "error/user_not_registered").await;
}

#[tokio::test(start_paused = true)]
async fn callers_follow_their_script() {
    let switch = served();
    let script = vec![
        Step::new(Duration::from_secs(1), Act::Presses("1".into())),
        Step::new(Duration::from_secs(1), Act::HangsUp),
    ];
    let traffic = Traffic {
        calls_per_second: 10.0,
        destination_number: "9001".into(),
        patience: Duration::from_secs(60),
        calls: Some(5),
    };
    let report = traffic::run_scripted(switch.clone(), traffic, script).await;
    assert_eq!(report, TrafficReport { started: 5, refused: 0, abandoned: 0 });
    let ledger = switch.ledger().await.unwrap();
    for call in ledger.calls() {
        let lasted_ms = call.ended.unwrap().micros_since(call.created) / 1_000;
        assert_eq!((lasted_ms, call.hung_up_by), (2_000, Some(HungUpBy::Remote)));
    }
}
