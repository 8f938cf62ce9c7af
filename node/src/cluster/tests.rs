//! Whole nodes over real sockets of the loopback interface.

use std::io::{self, IoSliceMut};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use fipple_protocol::peer::CallEventKind;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::*;
use crate::net::{BoxStream, Listener, Network};
use crate::switch::Fence;

/// How long anything may take on a busy machine. Nothing is asserted about time itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is removed when the test ends.
pub(crate) struct TestDirectory(PathBuf);

impl TestDirectory {
    pub(crate) fn new(label: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("fipple-cluster-{}-{nth}-{label}", std::process::id())))
    }

    pub(crate) fn host(&self) -> Host {
        Host::system(&self.0).unwrap()
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _never_made = std::fs::remove_dir_all(&self.0);
    }
}

/// A network whose cable can be pulled.
struct Cable {
    network: Arc<dyn Network>,
    pulled: Arc<AtomicBool>,
}

#[async_trait]
impl Network for Cable {
    fn bind_udp(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(CableSocket { socket: self.network.bind_udp(address)?, pulled: self.pulled.clone() }))
    }
    async fn listen_tcp(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        self.network.listen_tcp(address).await
    }
    async fn connect_tcp(&self, address: SocketAddr) -> io::Result<BoxStream> {
        self.network.connect_tcp(address).await
    }
    async fn resolve(&self, host_and_port: &str) -> io::Result<Vec<SocketAddr>> {
        self.network.resolve(host_and_port).await
    }
}

#[derive(Debug)]
struct CableSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    pulled: Arc<AtomicBool>,
}

impl AsyncUdpSocket for CableSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.pulled.load(Ordering::Relaxed) { Ok(()) } else { self.socket.try_send(transmit) }
    }
    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let received = std::task::ready!(self.socket.poll_recv(context, buffers, metas));
            if !self.pulled.load(Ordering::Relaxed) {
                return Poll::Ready(received);
            }
        }
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// Answers requests in ways that tests can tell apart, and keeps what it is told.
#[derive(Default)]
struct Answers {
    events: Mutex<Vec<(NodeId, CallEvent)>>,
    documents: Mutex<Vec<(NodeId, Vec<u8>)>>,
}

#[async_trait]
impl Handler for Answers {
    async fn request(&self, from: NodeId, request: Request) -> Response {
        match request {
            Request::SwitchApi { command, .. } => match command.parse() {
                Ok(size_bytes) => Response::Text("x".repeat(size_bytes)),
                Err(_) => std::future::pending().await,
            },
            _ => Response::Text(format!("hello {from}")),
        }
    }
    fn event(&self, from: NodeId, event: CallEvent) {
        assert_ne!(event.channel, "a mishap");
        self.events.lock().unwrap().push((from, event));
    }
    fn document(&self, from: NodeId, message: &[u8]) {
        self.documents.lock().unwrap().push((from, message.to_vec()));
    }
}

struct Node {
    directory: TestDirectory,
    cluster: Cluster,
    answers: Arc<Answers>,
    cable_pulled: Arc<AtomicBool>,
}

impl Node {
    /// The first node of a new cluster.
    async fn first(label: &str) -> Self {
        let directory = TestDirectory::new(label);
        Identity::init(&directory.host(), "lab").unwrap();
        Self::start(directory, config(label, &[])).await
    }

    /// A further node, with `seed` as its only seed.
    async fn join(&self, label: &str, seed: &Node) -> Self {
        let directory = TestDirectory::new(label);
        let token = Identity::load(&self.directory.host()).unwrap().unwrap().token().unwrap();
        Identity::enrol(&directory.host(), token.as_bytes()).unwrap();
        Self::start(directory, config(label, &[seed.cluster.address()])).await
    }

    async fn start(directory: TestDirectory, config: ClusterConfig) -> Self {
        let (answers, cable_pulled) = (Arc::new(Answers::default()), Arc::new(AtomicBool::new(false)));
        let mut host = directory.host();
        host.network = Arc::new(Cable { network: host.network, pulled: cable_pulled.clone() });
        let identity = Identity::load(&host).unwrap().unwrap();
        let cluster = Cluster::start(host, config, identity, answers.clone()).await.unwrap();
        Self { directory, cluster, answers, cable_pulled }
    }

    /// Another life of a node that has ended, at the same address.
    async fn restart(self, seed: &Node) -> Self {
        let Self { directory, cluster, .. } = self;
        let (name, address) =
            (cluster.members().borrow().all[&cluster.local()].name.clone(), cluster.address());
        drop(cluster);
        // The old life lets go of its socket when its last task has ended.
        let host = directory.host();
        until(|| host.network.bind_udp(address).is_ok()).await;
        let config = ClusterConfig { listen: address, ..config(&name, &[seed.cluster.address()]) };
        Self::start(directory, config).await
    }

    fn id(&self) -> NodeId {
        self.cluster.local()
    }

    /// Waits until this node's members are as asked.
    async fn sees(&self, what: &str, is_so: impl FnMut(&Arc<Members>) -> bool) {
        let mut members = self.cluster.members();
        let seen = timeout(PATIENCE, members.wait_for(is_so)).await.map(|seen| seen.is_ok());
        assert_eq!(
            seen.ok(),
            Some(true),
            "{} never saw {what}: {:?}",
            self.id(),
            self.cluster.members().borrow()
        );
    }

    async fn sees_alive(&self, nodes: &[&Node]) {
        let all_alive = |members: &Arc<Members>| nodes.iter().all(|node| members.is_alive(node.id()));
        self.sees("them alive", all_alive).await;
    }

    async fn sees_down(&self, node: NodeId) {
        let is_down =
            |members: &Arc<Members>| members.all.get(&node).is_some_and(|one| one.state == MemberState::Down);
        self.sees("it down", is_down).await;
    }

    async fn ask(&self, to: NodeId, command: &str) -> Response {
        let request = Request::SwitchApi { switch: String::new(), command: command.into() };
        self.cluster.request(to, request, PATIENCE).await
    }
}

fn config(name: &str, seeds: &[SocketAddr]) -> ClusterConfig {
    ClusterConfig {
        name: name.into(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        seeds: seeds.iter().map(SocketAddr::to_string).collect(),
        ..ClusterConfig::default()
    }
}

fn unreachable(response: &Response) -> bool {
    matches!(response, Response::Refused(Refusal::Unreachable { .. }))
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let poll = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, poll).await.unwrap();
}

#[tokio::test]
async fn nodes_find_each_other_by_one_seed() {
    let first = Node::first("seed-1").await;
    let second = first.join("seed-2", &first).await;
    let third = first.join("seed-3", &second).await;
    let all = [&first, &second, &third];
    for node in all {
        node.sees_alive(&all).await;
    }
    let members = first.cluster.members().borrow().clone();
    let shown = &members.all[&third.id()];
    assert_eq!(
        (shown.name.as_str(), shown.address.clone()),
        ("seed-3", Some(third.cluster.address().to_string()))
    );
}

#[tokio::test]
async fn requests_are_answered_both_ways_and_by_the_node_itself() {
    let first = Node::first("ask-1").await;
    let second = first.join("ask-2", &first).await;
    first.sees_alive(&[&second]).await;
    second.sees_alive(&[&first]).await;
    for (asker, asked) in [(&first, &second), (&second, &first), (&first, &first)] {
        let request = Request::FindChannel { channel: "a".into() };
        let answer = asker.cluster.request(asked.id(), request, PATIENCE).await;
        assert_eq!(answer, Response::Text(format!("hello {}", asker.id())));
    }
    let nobody = NodeId::from_bytes([9; 16]);
    assert!(unreachable(&first.ask(nobody, "1").await));
    let request = Request::SwitchApi { switch: String::new(), command: "never".into() };
    for asked in [&first, &second] {
        let late = first.cluster.request(asked.id(), request.clone(), Duration::from_millis(50)).await;
        assert!(matches!(late, Response::Refused(Refusal::TimedOut { .. })), "{late:?}");
    }
}

#[tokio::test]
async fn a_large_answer_takes_the_bulk_stream_and_one_that_is_too_large_is_refused() {
    let first = Node::first("bulk-1").await;
    let second = first.join("bulk-2", &first).await;
    first.sees_alive(&[&second]).await;
    assert_eq!(first.ask(second.id(), "3000000").await, Response::Text("x".repeat(3_000_000)));
    let mut registry = prometheus_client::registry::Registry::default();
    second.cluster.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("fipple_peer_frames_total{direction=\"sent\",stream=\"bulk\"} 1\n"), "{text}");
    let refused = first.ask(second.id(), "17000000").await;
    assert!(matches!(refused, Response::Refused(Refusal::Overloaded { .. })), "{refused:?}");
    assert_eq!(first.ask(second.id(), "2").await, Response::Text("xx".into()));
}

#[tokio::test]
async fn events_of_a_call_and_documents_keep_their_order() {
    let first = Node::first("events-1").await;
    let second = first.join("events-2", &first).await;
    first.sees_alive(&[&second]).await;
    let event = |n: u32| CallEvent {
        switch: "a".into(),
        call: format!("call-{}", n % 10),
        channel: n.to_string(),
        kind: CallEventKind::Answered,
    };
    for n in 0..1_000 {
        first.cluster.send_event(second.id(), event(n)).unwrap();
    }
    for n in 0..20_u8 {
        first.cluster.send_document(second.id(), &[n; 100]).unwrap();
    }
    until(|| second.answers.events.lock().unwrap().len() == 1_000).await;
    until(|| second.answers.documents.lock().unwrap().len() == 20).await;
    let events = second.answers.events.lock().unwrap().clone();
    for call in 0..10 {
        let of_call = events.iter().filter(|(_, event)| event.call == format!("call-{call}"));
        let order: Vec<u32> = of_call.map(|(_, event)| event.channel.parse().unwrap()).collect();
        assert!(order.len() == 100 && order.is_sorted(), "{order:?}");
    }
    let documents = second.answers.documents.lock().unwrap().clone();
    assert!((0..20).all(|n| documents[usize::from(n)] == (first.id(), vec![n; 100])));
    first.cluster.send_event(first.id(), event(7)).unwrap();
    assert_eq!(first.answers.events.lock().unwrap().as_slice(), [(first.id(), event(7))]);
}

#[tokio::test]
async fn a_message_that_nobody_can_deal_with_costs_the_connection_and_not_the_events_after_it() {
    let first = Node::first("mishap-1").await;
    let second = first.join("mishap-2", &first).await;
    first.sees_alive(&[&second]).await;
    // Of one call, and so on one stream.
    let event = |channel: &str| CallEvent {
        switch: "a".into(),
        call: "call".into(),
        channel: channel.into(),
        kind: CallEventKind::Answered,
    };
    first.cluster.send_event(second.id(), event("a mishap")).unwrap();
    let arrived = || {
        let _connecting = first.cluster.send_event(second.id(), event("another"));
        second.answers.events.lock().unwrap().contains(&(first.id(), event("another")))
    };
    until(arrived).await;
}

#[tokio::test]
async fn a_node_that_falls_silent_is_down_everywhere_and_comes_back() {
    let first = Node::first("silent-1").await;
    let second = first.join("silent-2", &first).await;
    let third = first.join("silent-3", &first).await;
    let all = [&first, &second, &third];
    for node in all {
        node.sees_alive(&all).await;
    }
    let (waiting, ()) = tokio::join!(first.ask(third.id(), "never"), async {
        third.cable_pulled.store(true, Ordering::Relaxed);
        first.sees_down(third.id()).await;
        second.sees_down(third.id()).await;
    });
    let unknown = |answer: &Response| matches!(answer, Response::Refused(Refusal::TimedOut { .. }));
    assert!(unknown(&waiting), "whoever waited was told that the outcome is not known: {waiting:?}");
    third.cable_pulled.store(false, Ordering::Relaxed);
    for node in all {
        node.sees_alive(&all).await;
    }
}

#[tokio::test]
async fn a_node_that_stops_says_so_and_a_restart_counts_as_another_life() {
    let first = Node::first("stop-1").await;
    let second = first.join("stop-2", &first).await;
    first.sees_alive(&[&second]).await;
    let (id, address) = (second.id(), second.cluster.address());
    let first_start = first.cluster.members().borrow().all[&id].started_at_ms;
    second.cluster.publish_leaving();
    first.sees("it leaving", |members| members.all[&id].state == MemberState::Leaving).await;
    second.cluster.shutdown().await;
    first.sees_down(id).await;

    let second = second.restart(&first).await;
    assert_eq!((second.id(), second.cluster.address()), (id, address));
    first.sees_alive(&[&second]).await;
    second.sees_alive(&[&first]).await;
    first.sees("its new start", |members| members.all[&id].started_at_ms > first_start).await;
    assert_eq!(first.ask(id, "1").await, Response::Text("x".into()));
}

#[tokio::test]
async fn a_node_that_crashed_and_is_back_is_reached_again() {
    let first = Node::first("crash-1").await;
    let second = first.join("crash-2", &first).await;
    first.sees_alive(&[&second]).await;
    let (id, first_start) = (second.id(), first.cluster.members().borrow().all[&second.id()].started_at_ms);
    // It goes without a word, and is back before anybody has noticed.
    second.cable_pulled.store(true, Ordering::Relaxed);
    second.cluster.shutdown().await;
    let second = second.restart(&first).await;
    first.sees("its new start", |members| members.all[&id].started_at_ms > first_start).await;
    first.sees_alive(&[&second]).await;
    let answered = async { while first.ask(id, "1").await != Response::Text("x".into()) {} };
    timeout(PATIENCE, answered).await.unwrap();
}

#[tokio::test]
async fn a_node_that_stops_does_not_wait_for_those_who_never_answered() {
    let directory = TestDirectory::new("stop-dialling");
    Identity::init(&directory.host(), "lab").unwrap();
    let silent = directory.host().network.bind_udp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let node = Node::start(directory, config("stop-dialling", &[silent.local_addr().unwrap()])).await;
    let handshakes = || node.cluster.inner.peers.endpoint().open_connections();
    until(|| handshakes() > 0).await;
    node.cluster.shutdown().await;
    assert!(handshakes() > 0, "QUIC forgets a handshake after some time, and that was waited for");
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused() {
    let first = Node::first("ours").await;
    let directory = TestDirectory::new("theirs");
    Identity::init(&directory.host(), "lab").unwrap();
    let stranger = Node::start(directory, config("theirs", &[first.cluster.address()])).await;
    until(|| stranger.cluster.metrics().dials_failed.get() >= 2).await;
    assert_eq!(first.cluster.metrics().handshakes.get(), 0);
    for node in [&first, &stranger] {
        assert_eq!(node.cluster.members().borrow().all.len(), 1);
    }
}

#[tokio::test]
async fn two_that_dial_each_other_at_once_keep_one_connection() {
    let first = Node::first("crossed-1").await;
    let second = first.join("crossed-2", &first).await;
    let token = Identity::load(&first.directory.host()).unwrap().unwrap().token().unwrap();
    let mut nodes = vec![first, second];
    // A third whose seeds are both of them, who hear of it from each other at the same time.
    let directory = TestDirectory::new("crossed-3");
    Identity::enrol(&directory.host(), token.as_bytes()).unwrap();
    let seeds = [nodes[0].cluster.address(), nodes[1].cluster.address()];
    nodes.push(Node::start(directory, config("crossed-3", &seeds)).await);
    let all: Vec<&Node> = nodes.iter().collect();
    for node in &all {
        node.sees_alive(&all).await;
    }
    // Dials that crossed are made up on purpose: each dials each, and every connection but one has to go.
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        for (from, to) in [(all[one], all[other]), (all[other], all[one])] {
            from.cluster.inner.peers.dial_again(to.cluster.address());
        }
    }
    until(|| all.iter().all(|node| node.cluster.metrics().handshakes.get() >= 4)).await;
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        assert_eq!(all[from].ask(all[to].id(), "1").await, Response::Text("x".into()));
    }
    tokio::time::sleep(crate::limits::DUPLICATE_LINGER * 2).await;
    for node in &all {
        assert_eq!(node.cluster.metrics().peers_connected.get(), 2);
        node.sees_alive(&all).await;
    }
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        assert_eq!(all[from].ask(all[to].id(), "1").await, Response::Text("x".into()));
    }
}

#[tokio::test]
async fn switches_are_gossiped() {
    let first = Node::first("facts-1").await;
    let second = first.join("facts-2", &first).await;
    first.sees_alive(&[&second]).await;
    let fact = SwitchFact {
        name: "fs1".into(),
        zone: "berlin".into(),
        address: "192.0.2.1:8021".into(),
        link: SwitchLink::Attached,
        fence: Some(Fence::Strict),
        trouble: None,
        run: None,
        restarted_at_ms: None,
    };
    second.cluster.publish_switches(vec![fact.clone()]);
    let id = second.id();
    first.sees("the switch", |members| members.all[&id].switches == [fact.clone()]).await;
}

#[tokio::test]
async fn a_node_that_listens_everywhere_learns_where_it_is() {
    let first = Node::first("where-1").await;
    let directory = TestDirectory::new("where-2");
    let token = Identity::load(&first.directory.host()).unwrap().unwrap().token().unwrap();
    Identity::enrol(&directory.host(), token.as_bytes()).unwrap();
    let mut everywhere = config("where-2", &[first.cluster.address()]);
    everywhere.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let second = Node::start(directory, everywhere).await;
    first.sees_alive(&[&second]).await;
    let expected = format!("127.0.0.1:{}", second.cluster.address().port());
    assert_eq!(first.cluster.members().borrow().all[&second.id()].address, Some(expected));
}

#[tokio::test]
async fn certificates_are_renewed_in_place() {
    let first = Node::first("renew-1").await;
    first.cluster.inner.peers.endpoint().renew().unwrap();
    let second = first.join("renew-2", &first).await;
    first.sees_alive(&[&second]).await;
}
