//! The switch's log, for the connections that want it.

use bytes::Bytes;

use crate::channel::{Channel, Endpoint, State, Uuid};
use crate::connection::Connection;
use crate::fire::Extra;
use crate::switch::{ConnectionId, Switch};
use crate::time::Date;

/// Log levels in their order; the index is the number.
const LOG_LEVELS: [&str; 8] = ["CONSOLE", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG"];

impl Switch {
    pub(crate) fn start_log(&mut self, id: ConnectionId, level: &str) {
        let number = log_level(level).unwrap_or(7);
        // FreeSWITCH answers with this mask for a number beyond its levels (transcript a_inbound_auth/auth_ok).
        let beyond = level.parse::<u32>().is_ok_and(|number| number > 7);
        let shown = if beyond { 63 } else { number };
        if let Some(connection) = self.bus.connections.get_mut(&id) {
            connection.log_level = Some(number);
        }
        self.bus.reply(id, &format!("+OK log level {level} [{shown}]"));
    }

    pub(crate) fn stop_log(&mut self, id: ConnectionId) {
        let level = self.bus.connections.get_mut(&id).and_then(|connection| connection.log_level.take());
        self.bus.reply(id, if level.is_some() { "+OK no longer logging" } else { "-ERR not loging" });
    }

    /// Writes a line that a controller or the dialplan composed to the connections that want its level.
    pub(crate) fn log(&mut self, level: &str, text: &str, user_data: &str) {
        let level = log_level(level).unwrap_or(7);
        self.write_log(&Line { level, origin: BY_COMMAND, user_data, text, stamped: true });
    }

    /// What FreeSWITCH's log says beside an event of a channel (transcripts i_log_sendevent/log_events and
    /// log_and_events_interleaved).
    pub(crate) fn log_event(&mut self, uuid: &str, event: &str, before: Extra<'_>) {
        if self.bus.connections.values().all(|connection| connection.log_level.is_none()) {
            return;
        }
        let Some(channel) = self.channels.get(uuid) else { return };
        let own = channel.uuid.clone();
        let first =
            before.iter().find(|(name, _)| *name == "Old-Unique-ID").map(|(_, first)| Uuid::from(*first));
        let (user_data, lines) = match event {
            "CHANNEL_UUID" => {
                let first = first.unwrap_or(own);
                (first.clone(), vec![(NOTICE, RENAMED, renamed(channel, &first))])
            }
            "CHANNEL_ANSWER" if channel.endpoint == Endpoint::Null => {
                (own, vec![(NOTICE, NULL_ANSWERED, format!("Channel [{}] has been answered", channel.name))])
            }
            "CALL_UPDATE" if channel.variables.is_true("channel_cid_flipped") => {
                (own, vec![(INFO, FLIPPED, flipped(channel))])
            }
            "CHANNEL_EXECUTE" => (own, vec![(INFO, EXECUTED, executed(channel))]),
            "CHANNEL_HANGUP" => (own, vec![(NOTICE, KILLED, hung_up(channel))]),
            "CHANNEL_STATE" if channel.state == State::Destroy => {
                let session = channel.variables.get("session_id").unwrap_or("0");
                let ended = format!("Session {session} ({}) Ended", channel.name);
                let closed = format!("Close Channel {} [CS_DESTROY]", channel.name);
                (own, vec![(NOTICE, SESSION_ENDED, ended), (NOTICE, CHANNEL_CLOSED, closed)])
            }
            _ => return,
        };
        for (level, origin, text) in lines {
            let stamped = event != "CHANNEL_EXECUTE";
            self.write_log(&Line { level, origin, user_data: &user_data, text: &text, stamped });
        }
    }

    /// A channel has come to be.
    pub(crate) fn log_new_channel(&mut self, uuid: &str) {
        let Some(channel) = self.channels.get(uuid) else { return };
        let first = channel.first_uuid.clone().unwrap_or_else(|| channel.uuid.clone());
        let text = format!("New Channel {} [{first}]", channel.name);
        self.write_log(&Line { level: NOTICE, origin: NAMED, user_data: &first, text: &text, stamped: true });
    }

    fn write_log(&mut self, line: &Line<'_>) {
        let wants = |connection: &Connection| connection.log_level.is_some_and(|level| level >= line.level);
        let connections = self.bus.connections.iter().filter(|(_, connection)| wants(connection));
        let ids: Vec<ConnectionId> = connections.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let frame = Bytes::from(line.frame(self.wall_micros()));
        for id in ids {
            self.bus.send_log(id, frame.clone());
        }
    }
}

/// Where a line comes from: its file, function and line, and what FreeSWITCH calls its channel.
#[derive(Clone, Copy)]
struct Origin {
    file: &'static str,
    function: &'static str,
    line: u32,
    channel: u8,
}

const fn origin(file: &'static str, function: &'static str, line: u32, channel: u8) -> Origin {
    Origin { file, function, line, channel }
}

const NOTICE: u8 = 5;
const INFO: u8 = 6;

const BY_COMMAND: Origin = origin("mod_commands.c", "log_function", 7247, 3);
const NAMED: Origin = origin("switch_channel.c", "switch_channel_set_name", 1143, 3);
const RENAMED: Origin = origin("switch_channel.c", "switch_channel_set_name", 1141, 3);
const NULL_ANSWERED: Origin = origin("mod_loopback.c", "null_channel_on_consume_media", 1562, 0);
const FLIPPED: Origin = origin("switch_channel.c", "switch_channel_flip_cid", 3291, 3);
const EXECUTED: Origin = origin("switch_core_session.c", "switch_core_session_exec", 2907, 1);
const KILLED: Origin = origin("switch_ivr.c", "switch_ivr_kill_uuid", 4404, 0);
const SESSION_ENDED: Origin = origin("switch_core_session.c", "switch_core_session_thread", 1766, 3);
const CHANNEL_CLOSED: Origin = origin("switch_core_session.c", "switch_core_session_thread", 1770, 0);

/// One line of the log.
struct Line<'a> {
    level: u8,
    origin: Origin,
    /// The channel's uuid, or nothing.
    user_data: &'a str,
    text: &'a str,
    /// It begins with the time and where it comes from.
    stamped: bool,
}

impl Line<'_> {
    fn frame(&self, wall_micros: u64) -> String {
        let Self { level, origin, user_data, text, stamped } = self;
        let Origin { file, function, line, channel } = origin;
        let stamp = if *stamped {
            let date = Date::from_unix_micros(wall_micros).local();
            let name = LOG_LEVELS[usize::from(*level)];
            format!("{date}.{:06} 0.00% [{name}] {file}:{line} ", wall_micros % 1_000_000)
        } else {
            String::new()
        };
        format!(
            "Content-Type: log/data\nContent-Length: {}\nLog-Level: {level}\nText-Channel: {channel}\n\
             Log-File: {file}\nLog-Func: {function}\nLog-Line: {line}\nUser-Data: {user_data}\n\n{stamp}{text}\n",
            stamp.len() + text.len() + 1
        )
    }
}

fn renamed(channel: &Channel, first: &str) -> String {
    format!("Rename Channel {}->{} [{first}]", channel.name, channel.name)
}

fn flipped(channel: &Channel) -> String {
    let variable = |name: &str| channel.variables.get(name).unwrap_or_default();
    let (name, number) = channel
        .profile
        .as_ref()
        .map_or(("", ""), |profile| (profile.caller_id_name.as_str(), profile.caller_id_number.as_str()));
    format!(
        "{} Flipping CID from \"{}\" <{}> to \"{name}\" <{number}>",
        channel.name,
        variable("pre_transfer_caller_id_name"),
        variable("pre_transfer_caller_id_number")
    )
}

fn executed(channel: &Channel) -> String {
    let (application, argument) = channel
        .last_application
        .as_ref()
        .map_or(("", ""), |action| (action.application.as_str(), action.argument.as_str()));
    format!("EXECUTE [depth={}] {} {application}({argument})", channel.stack.len(), channel.name)
}

fn hung_up(channel: &Channel) -> String {
    let cause = channel.hangup.map_or("", |hangup| hangup.cause.name());
    format!("Hangup {} [{}] [{cause}]", channel.name, channel.state.name())
}

fn log_level(text: &str) -> Option<u8> {
    let number = text.parse::<u8>().ok().map(|number| number.min(7));
    let named = LOG_LEVELS.iter().position(|level| level.eq_ignore_ascii_case(text));
    number.or(named.map(|index| index as u8))
}
