//! API commands: how one is run, and how its result gets to whoever asked.

mod chat;
mod conference;
mod directory;
mod evaluate;
mod expression;
mod general;
mod media;
mod originate;
pub(crate) mod show;
mod sofia;
pub(crate) mod status;
mod uuid;

use std::time::Duration;

use fipple_protocol::esl::encode;

use crate::connection::split_word;
use crate::lua::Caller;
use crate::switch::{ConnectionId, JobId, Switch, Timer};

/// An API command that has begun and has not replied.
#[derive(Debug)]
pub(crate) struct Job {
    reply_to: ReplyTo,
    command: String,
    argument: String,
    /// The API event is numbered when the command begins and fired when it has replied.
    event_sequence: u64,
}

/// Where the result of an API command goes.
#[derive(Debug, Clone)]
pub(crate) enum ReplyTo {
    /// To a connection that waits for it.
    Connection(ConnectionId),
    /// Into a BACKGROUND_JOB event.
    Background { connection: ConnectionId, job_uuid: String },
    /// To a script that waits for it.
    Script(Caller),
    /// To nobody: a scheduled task.
    Nobody,
}

impl Switch {
    /// Runs `command argument` and replies, at once or when it is done.
    pub(crate) fn run_api(&mut self, reply_to: ReplyTo, text: &str) {
        let (command, argument) = split_word(text);
        let job = self.new_job_id();
        let event_sequence = self.next_sequence();
        let entry =
            Job { reply_to, command: command.to_owned(), argument: argument.to_owned(), event_sequence };
        let by = entry.connection();
        self.jobs.insert(job, entry);
        if let Some(result) = self.execute_api(job, by, command, argument) {
            self.finish_job(job, &result);
        }
    }

    /// A number for a command, never used before.
    fn new_job_id(&mut self) -> JobId {
        let job = JobId(self.next_job);
        self.next_job += 1;
        job
    }

    /// Runs a command; `None` if its result comes later.
    fn execute_api(
        &mut self,
        job: JobId,
        by: Option<ConnectionId>,
        command: &str,
        argument: &str,
    ) -> Option<String> {
        let reply = match command {
            "originate" => return self.api_originate(job, argument),
            "msleep" => {
                let milliseconds = argument.trim().parse().unwrap_or(0);
                self.arm(self.now + Duration::from_millis(milliseconds), Timer::Job(job));
                return None;
            }
            "lua" if self.config.mod_lua => return self.api_lua(job, by, argument),
            "luarun" if self.config.mod_lua => self.api_luarun(by, argument),
            "hash" => self.hash.execute(argument),
            "hash_dump" => self.hash.dump(argument),
            "create_uuid" => self.random.uuid(),
            "sofia" => self.api_sofia(argument),
            "conference" => self.api_conference(argument),
            "chat" => self.api_chat(argument),
            "fsctl" => self.api_fsctl(by, argument),
            "echo" => argument.to_owned(),
            "show" => self.api_show(argument),
            "global_getvar" => self.api_global(argument.trim()),
            "log" => {
                let (level, text) = split_word(argument);
                self.log(level, text, "");
                "+OK\n".into()
            }
            "xml_locate" => self.api_xml_locate(argument),
            "sched_api" => self.api_sched_api(argument),
            "sched_del" => self.api_sched_del(argument.trim()),
            "unsched_api" => self.api_unsched_api(argument.trim()),
            "sched_transfer" => self.api_sched_transfer(argument),
            "sched_hangup" => self.api_sched_hangup(argument),
            "url_encode" => {
                let mut encoded = Vec::new();
                encode::percent_encode(&mut encoded, argument);
                String::from_utf8_lossy(&encoded).into_owned()
            }
            "uuid_limit" => self.take_limit(argument),
            "uuid_limit_release" => self.release_limit(argument),
            _ if command.starts_with("uuid_") || command == "hupall" => {
                return Some(self.execute_uuid_api(command, argument, by));
            }
            _ => {
                let found = self
                    .api_status(command)
                    .or_else(|| self.api_directory(command, argument))
                    .or_else(|| self.api_general(by, command, argument))
                    .or_else(|| self.api_text(by, command, argument));
                found.unwrap_or_else(|| format!("-ERR {command} Command not found!\n"))
            }
        };
        Some(reply)
    }

    /// Runs a command for an expansion or inside another one, and gives its result. What would only reply later is not waited for.
    pub(crate) fn call_api(&mut self, by: Option<ConnectionId>, command: &str, argument: &str) -> String {
        let job = self.new_job_id();
        let event_sequence = self.next_sequence();
        let result = self.nested(|switch| switch.execute_api(job, by, command, argument)).flatten();
        let headers = [("API-Command", command), ("API-Command-Argument", argument)];
        self.fire_core("API", Some(event_sequence), &headers, None);
        result.unwrap_or_else(|| "-ERR the emulated switch does not wait here\n".into())
    }

    /// Runs a command for a script; `None` if the script gets the result later.
    pub(crate) fn call_api_for(
        &mut self,
        caller: Caller,
        by: Option<ConnectionId>,
        command: &str,
        argument: &str,
    ) -> Option<String> {
        let job = self.new_job_id();
        let event_sequence = self.next_sequence();
        let result = self.execute_api(job, by, command, argument);
        if result.is_some() {
            let headers = [("API-Command", command), ("API-Command-Argument", argument)];
            self.fire_core("API", Some(event_sequence), &headers, None);
        } else {
            let (command, argument) = (command.to_owned(), argument.to_owned());
            let reply_to = ReplyTo::Script(caller);
            self.jobs.insert(job, Job { reply_to, command, argument, event_sequence });
        }
        result
    }

    /// A command is done: its reply first, then the events that waited for it.
    pub(crate) fn finish_job(&mut self, job: JobId, result: &str) {
        let Some(job) = self.jobs.remove(&job) else { return };
        if let ReplyTo::Connection(connection) = job.reply_to {
            let mut frame = Vec::with_capacity(64 + result.len());
            encode::write_api_response(&mut frame, result);
            self.bus.send_reply(connection, frame);
            self.api_replied(connection);
        }
        let headers =
            [("API-Command", job.command.as_str()), ("API-Command-Argument", job.argument.as_str())];
        self.fire_core("API", Some(job.event_sequence), &headers, None);
        if let ReplyTo::Script(caller) = &job.reply_to {
            self.answer_waiting_script(caller, result);
        }
        if let ReplyTo::Background { connection, job_uuid } = job.reply_to {
            let headers = [
                ("Job-UUID", job_uuid.as_str()),
                ("Job-Command", job.command.as_str()),
                ("Job-Command-Arg", job.argument.as_str()),
            ];
            self.fire_core("BACKGROUND_JOB", None, &headers, Some(result));
            self.job_of_connection_ended(connection);
        }
    }

    /// `exit` waits for the jobs of `bgapi`.
    fn job_of_connection_ended(&mut self, connection: ConnectionId) {
        let Some(state) = self.bus.connections.get_mut(&connection) else { return };
        state.pending_jobs = state.pending_jobs.saturating_sub(1);
        if state.exiting && state.pending_jobs == 0 {
            self.bus.disconnect(connection);
        }
    }

    /// The time of a waiting command has come: `msleep`, or a script that slept.
    pub(crate) fn job_timeout(&mut self, job: JobId) {
        if self.is_script(job) {
            self.resume_api_script(job);
        } else {
            self.finish_job(job, "+OK");
        }
    }

    pub(super) fn api_global(&self, name: &str) -> String {
        if name == "core_uuid" {
            return self.core_uuid.clone();
        }
        if name.is_empty() {
            let line = |(name, value): &(String, String)| format!("{name}={value}\n");
            let core = format!("hostname={}\ncore_uuid={}\n", self.config.hostname, self.core_uuid);
            return core + &self.config.globals.iter().map(line).collect::<String>();
        }
        let found = self.config.globals.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

impl Job {
    fn connection(&self) -> Option<ConnectionId> {
        match &self.reply_to {
            ReplyTo::Connection(connection) | ReplyTo::Background { connection, .. } => Some(*connection),
            ReplyTo::Script(_) | ReplyTo::Nobody => None,
        }
    }
}
