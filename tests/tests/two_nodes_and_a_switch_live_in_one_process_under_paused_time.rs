//! Readiness for the simulator: two real nodes (QUIC with TLS, gossip, documents, Event Socket) and an emulated switch on
//! machines that exist only in memory. Time is paused and jumps from deadline to deadline, so nothing here
//! depends on how fast this machine is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use fipple::Node;
use fipple::cluster::{Identity, MemberState};
use fipple::config::Config;
use fipple::switch::SwitchConfig;
use fipple_emulator::{Config as SwitchSetup, InboundCall, SwitchHandle, serve};
use fipple_protocol::peer::{ChannelCommand, Refusal};
use fipple_simulation::{Fabric, Machine};
use tokio::time::{Instant, sleep};

/// One way between any two machines: a metropolitan network.
const LATENCY: Duration = Duration::from_millis(5);

fn address(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))
}

/// An emulated switch on a machine of its own, at port 8021.
async fn start_switch(fabric: &Fabric, host: u8) -> SwitchHandle {
    let (handle, served) = serve(SwitchSetup::default(), 7);
    tokio::spawn(served);
    let machine = Machine::new(fabric, address(host), 7).host();
    let mut listener = machine.network.listen_tcp(SocketAddr::new(address(host), 8021)).await.unwrap();
    let accepting = handle.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepting.connect(stream).await.unwrap();
        }
    });
    handle
}

async fn start_node(machine: &Machine, host: u8) -> Node {
    let switch = SwitchConfig {
        name: "fs1".into(),
        zone: "default".into(),
        address: "fs1.example:8021".into(),
        password: "ClueCon".into(),
    };
    let config = Config {
        name: Some(format!("node{host}")),
        listen: SocketAddr::new(address(host), 7400),
        api: SocketAddr::new(address(host), 8000),
        seeds: vec!["node1.example:7400".into()],
        switches: vec![switch],
        ..Config::default()
    };
    Node::start(machine.host(), config).await.unwrap()
}

/// Lets simulated time pass until `attempt` yields something.
async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "in a simulated minute: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn alive(node: &Node) -> usize {
    let members = node.cluster().members();
    members.borrow().all.values().filter(|member| member.state == MemberState::Alive).count()
}

#[tokio::test(start_paused = true)]
async fn two_nodes_and_a_switch_live_in_one_process_under_paused_time() {
    let fabric = Fabric::new(LATENCY);
    fabric.name("node1.example", address(1));
    fabric.name("fs1.example", address(100));
    let machines = [1, 2].map(|host| Machine::new(&fabric, address(host), u64::from(host)));
    let switch = start_switch(&fabric, 100).await;

    let token = Identity::init(&machines[0].host(), "lab").unwrap().token().unwrap();
    Identity::enrol(&machines[1].host(), token.as_bytes()).unwrap();
    let first = start_node(&machines[0], 1).await;
    let second = start_node(&machines[1], 2).await;

    eventually("both nodes see each other", async || {
        (alive(&first) == 2 && alive(&second) == 2).then_some(())
    })
    .await;
    for node in [&first, &second] {
        let enrolled = eventually("the registry has both members on both disks", async || {
            Some(node.documents().enrolled().await.unwrap()).filter(|members| members.len() == 2)
        });
        let mut names: Vec<_> = enrolled.await.into_iter().map(|member| member.name).collect();
        names.sort();
        assert_eq!(names, ["node1", "node2"]);
    }

    // A call of each owner, commanded through both nodes.
    let mut owners = std::collections::BTreeSet::new();
    while owners.len() < 2 {
        let mut call = InboundCall::new("1001", "5000");
        call.variables.push(("fipple_flow".into(), "park".into()));
        let uuid = switch.inbound_call(call).await.unwrap().to_string();
        let owner =
            eventually("the call is claimed", async || second.calls().find(&uuid).await.ok()?.owner).await;
        owners.insert(owner);
        first.calls().command(&uuid, ChannelCommand::Answer).await.unwrap();
        second
            .calls()
            .command(&uuid, ChannelCommand::Hangup { cause: Some("USER_BUSY".into()) })
            .await
            .unwrap();
        let record = eventually("the call ends", async || {
            switch.ledger().await.unwrap().call(&uuid).filter(|record| record.ended.is_some()).cloned()
        });
        let record = record.await;
        assert!(record.answered.is_some() && record.cause == "USER_BUSY", "{record:?}");
    }

    // The built-in flow controls a call by itself.
    let uuid = switch.inbound_call(InboundCall::new("1001", "5000")).await.unwrap();
    let record = eventually("the flow ends the call", async || {
        switch.ledger().await.unwrap().call(&uuid).filter(|record| record.ended.is_some()).cloned()
    });
    let record = record.await;
    let ran = record.executions.iter().map(|execution| execution.application.as_str());
    let ran: Vec<_> = ran.filter(|application| *application != "set").collect();
    assert_eq!(ran, ["park", "answer", "playback", "hangup"], "the dialplan's one step, then the flow's");

    let unknown = first.calls().command("no-such-call", ChannelCommand::Answer).await;
    assert!(matches!(unknown, Err(Refusal::UnknownChannel { .. })), "{unknown:?}");
    second.shutdown().await;
    first.shutdown().await;
}
