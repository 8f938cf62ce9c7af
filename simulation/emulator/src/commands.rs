//! What a controller says on its connection, and what it is answered.

use fipple_protocol::esl::encode;
use fipple_protocol::esl::request::Request;

use crate::api::ReplyTo;
use crate::cause::Cause;
use crate::channel::{CommandAction, PrivateCommand};
use crate::connection::{Connection, split_word};
use crate::dialplan::Action;
use crate::journal::Entry;
use crate::limits::{CONNECTION_INPUT_MAX_BYTES, LOOPS_MAX, PRIVATE_QUEUE_MAX};
use crate::switch::{ConnectionId, Switch};
use crate::time::Date;

const NOT_FOUND: &str = "-ERR command not found";

/// Log levels in their order; the index is the number.
const LOG_LEVELS: [&str; 8] = ["CONSOLE", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG"];

impl Switch {
    pub(crate) fn accept(&mut self, id: ConnectionId) {
        if self.is_stopped() {
            // Nobody listens on the port.
            return self.bus.refuse(id);
        }
        self.bus.connections.insert(id, Connection::new());
        let mut frame = Vec::new();
        encode::write_auth_request(&mut frame);
        self.bus.send(id, frame);
    }

    pub(crate) fn receive(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.bus.connections.get_mut(&id) else { return };
        connection.decoder.push(bytes);
        if connection.decoder.buffered_bytes() > CONNECTION_INPUT_MAX_BYTES {
            return self.bus.disconnect(id);
        }
        self.read_requests(id);
    }

    /// Runs the commands that have come, until one of them is an `api` that takes its time.
    pub(crate) fn read_requests(&mut self, id: ConnectionId) {
        while let Some(connection) = self.bus.connections.get_mut(&id) {
            if connection.busy || connection.exiting {
                return;
            }
            match connection.decoder.next_request() {
                Ok(Some(request)) => {
                    self.counts.commands += 1;
                    self.handle_request(id, &request);
                    self.run_channels();
                }
                Ok(None) => return,
                Err(_) => return self.bus.disconnect(id),
            }
        }
    }

    /// Lets the channels do what a command caused, before the next command of the same connection.
    fn run_channels(&mut self) {
        while let Some(uuid) = self.runnable.pop_front() {
            self.run_channel(&uuid);
        }
    }

    fn handle_request(&mut self, id: ConnectionId, request: &Request) {
        let (word, arguments) = request.command.split_once(' ').unwrap_or((&request.command, ""));
        let word = word.to_ascii_lowercase();
        let authenticated = self.bus.connections.get(&id).is_some_and(|connection| connection.authenticated);
        let command = || Entry::Command { connection: id, line: request.command.clone() };
        self.ledger.journal.add(command);
        match word.as_str() {
            "exit" | "..." => self.exit(id),
            "auth" if !authenticated => self.authenticate(id, arguments),
            _ if !authenticated => self.bus.reply(id, NOT_FOUND),
            "api" if !arguments.is_empty() => {
                if let Some(connection) = self.bus.connections.get_mut(&id) {
                    connection.busy = true;
                }
                self.run_api(ReplyTo::Connection(id), arguments);
            }
            "bgapi" if !arguments.trim().is_empty() => self.background(id, request, arguments),
            "sendmsg" => self.sendmsg(id, request, arguments.trim()),
            "sendevent" => self.sendevent(id, request, arguments.trim()),
            "linger" | "nolinger" => self.bus.reply(id, "-ERR not controlling a session"),
            "divert_events" => self.bus.reply(id, "-ERR not controlling a session."),
            "log" => self.start_log(id, arguments.trim()),
            "nolog" => self.stop_log(id),
            _ => {
                let reply = self.subscription_reply(id, &word, arguments);
                self.bus.reply(id, &reply);
            }
        }
    }

    fn subscription_reply(&mut self, id: ConnectionId, word: &str, arguments: &str) -> String {
        let Some(connection) = self.bus.connections.get_mut(&id) else { return String::new() };
        let subscription = &mut connection.subscription;
        match word {
            // FreeSWITCH looks at the first five letters only, and Python's genesis says `events`.
            _ if word.starts_with("event") => subscription.subscribe(arguments),
            "nixevent" => subscription.unsubscribe(arguments).into(),
            "noevents" => subscription.stop().into(),
            "filter" if !arguments.is_empty() => subscription.filter(arguments),
            _ => NOT_FOUND.into(),
        }
    }

    fn authenticate(&mut self, id: ConnectionId, password: &str) {
        if password == self.config.password {
            if let Some(connection) = self.bus.connections.get_mut(&id) {
                connection.authenticated = true;
            }
            self.bus.reply(id, "+OK accepted");
        } else {
            self.bus.reply(id, "-ERR invalid");
            self.bus.disconnect(id);
        }
    }

    fn exit(&mut self, id: ConnectionId) {
        self.bus.reply(id, "+OK bye");
        match self.bus.connections.get_mut(&id) {
            Some(connection) if connection.pending_jobs > 0 => {
                connection.exiting = true;
                connection.subscription.stop();
            }
            _ => self.bus.disconnect(id),
        }
    }

    /// A job has begun for which `exit` waits.
    pub(crate) fn count_pending_job(&mut self, id: ConnectionId) {
        if let Some(connection) = self.bus.connections.get_mut(&id) {
            connection.pending_jobs += 1;
        }
    }

    fn background(&mut self, id: ConnectionId, request: &Request, command: &str) {
        let job_uuid = request.header("Job-UUID").map(str::to_owned);
        let job_uuid = job_uuid.unwrap_or_else(|| self.random.uuid());
        let mut frame = Vec::new();
        encode::write_job_reply(&mut frame, &job_uuid);
        self.bus.send(id, frame);
        self.count_pending_job(id);
        self.run_api(ReplyTo::Background { connection: id, job_uuid }, command);
    }

    fn sendmsg(&mut self, id: ConnectionId, request: &Request, target: &str) {
        let target =
            if target.is_empty() { request.header("session-id").unwrap_or_default() } else { target };
        let living = self.channels.get_mut(target).filter(|channel| channel.hangup.is_none());
        let Some(channel) = living else {
            return self.bus.reply(id, &format!("-ERR invalid session id [{target}]"));
        };
        if channel.queue.len() >= PRIVATE_QUEUE_MAX {
            // The command is lost, and FreeSWITCH ends the connection.
            let uuid = channel.uuid.clone();
            self.ledger.journal.add(|| Entry::PrivateQueueFull { uuid, connection: id });
            return self.bus.disconnect(id);
        }
        let uuid = channel.uuid.clone();
        channel.queue.push_back(private_command(id, request));
        self.bus.reply(id, "+OK");
        self.make_runnable(&uuid);
    }

    fn sendevent(&mut self, id: ConnectionId, request: &Request, name: &str) {
        let event_uuid = self.random.uuid();
        self.bus.reply(id, &format!("+OK {event_uuid}"));
        let mut headers = request.headers.clone();
        // FreeSWITCH lists the subclass first, then the command itself.
        let subclass = headers.iter().position(|(key, _)| key.eq_ignore_ascii_case("Event-Subclass"));
        let after = match subclass.map(|index| headers.remove(index)) {
            Some((_, subclass)) => {
                headers.insert(0, ("Event-Subclass".into(), subclass));
                1
            }
            None => 0,
        };
        headers.insert(after, ("Command".into(), request.command.clone()));
        headers.push(("Event-UUID".into(), event_uuid));
        let body = request.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned());
        self.fire_composed(name, headers, body, false);
    }

    fn start_log(&mut self, id: ConnectionId, level: &str) {
        let number = log_level(level).unwrap_or(7);
        // FreeSWITCH answers with this mask for a number beyond its levels (transcript a_inbound_auth/auth_ok).
        let beyond = level.parse::<u32>().is_ok_and(|number| number > 7);
        let shown = if beyond { 63 } else { number };
        if let Some(connection) = self.bus.connections.get_mut(&id) {
            connection.log_level = Some(number);
        }
        self.bus.reply(id, &format!("+OK log level {level} [{shown}]"));
    }

    fn stop_log(&mut self, id: ConnectionId) {
        let level = self.bus.connections.get_mut(&id).and_then(|connection| connection.log_level.take());
        self.bus.reply(id, if level.is_some() { "+OK no longer logging" } else { "-ERR not loging" });
    }

    /// Writes a line of the switch's log to the connections that want its level.
    pub(crate) fn log(&mut self, level: &str, text: &str, user_data: &str) {
        let number = log_level(level).unwrap_or(7);
        let name = LOG_LEVELS[usize::from(number)];
        let micros = self.wall_micros();
        let stamp = Date::from_unix_micros(micros).local();
        let line = format!("{stamp}.{:06} 100.00% [{name}] mod_commands.c:7247 {text}\n", micros % 1_000_000);
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
            self.bus.send_behind_api(id, frame.clone());
        }
    }
}

fn log_level(text: &str) -> Option<u8> {
    let number = text.parse::<u8>().ok().map(|number| number.min(7));
    let named = LOG_LEVELS.iter().position(|level| level.eq_ignore_ascii_case(text));
    number.or(named.map(|index| index as u8))
}

fn private_command(connection: ConnectionId, request: &Request) -> PrivateCommand {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let action = match header("call-command").to_ascii_lowercase().as_str() {
        "execute" if !header("execute-app-name").is_empty() => CommandAction::Execute {
            action: Action::new(header("execute-app-name"), argument_of(request)),
            loops: header("loops").parse().unwrap_or(1).clamp(1, LOOPS_MAX),
            application_uuid: request.header("Event-UUID").map(str::to_owned),
        },
        "hangup" => CommandAction::Hangup(Cause::named(header("hangup-cause"))),
        "xferext" => CommandAction::Extension(extension_of(request)),
        _ => CommandAction::Nothing,
    };
    let mut headers = vec![("Command".to_owned(), request.command.clone())];
    headers.extend(request.headers.iter().cloned());
    PrivateCommand {
        headers,
        action,
        event_lock: header("event-lock").eq_ignore_ascii_case("true"),
        connection: Some(connection),
    }
}

/// The argument of `execute`: a header, or else a body of plain text. A body of no said type is ignored.
fn argument_of(request: &Request) -> String {
    let header = request.header("execute-app-arg").unwrap_or_default();
    let is_text = request.header("content-type").is_some_and(|kind| kind.eq_ignore_ascii_case("text/plain"));
    match &request.body {
        Some(body) if header.is_empty() && is_text => String::from_utf8_lossy(body).into_owned(),
        _ => header.to_owned(),
    }
}

/// The `application: name argument` headers of `xferext`.
fn extension_of(request: &Request) -> Vec<Action> {
    let applications = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("application"));
    applications
        .map(|(_, value)| {
            let (application, argument) = split_word(value);
            Action::new(application, argument)
        })
        .collect()
}
