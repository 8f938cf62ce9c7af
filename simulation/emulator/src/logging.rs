//! The switch's log, for the connections that want it.

use crate::connection::Connection;
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

    /// Writes a line of the switch's log to the connections that want its level.
    pub(crate) fn log(&mut self, level: &str, text: &str, user_data: &str) {
        let number = log_level(level).unwrap_or(7);
        let name = LOG_LEVELS[usize::from(number)];
        let micros = self.wall_micros();
        let stamp = Date::from_unix_micros(micros).local();
        let line = format!("{stamp}.{:06} 0.00% [{name}] mod_commands.c:7247 {text}\n", micros % 1_000_000);
        let frame = format!(
            "Content-Type: log/data\nContent-Length: {}\nLog-Level: {number}\nText-Channel: 3\n\
             Log-File: mod_commands.c\nLog-Func: log_function\nLog-Line: 7247\nUser-Data: {user_data}\n\n{line}",
            line.len()
        );
        let wants = |connection: &Connection| connection.log_level.is_some_and(|level| level >= number);
        let ids: Vec<ConnectionId> = self
            .bus
            .connections
            .iter()
            .filter(|(_, connection)| wants(connection))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.bus.send_log(id, frame.clone());
        }
    }
}

fn log_level(text: &str) -> Option<u8> {
    let number = text.parse::<u8>().ok().map(|number| number.min(7));
    let named = LOG_LEVELS.iter().position(|level| level.eq_ignore_ascii_case(text));
    number.or(named.map(|index| index as u8))
}
