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

/// What can be asked of the task that owns the switch.
enum Request {
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
            self.carry_out();
        }
        for peer in self.peers.values() {
            peer.abort();
        }
    }

    fn take_report(&mut self, report: Report) {
        let now = self.now();
        match report {
            Report::Received(id, bytes) => self.switch.handle(now, Input::Received(id, &bytes)),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::dialplan::{Action, Dialplan, Extension};

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
        let sleep = format!(
            "sendmsg {uuid}\ncall-command: execute\nexecute-app-name: sleep\nexecute-app-arg: 500\n\n"
        );
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
}
