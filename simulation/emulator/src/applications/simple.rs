//! Applications that set something, say something or send the call elsewhere, and are done at once.

use std::time::Duration;

use super::Started;
use crate::cause::Cause;
use crate::channel::{CallState, Channel, Doing, Endpoint, Frame, Uuid};
use crate::connection::split_word;
use crate::dialplan::Action;
use crate::ledger::HungUpBy;
use crate::sip;
use crate::switch::Switch;
use crate::time::Time;

impl Switch {
    pub(super) fn start_simple(&mut self, uuid: &Uuid, action: &Action, by: HungUpBy) -> Started {
        let argument = action.argument.as_str();
        match action.application.as_str() {
            "answer" => self.answer(uuid),
            "pre_answer" | "ring_ready" => self.progress(uuid, action.application == "pre_answer"),
            "set" => self.assign(uuid, argument),
            "multiset" => {
                for assignment in argument.split_ascii_whitespace() {
                    self.assign(uuid, assignment);
                }
            }
            "export" => self.export(uuid, argument),
            "unset" => self.modify(uuid, |channel| channel.variables.unset(argument.trim())),
            "push" => {
                if let Some((name, value)) = argument.split_once('=') {
                    self.modify(uuid, |channel| channel.variables.push(name, value));
                }
            }
            "unshift" => {
                if let Some((name, value)) = argument.split_once('=') {
                    self.modify(uuid, |channel| channel.variables.unshift(name, value));
                }
            }
            "hangup" => self.hang_up(uuid, Cause::named(argument), by),
            "event" => self.fire_from_application(uuid, argument),
            "log" => {
                let (level, text) = split_word(argument);
                self.log(level, text, uuid);
            }
            "info" => self.log("INFO", "CHANNEL_DATA", uuid),
            "sched_transfer" => self.schedule_transfer(uuid, argument),
            "sched_hangup" => self.schedule_hangup(uuid, argument),
            "transfer" => self.transfer_words(uuid, argument),
            // What it answers is only for the API command.
            "hash" => drop(self.hash.execute(argument)),
            "execute_extension" => return self.start_extension(uuid, argument),
            "sleep" => {
                let milliseconds = argument.trim().parse().unwrap_or(0);
                return Started::Runs(Doing::Sleep, Some(self.now + Duration::from_millis(milliseconds)));
            }
            // `execute` lets only known applications come this far, and the others are in `start`.
            _ => {}
        }
        Started::Done(None)
    }

    /// `name=value`; no value unsets.
    fn assign(&mut self, uuid: &Uuid, assignment: &str) {
        let (name, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        self.set_variable(uuid, name.trim(), value);
    }

    /// Sets a variable that the legs which the channel dials inherit. With `nolocal:` before its name only they have it:
    /// here that is part of the name.
    fn export(&mut self, uuid: &Uuid, assignment: &str) {
        self.assign(uuid, assignment);
        let name = assignment.split('=').next().unwrap_or_default().trim();
        self.modify(uuid, |channel| {
            let mut exported = channel.variables.get("export_vars").unwrap_or_default().to_owned();
            if !exported.split(',').any(|present| present == name) {
                exported = if exported.is_empty() { name.to_owned() } else { format!("{exported},{name}") };
            }
            channel.variables.set("export_vars", exported);
        });
    }

    /// When `park_timeout=<seconds>[:<cause>]` ends a park.
    pub(crate) fn park_ends_at(&self, uuid: &str) -> Option<Time> {
        let timeout = self.channels.get(uuid)?.variables.get("park_timeout")?;
        let seconds = timeout.split(':').next()?.trim().parse().ok().filter(|seconds| *seconds > 0)?;
        Some(self.now + Duration::from_secs(seconds))
    }

    /// A park that its time-out ends ends the call: it can do nothing else (freeswitch README "No call is trapped").
    pub(super) fn end_of_park(&mut self, uuid: &Uuid, frame: &Frame) {
        let over = !frame.interrupted && frame.until.is_some_and(|until| until <= self.now);
        let Some(channel) = self.channels.get(uuid).filter(|_| over) else { return };
        if channel.hangup.is_some() || channel.next.is_some() {
            return;
        }
        let timeout = channel.variables.get("park_timeout").unwrap_or_default();
        let cause = timeout.split_once(':').map_or(Cause::NORMAL_CLEARING, |(_, cause)| Cause::named(cause));
        self.hang_up(uuid, cause, HungUpBy::Switch);
    }

    /// The leg rings, or has early media.
    pub(crate) fn progress(&mut self, uuid: &Uuid, media: bool) {
        let wall = self.wall_micros();
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        if channel.is_answered() || channel.answer_state == "early" {
            return;
        }
        let incoming = channel.endpoint == Endpoint::Sofia && !channel.outbound;
        if incoming && !media {
            sip::early_reply(&mut channel.variables, &mut self.random);
        }
        if media {
            if incoming {
                sip::answered_inbound(&mut channel.variables, &mut self.random);
            }
            self.mark_early(uuid);
        } else {
            if let Some(profile) = &mut channel.profile {
                profile.times.progress = wall;
            }
            self.fire_channel(uuid, "CHANNEL_PROGRESS", &[], &[]);
            self.set_call_state(uuid, CallState::Ringing);
        }
        self.progress_other_half(uuid, media);
    }

    /// The leg has sound before its answer (transcript b_formats_call_life/ring_early_answer_plain).
    /// Sound begins with a caller who was not answered.
    pub(crate) fn open_sound(&mut self, uuid: &Uuid) {
        let calls = |channel: &Channel| channel.endpoint == Endpoint::Sofia && !channel.outbound;
        if self.channels.get(uuid).is_some_and(calls) {
            self.progress(uuid, true);
        }
    }

    pub(crate) fn mark_early(&mut self, uuid: &Uuid) {
        let wall = self.wall_micros();
        self.modify(uuid, |channel| {
            channel.answer_state = "early";
            if let Some(profile) = &mut channel.profile {
                profile.times.progress_media = wall;
            }
        });
        self.set_variable(uuid, "endpoint_disposition", "EARLY MEDIA");
        self.fire_channel(uuid, "CHANNEL_PROGRESS_MEDIA", &[], &[]);
        self.set_call_state(uuid, CallState::Early);
    }

    fn transfer_words(&mut self, uuid: &Uuid, argument: &str) {
        let (number, dialplan, context) = transfer_target(argument);
        self.transfer(uuid, number, dialplan, context);
    }
}

/// `<extension> [<dialplan>] [<context>]`. The extension may be in single quotes, so that it can hold spaces.
pub(crate) fn transfer_target(text: &str) -> (&str, &str, &str) {
    let text = text.trim();
    let (number, rest) = match text.strip_prefix('\'').and_then(|quoted| quoted.split_once('\'')) {
        Some((number, rest)) => (number, rest.trim_start()),
        None => split_word(text),
    };
    let (dialplan, context) = split_word(rest);
    (number, if dialplan.is_empty() { "XML" } else { dialplan }, context.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_targets() {
        assert_eq!(transfer_target("9001"), ("9001", "XML", ""));
        assert_eq!(transfer_target("9001 XML public"), ("9001", "XML", "public"));
        assert_eq!(transfer_target("'set:a=b c,park:' inline"), ("set:a=b c,park:", "inline", ""));
    }
}
