//! One leg of a call: its state, and the stack of applications that its thread is in.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::applications::media::Tap;
use crate::applications::queues::Place;
use crate::applications::socket::Outbound;
use crate::attempt::AttemptId;
use crate::cause::Cause;
use crate::dialplan::Action;
use crate::event::Event;
use crate::far_end::Script;
use crate::lifecycle::Track;
use crate::limits::TURNS_PER_MOMENT_MAX;
use crate::profile::{Prefix, Profile};
use crate::switch::{ConnectionId, JobId};
use crate::time::Time;
use crate::variables::Variables;

/// A channel's uuid: any text, because `origination_uuid` accepts any.
pub type Uuid = Arc<str>;

/// A channel's state, in FreeSWITCH's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    New,
    Init,
    Routing,
    SoftExecute,
    Execute,
    ExchangeMedia,
    Park,
    ConsumeMedia,
    Hibernate,
    Reset,
    Hangup,
    Reporting,
    Destroy,
    None,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::New => "CS_NEW",
            Self::Init => "CS_INIT",
            Self::Routing => "CS_ROUTING",
            Self::SoftExecute => "CS_SOFT_EXECUTE",
            Self::Execute => "CS_EXECUTE",
            Self::ExchangeMedia => "CS_EXCHANGE_MEDIA",
            Self::Park => "CS_PARK",
            Self::ConsumeMedia => "CS_CONSUME_MEDIA",
            Self::Hibernate => "CS_HIBERNATE",
            Self::Reset => "CS_RESET",
            Self::Hangup => "CS_HANGUP",
            Self::Reporting => "CS_REPORTING",
            Self::Destroy => "CS_DESTROY",
            Self::None => "CS_NONE",
        }
    }

    /// `Channel-State-Number`, which is that of the state to come while a change is on its way.
    pub(crate) fn number(self) -> &'static str {
        const NUMBERS: [&str; 13] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
        NUMBERS.get(self as usize).unwrap_or(&"0")
    }
}

/// What a caller hears or a phone shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallState {
    Down,
    Ringing,
    Early,
    RingWait,
    Active,
    Held,
    Unheld,
    Hangup,
}

impl CallState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::Ringing => "RINGING",
            Self::Early => "EARLY",
            Self::RingWait => "RING_WAIT",
            Self::Active => "ACTIVE",
            Self::Held => "HELD",
            Self::Unheld => "UNHELD",
            Self::Hangup => "HANGUP",
        }
    }

    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::Down => "0",
            Self::Ringing => "2",
            Self::Early => "3",
            Self::RingWait => "6",
            Self::Active => "4",
            Self::Held => "5",
            Self::Unheld => "8",
            Self::Hangup => "7",
        }
    }
}

/// Which module a leg belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Sofia,
    Null,
    Loopback,
}

impl Endpoint {
    /// Its name in a dial string and in `originate_endpoint`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sofia => "sofia",
            Self::Null => "null",
            Self::Loopback => "loopback",
        }
    }

    /// Name, rate and bit rate of the codec of its legs.
    pub(crate) fn codec(self) -> Codec {
        match self {
            Self::Sofia => Codec { name: "PCMU", rate: "8000", bit_rate: "64000" },
            Self::Null | Self::Loopback => Codec { name: "L16", rate: "8000", bit_rate: "128000" },
        }
    }
}

/// How often a channel has gone on in one moment of the clock.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    moment: Option<Time>,
    taken: usize,
}

impl Turns {
    /// Takes one; `false` if there is none left before the clock goes on.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        if self.moment != Some(now) {
            *self = Self { moment: Some(now), taken: 0 };
        }
        self.taken += 1;
        self.taken <= TURNS_PER_MOMENT_MAX
    }

    pub(crate) fn use_up(&mut self) {
        self.taken = TURNS_PER_MOMENT_MAX;
    }
}

/// A codec as events name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codec {
    pub(crate) name: &'static str,
    pub(crate) rate: &'static str,
    pub(crate) bit_rate: &'static str,
}

/// A command of a `sendmsg` that waits in a channel's queue.
#[derive(Debug, Clone)]
pub(crate) struct PrivateCommand {
    /// As the controller wrote them, for the PRIVATE_COMMAND event.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) action: CommandAction,
    pub(crate) event_lock: bool,
    /// Whose command it is; `None` for the switch's own (uuid_broadcast).
    pub(crate) connection: Option<ConnectionId>,
}

/// What a private command asks for.
#[derive(Debug, Clone)]
pub(crate) enum CommandAction {
    Execute {
        action: Action,
        loops: i64,
        application_uuid: Option<String>,
    },
    Hangup(Cause),
    /// `xferext`: a list of applications that replaces the dialplan's.
    Extension(Vec<Action>),
    /// Known to FreeSWITCH and without effect here (`unicast`, `nomedia`), or unknown: accepted and ignored.
    Nothing,
}

/// An application that has begun and not ended.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) action: Action,
    pub(crate) application_uuid: String,
    pub(crate) doing: Doing,
    /// When it began.
    pub(crate) since: Time,
    /// When it ends by itself.
    pub(crate) until: Option<Time>,
    /// It was told to end (uuid_break).
    pub(crate) interrupted: bool,
    /// No private command runs while it does.
    pub(crate) event_lock: bool,
    /// What started it, with the loops still to do.
    pub(crate) command: Option<(PrivateCommand, i64)>,
    /// A state rather than an application: no CHANNEL_EXECUTE event was or will be fired.
    pub(crate) silent: bool,
}

impl Frame {
    /// Whether it waits for this attempt.
    pub(crate) fn dials(&self, id: AttemptId) -> bool {
        matches!(self.doing, Doing::Dialling { attempt } if attempt == id)
    }

    /// The B leg of the bridge that it is.
    pub(crate) fn bridged_leg(&self) -> Option<&Uuid> {
        match &self.doing {
            Doing::Bridged { leg } => Some(leg),
            _ => None,
        }
    }
}

/// What a frame waits for or does.
#[derive(Debug)]
pub(crate) enum Doing {
    Park,
    Playback {
        path: String,
        length_ms: u64,
        since: Time,
    },
    Sleep,
    Echo,
    /// Legs are being dialled for `bridge`.
    Dialling {
        attempt: AttemptId,
    },
    /// Bridged as the A leg.
    Bridged {
        leg: Uuid,
    },
    /// The B leg of a bridge.
    Exchange,
    Digits(Box<crate::applications::digits::Collection>),
    Record {
        path: String,
        since: Time,
    },
    /// A member of a conference.
    Conference {
        name: String,
        member: u64,
    },
    /// `socket`: a controller has it, or will have it.
    Socket(Outbound),
    /// Waits in a fifo.
    Fifo {
        name: String,
    },
    /// Waits in a valet parking lot.
    Valet(Place),
    /// `execute_extension`: these run inside it.
    Extension(VecDeque<Action>),
    /// `lua`: the script waits for the application above it, or until its time has come. It is not here while it runs.
    Script(Option<Box<crate::lua::Script>>),
    /// Failed at its start with this response.
    Ended {
        response: &'static str,
    },
}

/// A state that a channel was told to go to; its applications unwind first.
#[derive(Debug, Clone)]
pub(crate) enum Next {
    /// Run the dialplan for the profile's (new) destination.
    Route {
        dialplan: String,
    },
    /// Run the applications that `originate` named.
    Originated,
    Park,
    /// Bridge with this channel as the A leg.
    BridgeTo(Uuid),
    /// Wait to be bridged by that channel.
    BridgedBy,
}

/// Why a leg exists that is being dialled.
#[derive(Debug, Clone)]
pub(crate) enum DialPurpose {
    /// `originate`, whose reply waits for the outcome.
    Originate { job: JobId, then: Then },
    /// `bridge` of that channel.
    Bridge { originator: Uuid },
}

/// What an originated leg does once it is answered.
#[derive(Debug, Clone)]
pub(crate) enum Then {
    Application(Action),
    Extension { number: String, dialplan: String, context: String },
}

/// A leg that was dialled and has neither won nor failed.
#[derive(Debug, Clone)]
pub(crate) struct Dialling {
    pub(crate) attempt: AttemptId,
    pub(crate) gives_up_at: Time,
}

/// Why a channel was hung up; the ledger knows by whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hangup {
    pub(crate) cause: Cause,
}

/// One leg.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) outbound: bool,
    pub(crate) state: State,
    /// The state to come, whose number events show.
    pub(crate) next_state: State,
    pub(crate) call_state: CallState,
    pub(crate) answer_state: &'static str,
    pub(crate) hit_dialplan: bool,
    pub(crate) call_uuid: Uuid,
    pub(crate) has_read_codec: bool,
    pub(crate) has_write_codec: bool,
    pub(crate) profile: Option<Profile>,
    /// `originator` or `originatee`, and that leg's profile.
    pub(crate) other_leg: Option<(&'static str, Profile)>,
    pub(crate) variables: Variables,
    /// Variables of the applications that are running, the outermost first.
    pub(crate) scopes: Vec<crate::scope::Scope>,
    /// What the profile says again when the running `execute_extension` is over.
    pub(crate) before_extension: Option<crate::applications::extension::Outside>,
    /// What the dialplan still has for it.
    pub(crate) actions: VecDeque<Action>,
    pub(crate) stack: Vec<Frame>,
    pub(crate) queue: VecDeque<PrivateCommand>,
    pub(crate) next: Option<Next>,
    pub(crate) dialling: Option<Dialling>,
    pub(crate) on_hold: bool,
    /// Whom it talks to in a bridge that stands.
    pub(crate) bridged_to: Option<Uuid>,
    /// The other half of a loopback leg.
    pub(crate) loopback_half: Option<Uuid>,
    /// The uuid that it had before `origination_uuid` renamed it, until that is told.
    pub(crate) first_uuid: Option<Uuid>,
    /// What its far end has still to do.
    pub(crate) script: Script,
    pub(crate) hangup: Option<Hangup>,
    /// When its timer goes off; timers for other moments are stale.
    pub(crate) wakes_at: Option<Time>,
    pub(crate) turns: Turns,
    /// It is in the middle of its queue: one command has ended, and the next is looked for whatever became of the channel.
    pub(crate) reads_on: bool,
    /// Digits that were pressed and not yet read.
    pub(crate) digits: String,
    /// Files of `record_session` and `uuid_record`, with the moments they began.
    pub(crate) recordings: Vec<(String, Time)>,
    /// What the switch has on disk of it.
    pub(crate) track: Option<Box<Track>>,
    /// What else listens to or changes its sound, with the files.
    pub(crate) taps: Vec<(Tap, String)>,
    /// When `show channels` begins to list it.
    pub(crate) listed_at: Time,
    pub(crate) last_application: Option<Action>,
    /// It has reported, and is destroyed when no connection holds it any more.
    pub(crate) reported: bool,
    /// What `show channels` shows that it runs.
    pub(crate) shown_application: Option<Action>,
    /// When holds began and ended, in microseconds since 1970; 0 for one that lasts.
    pub(crate) holds: Vec<(u64, u64)>,
}

impl Channel {
    pub(crate) fn is_answered(&self) -> bool {
        self.profile.as_ref().is_some_and(|profile| profile.times.answered > 0)
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.stack.iter().any(|frame| frame.event_lock)
    }

    /// The controller's command that is running, innermost first: whose it is. `None` if none is.
    pub(crate) fn commanded_by(&self) -> Option<Option<ConnectionId>> {
        let mut commands = self.stack.iter().rev().filter_map(|frame| frame.command.as_ref());
        commands.next().map(|(command, _)| command.connection)
    }

    /// Whether it may go on with what it does: neither hung up nor sent elsewhere.
    pub(crate) fn is_ready(&self) -> bool {
        self.hangup.is_none() && self.next.is_none()
    }

    /// The partner in a bridge that stands.
    pub(crate) fn bridge_partner(&self) -> Option<&str> {
        self.bridged_to.as_deref()
    }

    pub(crate) fn is_held(&self) -> bool {
        self.on_hold
    }

    pub(crate) fn destination(&self) -> &str {
        self.profile.as_ref().map_or("", |profile| &profile.destination_number)
    }

    /// Adds the headers that every event of a channel has.
    pub(crate) fn add_headers<'a>(&'a self, event: &mut Event<'a>) {
        let direction = if self.outbound { "outbound" } else { "inbound" };
        event.add("Channel-State", self.state.name());
        event.add("Channel-Call-State", self.call_state.name());
        event.add("Channel-State-Number", self.next_state.number());
        event.add("Channel-Name", &*self.name);
        event.add("Unique-ID", &*self.uuid);
        event.add("Call-Direction", direction);
        event.add("Presence-Call-Direction", direction);
        event.add("Channel-HIT-Dialplan", if self.hit_dialplan { "true" } else { "false" });
        event.add("Channel-Call-UUID", &*self.call_uuid);
        event.add("Answer-State", self.answer_state);
        if let Some(hangup) = self.hangup {
            event.add("Hangup-Cause", hangup.cause.name());
        }
        let codec = self.endpoint.codec();
        if self.has_read_codec {
            event.add("Channel-Read-Codec-Name", codec.name);
            event.add("Channel-Read-Codec-Rate", codec.rate);
            event.add("Channel-Read-Codec-Bit-Rate", codec.bit_rate);
        }
        if self.has_write_codec {
            event.add("Channel-Write-Codec-Name", codec.name);
            event.add("Channel-Write-Codec-Rate", codec.rate);
            event.add("Channel-Write-Codec-Bit-Rate", codec.bit_rate);
        }
        if let Some(profile) = &self.profile {
            profile.add_to(event, Prefix::Caller);
        }
        if let Some((kind, profile)) = &self.other_leg {
            event.add("Other-Type", *kind);
            profile.add_to(event, Prefix::OtherLeg);
        }
    }

    /// Adds the channel's variables, as only some events have them.
    pub(crate) fn add_variables<'a>(&'a self, event: &mut Event<'a>) {
        self.add_scopes(event);
        for (name, value) in self.variables.headers() {
            event.add(name, value);
        }
    }
}

/// Whether an event of a channel carries its variables.
pub(crate) fn carries_variables(name: &str) -> bool {
    !matches!(
        name,
        "CHANNEL_STATE" | "CHANNEL_CALLSTATE" | "CODEC" | "CHANNEL_OUTGOING" | "DTMF" | "PRIVATE_COMMAND"
    )
}
