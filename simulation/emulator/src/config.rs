//! What an emulated switch is and how its surroundings behave.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::cause::Cause;
use crate::dialplan::{Dialplan, matches_pattern};
use crate::disorder::Disorder;
use crate::far_end::Step;
use crate::limits::{DISPATCH_QUEUE_MAX, LISTENER_QUEUE_MAX, SESSIONS_MAX, UNWRITTEN_MAX_BYTES};
use crate::xml_dialplan::XmlDialplan;

/// Everything about a switch that is fixed when it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// What `auth` must say.
    pub password: String,
    /// Who may say `userauth`: the users of the directory.
    pub users: Vec<User>,
    /// `FreeSWITCH-Hostname`.
    pub hostname: String,
    /// `FreeSWITCH-Switchname`.
    pub switch_name: String,
    /// The wall clock when the switch's time is zero, in microseconds since 1970.
    pub wall_clock_at_start_micros: u64,
    /// What incoming and transferred calls run.
    pub dialplan: Dialplan,
    /// How dialled destinations behave; the first rule that fits decides, [`Answer::Answers`] after
    /// [`Config::default_answer`] if none does.
    pub destinations: Vec<Destination>,
    /// How a destination behaves for which there is no rule.
    pub default_answer: Answer,
    /// What dialled phones say they are, by the patterns of their destinations; the others are bare testers.
    pub user_agents: Vec<(String, String)>,
    /// What dialled destinations do after they have answered or failed to; the first that fits.
    pub scripts: Vec<CalleeScript>,
    /// The users of the directory. With none, every user can be dialled and may register; else `user/...` reaches
    /// only those who have registered.
    pub directory: Vec<DirectoryUser>,
    /// How long a dialled destination may ring if `originate_timeout` does not say it (FreeSWITCH: 60 s).
    pub originate_timeout: Duration,
    /// How long `playback` takes for a file whose name tells nothing about it.
    pub default_playback: Duration,
    /// How long the files at these paths play.
    pub files: Vec<(String, Duration)>,
    /// Concurrent sessions; more calls are refused.
    pub sessions_max: usize,
    /// How far `show channels` and `show calls` lag behind a channel's birth and death, in milliseconds; drawn for
    /// each anew (freeswitch README: 90 to 400).
    pub show_lag_ms: RangeInclusive<u64>,
    /// The time between two HEARTBEAT events (FreeSWITCH: 20 s).
    pub heartbeat: Duration,
    /// Files under these prefixes cannot be opened: playing one gives `FILE NOT FOUND`, recording to one hangs up.
    pub missing_paths: Vec<String>,
    /// Variables that `global_getvar` knows.
    pub globals: Vec<(String, String)>,
    /// Contexts of the XML dialplan, which are hunted before [`Config::dialplan`].
    pub xml_dialplan: XmlDialplan,
    /// Whether it has mod_lua: the application and the API command `lua`.
    pub mod_lua: bool,
    /// Lua scripts, by the name under which `lua` runs them.
    pub lua_scripts: BTreeMap<String, String>,
    /// How long a script is held up, in milliseconds, whenever it asks something of the switch; drawn anew each time.
    /// With 0 it goes on at once, and nothing comes between what it does unless it sleeps or executes an application. On
    /// a real switch scripts run in threads, and anything may come between.
    pub lua_pause_ms: RangeInclusive<u64>,
    /// How long a listener that had nothing to do takes to see an event, in milliseconds; drawn for each anew
    /// (freeswitch takeover README: 17 to 54). With 0 to 0 it sees every event at once.
    pub event_lag_ms: RangeInclusive<u64>,
    /// How rarely events overtake each other.
    pub disorder: Disorder,
    /// Events that a listener's queue holds. When one is full and its socket takes no more, the switch freezes.
    pub listener_queue_max: usize,
    /// Bytes handed out for a connection and not reported as written, from which on its socket counts as full.
    pub unwritten_max_bytes: usize,
    /// Events that a frozen switch still takes before the threads of its calls wait.
    pub dispatch_queue_max: usize,
    /// How long after the connections of a frozen switch its calls stand still too, at the latest.
    pub freeze_reaches_calls_after: Duration,
}

/// A user of the directory who may control the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// `esl-password`
    pub password: String,
    /// `esl-allowed-events`, names with commas between them; `None` where the user has no such parameter.
    pub events: Option<String>,
    /// `esl-allowed-api`, names with commas between them; `None` where the user has no such parameter.
    pub api: Option<String>,
    /// `esl-allowed-log`
    pub may_log: bool,
}

impl Default for Config {
    /// The switch of the transcripts: password `ClueCon`, named `fs1`, on `vm`, parking every call for fipple.
    fn default() -> Self {
        Self {
            password: "ClueCon".into(),
            users: Vec::new(),
            hostname: "vm".into(),
            switch_name: "fs1".into(),
            // 2026-11-23 04:00:00 UTC, about the hour of the transcripts.
            wall_clock_at_start_micros: 1_795_406_400_000_000,
            dialplan: Dialplan::park_everything(),
            destinations: Destination::well_known(),
            default_answer: Answer::Answers {
                ring_after: Duration::from_millis(50),
                answer_after: Duration::from_millis(200),
            },
            scripts: Vec::new(),
            user_agents: Vec::new(),
            directory: Vec::new(),
            originate_timeout: Duration::from_secs(60),
            default_playback: Duration::from_secs(2),
            files: Vec::new(),
            sessions_max: SESSIONS_MAX,
            show_lag_ms: 90..=400,
            heartbeat: Duration::from_secs(20),
            missing_paths: vec!["/nonexistent/".into(), "/proc/".into()],
            globals: vec![("domain".into(), "lab.local".into()), ("local_ip_v4".into(), "127.0.0.1".into())],
            xml_dialplan: XmlDialplan::deployed(),
            mod_lua: true,
            lua_scripts: deployed_scripts(),
            lua_pause_ms: 0..=0,
            event_lag_ms: 17..=54,
            // Transcript o_ordering: 4 events of 66,000 at 300 calls a second.
            disorder: Disorder { late_per_million: 60, repeated_sequence_per_million: 60 },
            listener_queue_max: LISTENER_QUEUE_MAX,
            unwritten_max_bytes: UNWRITTEN_MAX_BYTES,
            dispatch_queue_max: DISPATCH_QUEUE_MAX,
            freeze_reaches_calls_after: Duration::from_secs(14),
        }
    }
}

/// The scripts that fipple asks an operator to install.
fn deployed_scripts() -> BTreeMap<String, String> {
    let scripts = [
        ("fipple_fallback.lua", include_str!("../../../deploy/freeswitch/scripts/fipple_fallback.lua")),
        ("fipple_fence.lua", include_str!("../../../deploy/freeswitch/scripts/fipple_fence.lua")),
        ("fipple_step.lua", include_str!("../../../deploy/freeswitch/scripts/fipple_step.lua")),
        ("fipple_watchdog.lua", include_str!("../../../deploy/freeswitch/scripts/fipple_watchdog.lua")),
    ];
    scripts.map(|(name, text)| (name.to_owned(), text.to_owned())).into()
}

impl Config {
    /// How the destination of a dial string behaves, by its number or by its whole address.
    pub(crate) fn answer_of(&self, destination: &str, address: &str) -> Answer {
        let fits = |rule: &&Destination| {
            matches_pattern(&rule.pattern, destination) || matches_pattern(&rule.pattern, address)
        };
        self.destinations.iter().find(fits).map_or(self.default_answer, |rule| rule.answer)
    }

    /// What the phone of a dialled destination says it is.
    pub(crate) fn user_agent_of(&self, destination: &str) -> &str {
        let agent = self.user_agents.iter().find(|(pattern, _)| matches_pattern(pattern, destination));
        agent.map_or("", |(_, agent)| agent)
    }

    /// How long the file at a path plays.
    pub(crate) fn playback_of(&self, path: &str) -> Duration {
        let file = self.files.iter().find(|(file, _)| file == path);
        file.map_or(self.default_playback, |(_, length)| *length)
    }

    /// A user of the directory.
    pub(crate) fn user(&self, id: &str, domain: &str) -> Option<&DirectoryUser> {
        self.directory.iter().find(|user| user.id == id && user.domain == domain)
    }

    /// What a dialled destination does after that.
    pub(crate) fn script_of(&self, destination: &str) -> Vec<Step> {
        let script = self.scripts.iter().find(|script| matches_pattern(&script.pattern, destination));
        script.map(|script| script.steps.clone()).unwrap_or_default()
    }
}

/// How the destinations of one pattern behave when they are dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// A destination number or a whole address (`100@192.0.2.1:5060`), or its beginning and a `*`.
    pub pattern: String,
    /// What happens.
    pub answer: Answer,
}

/// A user of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryUser {
    /// The user's name.
    pub id: String,
    /// The domain; registrations use it as realm too.
    pub domain: String,
    /// The group of the directory's file.
    pub group: String,
    /// `<params>`.
    pub params: Vec<(String, String)>,
    /// `<variables>`, which a registration's events carry.
    pub variables: Vec<(String, String)>,
}

impl DirectoryUser {
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What the destinations of one pattern do after their [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalleeScript {
    /// A destination number, or its beginning and a `*`.
    pub pattern: String,
    /// What they do, in this order.
    pub steps: Vec<Step>,
}

/// What becomes of a dialled leg. Times count from the dialling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It rings and is answered.
    Answers {
        /// When it begins to ring.
        ring_after: Duration,
        /// When it is answered.
        answer_after: Duration,
    },
    /// It is answered at once, as a machine does it.
    AnswersWithoutRinging {
        /// When it is answered.
        after: Duration,
    },
    /// It rings until whoever dialled gives up: `NO_ANSWER`.
    Rings {
        /// When it begins to ring.
        ring_after: Duration,
    },
    /// It sends sound before it is answered, if it ever is.
    EarlyMedia {
        /// When the sound begins.
        media_after: Duration,
        /// When it is answered; `None` for never.
        answer_after: Option<Duration>,
    },
    /// It refuses.
    Refuses {
        /// When it refuses.
        after: Duration,
        /// Why.
        cause: Cause,
    },
}

impl Destination {
    /// The destinations that behave by their name in every default configuration: `busy*` is `USER_BUSY`,
    /// `reject*` is `CALL_REJECTED`, `unallocated*` is `UNALLOCATED_NUMBER`, `congested*` is
    /// `NORMAL_TEMPORARY_FAILURE`, `noanswer*` rings until the caller gives up, and `early*` sends sound before it
    /// answers after a second.
    pub fn well_known() -> Vec<Self> {
        let after = Duration::from_millis(20);
        let refuses = |pattern: &str, cause: &str| Self {
            pattern: pattern.into(),
            answer: Answer::Refuses { after, cause: Cause::named(cause) },
        };
        vec![
            refuses("busy*", "USER_BUSY"),
            refuses("reject*", "CALL_REJECTED"),
            refuses("unallocated*", "UNALLOCATED_NUMBER"),
            refuses("congested*", "NORMAL_TEMPORARY_FAILURE"),
            Self { pattern: "noanswer*".into(), answer: Answer::Rings { ring_after: after } },
            Self {
                pattern: "early*".into(),
                answer: Answer::EarlyMedia { media_after: after, answer_after: Some(Duration::from_secs(1)) },
            },
        ]
    }
}

/// A call from outside, as its INVITE describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundCall {
    /// The caller's number: the user of the `From`.
    pub caller_id_number: String,
    /// The caller's display name; empty for none.
    pub caller_id_name: String,
    /// The number that was dialled.
    pub destination_number: String,
    /// The dialplan context that the profile gives its calls.
    pub context: String,
    /// Further channel variables, for example `sip_h_X-...` of the INVITE.
    pub variables: Vec<(String, String)>,
    /// What the caller's phone says it is. Empty for a bare tester, which says as little else as it can.
    pub user_agent: String,
    /// What the caller does, in this order.
    pub script: Vec<Step>,
}

impl InboundCall {
    /// A call between these two numbers in context `default`.
    pub fn new(caller_id_number: impl Into<String>, destination_number: impl Into<String>) -> Self {
        let caller_id_number = caller_id_number.into();
        Self {
            caller_id_name: caller_id_number.clone(),
            caller_id_number,
            destination_number: destination_number.into(),
            context: "default".into(),
            variables: Vec::new(),
            user_agent: String::new(),
            script: Vec::new(),
        }
    }
}
