//! Commands about the switch and its modules that fit nowhere else.

use crate::custom::Contents;
use crate::limits::{GLOBALS_MAX, TABLE_VALUE_MAX_BYTES};
use crate::separate;
use crate::switch::{ConnectionId, Switch};

/// Modules that the emulated switch behaves as if it had.
const MODULES: &[&str] = &[
    "mod_commands",
    "mod_conference",
    "mod_console",
    "mod_db",
    "mod_dialplan_xml",
    "mod_dptools",
    "mod_event_socket",
    "mod_expr",
    "mod_hash",
    "mod_loopback",
    "mod_sofia",
    "mod_tone_stream",
];

impl Switch {
    /// The reply of such a command; `None` if it is none.
    pub(super) fn api_general(
        &mut self,
        by: Option<ConnectionId>,
        command: &str,
        argument: &str,
    ) -> Option<String> {
        let argument = argument.trim();
        Some(match command {
            "reloadxml" => {
                self.tell_reloaded();
                "+OK [Success]\n".into()
            }
            "module_exists" => {
                (MODULES.contains(&argument) || (argument == "mod_lua" && self.config.mod_lua)).to_string()
            }
            "load" | "reload" => {
                self.tell_reloaded();
                let outcome = match command {
                    "load" => "+OK\n",
                    _ => "+OK module unloaded\n+OK module loaded\n",
                };
                format!("+OK Reloading XML\n{outcome}")
            }
            "unload" => "+OK\n".into(),
            "global_setvar" => self.set_global(argument),
            "bgapi" => {
                let job = self.random.uuid();
                let begun = self.nested(|switch| match by {
                    Some(connection) => {
                        switch.count_pending_job(connection);
                        let reply_to = super::ReplyTo::Background { connection, job_uuid: job.clone() };
                        switch.run_api(reply_to, argument);
                    }
                    None => switch.run_api(super::ReplyTo::Nobody, argument),
                });
                begun.map_or_else(|| "-ERR\n".into(), |()| format!("+OK Job-UUID: {job}\n"))
            }
            "db" => self.database.execute(argument),
            "limit_usage" => self.limit_usage(argument),
            _ => return None,
        })
    }

    fn tell_reloaded(&mut self) {
        self.fire_with(
            "RELOADXML",
            None,
            ("switch_xml.c", "switch_xml_open_root", "2423"),
            Contents::default(),
        );
    }

    /// `<name>=<value>[=<old value>]`: with the old value it is set only if it still has that; the reply is the same
    /// (freeswitch README "Compare-and-set on the switch"). Without a value the variable is deleted.
    fn set_global(&mut self, argument: &str) -> String {
        let parts = separate::fields(argument, '=', 3);
        let part = |index: usize| parts.get(index).map(String::as_str).unwrap_or_default();
        let (name, value, expected) = (part(0), part(1), part(2));
        if name.is_empty() {
            return "-USAGE: <var>=<value> [=<value2>]\n".into();
        }
        let globals = &mut self.config.globals;
        let present = globals.iter().position(|(key, _)| key == name);
        let current = present.map(|index| globals[index].1.as_str()).unwrap_or_default();
        if expected.is_empty() || expected == current {
            if let Some(index) = present {
                globals.remove(index);
            }
            if !value.is_empty() && value.len() <= TABLE_VALUE_MAX_BYTES && globals.len() < GLOBALS_MAX {
                globals.push((name.to_owned(), value.to_owned()));
            }
        }
        "+OK".into()
    }
}
