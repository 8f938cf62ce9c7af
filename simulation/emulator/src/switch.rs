//! The switch: what it consists of, and how time and bytes reach it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::attempt::{AttemptId, Attempts};
use crate::bus::Bus;
use crate::channel::{Channel, Uuid};
use crate::conference::Conferences;
use crate::config::Config;
use crate::database::{Database, Limits};
use crate::fire::Second;
use crate::freeze::Unheard;
use crate::hash::Hash;
use crate::journal::Entry;
use crate::ledger::Ledger;
use crate::lifecycle::{Life, Paused, Track};
use crate::limits::WAIT_MAX;
use crate::lua::Scripts;
use crate::random::Random;
use crate::registrar::Registrations;
use crate::schedule::Schedule;
use crate::time::Time;

/// A connection's number, given by whoever carries its bytes and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A connection that the switch wants opened, numbered by the switch and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectId(pub u64);

/// A running API command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobId(pub(crate) u64);

/// What happens to the switch from outside.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A controller connected; it is greeted.
    Connected(ConnectionId),
    /// Bytes of a controller, in any pieces.
    Received(ConnectionId, &'a [u8]),
    /// A controller is gone. Its jobs and its calls go on.
    Closed(ConnectionId),
    /// A controller connected from an address that may not: it is told so and cut off.
    Refused(ConnectionId),
    /// The connection's socket took this many bytes of what it was sent. Whoever carries a connection reports every
    /// byte, or the switch believes that the socket is full.
    Written(ConnectionId, usize),
    /// The connection that [`Output::Connect`] wanted is open, under this number.
    Opened(ConnectId, ConnectionId),
    /// It cannot be opened.
    ConnectFailed(ConnectId),
}

/// What the switch wants done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write this to the connection, after all that came before.
    Send {
        /// Where to.
        connection: ConnectionId,
        /// What.
        bytes: Bytes,
    },
    /// Close the connection once everything before is written.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Open a connection to a controller (the application `socket`), and say [`Input::Opened`] or
    /// [`Input::ConnectFailed`].
    Connect {
        /// What to call it then.
        request: ConnectId,
        /// Where to: `<host>:<port>`, as the dialplan has it.
        address: String,
    },
}

/// Numbers about a running switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Living channels.
    pub channels: usize,
    /// Open connections.
    pub connections: usize,
    /// Channels that came to be since the start.
    pub channels_created: u64,
    /// Channels that ended since the start.
    pub channels_ended: u64,
    /// Events fired, whether or not anybody listened.
    pub events_fired: u64,
    /// Event frames written to connections.
    pub events_sent: u64,
    /// Applications that began.
    pub executions: u64,
    /// Commands that controllers sent.
    pub commands: u64,
}

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Channel(Uuid),
    Job(JobId),
    Schedule,
    Heartbeat,
    /// Somebody gives up waiting for an answer.
    Attempt(AttemptId),
    /// A leg's far end does the next thing.
    FarEnd(Uuid),
    /// A shutdown goes on.
    Life,
    /// A conference's thread has its turn.
    Conference(String),
    /// sofia looks whether this user's registration is over.
    Registration(String, String),
    /// mod_voicemail answers sofia about a phone that has registered.
    MessageWaiting {
        account: String,
        call_id: String,
    },
    /// A listener looks at its queues.
    Listener(ConnectionId),
    /// A connection has lingered long enough.
    Linger(ConnectionId),
    /// A late event comes.
    Late,
    /// A frozen switch loses patience.
    Thaw,
}

/// An emulated FreeSWITCH. It does nothing by itself: bytes and the time come in through [`Switch::handle`],
/// [`Switch::on_timeout`] and the methods for calls, and what it wants done waits in [`Switch::poll_output`].
/// The same inputs at the same times give the same outputs, byte for byte.
#[derive(Debug)]
pub struct Switch {
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) random: Random,
    pub(crate) core_uuid: String,
    pub(crate) event_sequence: u64,
    pub(crate) bus: Bus,
    pub(crate) channels: BTreeMap<Uuid, Channel>,
    /// Channels in the order of their creation, as `show channels` lists them.
    pub(crate) listing: crate::api::show::Listing,
    /// Channels whose threads have something to do, each once.
    pub(crate) runnable: VecDeque<Uuid>,
    pub(crate) timers: BTreeSet<(Time, u64, Timer)>,
    timer_sequence: u64,
    pub(crate) attempts: Attempts,
    pub(crate) registrations: Registrations,
    pub(crate) conferences: Conferences,
    pub(crate) life: Life,
    pub(crate) paused: Paused,
    /// When this run of the switch began.
    pub(crate) started: Time,
    /// Calls of a switch that died, which `sofia recover` brings back.
    pub(crate) recoverable: VecDeque<(Uuid, Track)>,
    /// How many API commands run inside one another (`expand`).
    pub(crate) nested_commands: usize,
    /// The global variables as the configuration has them, which a restart brings back.
    pub(crate) configured_globals: Vec<(String, String)>,
    pub(crate) jobs: BTreeMap<JobId, crate::api::Job>,
    pub(crate) next_job: u64,
    /// Connections whose `api` has replied and whose further input waits.
    pub(crate) resumable: VecDeque<ConnectionId>,
    /// Channels that wait for a connection to a controller.
    pub(crate) connecting: BTreeMap<ConnectId, Uuid>,
    pub(crate) last_connect: u64,
    /// What the last event had in common with all of its second.
    pub(crate) second: Option<Arc<Second>>,
    /// What happened to calls while their threads stood still.
    pub(crate) unheard: Vec<Unheard>,
    pub(crate) hash: Hash,
    pub(crate) database: Database,
    pub(crate) limits: Limits,
    pub(crate) schedule: Schedule,
    pub(crate) scripts: Scripts,
    pub(crate) ledger: Ledger,
    pub(crate) counts: Counts,
    pub(crate) peaks: Peaks,
}

/// Figures for `status` and HEARTBEAT.
#[derive(Debug, Default)]
pub(crate) struct Peaks {
    pub(crate) sessions: usize,
    second: u64,
    this_second: u64,
    pub(crate) last_second: u64,
    pub(crate) most_in_a_second: u64,
}

impl Peaks {
    pub(crate) fn count(&mut self, now: Time, sessions: usize) {
        self.sessions = self.sessions.max(sessions);
        self.roll(now);
        self.this_second += 1;
        self.most_in_a_second = self.most_in_a_second.max(self.this_second);
    }

    pub(crate) fn roll(&mut self, now: Time) {
        let second = now.0 / 1_000_000;
        if second != self.second {
            self.last_second = if second == self.second + 1 { self.this_second } else { 0 };
            self.second = second;
            self.this_second = 0;
        }
    }
}

impl Switch {
    /// A switch that starts now, at time zero. All its chance follows from `seed`, its Core-UUID included.
    pub fn new(config: Config, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let core_uuid = random.uuid();
        let mut switch = Self {
            now: Time(0),
            core_uuid,
            event_sequence: 0,
            bus: Bus::new(&config),
            channels: BTreeMap::new(),
            listing: crate::api::show::Listing::default(),
            runnable: VecDeque::new(),
            timers: BTreeSet::new(),
            timer_sequence: 0,
            attempts: Attempts::default(),
            registrations: Registrations::default(),
            conferences: Conferences::default(),
            life: Life::default(),
            paused: Paused::default(),
            started: Time(0),
            recoverable: VecDeque::new(),
            nested_commands: 0,
            configured_globals: config.globals.clone(),
            jobs: BTreeMap::new(),
            next_job: 1,
            resumable: VecDeque::new(),
            connecting: BTreeMap::new(),
            last_connect: 0,
            second: None,
            unheard: Vec::new(),
            hash: Hash::default(),
            database: Database::default(),
            limits: Limits::default(),
            schedule: Schedule::default(),
            scripts: Scripts::default(),
            ledger: Ledger::default(),
            counts: Counts::default(),
            peaks: Peaks::default(),
            random,
            config,
        };
        switch.arm(switch.now + switch.config.heartbeat, Timer::Heartbeat);
        switch
    }

    /// Takes what happened at `now`.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        self.advance(now);
        match input {
            Input::Connected(id) => self.accept(id),
            Input::Received(id, bytes) => self.receive(id, bytes),
            Input::Closed(id) => self.bus.forget(id),
            Input::Refused(id) => self.reject(id),
            Input::Written(id, size_bytes) => {
                if self.bus.written(id, size_bytes) {
                    self.resumable.push_back(id);
                }
            }
            Input::Opened(request, id) => self.connect_opened(request, id),
            Input::ConnectFailed(request) => self.connect_failed(request),
        }
        self.run();
    }

    /// When [`Switch::on_timeout`] wants to be called, if nothing happens before.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.first().map(|(at, _, _)| *at)
    }

    /// Does everything that is due at `now`.
    pub fn on_timeout(&mut self, now: Time) {
        self.advance(now);
        self.run();
    }

    /// What to do outside, oldest first. To be asked until it has no more after every call of another method.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.bus.poll()
    }

    /// What really happened to every call.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// From now on [`Switch::take_journal`] tells what happens.
    pub fn keep_journal(&mut self) {
        self.ledger.journal.keep();
    }

    /// What has happened and was not taken yet, oldest first.
    pub fn take_journal(&mut self) -> Option<Entry> {
        self.ledger.journal.take()
    }

    /// The switch's own time, as far as it has been told.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What `hash` holds under a key of a realm.
    pub fn hash_value(&self, realm: &str, key: &str) -> Option<&str> {
        self.hash.value(realm, key)
    }

    /// A variable of a living channel.
    pub fn channel_variable(&self, uuid: &str, name: &str) -> Option<&str> {
        self.channels.get(uuid)?.variables.get(name)
    }

    /// The living channels, in the order of their uuids.
    pub fn living_channels(&self) -> impl Iterator<Item = &Uuid> {
        self.channels.keys()
    }

    /// Numbers about this switch.
    pub fn counts(&self) -> Counts {
        Counts {
            channels: self.channels.len(),
            connections: self.bus.connections.len(),
            events_fired: self.bus.events_fired,
            events_sent: self.bus.events_sent,
            ..self.counts
        }
    }

    /// The Core-UUID in every event: another for every start.
    pub fn core_uuid(&self) -> &str {
        &self.core_uuid
    }

    /// Goes to `now`, firing what is due on the way, each at its own moment.
    pub(crate) fn advance(&mut self, now: Time) {
        while self.next_timeout().is_some_and(|at| at <= now) {
            let Some((at, _, timer)) = self.timers.pop_first() else { break };
            self.now = self.now.max(at);
            self.fire_timer(timer);
            self.run();
        }
        self.now = self.now.max(now);
    }

    fn fire_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Channel(uuid) => {
                let due = |channel: &&mut Channel| channel.wakes_at.is_some_and(|at| at <= self.now);
                if let Some(channel) = self.channels.get_mut(&uuid).filter(due) {
                    channel.wakes_at = None;
                    self.runnable.push_back(uuid);
                }
            }
            Timer::Job(job) => self.job_timeout(job),
            Timer::Attempt(attempt) => self.attempt_timeout(attempt),
            Timer::FarEnd(uuid) => self.far_end_acts(&uuid),
            Timer::Schedule => self.run_tasks(),
            Timer::Conference(name) => self.turn_conference(&name),
            Timer::Life => self.go_on_ending(),
            Timer::Registration(user, domain) => self.check_registration(&user, &domain),
            Timer::MessageWaiting { account, call_id } => self.tell_messages(&account, &call_id),
            Timer::Listener(id) => self.listener_timeout(id),
            Timer::Linger(id) => self.linger_timeout(id),
            Timer::Late => self.deliver_late(),
            // `run` sees that it is over.
            Timer::Thaw => {}
            Timer::Heartbeat => {
                self.heartbeat();
                self.arm(self.now + self.config.heartbeat, Timer::Heartbeat);
            }
        }
    }

    /// Lets channels and connections go on until all of them wait.
    pub(crate) fn run(&mut self) {
        self.thaw_if_over();
        loop {
            if !self.calls_stand_still()
                && let Some(uuid) = self.runnable.pop_front()
            {
                self.run_channel(&uuid);
            } else if let Some(connection) = self.resumable.pop_front() {
                self.read_requests(connection);
            } else if !self.settle() {
                break;
            }
        }
    }

    /// Nothing is due any more that was.
    pub(crate) fn forget_timers(&mut self) {
        self.timers.clear();
    }

    pub(crate) fn arm(&mut self, at: Time, timer: Timer) {
        self.timer_sequence += 1;
        let at = at.min(self.now + WAIT_MAX);
        self.timers.insert((at, self.timer_sequence, timer));
    }

    /// Wakes a channel at `at`, unless it wakes before.
    pub(crate) fn wake_at(&mut self, uuid: &Uuid, at: Time) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if channel.wakes_at.is_none_or(|present| present > at || present <= self.now) {
            channel.wakes_at = Some(at);
            self.arm(at, Timer::Channel(uuid.clone()));
        }
    }

    /// Lets a channel's thread look at its state.
    pub(crate) fn make_runnable(&mut self, uuid: &Uuid) {
        if !self.runnable.contains(uuid) {
            self.runnable.push_back(uuid.clone());
        }
    }

    /// The wall clock, in microseconds since 1970.
    pub(crate) fn wall_micros(&self) -> u64 {
        self.config.wall_clock_at_start_micros + self.now.0
    }

    pub(crate) fn random_delay(&mut self, range_ms: &RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.random.in_range(range_ms))
    }
}
