//! One Event Socket connection: what it has said, and what it is about.

use fipple_protocol::esl::request::RequestDecoder;

use crate::channel::Uuid;
use crate::limits::REQUEST;
use crate::outbox::Outbox;
use crate::permissions::Permissions;
use crate::subscription::Subscription;

/// A listener's state.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) decoder: RequestDecoder,
    /// What it may do; `None` until it has logged in.
    pub(crate) permissions: Option<Permissions>,
    pub(crate) subscription: Subscription,
    /// The channel that it controls: outbound, or by `myevents <uuid>`.
    pub(crate) session: Option<Session>,
    /// A command of this connection is running: no input is read and nothing is written until it has replied.
    pub(crate) busy: bool,
    /// It is reading commands; it looks at its queues when it has no more of them.
    pub(crate) reading: bool,
    /// A timer is set for its next look at its queues.
    pub(crate) armed: bool,
    /// The reply to the present command is not written.
    pub(crate) muted: bool,
    /// Jobs of `bgapi` that have not ended.
    pub(crate) pending_jobs: usize,
    /// It said `exit` and is closed when its jobs have ended.
    pub(crate) exiting: bool,
    /// The log level up to which it wants log lines.
    pub(crate) log_level: Option<u8>,
    pub(crate) outbox: Outbox,
}

/// The channel that a connection controls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) uuid: Uuid,
    pub(crate) control: Control,
    /// It may do more than to command its own channel.
    pub(crate) full: bool,
    /// It has said `connect`.
    pub(crate) connected: bool,
    pub(crate) linger: Linger,
    /// The channel has hung up.
    pub(crate) gone: bool,
    /// The controller has been told that the connection lingers.
    pub(crate) lingering: bool,
}

/// How a connection came to its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// By `myevents <uuid>`.
    Inbound,
    /// The application `socket` with `async`: the channel parks, and its thread and the listener's go on side by side.
    Async,
    /// The application `socket` without: the channel's thread is the listener, and each command waits for its end.
    Sync,
}

/// What becomes of a connection when its channel hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linger {
    /// It ends.
    No,
    /// It stays until the controller ends it.
    Endless,
    /// It stays this long.
    Seconds(u64),
}

impl Session {
    pub(crate) fn new(uuid: Uuid, control: Control, full: bool) -> Self {
        let connected = control == Control::Inbound;
        Self { uuid, control, full, connected, linger: Linger::No, gone: false, lingering: false }
    }
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            decoder: RequestDecoder::new(REQUEST),
            permissions: None,
            subscription: Subscription::default(),
            session: None,
            busy: false,
            reading: false,
            armed: false,
            muted: false,
            pending_jobs: 0,
            exiting: false,
            log_level: None,
            outbox: Outbox::default(),
        }
    }

    /// A connection that the switch opened for a channel: it needs no login.
    pub(crate) fn outbound(session: Session) -> Self {
        Self { session: Some(session), permissions: Some(Permissions::default()), ..Self::new() }
    }

    /// Whether it looks at its queues at all: its listener's thread does one thing at a time, and a command that has
    /// not come completely keeps it from its events (transcript c_api_bgapi/api_blocks_connection: the events of
    /// piped commands come after the last reply).
    pub(crate) fn may_look(&self) -> bool {
        !self.busy && !self.reading && !self.outbox.is_stuck()
    }

    /// Whether it is an outbound connection, whose commands are limited if it is not `full`.
    pub(crate) fn is_limited(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.full)
    }

    /// Whether it controls this channel.
    pub(crate) fn controls(&self, uuid: &str) -> bool {
        self.session.as_ref().is_some_and(|session| *session.uuid == *uuid)
    }
}

/// The text up to the first space, and what follows the spaces after it.
pub(crate) fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start())
}
