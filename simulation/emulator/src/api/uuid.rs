//! The `uuid_*` commands, and `hupall`.

use std::mem;

use crate::applications::simple_target;
use crate::cause::Cause;
use crate::channel::{CommandAction, Doing, Next, PrivateCommand, State, Uuid};
use crate::connection::split_word;
use crate::dialplan::Action;
use crate::event::Event;
use crate::ledger::HungUpBy;
use crate::limits::PRIVATE_QUEUE_MAX;
use crate::separate;
use crate::switch::{ConnectionId, Switch};
use fipple_protocol::esl::encode::{self, EventSource};

const NO_CHANNEL: &str = "-ERR No such channel!\n";
const SETVAR_MULTI_USAGE: &str = "<uuid> <var>=<value>;<var>=<value>...";
const OK: &str = "+OK\n";

/// The commands below that need a channel.
const KNOWN: &[&str] = &[
    "uuid_getvar",
    "uuid_setvar",
    "uuid_setvar_multi",
    "uuid_dump",
    "uuid_kill",
    "uuid_park",
    "uuid_transfer",
    "uuid_break",
    "uuid_broadcast",
    "uuid_record",
    "uuid_recv_dtmf",
];

impl Switch {
    pub(super) fn execute_uuid_api(
        &mut self,
        command: &str,
        argument: &str,
        by: Option<ConnectionId>,
    ) -> String {
        let argument = argument.trim_start();
        if command == "hupall" {
            return self.api_hupall(argument, by);
        }
        if let Some(usage) = usage_of(command, argument) {
            return format!("-USAGE: {usage}\n");
        }
        let (target, rest) = split_word(argument);
        if let Some(reply) = self.api_uuid_media(command, argument) {
            return reply;
        }
        match command {
            "uuid_exists" => return self.channels.contains_key(target).to_string(),
            "uuid_bridge" => return self.api_bridge(target, rest.trim()),
            "uuid_answer" => return self.api_answer(target),
            _ => {}
        }
        if !KNOWN.contains(&command) {
            return format!("-ERR {command} Command not found!\n");
        }
        let Some(uuid) = self.channels.get(target).map(|channel| channel.uuid.clone()) else {
            return match command {
                "uuid_broadcast" => "-ERR invalid uuid\n".into(),
                "uuid_record" | "uuid_recv_dtmf" => "-ERR Cannot locate session!\n".into(),
                "uuid_setvar_multi" => format!("{NO_CHANNEL}-USAGE: {SETVAR_MULTI_USAGE}\n"),
                _ => NO_CHANNEL.into(),
            };
        };
        match command {
            "uuid_getvar" => self.variable(&uuid, rest.trim()).unwrap_or_else(|| "_undef_".into()),
            "uuid_setvar" => {
                // The value has quotes and escapes taken out, `\n` for one (freeswitch README "Encoding").
                let mut words = separate::words(rest, 2).into_iter();
                let (name, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                self.set_variable_by(by, &uuid, &name, value);
                OK.into()
            }
            "uuid_setvar_multi" => self.api_setvar_multi(by, &uuid, rest),
            "uuid_dump" => self.api_dump(&uuid, rest.trim()),
            "uuid_kill" => {
                let cause = if rest.is_empty() { Cause::NORMAL_CLEARING } else { Cause::named(rest) };
                self.hang_up(&uuid, cause, HungUpBy::Controller(by));
                OK.into()
            }
            "uuid_park" => {
                self.modify(&uuid, |channel| {
                    channel.next = Some(Next::Park);
                    channel.next_state = State::Park;
                    channel.actions.clear();
                });
                self.make_runnable(&uuid);
                OK.into()
            }
            "uuid_transfer" => self.api_transfer(&uuid, rest),
            "uuid_break" => {
                self.break_applications(&uuid, rest.split_ascii_whitespace().any(|word| word == "all"));
                OK.into()
            }
            "uuid_broadcast" => self.api_broadcast(&uuid, rest, by),
            "uuid_record" => self.api_record(&uuid, rest),
            "uuid_recv_dtmf" => {
                self.receive_digits(&uuid, rest, "APP");
                format!("+OK {uuid} received DTMF {rest}.\n")
            }
            _ => format!("-ERR {command} Command not found!\n"),
        }
    }

    fn api_hupall(&mut self, argument: &str, by: Option<ConnectionId>) -> String {
        let (name, rest) = split_word(argument);
        let cause = if name.is_empty() { Cause::named("MANAGER_REQUEST") } else { Cause::named(name) };
        let (variable, value) = split_word(rest);
        let chosen = |switch: &Self, uuid: &Uuid| {
            variable.is_empty() || switch.channels[uuid].variables.get(variable) == Some(value.trim())
        };
        let all: Vec<Uuid> = self.channels.keys().filter(|uuid| chosen(self, uuid)).cloned().collect();
        for uuid in all {
            self.hang_up(&uuid, cause, HungUpBy::Controller(by));
        }
        format!("+OK hangup all channels with cause {}\n", cause.name())
    }

    fn api_answer(&mut self, target: &str) -> String {
        match self.channels.get(target).map(|channel| channel.uuid.clone()) {
            Some(uuid) => {
                self.answer(&uuid);
                OK.into()
            }
            None => "-ERROR\n".into(),
        }
    }

    fn api_bridge(&mut self, first: &str, second: &str) -> String {
        let living = |uuid: &str| {
            let channel = self.channels.get(uuid).filter(|channel| channel.hangup.is_none());
            channel.map(|channel| channel.uuid.clone())
        };
        let (Some(first), Some(second)) = (living(first), living(second)) else {
            return "-ERR Invalid uuid\n".into();
        };
        self.bridge_channels(&first, &second);
        format!("+OK {second}\n")
    }

    /// `<name>=<value>;<name>=<value>...`, at most 64 of them.
    fn api_setvar_multi(&mut self, by: Option<ConnectionId>, uuid: &Uuid, rest: &str) -> String {
        const ASSIGNMENTS_MAX: usize = 64;
        let mut reply = String::new();
        let mut set = 0;
        for assignment in separate::fields(rest, ';', ASSIGNMENTS_MAX) {
            let (name, value) = assignment.split_once('=').unwrap_or((&assignment, ""));
            if name.is_empty() {
                reply += "-ERR No variable specified\n";
            } else {
                self.set_variable_by(by, uuid, name, value);
                set += 1;
            }
        }
        let end = if set > 0 { OK.to_owned() } else { format!("-USAGE: {SETVAR_MULTI_USAGE}\n") };
        reply + &end
    }

    fn api_dump(&mut self, uuid: &Uuid, form: &str) -> String {
        let write = |event: &Event<'_>| {
            let mut text = Vec::with_capacity(8192);
            match form {
                "json" => encode::write_json(&mut text, event),
                "xml" => encode::write_xml(&mut text, event),
                "plain" => write_bracketed(&mut text, event),
                _ => encode::write_plain(&mut text, event),
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        self.with_channel_data(uuid, write).unwrap_or_else(|| NO_CHANNEL.into())
    }

    /// `[-bleg|-both] <extension> [<dialplan>] [<context>]`
    fn api_transfer(&mut self, uuid: &Uuid, rest: &str) -> String {
        let (option, target) = split_word(rest);
        let partner = self.channels[uuid].bridge_partner().map(Uuid::from);
        let (legs, target) = match option {
            "-bleg" => (vec![partner], target),
            "-both" => (vec![partner, Some(uuid.clone())], target),
            _ => (vec![Some(uuid.clone())], rest),
        };
        let (number, dialplan, context) = simple_target(target);
        for leg in legs.into_iter().flatten() {
            self.transfer(&leg, number, dialplan, context);
        }
        OK.into()
    }

    /// Ends what the channel plays; with `all` also forgets the commands that wait.
    fn break_applications(&mut self, uuid: &Uuid, all: bool) {
        self.modify(uuid, |channel| {
            let breakable = |doing: &Doing| {
                matches!(
                    doing,
                    Doing::Playback { .. } | Doing::Sleep | Doing::Record { .. } | Doing::Digits(_)
                )
            };
            let frames = channel.stack.iter_mut().rev().filter(|frame| breakable(&frame.doing));
            for frame in frames.take(if all { usize::MAX } else { 1 }) {
                frame.interrupted = true;
            }
        });
        if all {
            self.forget_queue(uuid);
        }
        self.make_runnable(uuid);
    }

    fn forget_queue(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        for command in mem::take(&mut channel.queue) {
            if let Some(connection) = command.connection {
                self.sync_command_done(connection);
            }
        }
    }

    /// `<path or app::arguments> [aleg|bleg|both]`. What is played waits behind what was queued, and nothing runs
    /// inside it.
    fn api_broadcast(&mut self, uuid: &Uuid, rest: &str, by: Option<ConnectionId>) -> String {
        let (what, legs) = split_word(rest);
        // Only the first colon can be part of the mark.
        let named = what.split_once(':').and_then(|(name, rest)| Some((name, rest.strip_prefix(':')?)));
        let (application, argument) = named.unwrap_or(("playback", what));
        let partner = self.channels[uuid].bridge_partner().map(Uuid::from);
        let targets = match legs.trim() {
            "bleg" => vec![partner],
            "both" => vec![Some(uuid.clone()), partner],
            _ => vec![Some(uuid.clone())],
        };
        for target in targets.into_iter().flatten() {
            if self.channels.get(&target).is_none_or(|channel| channel.queue.len() >= PRIVATE_QUEUE_MAX) {
                continue;
            }
            let origin = ("switch_ivr_async.c", "switch_ivr_broadcast", "5732");
            let core = self.core_header_list("COMMAND", origin);
            let own = [
                ("call-command", "execute"),
                ("execute-app-name", application),
                ("execute-app-arg", argument),
                ("event-lock", "true"),
                ("lead-frames", "5"),
            ];
            let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let command = PrivateCommand {
                headers: core.into_iter().chain(own).collect(),
                action: CommandAction::Execute {
                    action: Action::new(application, argument),
                    loops: 1,
                    application_uuid: None,
                },
                event_lock: true,
                connection: by,
            };
            self.modify(&target, |channel| channel.queue.push_back(command));
            self.make_runnable(&target);
        }
        "+OK Message sent\n".into()
    }

    fn api_record(&mut self, uuid: &Uuid, rest: &str) -> String {
        let (action, path) = split_word(rest);
        match action {
            "start" => {
                self.record_in_background(uuid, path);
                "+OK Success\n".into()
            }
            "stop" => {
                self.stop_recording(uuid, path);
                "+OK Success\n".into()
            }
            "mask" | "unmask" => {
                let recorded = self.channels[uuid].taps.iter().any(|(_, file)| file == path.trim());
                if recorded { "+OK Success\n".into() } else { "-ERR Operation failed\n".into() }
            }
            _ => "-USAGE: <uuid> [start|stop|mask|unmask] <path> [<limit>]\n".into(),
        }
    }
}

/// The form that `uuid_dump` has when it is asked for `plain`: not encoded (transcript l_state_rebuild/state_queries).
fn write_bracketed(text: &mut Vec<u8>, event: &Event<'_>) {
    event.visit_headers(&mut |name, value| text.extend_from_slice(format!("{name}: [{value}]\n").as_bytes()));
    text.push(b'\n');
}

/// What a command answers that lacks arguments.
fn usage_of(command: &str, argument: &str) -> Option<&'static str> {
    let (usage, least) = match command {
        "uuid_kill" => ("<uuid> [cause]", 1),
        "uuid_getvar" => ("<uuid> <var>", 2),
        "uuid_setvar" => ("<uuid> <var> [value]", 2),
        "uuid_setvar_multi" => (SETVAR_MULTI_USAGE, 2),
        "uuid_dump" => ("<uuid> [format]", 1),
        "uuid_exists" => ("<uuid>", 1),
        "uuid_park" => ("<uuid>", 1),
        "uuid_answer" => ("<uuid>", 1),
        "uuid_bridge" => ("<uuid> <other_uuid>", 2),
        "uuid_transfer" => ("<uuid> [-bleg|-both] <dest-exten> [<dialplan>] [<context>]", 2),
        "uuid_break" => ("<uuid> [all]", 1),
        "uuid_broadcast" => ("<uuid> <path> [aleg|bleg|holdb|both]", 2),
        "uuid_recv_dtmf" => ("<uuid> <dtmf_data>", 2),
        _ => return None,
    };
    (argument.split_ascii_whitespace().count() < least).then_some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_told_where_arguments_are_missing() {
        assert_eq!(usage_of("uuid_kill", ""), Some("<uuid> [cause]"));
        assert_eq!(usage_of("uuid_kill", "x"), None);
    }
}
