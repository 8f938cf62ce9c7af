//! Commands about the switch and its modules that fit nowhere else.

use crate::custom::Contents;
use crate::limits::GLOBALS_MAX;
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
            "module_exists" => MODULES.contains(&argument).to_string(),
            "load" | "reload" => {
                self.tell_reloaded();
                format!("{}+OK Reloading XML\n+OK\n", if command == "reload" { "+OK\n" } else { "" })
            }
            "unload" => "+OK\n".into(),
            "global_setvar" => self.set_global(argument),
            "bgapi" => {
                let job = self.random.uuid();
                if let Some(connection) = by {
                    self.count_pending_job(connection);
                    self.run_api(super::ReplyTo::Background { connection, job_uuid: job.clone() }, argument);
                } else {
                    self.run_api(super::ReplyTo::Nobody, argument);
                }
                format!("+OK Job-UUID: {job}\n")
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
    /// (freeswitch README "Compare-and-set on the switch").
    fn set_global(&mut self, argument: &str) -> String {
        let mut parts = argument.splitn(3, '=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next());
        let Some(value) = value.filter(|_| !name.is_empty()) else {
            return "-USAGE: <var>=<value>[=<value2>]\n".into();
        };
        let present = self.config.globals.iter().position(|(key, _)| key == name);
        let current = present.map(|index| self.config.globals[index].1.as_str()).unwrap_or_default();
        if parts.next().is_none_or(|expected| expected == current) {
            match present {
                Some(index) => value.clone_into(&mut self.config.globals[index].1),
                None if self.config.globals.len() < GLOBALS_MAX => {
                    self.config.globals.push((name.to_owned(), value.to_owned()));
                }
                None => {}
            }
        }
        "+OK\n".into()
    }
}
