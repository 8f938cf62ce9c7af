//! `sendmsg`: a command for one channel, which its own thread runs.

use fipple_protocol::esl::raw_text;
use fipple_protocol::esl::request::Request;

use crate::cause::Cause;
use crate::channel::{CommandAction, PrivateCommand};
use crate::connection::{Control, split_word};
use crate::dialplan::Action;
use crate::journal::Entry;
use crate::limits::{LOOPS_MAX, PRIVATE_QUEUE_MAX};
use crate::switch::{ConnectionId, Switch};

impl Switch {
    pub(crate) fn sendmsg(&mut self, id: ConnectionId, request: &Request, target: &str) {
        let Some(connection) = self.bus.connections.get_mut(&id) else { return };
        let target =
            if target.is_empty() { request.header("session-id").unwrap_or_default() } else { target };
        let own = connection.session.as_ref().map(|session| {
            // Before `connect` the channel's thread does not listen yet.
            (session.uuid.clone(), session.connected && session.control == Control::Sync)
        });
        let target = match &own {
            Some((uuid, _)) if target.is_empty() => uuid,
            _ => target,
        };
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
        if own.is_some_and(|(own, is_sync)| own == uuid && is_sync) {
            // The channel's thread is the listener: it runs the command, then answers.
            connection.busy = true;
        } else {
            self.bus.reply(id, "+OK");
        }
        self.make_runnable(&uuid);
    }
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
        Some(body) if header.is_empty() && is_text => raw_text::from_bytes(body),
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
