//! A [`Switch`] at work: one task that owns it, carries its bytes over any streams and lets its timers go off.

use std::collections::BTreeMap;
use std::future::Future;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub use crate::carrier::{Connecting, Connector, Stream};
use crate::carrier::{Peer, Report};
use crate::channel::Uuid;
use crate::config::{Config, InboundCall};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::limits::{SERVER_INPUT_MAX, SERVER_REQUESTS_MAX};
use crate::registrar::Phone;
use crate::switch::{ConnectId, ConnectionId, Counts, Input, Output, Switch};
use crate::time::Time;

/// Looks on in the task that serves a switch, so that nothing else happens to the switch meanwhile: for tests that have to
/// act at one exact moment of a call.
pub trait Watcher: Send + 'static {
    /// Bytes of a controller are about to be taken. They are lost if this says `false`, as if whoever wrote them had died
    /// just before.
    fn receives(&mut self, switch: &Switch, bytes: &[u8]) -> bool;

    /// Something has happened to the switch, of which nobody has been told yet.
    fn happened(&mut self, switch: &mut Switch);
}

/// What can be asked of the task that owns the switch.
enum Request {
    Watch(Box<dyn Watcher>, oneshot::Sender<()>),
    Connect(Box<dyn Stream>, oneshot::Sender<ConnectionId>),
    Refuse(Box<dyn Stream>, oneshot::Sender<ConnectionId>),
    InboundCall(Box<InboundCall>, oneshot::Sender<Result<Uuid, Error>>),
    CallerHangup(String, oneshot::Sender<Result<(), Error>>),
    CallerDtmf(String, String, oneshot::Sender<Result<(), Error>>),
    Ledger(oneshot::Sender<Ledger>),
    Counts(oneshot::Sender<Counts>),
    Register(Box<Phone>, oneshot::Sender<Result<(), Error>>),
    Unregister(Box<Phone>, oneshot::Sender<()>),
    Shutdown(oneshot::Sender<()>),
    Restart { seed: u64, recover: bool, reply: oneshot::Sender<()> },
    DropConnections(oneshot::Sender<()>),
    Stop,
}

/// The way to a switch that is being served. Clones lead to the same switch, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct SwitchHandle {
    requests: mpsc::Sender<Request>,
}

/// A switch that starts now, and the task that serves it: spawn the future, or await it. Where its dialplan wants a
/// connection (`socket`), nobody listens.
pub fn serve(config: Config, seed: u64) -> (SwitchHandle, impl Future<Output = ()> + Send) {
    let nowhere =
        |_| -> Connecting { Box::pin(std::future::ready(Err(std::io::ErrorKind::ConnectionRefused.into()))) };
    serve_with(config, seed, nowhere)
}

/// [`serve`], with what opens the connections of the application `socket`.
pub fn serve_with(
    config: Config,
    seed: u64,
    connector: impl Connector,
) -> (SwitchHandle, impl Future<Output = ()> + Send) {
    let (requests, incoming) = mpsc::channel(SERVER_REQUESTS_MAX);
    let (report, reports) = mpsc::channel(SERVER_INPUT_MAX);
    let server = Server {
        switch: Switch::new(config, seed),
        started: Instant::now(),
        peers: BTreeMap::new(),
        last_connection: 0,
        connector: Box::new(connector),
        report,
        watcher: None,
    };
    (SwitchHandle { requests }, server.run(incoming, reports))
}

impl SwitchHandle {
    /// Hands over a stream that a controller has opened; the switch greets it.
    pub async fn connect<S>(&self, stream: S) -> Result<ConnectionId, Error>
    where
        S: Stream + 'static,
    {
        self.ask(|reply| Request::Connect(Box::new(stream), reply)).await
    }

    /// Hands over a stream from an address that may not connect; the switch says so and ends it.
    pub async fn refuse<S>(&self, stream: S) -> Result<ConnectionId, Error>
    where
        S: Stream + 'static,
    {
        self.ask(|reply| Request::Refuse(Box::new(stream), reply)).await
    }

    /// A call comes in; gives the uuid of its channel.
    pub async fn inbound_call(&self, call: InboundCall) -> Result<Uuid, Error> {
        self.ask(|reply| Request::InboundCall(Box::new(call), reply)).await?
    }

    /// The person at the other end of a leg hangs up.
    pub async fn caller_hangup(&self, uuid: &str) -> Result<(), Error> {
        self.ask(|reply| Request::CallerHangup(uuid.to_owned(), reply)).await?
    }

    /// The person at the other end of a leg presses keys.
    pub async fn caller_dtmf(&self, uuid: &str, digits: &str) -> Result<(), Error> {
        self.ask(|reply| Request::CallerDtmf(uuid.to_owned(), digits.to_owned(), reply)).await?
    }

    /// A copy of what really happened to every call.
    pub async fn ledger(&self) -> Result<Ledger, Error> {
        self.ask(Request::Ledger).await
    }

    /// Numbers about the switch.
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.ask(Request::Counts).await
    }

    /// A phone registers, or refreshes its registration.
    pub async fn register(&self, phone: Phone) -> Result<(), Error> {
        self.ask(|reply| Request::Register(Box::new(phone), reply)).await?
    }

    /// A phone takes its registration back.
    pub async fn unregister(&self, phone: Phone) -> Result<(), Error> {
        self.ask(|reply| Request::Unregister(Box::new(phone), reply)).await
    }

    /// The switch is shut down by whoever runs the machine: see [`Switch::shutdown`].
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.ask(Request::Shutdown).await
    }

    /// The switch dies and is started again in its place: see [`Switch::restart`].
    pub async fn restart(&self, seed: u64, recover: bool) -> Result<(), Error> {
        self.ask(|reply| Request::Restart { seed, recover, reply }).await
    }

    /// Cuts all connections at once, without a word; the switch and its calls go on.
    pub async fn drop_connections(&self) -> Result<(), Error> {
        self.ask(Request::DropConnections).await
    }

    /// From now on `watcher` looks on, in the place of any before it, and the switch keeps a journal for it to take.
    pub async fn watch(&self, watcher: impl Watcher) -> Result<(), Error> {
        self.ask(|reply| Request::Watch(Box::new(watcher), reply)).await
    }

    /// The machine is switched off: all connections end without a word, and the switch and its calls are gone. What
    /// is started in its place is another switch, with another seed.
    pub async fn crash(&self) {
        // A switch that has stopped already has crashed well enough.
        let _ = self.requests.send(Request::Stop).await;
    }

    async fn ask<R>(&self, request: impl FnOnce(oneshot::Sender<R>) -> Request) -> Result<R, Error> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)
    }
}

struct Server {
    switch: Switch,
    started: Instant,
    peers: BTreeMap<ConnectionId, Peer>,
    last_connection: u64,
    connector: Box<dyn Connector>,
    /// For the tasks of connections.
    report: mpsc::Sender<Report>,
    watcher: Option<Box<dyn Watcher>>,
}

impl Server {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut reports: mpsc::Receiver<Report>) {
        loop {
            let timeout = self.switch.next_timeout().map(|at| self.instant_of(at));
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    None | Some(Request::Stop) => break,
                    Some(request) => self.serve_request(request),
                },
                () = sleep_until(timeout) => self.switch.on_timeout(self.now()),
                Some(report) = reports.recv() => self.take_report(report),
            }
            if let Some(watcher) = &mut self.watcher {
                watcher.happened(&mut self.switch);
            }
            self.carry_out();
        }
        for peer in self.peers.values() {
            peer.abort();
        }
    }

    fn take_report(&mut self, report: Report) {
        let now = self.now();
        match report {
            Report::Received(id, bytes) => {
                let watcher = self.watcher.as_mut();
                if watcher.is_none_or(|watcher| watcher.receives(&self.switch, &bytes)) {
                    self.switch.handle(now, Input::Received(id, &bytes));
                }
            }
            Report::Written(id, size_bytes) => self.switch.handle(now, Input::Written(id, size_bytes)),
            Report::Ended(id) => {
                self.peers.remove(&id);
                self.switch.handle(now, Input::Closed(id));
            }
            Report::Connected(request, Ok(stream)) => {
                let id = self.start_peer(stream);
                self.switch.handle(now, Input::Opened(request, id));
            }
            Report::Connected(request, Err(_)) => self.switch.handle(now, Input::ConnectFailed(request)),
        }
    }

    fn serve_request(&mut self, request: Request) {
        let now = self.now();
        // Whoever asked may be gone; what was asked for has happened all the same.
        match request {
            Request::Watch(watcher, reply) => {
                self.switch.keep_journal();
                self.watcher = Some(watcher);
                let _ = reply.send(());
            }
            Request::Connect(stream, reply) => {
                let id = self.start_peer(stream);
                self.switch.handle(now, Input::Connected(id));
                let _ = reply.send(id);
            }
            Request::Refuse(stream, reply) => {
                let id = self.start_peer(stream);
                self.switch.handle(now, Input::Refused(id));
                let _ = reply.send(id);
            }
            Request::InboundCall(call, reply) => {
                let _ = reply.send(self.switch.inbound_call(now, &call));
            }
            Request::CallerHangup(uuid, reply) => {
                let _ = reply.send(self.switch.caller_hangup(now, &uuid));
            }
            Request::CallerDtmf(uuid, digits, reply) => {
                let _ = reply.send(self.switch.caller_dtmf(now, &uuid, &digits));
            }
            Request::Ledger(reply) => {
                let _ = reply.send(self.switch.ledger().clone());
            }
            Request::Counts(reply) => {
                let _ = reply.send(self.switch.counts());
            }
            Request::Register(phone, reply) => {
                let _ = reply.send(self.switch.register(now, &phone));
            }
            Request::Unregister(phone, reply) => {
                self.switch.unregister(now, &phone);
                let _ = reply.send(());
            }
            Request::Shutdown(reply) => {
                self.switch.shutdown(now);
                let _ = reply.send(());
            }
            Request::Restart { seed, recover, reply } => {
                self.switch.restart(now, seed, recover);
                let _ = reply.send(());
            }
            Request::DropConnections(reply) => {
                for (id, peer) in std::mem::take(&mut self.peers) {
                    peer.abort();
                    self.switch.handle(now, Input::Closed(id));
                }
                let _ = reply.send(());
            }
            Request::Stop => {}
        }
    }

    fn start_peer(&mut self, stream: Box<dyn Stream>) -> ConnectionId {
        self.last_connection += 1;
        let id = ConnectionId(self.last_connection);
        self.peers.insert(id, Peer::start(id, stream, self.report.clone()));
        id
    }

    /// Does what the switch wants done.
    fn carry_out(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Send { connection, bytes } => {
                    if let Some(peer) = self.peers.get(&connection) {
                        peer.send(bytes);
                    }
                }
                // The connection's task writes what it has and then ends.
                Output::Close { connection } => {
                    if let Some(peer) = self.peers.remove(&connection) {
                        peer.end();
                    }
                }
                Output::Connect { request, address } => self.connect(request, address),
            }
        }
    }

    fn connect(&self, request: ConnectId, address: String) {
        let connecting = self.connector.connect(address);
        let report = self.report.clone();
        tokio::spawn(async move {
            // The switch may have stopped meanwhile.
            let _ = report.send(Report::Connected(request, connecting.await)).await;
        });
    }

    fn now(&self) -> Time {
        Time::default() + self.started.elapsed()
    }

    fn instant_of(&self, at: Time) -> Instant {
        self.started + std::time::Duration::from_micros(at.0)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
