//! The end of a switch and its next start: `fsctl shutdown`, a crash, and calls that come back by `sofia recover`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::api::show::Listing;
use crate::attempt::Attempts;
use crate::cause::Cause;
use crate::channel::{CallState, Channel, Endpoint, State, Uuid};
use crate::connection::split_word;
use crate::custom::Contents;
use crate::dialplan::Action;
use crate::ledger::HungUpBy;
use crate::profile::Profile;
use crate::random::Random;
use crate::switch::{ConnectionId, Switch, Timer};
use crate::time::Time;
use crate::variables::Variables;

/// From the command to SHUTDOWN, and from there to the last word (transcript p_shutdown_acl/shutdown_events_plain).
const SHUTDOWN_AFTER: Duration = Duration::from_millis(725);
const GONE_AFTER: Duration = Duration::from_millis(3_445);

/// How long a switch that was told to restart is gone.
const RESTART_AFTER: Duration = Duration::from_secs(5);

/// The last word to every connection.
const LAST_WORD: &str = "The system is being shut down.\n";

const USAGE: &str = "-ERR Invalid command\nUSAGE: fsctl [api_expansion [on|off]|recover|send_sighup|hupall|pause \
    [inbound|outbound]|resume [inbound|outbound]|shutdown [cancel|elegant|asap|now|restart]|uuid_version [4|7]|sps|\
    sps_peak_reset|sync_clock|sync_clock_when_idle|reclaim_mem|max_sessions|min_dtmf_duration [num]|max_dtmf_duration \
    [num]|default_dtmf_duration [num]|min_idle_cpu|loglevel [level]|debug_level [level]|mdns_resolve \
    [enable|disable]]\n";

/// Where in its life the switch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Life {
    #[default]
    Running,
    /// It ends when the last call has.
    Waiting {
        takes_calls: bool,
        restarts: bool,
    },
    /// SHUTDOWN is to come.
    Ordered {
        restarts: bool,
    },
    /// SHUTDOWN was told, and the last word is to come.
    Stopping {
        restarts: bool,
    },
    Stopped {
        restarts: bool,
    },
}

/// Which calls an operator paused.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Paused {
    inbound: bool,
    outbound: bool,
}

/// What the switch has on disk of a call, as it was when it was last written: at the answer, and when the call was
/// bridged. Whatever came later is lost with the switch.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    name: String,
    outbound: bool,
    profile: Option<Profile>,
    variables: Variables,
    /// The application that ran, and those that were to come.
    actions: VecDeque<Action>,
    partner: Option<Uuid>,
    /// Whether it is the one of the two that was called.
    called: bool,
}

impl Switch {
    /// Whether the switch takes calls of this direction.
    pub(crate) fn takes_calls(&self, outbound: bool) -> bool {
        let paused = if outbound { self.paused.outbound } else { self.paused.inbound };
        let living = matches!(self.life, Life::Running | Life::Waiting { takes_calls: true, .. });
        living && !paused
    }

    /// `fsctl ...`
    pub(crate) fn api_fsctl(&mut self, by: Option<ConnectionId>, argument: &str) -> String {
        let (command, rest) = split_word(argument.trim());
        match command {
            "ready_check" => (self.life == Life::Running && self.takes_calls(false)).to_string(),
            "shutdown_check" => (self.life != Life::Running).to_string(),
            "shutdown" => self.order_shutdown(rest),
            "hupall" => {
                let cause = if rest.is_empty() { "MANAGER_REQUEST" } else { rest };
                self.hang_up_all(Cause::named(cause), HungUpBy::Controller(by));
                "+OK\n".into()
            }
            "recover" => format!("{}\n", self.recover()),
            "pause" | "resume" => {
                let paused = command == "pause";
                if rest != "outbound" {
                    self.paused.inbound = paused;
                }
                if rest != "inbound" {
                    self.paused.outbound = paused;
                }
                "+OK\n".into()
            }
            "max_sessions" => format!("+OK max sessions: {}\n", self.config.sessions_max),
            "sps" => "+OK sessions per second: 1000\n".into(),
            _ => USAGE.into(),
        }
    }

    fn order_shutdown(&mut self, form: &str) -> String {
        let has = |word: &str| form.split_ascii_whitespace().any(|own| own == word);
        if has("cancel") {
            if matches!(self.life, Life::Waiting { .. }) {
                self.life = Life::Running;
            }
            return "+OK\n".into();
        }
        let restarts = has("restart");
        if has("elegant") || has("asap") {
            self.life = Life::Waiting { takes_calls: has("elegant"), restarts };
            self.end_if_idle();
        } else {
            self.begin_shutdown(restarts);
        }
        "+OK\n".into()
    }

    /// A shutdown by whoever runs the machine, as `fsctl shutdown` does it: calls are hung up with SYSTEM_SHUTDOWN,
    /// and every connection hears a last word some seconds later.
    pub fn shutdown(&mut self, now: Time) {
        self.advance(now);
        self.begin_shutdown(false);
    }

    /// Whether the switch was shut down and is gone.
    pub fn is_stopped(&self) -> bool {
        matches!(self.life, Life::Stopped { .. })
    }

    fn begin_shutdown(&mut self, restarts: bool) {
        if matches!(self.life, Life::Running | Life::Waiting { .. }) {
            self.life = Life::Ordered { restarts };
            self.arm(self.now + SHUTDOWN_AFTER, Timer::Life);
        }
    }

    /// A shutdown that waits for the last call begins when there is none.
    pub(crate) fn end_if_idle(&mut self) {
        if let Life::Waiting { restarts, .. } = self.life
            && self.channels.is_empty()
        {
            self.begin_shutdown(restarts);
        }
    }

    /// SHUTDOWN was told.
    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self.life, Life::Stopping { .. } | Life::Stopped { .. })
    }

    /// The next part of a shutdown.
    pub(crate) fn go_on_ending(&mut self) {
        match self.life {
            Life::Ordered { restarts } => {
                self.life = Life::Stopping { restarts };
                let before = [("Event-Info", "System Shutting Down")];
                let origin = ("switch_core.c", "switch_core_destroy", "3033");
                self.fire_with("SHUTDOWN", None, origin, Contents { before: &before, ..Contents::default() });
                self.hang_up_all(Cause::named("SYSTEM_SHUTDOWN"), HungUpBy::Switch);
                self.arm(self.now + GONE_AFTER, Timer::Life);
            }
            Life::Stopping { restarts } => {
                self.life = Life::Stopped { restarts };
                self.tell_profiles_gone();
                self.bus.disconnect_all(LAST_WORD);
                if restarts {
                    self.arm(self.now + RESTART_AFTER, Timer::Life);
                }
            }
            Life::Stopped { restarts: true } => {
                let seed = self.random.next_u64();
                self.start_again(seed);
            }
            Life::Running | Life::Waiting { .. } | Life::Stopped { restarts: false } => {}
        }
    }

    /// sofia takes its profiles' ports back.
    fn tell_profiles_gone(&mut self) {
        for (profile, port) in [("internal", "5060"), ("external", "5080")] {
            let uri = format!("sip:mod_sofia@127.0.0.1:{port}");
            let before = [
                ("service", "_sip._udp,_sip._tcp,_sip._sctp"),
                ("port", port),
                ("module_name", "mod_sofia"),
                ("profile_name", profile),
                ("profile_uri", &uri),
            ];
            let origin = ("sofia.c", "sofia_profile_thread_run", "3543");
            self.fire_with("UNPUBLISH", None, origin, Contents { before: &before, ..Contents::default() });
        }
    }

    pub(crate) fn hang_up_all(&mut self, cause: Cause, by: HungUpBy) {
        let all: Vec<Uuid> = self.channels.keys().cloned().collect();
        all.iter().for_each(|uuid| self.hang_up(uuid, cause, by));
    }

    /// The switch dies and is started again: connections end without a word, calls are gone, the hash is empty and
    /// the Core-UUID another one. All chance from now on follows from `seed`. With `recover`, answered SIP calls
    /// come back as `sofia recover` brings them, with the variables that they had when they were last written to
    /// disk; without it they can be brought back later by that command.
    pub fn restart(&mut self, now: Time, seed: u64, recover: bool) {
        self.advance(now);
        self.start_again(seed);
        if recover {
            self.recover();
        }
        self.run();
    }

    fn start_again(&mut self, seed: u64) {
        self.bus.close_all();
        for channel in std::mem::take(&mut self.channels).into_values() {
            self.counts.channels_ended += 1;
            self.ledger.hung_up(&channel.uuid, "CRASH", HungUpBy::Switch);
            self.ledger.ended(&channel.uuid, self.now);
            if let Some(track) = channel.track {
                self.recoverable.push_back((channel.uuid, *track));
            }
        }
        self.random = Random::new(seed);
        self.core_uuid = self.random.uuid();
        self.event_sequence = 0;
        self.started = self.now;
        self.life = Life::Running;
        self.paused = Paused::default();
        self.listing = Listing::default();
        self.attempts = Attempts::default();
        self.runnable.clear();
        self.resumable.clear();
        self.connecting.clear();
        self.unheard.clear();
        self.jobs.clear();
        self.hash = Default::default();
        self.limits = Default::default();
        self.conferences = Default::default();
        self.schedule = Default::default();
        self.scripts = Default::default();
        self.config.globals.clone_from(&self.configured_globals);
        self.forget_timers();
        self.arm(self.now + self.config.heartbeat, Timer::Heartbeat);
    }

    /// Writes a call to disk, if it is one that can come back.
    pub(crate) fn track(&mut self, uuid: &str) {
        self.modify(uuid, |channel| {
            if channel.endpoint != Endpoint::Sofia || !channel.is_answered() {
                return;
            }
            let running = channel.stack.first().filter(|frame| !frame.silent && frame.command.is_none());
            let running = running.map(|frame| frame.action.clone());
            channel.track = Some(Box::new(Track {
                name: channel.name.clone(),
                outbound: channel.outbound,
                profile: channel.profile.clone(),
                variables: channel.variables.clone(),
                actions: running.into_iter().chain(channel.actions.iter().cloned()).collect(),
                partner: channel.bridged_to.clone(),
                called: channel.call_uuid != channel.uuid,
            }));
        });
    }

    /// `sofia recover`: brings back the calls of the switch that died; gives how many.
    pub(crate) fn recover(&mut self) -> usize {
        let tracks: Vec<(Uuid, Track)> = std::mem::take(&mut self.recoverable).into();
        for (uuid, track) in &tracks {
            self.resurrect(uuid, track);
        }
        let alive = |switch: &Self, uuid: &Uuid| switch.channels.contains_key(uuid);
        for (uuid, track) in &tracks {
            match &track.partner {
                Some(partner) if alive(self, partner) => {
                    if !track.called {
                        self.bridge_channels(uuid, partner);
                    }
                }
                // Without its partner, and without an application of its own, it has nothing to do.
                Some(_) if track.called => {
                    self.hang_up(uuid, Cause::NORMAL_CLEARING, HungUpBy::Switch);
                }
                _ => self.make_runnable(uuid),
            }
        }
        tracks.len()
    }

    /// One call comes back: the same uuid and the old variables, in a switch with another Core-UUID.
    fn resurrect(&mut self, uuid: &Uuid, track: &Track) {
        let wall = self.wall_micros();
        let mut channel: Channel =
            self.new_channel(uuid.clone(), track.name.clone(), Endpoint::Sofia, track.outbound);
        channel.hit_dialplan = !track.outbound;
        channel.variables = track.variables.clone();
        channel.profile = track.profile.clone();
        if let Some(profile) = &mut channel.profile {
            profile.times.resurrected = wall;
            profile.times.bridged = 0;
        }
        self.ledger.resurrected(uuid);
        self.counts.channels_created += 1;
        self.listing.created(uuid.clone());
        self.channels.insert(uuid.clone(), channel);
        self.fire_channel(uuid, "CHANNEL_STATE", &[], &[]);
        self.set_codecs(uuid, "switch_core_session_set_real_read_codec");
        self.modify(uuid, |channel| {
            channel.variables.unset("bridge_to");
            channel.variables.set("recovered", "true");
            channel.next_state = State::Init;
        });
        self.enter_state(uuid, State::Init);
        self.fire_channel(uuid, "CHANNEL_CREATE", &[], &[]);
        self.modify(uuid, |channel| channel.answer_state = "answered");
        self.fire_channel(uuid, "CHANNEL_ANSWER", &[], &[]);
        self.set_call_state(uuid, CallState::Active);
        self.enter_state(uuid, State::Execute);
        let actions = track.actions.clone();
        self.modify(uuid, |channel| channel.actions = actions);
        self.track(uuid);
    }
}
