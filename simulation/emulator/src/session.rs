//! Connections that control a channel: how they come to it, what they may say about it, and how they part from it.

use std::time::Duration;

use bytes::Bytes;
use fipple_protocol::esl::encode::EventFormat;

use crate::connection::{Connection, Control, Linger, Session, split_word};
use crate::journal::Entry;
use crate::switch::{ConnectionId, Switch, Timer};

const NOT_CONTROLLING: &str = "-ERR not controlling a session";

impl Switch {
    /// `myevents [<uuid>] [plain|json|xml]`; gives the reply's text, `None` for a command that does not exist.
    pub(crate) fn my_events(&mut self, id: ConnectionId, arguments: &str) -> Option<&'static str> {
        let (uuid, _) = split_word(arguments);
        let living = self.channels.get(uuid).filter(|channel| channel.hangup.is_none());
        let living = living.map(|channel| channel.uuid.clone());
        let connection = self.bus.connections.get_mut(&id)?;
        if let Some(session) = &connection.session {
            return Some(connection.subscription.only_of(session.uuid.clone(), format_in(arguments)));
        }
        if uuid.is_empty() {
            return None;
        }
        // A uuid that names no channel is accepted as well, and the format after a uuid is not looked at
        // (transcripts e_filter_subscriptions/myevents_bad_uuid and myevents_json).
        let reply = connection.subscription.only_of(uuid.into(), None);
        if reply.starts_with('+') {
            connection.session = living.map(|uuid| Session::new(uuid, Control::Inbound, true));
        }
        Some(reply)
    }

    /// `linger [<seconds>]` and `nolinger`.
    pub(crate) fn linger(&mut self, id: ConnectionId, wanted: bool, seconds: &str) -> String {
        let session = self.bus.connections.get_mut(&id).and_then(|connection| connection.session.as_mut());
        let Some(session) = session else { return NOT_CONTROLLING.into() };
        if !wanted {
            session.linger = Linger::No;
            return "+OK will not linger".into();
        }
        match seconds.trim().parse::<u64>() {
            Ok(seconds) => {
                session.linger = Linger::Seconds(seconds);
                format!("+OK will linger {seconds} seconds")
            }
            Err(_) => {
                session.linger = Linger::Endless;
                "+OK will linger".into()
            }
        }
    }

    /// `divert_events on|off`. What it diverts, the events in a session's own queue, the emulated switch has none of.
    pub(crate) fn divert_events(&self, id: ConnectionId, argument: &str) -> &'static str {
        if self.bus.connections.get(&id).is_none_or(|connection| connection.session.is_none()) {
            return "-ERR not controlling a session.";
        }
        match argument.trim_start() {
            on if on.starts_with("on") => "+OK events diverted",
            off if off.starts_with("of") => "+OK events not diverted",
            _ => "-ERR invalid syntax",
        }
    }

    /// `getvar <name>`, whose value comes as it is, line ends included (transcript
    /// e_filter_subscriptions/getvar_injection); `None` for one that is not set.
    pub(crate) fn getvar(&self, id: ConnectionId, name: &str) -> Option<String> {
        let session = self.bus.connections.get(&id)?.session.as_ref()?;
        self.channels.get(&session.uuid)?.value_of(name.trim()).map(str::to_owned)
    }

    /// A channel has hung up: those who listen in its own thread, or have only looked in, part from it at once. What
    /// it does from here on they do not hear (transcripts e_filter_subscriptions/myevents_nolinger,
    /// f_outbound/sync_full).
    pub(crate) fn session_hung_up(&mut self, uuid: &str) {
        self.part_from(uuid, |control| control != Control::Async);
    }

    /// A channel has reported: only now the listeners of `socket ... async` part from it (transcript
    /// f_outbound/async_full_caller_hangup_nolinger).
    pub(crate) fn session_reported(&mut self, uuid: &str) {
        self.part_from(uuid, |control| control == Control::Async);
    }

    fn part_from(&mut self, uuid: &str, who: impl Fn(Control) -> bool) {
        let parts = |connection: &Connection| {
            connection.session.as_ref().is_some_and(|session| *session.uuid == *uuid && who(session.control))
        };
        let ids: Vec<ConnectionId> =
            self.bus.connections.iter().filter(|(_, state)| parts(state)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(session) =
                self.bus.connections.get_mut(&id).and_then(|connection| connection.session.as_mut())
            {
                session.gone = true;
            }
            self.look(id);
        }
    }

    /// The `api` that a connection waited for has replied. What it did to the connection's own channel shows at once.
    pub(crate) fn api_replied(&mut self, id: ConnectionId) {
        let Some(connection) = self.bus.connections.get_mut(&id) else { return };
        connection.busy = false;
        if connection.session.as_ref().is_some_and(|session| session.gone) {
            connection.reading = false;
            self.look(id);
        }
        self.resumable.push_back(id);
    }

    /// One round of a listener: it writes what is in its queues, then sees whether its channel is gone.
    pub(crate) fn look(&mut self, id: ConnectionId) {
        let Some(connection) = self.bus.connections.get_mut(&id) else { return };
        if self.bus.freeze.is_some() || !connection.may_look() {
            return;
        }
        let session = connection.session.as_mut().filter(|session| session.gone && !session.lingering);
        let Some(session) = session else { return self.bus.flush(id) };
        if session.linger == Linger::No {
            self.bus.flush(id);
            if self.bus.connections.get(&id).is_some_and(|connection| connection.outbox.is_drained()) {
                self.bus.disconnect(id);
            }
            return;
        }
        session.lingering = true;
        let session = session.clone();
        // Which comes first depends on how soon the event is in the queue; each as recorded (transcripts
        // e_filter_subscriptions/myevents_inbound, f_outbound/async_full_caller_hangup_linger3).
        if session.control != Control::Inbound {
            self.bus.flush(id);
        }
        let notice = self.linger_notice(&session);
        self.bus.send(id, notice);
        self.bus.flush(id);
        if let Linger::Seconds(seconds) = session.linger {
            // FreeSWITCH counts whole seconds of the wall clock, and ends when there are more than those.
            let wall_micros = self.wall_micros();
            let until_micros =
                (wall_micros / 1_000_000).saturating_add(seconds).saturating_add(1).saturating_mul(1_000_000);
            let at = self.now + Duration::from_micros(until_micros.saturating_sub(wall_micros));
            self.arm(at, Timer::Linger(id));
        }
    }

    fn linger_notice(&self, session: &Session) -> Bytes {
        let name = self.channels.get(&session.uuid).map_or("", |channel| &channel.name);
        let seconds = match session.linger {
            Linger::Seconds(seconds) => seconds.to_string(),
            Linger::Endless | Linger::No => "-1".into(),
        };
        let notice = format!(
            "Content-Type: text/disconnect-notice\nControlled-Session-UUID: {}\nContent-Disposition: linger\n\
             Channel-Name: {name}\nLinger-Time: {seconds}\nContent-Length: 0\n\n",
            session.uuid
        );
        notice.into()
    }

    /// A listener's lag is over.
    pub(crate) fn listener_timeout(&mut self, id: ConnectionId) {
        if let Some(connection) = self.bus.connections.get_mut(&id) {
            connection.armed = false;
        }
        self.look(id);
    }

    /// A connection has lingered long enough.
    pub(crate) fn linger_timeout(&mut self, id: ConnectionId) {
        let lingers = |connection: &Connection| {
            connection
                .session
                .as_ref()
                .is_some_and(|session| session.lingering && matches!(session.linger, Linger::Seconds(_)))
        };
        if self.bus.connections.get(&id).is_some_and(lingers) {
            self.bus.disconnect(id);
        }
    }

    /// Deals with what connections left behind; gives whether there was anything.
    pub(crate) fn settle(&mut self) -> bool {
        for id in std::mem::take(&mut self.bus.woken) {
            let lag = self.random_delay(&self.config.event_lag_ms.clone());
            self.arm(self.now + lag, Timer::Listener(id));
        }
        for connection in std::mem::take(&mut self.bus.full) {
            self.ledger.journal.add(|| Entry::ListenerQueueFull { connection });
        }
        let detached = std::mem::take(&mut self.bus.detached);
        for (id, session) in &detached {
            if session.control != Control::Inbound {
                self.socket_ended(*id, &session.uuid);
            }
            let over = self.channels.get(&session.uuid).is_some_and(|channel| channel.reported);
            if over && !self.bus.is_controlled(&session.uuid) {
                self.destroy(&session.uuid);
            }
        }
        !detached.is_empty()
    }
}

/// The format that a command names.
fn format_in(arguments: &str) -> Option<EventFormat> {
    let arguments = arguments.to_ascii_lowercase();
    [EventFormat::Xml, EventFormat::Json, EventFormat::Plain]
        .into_iter()
        .find(|format| arguments.contains(format.name()))
}
