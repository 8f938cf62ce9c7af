//! What a controller says on its connection, and what it is answered.

use fipple_protocol::esl::request::Request;
use fipple_protocol::esl::{encode, raw_text};

use crate::api::ReplyTo;
use crate::connection::Connection;
use crate::journal::Entry;
use crate::limits::CONNECTION_INPUT_MAX_BYTES;
use crate::permissions::Permissions;
use crate::switch::{ConnectionId, Switch};

const NOT_FOUND: &str = "-ERR command not found";
const DENIED: &str = "-ERR permission denied";

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

    /// A connection from an address that may not connect (transcript p_shutdown_acl/acl_rude_rejection).
    pub(crate) fn reject(&mut self, id: ConnectionId) {
        const TEXT: &str = "Access Denied, go away.\n";
        self.bus.connections.insert(id, Connection::new());
        let refusal = format!("Content-Type: text/rude-rejection\nContent-Length: {}\n\n{TEXT}", TEXT.len());
        self.bus.send(id, refusal);
        self.bus.disconnect(id);
    }

    pub(crate) fn receive(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.bus.connections.get_mut(&id) else { return };
        connection.decoder.push(bytes);
        if connection.decoder.buffered_bytes() > CONNECTION_INPUT_MAX_BYTES {
            return self.bus.disconnect(id);
        }
        self.read_requests(id);
    }

    /// Runs the commands that have come, until one of them takes its time; then looks at what waits to be written.
    pub(crate) fn read_requests(&mut self, id: ConnectionId) {
        while let Some(connection) = self.bus.connections.get_mut(&id) {
            connection.reading = false;
            let parting =
                connection.session.as_ref().is_some_and(|session| session.gone && !session.lingering);
            if connection.exiting || self.bus.freeze.is_some() || parting || !connection.may_look() {
                break;
            }
            match connection.decoder.next_request() {
                Ok(Some(request)) => {
                    connection.reading = true;
                    self.counts.commands += 1;
                    self.handle_request(id, &request);
                    if self.bus.connections.get(&id).is_some_and(|connection| !connection.busy) {
                        self.run_channels();
                    }
                }
                Ok(None) => break,
                Err(_) => return self.bus.disconnect(id),
            }
        }
        self.look(id);
    }

    /// Lets the channels do what a command caused, before the next command of the same connection.
    fn run_channels(&mut self) {
        while let Some(uuid) = self.runnable.pop_front() {
            self.run_channel(&uuid);
        }
    }

    fn handle_request(&mut self, id: ConnectionId, request: &Request) {
        let (word, arguments) = match request.command.split_once(' ') {
            Some((word, arguments)) => (word, Some(arguments)),
            None => (request.command.as_str(), None),
        };
        let word = word.to_ascii_lowercase();
        let command = || Entry::Command { connection: id, line: request.command.clone() };
        self.ledger.journal.add(command);
        let Some(connection) = self.bus.connections.get_mut(&id) else { return };
        if matches!(word.as_str(), "exit" | "...") {
            return self.exit(id);
        }
        if connection.permissions.is_none() {
            return self.log_in(id, &word, arguments.unwrap_or_default());
        }
        // Until `connect` an outbound connection gets no replies, though its commands count (transcript
        // f_outbound/async_first_not_connect).
        let is_new = connection.session.as_ref().is_some_and(|session| !session.connected);
        connection.muted = is_new && word != "connect";
        if !self.handle_session_request(id, request, &word, arguments.unwrap_or_default()) {
            self.handle_full_request(id, request, &word, arguments);
        }
        if let Some(connection) = self.bus.connections.get_mut(&id) {
            connection.muted = false;
        }
    }

    /// The commands that an outbound connection has even if it is not `full` (transcript
    /// f_outbound/sync_restricted_not_full); gives whether it was one.
    fn handle_session_request(
        &mut self,
        id: ConnectionId,
        request: &Request,
        word: &str,
        arguments: &str,
    ) -> bool {
        let reply = match word {
            "sendmsg" => {
                self.sendmsg(id, request, arguments.trim());
                return true;
            }
            "connect" => {
                let Some(block) = self.connect_reply(id) else { return false };
                self.bus.send(id, block);
                self.hand_over(id);
                return true;
            }
            "myevents" => self.my_events(id, arguments.trim()).map(str::to_owned),
            "getvar" => self.getvar(id, arguments),
            "resume" => {
                let connection = self.bus.connections.get(&id);
                connection.and_then(|connection| connection.session.as_ref()).map(|_| "+OK".to_owned())
            }
            "filter" if !arguments.is_empty() => {
                let connection = self.bus.connections.get_mut(&id);
                connection.map(|connection| connection.subscription.filter(arguments))
            }
            _ => return false,
        };
        self.bus.reply(id, reply.as_deref().unwrap_or(NOT_FOUND));
        true
    }

    fn handle_full_request(
        &mut self,
        id: ConnectionId,
        request: &Request,
        word: &str,
        arguments: Option<&str>,
    ) {
        let Some(connection) = self.bus.connections.get_mut(&id) else { return };
        let is_limited = connection.is_limited();
        let permissions = connection.permissions.clone().unwrap_or_default();
        let text = arguments.unwrap_or_default();
        match word {
            _ if is_limited => self.bus.reply(id, NOT_FOUND),
            "api" | "bgapi" if arguments.is_some() && !permissions.allow_api(text) => {
                self.bus.reply(id, DENIED)
            }
            "api" if arguments.is_some() => {
                connection.busy = true;
                self.run_api(ReplyTo::Connection(id), text);
            }
            "bgapi" if arguments.is_some() => self.background(id, request, text),
            "sendevent" => self.sendevent(id, request, text.trim()),
            "linger" | "nolinger" => {
                let reply = self.linger(id, word == "linger", text);
                self.bus.reply(id, &reply);
            }
            "divert_events" => {
                let reply = self.divert_events(id, text);
                self.bus.reply(id, reply);
            }
            "log" if !permissions.allow_log() => self.bus.reply(id, DENIED),
            "log" => self.start_log(id, text.trim()),
            "nolog" => self.stop_log(id),
            _ => {
                let reply = self.subscription_reply(id, word, text, &permissions);
                self.bus.reply(id, &reply);
            }
        }
    }

    fn subscription_reply(
        &mut self,
        id: ConnectionId,
        word: &str,
        arguments: &str,
        permissions: &Permissions,
    ) -> String {
        let Some(connection) = self.bus.connections.get_mut(&id) else { return String::new() };
        let subscription = &mut connection.subscription;
        match word {
            // FreeSWITCH looks at the first five letters only, and Python's genesis says `events`.
            _ if word.starts_with("event") => subscription.subscribe(arguments, permissions),
            "nixevent" => subscription.unsubscribe(arguments).into(),
            "noevents" => {
                connection.outbox.forget_events();
                subscription.stop().into()
            }
            _ => NOT_FOUND.into(),
        }
    }

    fn log_in(&mut self, id: ConnectionId, word: &str, credentials: &str) {
        let accepted = match word {
            "auth" if credentials == self.config.password => {
                Some((Permissions::default(), "+OK accepted".to_owned()))
            }
            "userauth" => Permissions::of_user(&self.config.users, credentials),
            "auth" => None,
            _ => return self.bus.reply(id, NOT_FOUND),
        };
        match accepted {
            Some((permissions, reply)) => {
                if let Some(connection) = self.bus.connections.get_mut(&id) {
                    connection.permissions = Some(permissions);
                }
                self.bus.reply(id, &reply);
            }
            None => {
                self.bus.reply(id, "-ERR invalid");
                self.bus.disconnect(id);
            }
        }
    }

    fn exit(&mut self, id: ConnectionId) {
        self.bus.reply(id, "+OK bye");
        match self.bus.connections.get_mut(&id) {
            Some(connection) if connection.pending_jobs > 0 => {
                connection.exiting = true;
                connection.subscription.stop();
                connection.outbox.forget_events();
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
        self.bus.send_reply(id, frame);
        self.count_pending_job(id);
        self.run_api(ReplyTo::Background { connection: id, job_uuid }, command);
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
        let body = request.body.as_ref().map(|body| raw_text::from_bytes(body));
        self.fire_composed(name, headers, body);
    }
}
