//! The applications of the dialplan: how one begins, runs and ends.

pub(crate) mod bridge;
pub(crate) mod digits;
pub(crate) mod extension;
pub(crate) mod media;
mod meet;
pub(crate) mod queues;
mod simple;
pub(crate) mod socket;

use std::mem;
use std::time::Duration;

pub(crate) use simple::transfer_target as simple_target;

use crate::cause::Cause;
use crate::channel::{Channel, CommandAction, Doing, Frame, PrivateCommand, Uuid};
use crate::dialplan::Action;
use crate::ledger::{Execution, HungUpBy};
use crate::limits::{APPLICATION_DEPTH_MAX, SHORTEST_LOOP};
use crate::scope;
use crate::switch::Switch;
use crate::time::Time;

/// What beginning an application came to.
pub(crate) enum Started {
    /// It has done all it does. `None` is FreeSWITCH's `_none_`.
    Done(Option<&'static str>),
    /// It goes on, until a moment or without an end.
    Runs(Doing, Option<Time>),
}

/// Every application that the emulated switch has. Any other hangs the call up.
pub(crate) const KNOWN: &[&str] = &[
    "answer",
    "att_xfer",
    "bridge",
    "conference",
    "echo",
    "endless_playback",
    "event",
    "execute_extension",
    "export",
    "fifo",
    "hangup",
    "hash",
    "httapi",
    "info",
    "intercept",
    "log",
    "lua",
    "multiset",
    "park",
    "play_and_get_digits",
    "playback",
    "pre_answer",
    "push",
    "read",
    "record",
    "record_session",
    "ring_ready",
    "sched_hangup",
    "sched_transfer",
    "set",
    "sleep",
    "socket",
    "stop_record_session",
    "transfer",
    "unset",
    "unshift",
    "valet_park",
];

/// Applications that also run on a channel that is hung up (SAF_ZOMBIE_EXEC); any other is passed over.
const RUN_WHEN_DEAD: &[&str] =
    &["event", "export", "hash", "info", "log", "lua", "multiset", "push", "set", "unset"];

/// Applications that a caller must be heard or spoken to for: they begin early media with a caller who was not answered
/// (transcript f_outbound/async_server_absent_watch).
const NEED_SOUND: &[&str] =
    &["conference", "echo", "play_and_get_digits", "playback", "record", "record_session"];

impl Switch {
    /// Runs an application: for a controller's command, with its loops still to do, or for the dialplan.
    pub(crate) fn execute(&mut self, uuid: &Uuid, action: Action, command: Option<(PrivateCommand, i64)>) {
        let Some(channel) = self.channels.get(uuid) else { return };
        // What runs inside a command is the command's too.
        let commanded = command.as_ref().map(|(command, _)| command.connection).or(channel.commanded_by());
        let connection = commanded.flatten();
        let application = action.application.as_str();
        let known = KNOWN.contains(&application) && (application != "lua" || self.config.mod_lua);
        if !known || channel.stack.len() >= APPLICATION_DEPTH_MAX {
            self.set_loops(uuid, command.as_ref());
            self.hang_up(uuid, Cause::named("DESTINATION_OUT_OF_ORDER"), HungUpBy::Switch);
            return self.command_ended(uuid, command.map(|(command, _)| command));
        }
        let argument = self.expand(uuid, connection, &action.argument);
        let argument = self.open_scope(uuid, argument);
        let action = Action::new(action.application, argument);
        let application_uuid = self.application_uuid(uuid, command.as_ref());
        self.set_loops(uuid, command.as_ref());
        if NEED_SOUND.contains(&action.application.as_str()) {
            self.open_sound(uuid);
        }
        self.announce(uuid, &action, &application_uuid);
        self.counts.executions += 1;
        self.note_step_run(uuid, &action.application, &application_uuid);
        self.ledger.started(
            uuid,
            Execution {
                application: action.application.clone(),
                argument: action.argument.clone(),
                application_uuid: application_uuid.clone(),
                started: self.now,
                ended: None,
                connection,
            },
        );
        let event_lock = command.as_ref().is_some_and(|(command, _)| command.event_lock);
        let by = commanded.map_or(HungUpBy::Switch, HungUpBy::Controller);
        let since = self.now;
        match self.start(uuid, &action, by) {
            Started::Done(response) => {
                // Too short to be repeated.
                let command = command.map(|(command, _)| (command, 0));
                self.completed(uuid, &action, &application_uuid, command, response);
            }
            Started::Runs(doing, until) => self.modify(uuid, |channel| {
                let interrupted = false;
                let silent = false;
                channel.stack.push(Frame {
                    since,
                    action,
                    application_uuid,
                    doing,
                    until,
                    interrupted,
                    event_lock,
                    command,
                    silent,
                });
            }),
        }
    }

    /// Whether an application is begun on this channel, dead or alive.
    pub(crate) fn may_execute(&self, uuid: &Uuid, application: &str) -> bool {
        let living = self.channels.get(uuid).is_some_and(|channel| channel.hangup.is_none());
        living || RUN_WHEN_DEAD.contains(&application)
    }

    /// Takes the variables of its own off an application's argument.
    fn open_scope(&mut self, uuid: &Uuid, argument: String) -> String {
        match scope::parse(&argument) {
            Some((variables, rest)) => {
                self.modify(uuid, |channel| channel.open_scope(variables));
                rest.to_owned()
            }
            None => argument,
        }
    }

    /// The uuid in the two events: that of the command's `Event-UUID`, or the one that the variable `app_uuid` names for
    /// the next application; else a fresh one for each run.
    fn application_uuid(&mut self, uuid: &Uuid, command: Option<&(PrivateCommand, i64)>) -> String {
        let named =
            self.channels.get(uuid).and_then(|channel| channel.value_of("app_uuid")).map(str::to_owned);
        if named.is_some() {
            self.modify(uuid, |channel| channel.variables.unset("app_uuid"));
        }
        match command {
            Some((
                PrivateCommand {
                    action: CommandAction::Execute { application_uuid: Some(uuid), .. }, ..
                },
                _,
            )) => uuid.clone(),
            _ => named.unwrap_or_else(|| self.random.uuid()),
        }
    }

    /// Sets the loop variables, which are there only while a command's application runs.
    fn set_loops(&mut self, uuid: &Uuid, command: Option<&(PrivateCommand, i64)>) {
        let Some((PrivateCommand { action: CommandAction::Execute { loops, .. }, .. }, left)) = command
        else {
            return;
        };
        let (total, current) = (loops.to_string(), (loops - left).to_string());
        self.modify(uuid, |channel| {
            channel.variables.set("current_loop", current);
            channel.variables.set("total_loops", total);
        });
    }

    fn announce(&mut self, uuid: &Uuid, action: &Action, application_uuid: &str) {
        let Action { application, argument } = action;
        self.modify(uuid, |channel| {
            let variables = &mut channel.variables;
            variables.unset("current_application_response");
            variables.unset("current_application_data");
            variables.set("current_application", application.as_str());
            variables.set("current_application_data", argument.as_str());
            channel.last_application = Some(action.clone());
            channel.shown_application = Some(action.clone());
        });
        let after = [
            ("Application", application.as_str()),
            ("Application-Data", argument.as_str()),
            ("Application-UUID", application_uuid),
        ];
        self.fire_channel(uuid, "CHANNEL_EXECUTE", &[], &after);
        self.modify(uuid, |channel| {
            channel.variables.set("current_application_data", argument.as_str());
            channel.variables.set("current_application", application.as_str());
        });
    }

    /// An application has ended: tells it, and runs it again if its command has loops left.
    fn completed(
        &mut self,
        uuid: &Uuid,
        action: &Action,
        application_uuid: &str,
        command: Option<(PrivateCommand, i64)>,
        response: Option<&'static str>,
    ) {
        if let Some(response) = response {
            self.set_variable(uuid, "current_application_response", response);
        }
        // Around others, that of the innermost.
        let channel = self.channels.get(uuid);
        let shown = channel.and_then(|channel| channel.variables.get("current_application_response"));
        let shown = shown.unwrap_or("_none_").to_owned();
        let after = [
            ("Application", action.application.as_str()),
            ("Application-Data", action.argument.as_str()),
            ("Application-Response", shown.as_str()),
            ("Application-UUID", application_uuid),
        ];
        self.fire_channel(uuid, "CHANNEL_EXECUTE_COMPLETE", &[], &after);
        self.modify(uuid, Channel::close_scope);
        self.ledger.completed(uuid, application_uuid, self.now);
        let Some((command, left)) = command else { return };
        let alive =
            self.channels.get(uuid).is_some_and(|channel| channel.hangup.is_none() && channel.next.is_none());
        if left > 0
            && alive
            && let CommandAction::Execute { action, .. } = &command.action
        {
            return self.execute(uuid, action.clone(), Some((command, left - 1)));
        }
        self.command_ended(uuid, Some(command));
    }

    /// The command that ran an application, if it was one, is done with all its loops.
    fn command_ended(&mut self, uuid: &Uuid, command: Option<PrivateCommand>) {
        let Some(command) = command else { return };
        self.modify(uuid, |channel| {
            channel.variables.unset("current_loop");
            channel.variables.unset("total_loops");
            channel.reads_on = true;
        });
        self.command_done(uuid, &command);
    }

    /// A file stood still while something else ran inside it since `since` (transcript d_sendmsg/execute_basic).
    fn resume_playback(&mut self, uuid: &Uuid, since: Time) {
        let stood = Duration::from_micros(self.now.micros_since(since));
        self.modify(uuid, |channel| {
            if let Some(frame) = channel.stack.last_mut()
                && matches!(frame.doing, Doing::Playback { .. })
            {
                frame.until = frame.until.map(|until| until + stood);
            }
        });
    }

    /// Ends the innermost application or state of a channel.
    pub(crate) fn complete_frame(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let Some(mut frame) = channel.stack.pop() else { return };
        let doing = mem::replace(&mut frame.doing, Doing::Echo);
        let response = match doing {
            Doing::Park => {
                self.end_of_park(uuid, &frame);
                self.fire_channel(uuid, "CHANNEL_UNPARK", &[], &[]);
                None
            }
            Doing::Playback { path, length_ms, since } => {
                Some(self.end_playback(uuid, &path, length_ms, since, frame.interrupted))
            }
            Doing::Record { path, since } => {
                self.end_record(uuid, &path, since);
                None
            }
            Doing::Digits(collection) => match self.go_on_collecting(uuid, *collection) {
                Some((doing, until)) => {
                    frame.doing = doing;
                    frame.until = Some(until);
                    frame.interrupted = false;
                    self.modify(uuid, |channel| channel.stack.push(frame));
                    return;
                }
                None => None,
            },
            Doing::Dialling { attempt } => {
                self.abandon_attempt(attempt, Cause::named("ORIGINATOR_CANCEL"));
                None
            }
            Doing::Bridged { leg } => {
                if frame.action.application == "att_xfer" {
                    self.end_attended_transfer(uuid, &leg);
                } else {
                    self.end_bridge(uuid, &leg);
                }
                None
            }
            Doing::Conference { name, member } => {
                self.leave_conference(&name, member);
                None
            }
            Doing::Fifo { name } => {
                self.leave_fifo(uuid, &name);
                None
            }
            Doing::Valet(place) => match self.go_on_valet(uuid, place) {
                Some(place) => {
                    frame.doing = Doing::Valet(place);
                    frame.until = None;
                    self.modify(uuid, |channel| channel.stack.push(frame));
                    return;
                }
                None => None,
            },
            Doing::Exchange => {
                self.end_exchange(uuid);
                None
            }
            Doing::Socket(outbound) => {
                self.end_socket(uuid, &outbound);
                None
            }
            Doing::Ended { response } => Some(response).filter(|response| !response.is_empty()),
            Doing::Extension(_) => {
                self.modify(uuid, Channel::leave_extension);
                None
            }
            Doing::Sleep | Doing::Echo | Doing::Script(_) => None,
        };
        self.resume_playback(uuid, frame.since);
        if !frame.silent {
            let repeats =
                !frame.interrupted && self.now.micros_since(frame.since) >= SHORTEST_LOOP.as_micros() as u64;
            let command = frame.command.map(|(command, left)| (command, if repeats { left } else { 0 }));
            self.completed(uuid, &frame.action, &frame.application_uuid, command, response);
        }
    }

    fn start(&mut self, uuid: &Uuid, action: &Action, by: HungUpBy) -> Started {
        let argument = action.argument.as_str();
        match action.application.as_str() {
            "park" => {
                self.fire_channel(uuid, "CHANNEL_PARK", &[], &[]);
                Started::Runs(Doing::Park, self.park_ends_at(uuid))
            }
            "playback" => self.start_playback(uuid, argument, false),
            "endless_playback" => self.start_playback(uuid, argument, true),
            "record" => self.start_record(uuid, argument),
            "record_session" => self.start_recording(uuid, argument),
            "stop_record_session" => {
                self.stop_recording(uuid, argument);
                Started::Done(None)
            }
            "echo" => Started::Runs(Doing::Echo, None),
            "socket" => self.start_socket(uuid, argument),
            "bridge" => self.start_bridge(uuid, argument),
            "conference" => self.start_conference(uuid, argument),
            "fifo" => self.start_fifo(uuid, argument),
            "valet_park" => self.start_valet(argument),
            "read" => self.start_read(uuid, argument),
            "att_xfer" => self.start_attended_transfer(uuid, argument),
            "intercept" => self.start_intercept(uuid, argument),
            "play_and_get_digits" => self.start_digits(uuid, argument),
            "lua" => self.start_lua(uuid, argument),
            _ => self.start_simple(uuid, action, by),
        }
    }
}
