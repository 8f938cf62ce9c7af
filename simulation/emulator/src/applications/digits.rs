//! `play_and_get_digits`, and the keys that callers press.

use std::time::Duration;

use super::Started;
use super::media::duration_of;
use crate::channel::{Doing, Uuid};
use crate::custom::Contents;
use crate::switch::Switch;
use crate::time::Time;

/// A running `play_and_get_digits`.
#[derive(Debug, Clone)]
pub(crate) struct Collection {
    least: usize,
    most: usize,
    tries_left: u32,
    timeout: Duration,
    terminators: String,
    file: String,
    variable: String,
    /// The set of keys allowed by a regular expression of the form `\d+`; `None` allows all.
    digits_only: bool,
    digit_timeout: Duration,
    collected: String,
    /// The last key or a terminator came.
    complete: bool,
}

impl Collection {
    /// `<min> <max> <tries> <timeout ms> <terminators> <file> <invalid file> <variable> [<regexp> [<digit timeout>]]`
    fn parse(argument: &str) -> Option<Self> {
        let words: Vec<&str> = argument.split_ascii_whitespace().collect();
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok());
        let timeout = Duration::from_millis(number(3)?);
        Some(Self {
            least: number(0)? as usize,
            most: (number(1)?.clamp(1, 128)) as usize,
            tries_left: number(2)?.clamp(1, 100) as u32,
            timeout,
            terminators: words.get(4).map(|word| word.replace("none", ""))?,
            file: (*words.get(5)?).to_owned(),
            variable: (*words.get(7)?).to_owned(),
            digits_only: words.get(8).is_some_and(|expression| expression.contains("\\d")),
            digit_timeout: number(9).map_or(timeout, Duration::from_millis),
            collected: String::new(),
            complete: false,
        })
    }

    /// Takes keys out of the channel's buffer until it has what it needs.
    fn take(&mut self, digits: &mut String) {
        while !digits.is_empty() && !self.complete {
            let digit = digits.remove(0);
            if self.terminators.contains(digit) {
                self.complete = true;
            } else {
                self.collected.push(digit);
                self.complete = self.collected.len() >= self.most;
            }
        }
    }

    fn is_valid(&self) -> bool {
        self.collected.len() >= self.least
            && (!self.digits_only || self.collected.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

impl Switch {
    pub(super) fn start_digits(&mut self, uuid: &Uuid, argument: &str) -> Started {
        match Collection::parse(argument) {
            Some(collection) => {
                let (collection, until) = self.collect_pressed(uuid, collection);
                Started::Runs(Doing::Digits(collection), Some(until))
            }
            None => Started::Done(None),
        }
    }

    /// The prompt plays, then the time-out runs.
    fn first_wait(&self, collection: &Collection) -> Time {
        let prompt = duration_of(&collection.file, &self.config);
        self.now + prompt.unwrap_or_default() + collection.timeout
    }

    /// Takes the keys that were pressed already, and tells until when to wait for more.
    fn collect_pressed(&mut self, uuid: &Uuid, mut collection: Collection) -> (Collection, Time) {
        self.modify(uuid, |channel| collection.take(&mut channel.digits));
        let until = if collection.complete {
            self.now
        } else if collection.collected.is_empty() {
            self.first_wait(&collection)
        } else {
            self.now + collection.digit_timeout
        };
        (collection, until)
    }

    /// A wait for keys has ended, by time or because keys came: what the application does next, or `None` when it is
    /// done, its variables being set.
    pub(super) fn go_on_collecting(
        &mut self,
        uuid: &Uuid,
        mut collection: Collection,
    ) -> Option<(Doing, Time)> {
        let channel = self.channels.get_mut(uuid)?;
        let leaving = channel.hangup.is_some() || channel.next.is_some();
        if !leaving && !collection.complete && !channel.digits.is_empty() {
            let (collection, until) = self.collect_pressed(uuid, collection);
            return Some((Doing::Digits(collection), until));
        }
        if collection.is_valid() && !collection.collected.is_empty() {
            channel.variables.set("read_result", "success");
            channel.variables.set(&collection.variable, collection.collected);
            return None;
        }
        collection.tries_left -= 1;
        if !leaving && collection.tries_left > 0 {
            collection.collected.clear();
            collection.complete = false;
            let until = self.first_wait(&collection);
            return Some((Doing::Digits(collection), until));
        }
        channel.variables.set("read_result", if leaving { "failure" } else { "timeout" });
        None
    }

    /// Keys arrive as SIP INFO. sofia reports them, and on a leg that has agreed on RFC 4733 hands them to nobody: the
    /// application that waits for keys times out (transcript d_sendmsg/sip_dtmf_info).
    pub(crate) fn receive_info_digits(&mut self, uuid: &Uuid, digits: &str) {
        for digit in digits.chars().filter(|digit| is_key(*digit)) {
            let Some(channel) = self.channels.get(uuid).filter(|channel| channel.hangup.is_none()) else {
                return;
            };
            let Some(profile) = &channel.profile else { return };
            let (from, to) = (profile.caller_id_number.clone(), profile.destination_number.clone());
            let before = [
                ("SIP-Content-Type", "application/dtmf-relay"),
                ("SIP-From-User", from.as_str()),
                ("SIP-From-Host", "127.0.0.1"),
                ("SIP-To-User", to.as_str()),
                ("SIP-To-Host", "127.0.0.1"),
            ];
            let body = format!("Signal={digit}\r\nDuration=160\r\n");
            let origin = ("sofia.c", "create_info_event", "9733");
            let contents =
                Contents { before: &before, channel: Some(uuid), body: Some(&body), ..Contents::default() };
            self.fire_with("RECV_INFO", None, origin, contents);
        }
    }

    /// Keys arrive on a channel; `false` if there is no such living channel.
    pub(crate) fn receive_digits(&mut self, uuid: &str, digits: &str, source: &str) -> bool {
        let living = self.channels.get(uuid).filter(|channel| channel.hangup.is_none());
        let Some(uuid) = living.map(|channel| channel.uuid.clone()) else { return false };
        for digit in digits.chars().filter(|digit| is_key(*digit)) {
            let text = digit.to_string();
            let after = [("DTMF-Digit", text.as_str()), ("DTMF-Duration", "2000"), ("DTMF-Source", source)];
            self.fire_channel(&uuid, "DTMF", &[], &after);
            self.modify(&uuid, |channel| {
                if channel.digits.len() < 128 {
                    channel.digits.push(digit);
                }
            });
        }
        let now = self.now;
        self.modify(&uuid, |channel| {
            if let Some(frame) = channel.stack.last_mut()
                && matches!(frame.doing, Doing::Digits(_))
            {
                frame.until = Some(now);
            }
        });
        self.make_runnable(&uuid);
        true
    }
}

fn is_key(digit: char) -> bool {
    matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D')
}
