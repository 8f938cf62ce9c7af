//! One Event Socket connection.
//!
//! A task of its own reads the socket and never waits for anything else: a controller that stops reading freezes
//! the switch (`tests/fixtures/freeswitch/README.md`). Replies come in the order of the commands; results of background jobs
//! come whenever they are ready and are told apart by the job's name.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fipple_protocol::esl::{Command, Decoder, Event, Frame, FrameKind, names};
use fipple_protocol::peer::Refusal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::SwitchConfig;
use super::identifiers::random_uuid;
use super::login::connect_and_log_in;
use super::loss::Loss;
use crate::calls::metrics::SwitchMetrics;
use crate::cluster::SwitchTrouble;
use crate::limits::{
    GATE_COMMANDS_RESERVED, SWITCH_OUTGOING_MAX_BYTES, SWITCH_PENDING_COMMANDS, SWITCH_PENDING_JOBS,
    SWITCH_REPLY_TIMEOUT_MS,
};
use crate::net::{BoxStream, Host};

/// Takes the events of a connection, in the reader's task: it must not wait.
pub(super) type EventSink = Box<dyn FnMut(Event<'_>) + Send>;

/// A connection that is logged in. It ends when it is dropped.
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// Reader and writer; dropping the set ends them.
    _tasks: JoinSet<()>,
}

struct Shared {
    switch: String,
    host: Host,
    metrics: SwitchMetrics,
    queues: Mutex<Queues>,
    /// Bytes wait in `Queues::outgoing`.
    outgoing: Notify,
    /// Why the connection is lost, once it is.
    lost: watch::Sender<Option<Loss>>,
}

#[derive(Default)]
struct Queues {
    outgoing: Vec<u8>,
    /// Who waits for the next replies, in the order of the commands.
    replies: VecDeque<oneshot::Sender<String>>,
    jobs: BTreeMap<String, oneshot::Sender<String>>,
    lost: bool,
    permit: Permit,
}

/// Whether commands may leave.
#[derive(Clone, Copy, Default)]
enum Permit {
    #[default]
    Always,
    /// Not before this connection's node has read that it holds the gate, and for a limited time after that.
    Until(Option<Instant>),
}

/// A reply that is on its way.
pub(super) struct Pending {
    switch: String,
    reply: oneshot::Receiver<String>,
}

impl Connection {
    /// Connects and logs in. Events other than the results of jobs go to `sink`.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) async fn open(
        host: &Host,
        config: &SwitchConfig,
        metrics: SwitchMetrics,
        sink: EventSink,
    ) -> Result<Self, Loss> {
        let (stream, decoder) = connect_and_log_in(host, config).await?;
        Ok(Self::over(stream, decoder, &config.name, host, metrics, sink))
    }

    /// A connection over a stream that is logged in. The decoder holds what has come since.
    fn over(
        stream: BoxStream,
        decoder: Decoder,
        switch: &str,
        host: &Host,
        metrics: SwitchMetrics,
        sink: EventSink,
    ) -> Self {
        let shared = Arc::new(Shared {
            switch: switch.to_owned(),
            host: host.clone(),
            metrics,
            queues: Mutex::default(),
            outgoing: Notify::new(),
            lost: watch::Sender::new(None),
        });
        let (reader, writer) = tokio::io::split(stream);
        let mut tasks = JoinSet::new();
        tasks.spawn(read(shared.clone(), reader, decoder, sink));
        tasks.spawn(write(shared.clone(), writer));
        Self { shared, _tasks: tasks }
    }

    /// Waits until the connection is lost, and says why.
    pub(super) async fn lost(&self) -> Loss {
        let mut lost = self.shared.lost.subscribe();
        let loss = match lost.wait_for(Option::is_some).await {
            Ok(loss) => loss.clone(),
            Err(_) => None,
        };
        loss.unwrap_or_else(|| Loss::new(SwitchTrouble::Unusable, "the connection was given up"))
    }

    /// Why the connection is lost, if it is.
    pub(super) fn loss(&self) -> Option<Loss> {
        self.shared.lost.borrow().clone()
    }

    /// Lets commands leave until then and not after, and none where there is no such time; only those about the gate
    /// itself always do. A node that stood still finds this out here, whoever of it is the first to command.
    pub(super) fn permit_until(&self, until: Option<Instant>) {
        self.shared.queues().permit = Permit::Until(until);
    }

    /// Gives commands to the switch in this order and nothing between them. Their replies can be awaited.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) fn send(&self, commands: &[Command<'_>]) -> Result<Vec<Pending>, Refusal> {
        self.enqueue(commands, false)
    }

    /// Gives a command about the gate to the switch, for which there is room when others are refused.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) fn send_for_gate(&self, command: Command<'_>) -> Result<Pending, Refusal> {
        let pending = self.enqueue(&[command], true)?.pop();
        pending.ok_or_else(|| self.shared.unavailable())
    }

    fn enqueue(&self, commands: &[Command<'_>], for_gate: bool) -> Result<Vec<Pending>, Refusal> {
        let mut queues = self.shared.queues();
        if queues.lost {
            return Err(self.shared.unavailable());
        }
        if !for_gate && !queues.permit.is_valid() {
            let detail = "this node has not read lately that it holds the gate".to_owned();
            return Err(Refusal::SwitchUnavailable { switch: self.shared.switch.clone(), detail });
        }
        let reserved = if for_gate { GATE_COMMANDS_RESERVED } else { 0 };
        if queues.replies.len() + commands.len() > SWITCH_PENDING_COMMANDS + reserved
            || (queues.outgoing.len() > SWITCH_OUTGOING_MAX_BYTES && !for_gate)
        {
            let detail = format!("{} commands wait for switch {}", queues.replies.len(), self.shared.switch);
            return Err(Refusal::Overloaded { detail });
        }
        let start = queues.outgoing.len();
        for command in commands {
            if let Err(error) = command.write(&mut queues.outgoing) {
                queues.outgoing.truncate(start);
                return Err(Refusal::InvalidArgument { detail: error.to_string() });
            }
        }
        let pending = commands.iter().map(|_| {
            let (sender, reply) = oneshot::channel();
            queues.replies.push_back(sender);
            Pending { switch: self.shared.switch.clone(), reply }
        });
        let pending = pending.collect();
        self.shared.outgoing.notify_one();
        Ok(pending)
    }

    /// Sends one command and waits for its reply: the text of a `command/reply`, the body of an `api/response`.
    ///
    /// # Errors
    /// `TimedOut` if the switch may have it, anything else if it has not.
    pub(super) async fn command(&self, command: Command<'_>) -> Result<String, Refusal> {
        let mut replies = Vec::new();
        for pending in self.send(&[command])? {
            replies.push(pending.reply().await?);
        }
        Ok(replies.pop().unwrap_or_default())
    }

    /// Runs a short API command.
    ///
    /// # Errors
    /// As [`Connection::command`].
    pub(super) async fn api(&self, line: &str) -> Result<String, Refusal> {
        self.command(Command::Api(line)).await
    }

    /// Runs an API command of any length as a background job and waits for its whole result. The connection must
    /// be subscribed to `BACKGROUND_JOB`.
    ///
    /// # Errors
    /// As [`Connection::command`].
    pub(super) async fn background(&self, line: &str, deadline: Duration) -> Result<String, Refusal> {
        let job_uuid = random_uuid(&self.shared.host)?;
        let (sender, result) = oneshot::channel();
        {
            let mut queues = self.shared.queues();
            if queues.jobs.len() >= SWITCH_PENDING_JOBS {
                let detail = format!("{SWITCH_PENDING_JOBS} jobs run on switch {}", self.shared.switch);
                return Err(Refusal::Overloaded { detail });
            }
            queues.jobs.insert(job_uuid.clone(), sender);
        }
        let _forget = ForgetJob { shared: &self.shared, job_uuid: &job_uuid };
        let accepted = self.command(Command::BackgroundApi { command: line, job_uuid: &job_uuid }).await?;
        if !accepted.starts_with("+OK") {
            return Err(Refusal::SwitchRefused { reply: accepted });
        }
        match timeout(deadline, result).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => {
                Err(timed_out(&self.shared.switch, "the connection was lost while the command ran"))
            }
            Err(_) => Err(timed_out(&self.shared.switch, "the command still runs")),
        }
    }
}

impl Permit {
    fn is_valid(self) -> bool {
        match self {
            Self::Always => true,
            Self::Until(until) => until.is_some_and(|until| Instant::now() < until),
        }
    }
}

impl Pending {
    /// Waits for the reply.
    ///
    /// # Errors
    /// `TimedOut`: whether the switch has the command is not known.
    pub(super) async fn reply(self) -> Result<String, Refusal> {
        match timeout(Duration::from_millis(SWITCH_REPLY_TIMEOUT_MS), self.reply).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(timed_out(&self.switch, "the connection was lost before the reply")),
            Err(_) => Err(timed_out(&self.switch, "no reply")),
        }
    }
}

fn timed_out(switch: &str, what: &str) -> Refusal {
    Refusal::TimedOut { detail: format!("switch {switch}: {what}") }
}

/// Takes a job off the list when nobody waits for it any more.
struct ForgetJob<'a> {
    shared: &'a Shared,
    job_uuid: &'a str,
}

impl Drop for ForgetJob<'_> {
    fn drop(&mut self) {
        self.shared.queues().jobs.remove(self.job_uuid);
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self) -> Refusal {
        let detail = self.lost.borrow().as_ref().map(Loss::to_string).unwrap_or_default();
        Refusal::SwitchUnavailable { switch: self.switch.clone(), detail }
    }

    /// Ends everything that waits: what was sent may or may not have run.
    fn give_up(&self, loss: Loss) {
        {
            let mut queues = self.queues();
            *queues = Queues { lost: true, ..Queues::default() };
        }
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            if first {
                *lost = Some(loss);
            }
            first
        });
        self.outgoing.notify_one();
    }

    fn reply(&self, text: String) {
        // Who gave up waiting has dropped the other end; its place in the queue was kept for this.
        if let Some(waiting) = self.queues().replies.pop_front() {
            let _ = waiting.send(text);
        }
    }
}

/// Leaves nobody waiting when a task of the connection ends in a panic.
struct GiveUp<'a>(&'a Shared);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.give_up(Loss::new(SwitchTrouble::Unusable, "the task that served the connection has ended"));
    }
}

async fn read(
    shared: Arc<Shared>,
    mut socket: ReadHalf<BoxStream>,
    mut decoder: Decoder,
    mut sink: EventSink,
) {
    let _panicked = GiveUp(&shared);
    let loss = read_until_lost(&shared, &mut socket, &mut decoder, &mut sink).await;
    shared.give_up(loss);
}

async fn read_until_lost(
    shared: &Shared,
    socket: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
    sink: &mut EventSink,
) -> Loss {
    let mut shutting_down = false;
    loop {
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if let Some(loss) = take_frame(shared, frame, sink, &mut shutting_down) {
                        return loss;
                    }
                }
                Ok(None) => break,
                Err(error) => return Loss::new(SwitchTrouble::Unusable, error),
            }
        }
        match socket.read(decoder.space()).await {
            Ok(0) | Err(_) if shutting_down => return Loss::shut_down(),
            Ok(0) => {
                return Loss::new(SwitchTrouble::Crashed, "the switch closed the connection without a word");
            }
            Ok(bytes) => {
                shared.metrics.bytes_received.inc_by(bytes as u64);
                decoder.filled(bytes);
            }
            Err(error) => return Loss::of_connection(&error),
        }
    }
}

/// Gives a frame to who waits for it. Returns why the connection ends, if it does.
fn take_frame(
    shared: &Shared,
    mut frame: Frame<'_>,
    sink: &mut EventSink,
    shutting_down: &mut bool,
) -> Option<Loss> {
    match frame.kind() {
        FrameKind::CommandReply => {
            shared.reply(frame.reply_text().map(|text| text.text().into_owned()).unwrap_or_default());
        }
        FrameKind::ApiResponse => shared.reply(String::from_utf8_lossy(frame.body()).into_owned()),
        FrameKind::Event(_) => {
            shared.metrics.events.inc();
            match frame.event() {
                Ok(event) if event.name().is_some_and(|name| name.is("BACKGROUND_JOB")) => {
                    job_done(shared, event)
                }
                Ok(event) => {
                    *shutting_down |= event.name().is_some_and(|name| name.is("SHUTDOWN"));
                    sink(event);
                }
                Err(error) => {
                    shared.metrics.gaps.inc();
                    tracing::warn!(switch = shared.switch, "an event cannot be read: {error}");
                }
            }
        }
        FrameKind::DisconnectNotice => {
            return Some(if *shutting_down { Loss::shut_down() } else { Loss::of_notice(frame.body()) });
        }
        _ => {}
    }
    None
}

fn job_done(shared: &Shared, event: Event<'_>) {
    if event.is_sent_by_client() {
        return;
    }
    let job_uuid = event.get(names::JOB_UUID).map(|uuid| uuid.text().into_owned()).unwrap_or_default();
    let waiting = shared.queues().jobs.remove(&job_uuid);
    if let Some(waiting) = waiting {
        let _ = waiting.send(String::from_utf8_lossy(event.body()).into_owned());
    }
}

async fn write(shared: Arc<Shared>, mut socket: WriteHalf<BoxStream>) {
    let _panicked = GiveUp(&shared);
    if let Err(error) = write_until_lost(&shared, &mut socket).await {
        shared.give_up(Loss::of_connection(&error));
    }
}

async fn write_until_lost(shared: &Shared, socket: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        shared.outgoing.notified().await;
        loop {
            let lost = {
                let mut queues = shared.queues();
                std::mem::swap(&mut batch, &mut queues.outgoing);
                queues.lost
            };
            if lost {
                return Ok(());
            }
            if batch.is_empty() {
                break;
            }
            socket.write_all(&batch).await?;
            batch.clear();
        }
        socket.flush().await?;
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
pub(super) mod tests;
