//! Nodes that reach each other by function calls, and one switch that they all reach over streams in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use fipple_emulator::config::Config;
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::ledger::{CallRecord, Execution};
use fipple_emulator::xml_dialplan::XmlDialplan;
use fipple_emulator::{InboundCall, SwitchHandle, serve};
use fipple_protocol::NodeId;
use fipple_protocol::call::{Flow, Step};
use fipple_protocol::peer::{CallEvent, ChannelInfo, Refusal, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::calls::peers::Peers;
use crate::calls::{Calls, CallsConfig, lock};
use crate::cluster::{Handler, Member, MemberState, Members, SwitchFact, SwitchLink};
use crate::net::{
    BoxStorage, BoxStream, Clock, Disk, Host, Listener, Network, Random, StoreJob, StoreThread,
};
use crate::switch::{Fallback, Fence, SwitchConfig};

/// How long the others take to notice that a node has died.
const NOTICED_AFTER: Duration = Duration::from_millis(900);

/// What a call's thread sets when it has come to the operator's fallback.
pub(super) const FALLBACK_REACHED: &str = "fallback=reached";

/// Every fence that a switch may have.
pub(super) const FENCES: [Fence; 3] = [Fence::Strict, Fence::Snippet, Fence::None];

pub(super) struct World {
    pub(super) switch: SwitchHandle,
    nodes: Mutex<BTreeMap<NodeId, Calls>>,
    /// Killed and not yet started again.
    dead: Mutex<BTreeSet<NodeId>>,
    members: watch::Sender<Arc<Members>>,
    /// Cut off from the switch and from the others, and alive.
    cut_off: Mutex<BTreeSet<NodeId>>,
    /// The step at which a node is cut off that is both owner and attached, just before it gives it to the switch.
    pub(super) cut_off_at_step: Mutex<Option<u32>>,
    /// What each node last said of its switches, whether anybody heard it or not.
    said: Mutex<BTreeMap<NodeId, Vec<SwitchFact>>>,
    lines: Mutex<BTreeMap<NodeId, Arc<Line>>>,
    pub(super) wanted_fence: Mutex<Option<Fence>>,
    pub(super) password: Mutex<String>,
    /// The commands that nodes have sent each other: from whom, to whom, and whether to the owner of the call.
    pub(super) commands: Mutex<Vec<(NodeId, NodeId, bool)>>,
    /// What panics when a node next does it.
    pub(super) panics: Mutex<Option<&'static str>>,
}

pub(super) fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number.wrapping_mul(37); 16])
}

/// A flow of three steps, of which the second takes the emulated switch two seconds.
fn three_steps() -> Flow {
    let step = |application: &str, argument: &str| Step {
        application: application.to_owned(),
        argument: argument.to_owned(),
    };
    let steps = vec![step("answer", ""), step("playback", "long.wav"), step("hangup", "USER_BUSY")];
    Flow { name: "three".to_owned(), steps }
}

impl World {
    /// A switch with the scripts, and `nodes` nodes that run already.
    pub(super) async fn new(nodes: u8) -> Arc<Self> {
        Self::fenced(Fence::Strict, nodes).await
    }

    /// A switch with this fence, and `nodes` nodes that run already.
    pub(super) async fn fenced(fence: Fence, nodes: u8) -> Arc<Self> {
        let mut config = Config { mod_lua: fence == Fence::Strict, ..Config::default() };
        if fence == Fence::None {
            config.xml_dialplan = XmlDialplan::default();
        }
        // What other people's dialplans do, without fipple.
        let actions = vec![Action::new("answer", ""), Action::new("park", "")];
        config.dialplan.extensions.insert(0, Extension { destination: "foreign".to_owned(), actions });
        // As deploy/freeswitch/fipple.xml hands a call over that has been in fipple's hands before.
        let again = [("set", "fipple_done=0"), ("set", "fipple_flow=three"), ("park", "")];
        let actions = again.map(|(application, argument)| Action::new(application, argument)).to_vec();
        config.dialplan.extensions.insert(0, Extension { destination: "back".to_owned(), actions });
        assert_ne!(config.dialplan, Dialplan::park_everything());
        let actions = [("set", FALLBACK_REACHED), ("answer", ""), ("playback", "silence_stream://3600000")];
        let actions = actions.map(|(application, argument)| Action::new(application, argument)).to_vec();
        let destination = Fallback::default().extension;
        config.dialplan.extensions.insert(0, Extension { destination, actions });
        let (switch, serving) = serve(config, 7);
        tokio::spawn(serving);
        let world = Arc::new(Self {
            switch,
            nodes: Mutex::default(),
            dead: Mutex::default(),
            members: watch::Sender::new(Arc::default()),
            cut_off: Mutex::default(),
            cut_off_at_step: Mutex::default(),
            said: Mutex::default(),
            lines: Mutex::default(),
            wanted_fence: Mutex::default(),
            password: Mutex::new("ClueCon".to_owned()),
            commands: Mutex::default(),
            panics: Mutex::default(),
        });
        for number in 1..=nodes {
            world.start(number);
        }
        world
    }

    /// Starts a node, for the first time or anew after its death.
    pub(super) fn start(self: &Arc<Self>, number: u8) {
        let node = id(number);
        let switch = SwitchConfig {
            name: "pbx".to_owned(),
            zone: "west".to_owned(),
            address: "192.0.2.1:8021".to_owned(),
            password: lock(&self.password).clone(),
            fallback: Fallback::default(),
            fence: *lock(&self.wanted_fence),
        };
        let config = CallsConfig { switches: vec![switch], flows: vec![three_steps()] };
        let calls = Calls::new(self.host(number), config).unwrap();
        lock(&self.nodes).insert(node, calls.clone());
        lock(&self.dead).remove(&node);
        self.change(node, |member| {
            member.state = MemberState::Alive;
            member.started_at_ms += 1;
            member.switches.clear();
        });
        calls.run_among(Arc::new(TestPeers { world: self.clone(), node }));
    }

    /// `kill -9`: the node's connections end without a word, and the others notice after a while.
    pub(super) fn kill(self: &Arc<Self>, node: NodeId) {
        lock(&self.dead).insert(node);
        let calls = lock(&self.nodes).remove(&node).unwrap();
        drop(std::mem::take(&mut *lock(&calls.inner.tasks)));
        let world = self.clone();
        tokio::spawn(async move {
            sleep(NOTICED_AFTER).await;
            if lock(&world.dead).contains(&node) {
                world.change(node, |member| member.state = MemberState::Down);
            }
        });
    }

    /// Cuts a node off from everything: what it has to say waits at its own end.
    pub(super) fn cut_off(self: &Arc<Self>, node: NodeId) {
        lock(&self.cut_off).insert(node);
        self.line(node).cut(true);
        let world = self.clone();
        tokio::spawn(async move {
            sleep(NOTICED_AFTER).await;
            if lock(&world.cut_off).contains(&node) {
                world.change(node, |member| member.state = MemberState::Down);
            }
        });
    }

    /// Cuts a node off from the switch alone, or lets it be heard there again.
    pub(super) fn cut_from_switch(&self, node: NodeId, cut: bool) {
        self.line(node).cut(cut);
    }

    /// Lets the members say that a node is dead, which lives.
    pub(super) fn take_for_dead(&self, node: NodeId) {
        self.change(node, |member| member.state = MemberState::Down);
    }

    /// Lets a node be heard again, and what it had to say first of all.
    pub(super) fn reconnect(&self, node: NodeId) {
        lock(&self.cut_off).remove(&node);
        let said = lock(&self.said).get(&node).cloned().unwrap_or_default();
        self.change(node, |member| {
            member.state = MemberState::Alive;
            member.switches = said;
        });
        self.line(node).cut(false);
    }

    pub(super) fn is_cut_off(&self, node: NodeId) -> bool {
        lock(&self.cut_off).contains(&node)
    }

    fn line(&self, node: NodeId) -> Arc<Line> {
        lock(&self.lines).entry(node).or_default().clone()
    }

    fn change(&self, node: NodeId, change: impl FnOnce(&mut Member)) {
        self.members.send_modify(|members| {
            change(Arc::make_mut(members).all.entry(node).or_insert_with(|| Member {
                id: node,
                name: node.to_string(),
                state: MemberState::Alive,
                address: None,
                api_address: None,
                zone: "west".to_owned(),
                weight: 1,
                version: String::new(),
                started_at_ms: 0,
                switches: Vec::new(),
            }));
        });
    }

    pub(super) fn node(&self, node: NodeId) -> Calls {
        lock(&self.nodes)[&node].clone()
    }

    /// Some living node that is none of these.
    pub(super) fn other_than(&self, nodes: &[NodeId]) -> Calls {
        lock(&self.nodes).iter().find(|(id, _)| !nodes.contains(id)).unwrap().1.clone()
    }

    pub(super) fn link(&self, node: NodeId) -> SwitchLink {
        self.fact(node).link
    }

    /// What a node says of the switch.
    pub(super) fn fact(&self, node: NodeId) -> SwitchFact {
        self.members.borrow().all[&node].switches[0].clone()
    }

    /// The node that is attached to the switch, as soon as there is one.
    pub(super) async fn attached(&self) -> NodeId {
        let mut members = self.members.subscribe();
        loop {
            if let Some(node) = crate::calls::route::attached_node(&members.borrow_and_update(), "pbx") {
                return node;
            }
            members.changed().await.unwrap();
        }
    }

    /// A call comes in, and is parked.
    pub(super) async fn call(&self, flow: &str) -> String {
        let mut call = InboundCall::new("1000", "2000");
        call.variables.push(("fipple_flow".to_owned(), flow.to_owned()));
        self.switch.inbound_call(call).await.unwrap().to_string()
    }

    /// The channel as any node finds it, once `is` says yes to it.
    pub(super) async fn channel_when(&self, uuid: &str, is: impl Fn(&ChannelInfo) -> bool) -> ChannelInfo {
        for _ in 0..400 {
            if let Ok(info) = self.other_than(&[]).find(uuid).await
                && is(&info)
            {
                return info;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{uuid}: {:?}", self.other_than(&[]).find(uuid).await);
    }

    /// What really happened to a call.
    pub(super) async fn record(&self, uuid: &str) -> CallRecord {
        let ledger = self.switch.ledger().await.unwrap();
        ledger.call(uuid).unwrap().clone()
    }

    /// What the fence of a call let through and must not have.
    pub(super) async fn violations(&self, uuid: &str) -> Vec<String> {
        let ledger = self.switch.ledger().await.unwrap();
        ledger.fence(uuid).map(|fence| fence.violations()).unwrap_or_default()
    }

    /// How many steps the channel of a call has refused because they were of an epoch that is over.
    pub(super) async fn refused_as_stale(&self, uuid: &str) -> usize {
        let ledger = self.switch.ledger().await.unwrap();
        let verdicts = ledger.fence(uuid).map(|fence| fence.verdicts.clone()).unwrap_or_default();
        verdicts.iter().filter(|verdict| verdict.result == "stale").count()
    }

    /// What really happened to a call, once it is over.
    pub(super) async fn record_at_end(&self, uuid: &str) -> CallRecord {
        for _ in 0..400 {
            let record = self.record(uuid).await;
            if record.ended.is_some() {
                return record;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("the call does not end: {:?}", self.record(uuid).await);
    }

    fn perhaps_panic(&self, action: &str) {
        let panics = lock(&self.panics).take_if(|panics| *panics == action).is_some();
        assert!(!panics, "as the test wants it: {action}");
    }

    fn host(self: &Arc<Self>, number: u8) -> Host {
        let random = Mutex::new(u64::from(number));
        let machine = Arc::new(Machine { world: self.clone(), node: id(number), random });
        Host {
            network: machine.clone(),
            clock: machine.clone(),
            random: machine.clone(),
            disk: machine.clone(),
            store_thread: machine,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

/// The applications of a call's flow, in the order in which they ran, without what carries them.
pub(super) fn applications(record: &CallRecord) -> Vec<&str> {
    let commanded = record.executions.iter().filter(|run| run.connection.is_some());
    let names = commanded.map(|Execution { application, .. }| application.as_str());
    names.filter(|name| !["set", "lua", "execute_extension", "event"].contains(name)).collect()
}

struct TestPeers {
    world: Arc<World>,
    node: NodeId,
}

#[async_trait]
impl Peers for TestPeers {
    fn local(&self) -> NodeId {
        self.node
    }

    fn members(&self) -> watch::Receiver<Arc<Members>> {
        self.world.members.subscribe()
    }

    async fn request(&self, to: NodeId, request: Request, deadline: Duration) -> Response {
        match request {
            Request::Appoint { .. } => self.world.perhaps_panic("appoint"),
            Request::CommandCall { .. } => lock(&self.world.commands).push((self.node, to, true)),
            Request::CommandChannel { .. } => lock(&self.world.commands).push((self.node, to, false)),
            _ => {}
        }
        if let Request::RunStep { step, .. } = &request
            && to == self.node
            && lock(&self.world.cut_off_at_step).take_if(|at| at == step).is_some()
        {
            self.world.cut_off(self.node);
        }
        let silence = || Response::Refused(Refusal::TimedOut { detail: format!("{to} is silent") });
        let answer = async {
            sleep(Duration::from_millis(1)).await;
            let is_cut = || self.world.is_cut_off(self.node) || self.world.is_cut_off(to);
            while to != self.node && is_cut() {
                sleep(Duration::from_millis(1)).await;
            }
            let calls = lock(&self.world.nodes).get(&to).cloned();
            let response = match calls {
                Some(calls) => Handler::request(&calls, self.node, request).await,
                None => std::future::pending().await,
            };
            // One that died meanwhile says nothing any more.
            if lock(&self.world.dead).contains(&to) {
                std::future::pending::<()>().await;
            }
            response
        };
        if lock(&self.world.dead).contains(&self.node) {
            return silence();
        }
        timeout(deadline, answer).await.unwrap_or_else(|_| silence())
    }

    fn send_event(&self, to: NodeId, event: CallEvent) -> Result<(), Refusal> {
        self.world.perhaps_panic("send_event");
        let heard = !self.world.is_cut_off(self.node) && !self.world.is_cut_off(to);
        let calls = lock(&self.world.nodes).get(&to).cloned().filter(|_| heard || to == self.node);
        let calls = calls.ok_or_else(|| Refusal::Unreachable { node: to, detail: "dead".to_owned() })?;
        Handler::event(&calls, self.node, event);
        Ok(())
    }

    fn publish_switches(&self, switches: Vec<SwitchFact>) {
        if switches[0].link == SwitchLink::Standby {
            self.world.perhaps_panic("stand_by");
        }
        lock(&self.world.said).insert(self.node, switches.clone());
        if !lock(&self.world.dead).contains(&self.node) && !self.world.is_cut_off(self.node) {
            self.world.change(self.node, |member| member.switches = switches);
        }
    }

    fn publish_leaving(&self) {
        self.world.change(self.node, |member| member.state = MemberState::Leaving);
    }
}

/// A machine without a disk, in front of one switch.
struct Machine {
    world: Arc<World>,
    node: NodeId,
    random: Mutex<u64>,
}

fn missing<T>() -> io::Result<T> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

#[async_trait]
impl Network for Machine {
    fn bind_udp(&self, _: SocketAddr) -> io::Result<Arc<dyn quinn::AsyncUdpSocket>> {
        missing()
    }

    async fn listen_tcp(&self, _: SocketAddr) -> io::Result<Box<dyn Listener>> {
        missing()
    }

    async fn connect_tcp(&self, _: SocketAddr) -> io::Result<BoxStream> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        while self.world.is_cut_off(self.node) {
            sleep(Duration::from_millis(1)).await;
        }
        let refused = |error| io::Error::new(io::ErrorKind::ConnectionRefused, error);
        self.world.switch.connect(theirs).await.map_err(refused)?;
        Ok(Box::new(Wire { line: self.world.line(self.node), stream: ours }))
    }

    async fn resolve(&self, host_and_port: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![host_and_port.parse().unwrap()])
    }
}

impl Clock for Machine {
    fn unix_ms(&self) -> u64 {
        0
    }
}

impl Random for Machine {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = lock(&self.random);
        for byte in bytes {
            // Knuth's MMIX generator.
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (*state >> 56) as u8;
        }
        Ok(())
    }
}

impl Disk for Machine {
    fn read(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn replace(&self, _: &str, _: &[u8]) -> io::Result<()> {
        missing()
    }

    fn open_storage(&self, _: &str) -> io::Result<BoxStorage> {
        missing()
    }
}

impl StoreThread for Machine {
    fn run(&self, job: StoreJob) -> Result<(), StoreJob> {
        job();
        Ok(())
    }
}

/// The way from one node to the switch, which may be cut.
#[derive(Default)]
struct Line {
    waiting: Mutex<Option<Vec<Waker>>>,
}

impl Line {
    fn cut(&self, is_cut: bool) {
        let waiting = std::mem::replace(&mut *lock(&self.waiting), is_cut.then(Vec::new));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    fn is_cut(&self, context: &Context<'_>) -> bool {
        lock(&self.waiting).as_mut().is_some_and(|waiting| {
            waiting.push(context.waker().clone());
            true
        })
    }
}

/// A connection over a line: while it is cut, nothing comes or goes, and nothing is lost.
struct Wire {
    line: Arc<Line>,
    stream: DuplexStream,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.line.is_cut(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.line.is_cut(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
