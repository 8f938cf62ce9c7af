//! `play_and_get_digits`, and the keys that callers press.

use std::time::Duration;

use crate::pattern::Pattern;

use super::Started;
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
    invalid_file: String,
    variable: String,
    /// What the keys must match, if anything; `None` inside for an expression that is none and matches nothing.
    pattern: Option<Option<Pattern>>,
    digit_timeout: Duration,
    collected: String,
    /// The key that ended the collection.
    terminator: Option<char>,
    /// The last key or a terminator came.
    complete: bool,
    phase: Phase,
}

/// What it does at the moment.
#[derive(Debug, Clone)]
enum Phase {
    /// The file that asks for keys plays; a key ends it.
    Asks(Option<Sound>),
    /// It is silent and waits.
    Waits,
    /// The file plays that says that the keys were wrong; keys are kept for later.
    Complains(Option<Sound>),
}

/// A file that plays; there is none where it cannot be opened.
#[derive(Debug, Clone)]
struct Sound {
    path: String,
    length_ms: u64,
    since: Time,
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
            invalid_file: (*words.get(6)?).to_owned(),
            variable: (*words.get(7)?).to_owned(),
            pattern: words.get(8).map(|expression| Pattern::new(expression)),
            digit_timeout: number(9).map_or(timeout, Duration::from_millis),
            collected: String::new(),
            terminator: None,
            complete: false,
            phase: Phase::Waits,
        })
    }

    /// `read <min> <max> <file> <variable> <timeout ms> <terminators> [<digit timeout>]`: one try, no complaint.
    fn parse_read(argument: &str) -> Option<Self> {
        let words: Vec<&str> = argument.split_ascii_whitespace().collect();
        let [least, most, file, variable, timeout, terminators, more @ ..] = words.as_slice() else {
            return None;
        };
        let digit_timeout = more.first().unwrap_or(timeout);
        Self::parse(&format!(
            "{least} {most} 1 {timeout} {terminators} {file} silence_stream://0 {variable} .* {digit_timeout}"
        ))
    }

    /// Takes keys out of the channel's buffer until it has what it needs.
    fn take(&mut self, digits: &mut String) {
        while !digits.is_empty() && !self.complete {
            let digit = digits.remove(0);
            if self.terminators.contains(digit) {
                self.terminator = Some(digit);
                self.complete = true;
            } else {
                self.collected.push(digit);
                self.complete = self.collected.len() >= self.most;
            }
        }
    }

    /// Whether keys that come now are its business at once.
    fn listens(&self) -> bool {
        !matches!(self.phase, Phase::Complains(_))
    }

    fn is_valid(&self) -> bool {
        self.collected.len() >= self.least
            && !self.collected.is_empty()
            && self.pattern.as_ref().is_none_or(|pattern| {
                pattern.as_ref().is_some_and(|pattern| pattern.is_match(&self.collected))
            })
    }
}

/// What a collection goes on with, and until when.
type Going = Option<(Doing, Time)>;

impl Switch {
    pub(super) fn start_digits(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let started = Collection::parse(argument).and_then(|collection| self.ask(uuid, collection));
        match started {
            Some((doing, until)) => Started::Runs(doing, Some(until)),
            None => Started::Done(None),
        }
    }

    pub(super) fn start_read(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let started = Collection::parse_read(argument).and_then(|collection| self.ask(uuid, collection));
        match started {
            Some((doing, until)) => Started::Runs(doing, Some(until)),
            None => Started::Done(None),
        }
    }

    /// Begins a try: the file plays, unless keys were pressed already.
    fn ask(&mut self, uuid: &Uuid, mut collection: Collection) -> Going {
        self.modify(uuid, |channel| {
            channel.variables.unset("read_result");
            channel.variables.unset("read_terminator_used");
            collection.take(&mut channel.digits);
        });
        if collection.complete || !collection.collected.is_empty() {
            return self.wait_for_keys(collection);
        }
        let (sound, until) = self.play(uuid, &collection.file);
        collection.phase = Phase::Asks(sound);
        Some((Doing::Digits(Box::new(collection)), until))
    }

    fn wait_for_keys(&mut self, mut collection: Collection) -> Going {
        let wait = match (collection.complete, collection.collected.is_empty()) {
            (true, _) => Duration::ZERO,
            (false, true) => collection.timeout,
            (false, false) => collection.digit_timeout,
        };
        collection.phase = Phase::Waits;
        Some((Doing::Digits(Box::new(collection)), self.now + wait))
    }

    fn play(&mut self, uuid: &Uuid, path: &str) -> (Option<Sound>, Time) {
        match self.start_playback(uuid, path, false) {
            Started::Runs(Doing::Playback { path, length_ms, since }, until) => {
                (Some(Sound { path, length_ms, since }), until.unwrap_or(self.now))
            }
            _ => (None, self.now),
        }
    }

    fn end_sound(&mut self, uuid: &Uuid, phase: &Phase) {
        if let Phase::Asks(Some(sound)) | Phase::Complains(Some(sound)) = phase {
            self.end_playback(uuid, &sound.path, sound.length_ms, sound.since, false);
        }
    }

    /// A wait has ended, by time or because keys came: what the application does next, or `None` when it is done, its
    /// variables being set (transcripts d_sendmsg/sip_dtmf_2833 and sip_dtmf_info).
    pub(super) fn go_on_collecting(&mut self, uuid: &Uuid, mut collection: Collection) -> Going {
        self.end_sound(uuid, &collection.phase);
        let channel = self.channels.get_mut(uuid)?;
        if channel.hangup.is_some() || channel.next.is_some() {
            channel.variables.set("read_result", "failure");
            return None;
        }
        match collection.phase {
            Phase::Asks(_) => {
                collection.take(&mut channel.digits);
                self.wait_for_keys(collection)
            }
            Phase::Waits if !collection.complete && !channel.digits.is_empty() => {
                collection.take(&mut channel.digits);
                self.wait_for_keys(collection)
            }
            Phase::Waits => self.judge(uuid, collection),
            Phase::Complains(_) if collection.tries_left > 0 => {
                collection.collected.clear();
                collection.terminator = None;
                collection.complete = false;
                self.ask(uuid, collection)
            }
            Phase::Complains(_) => None,
        }
    }

    /// No more keys are waited for.
    fn judge(&mut self, uuid: &Uuid, mut collection: Collection) -> Going {
        let channel = self.channels.get_mut(uuid)?;
        let variables = &mut channel.variables;
        if collection.is_valid() {
            if let Some(terminator) = collection.terminator {
                variables.set("read_terminator_used", terminator);
            }
            variables.set("read_result", "success");
            variables.set(&collection.variable, collection.collected);
            return None;
        }
        variables.set("read_result", "timeout");
        collection.tries_left -= 1;
        let (sound, until) = self.play(uuid, &collection.invalid_file);
        collection.phase = Phase::Complains(sound);
        Some((Doing::Digits(Box::new(collection)), until))
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
                && matches!(&frame.doing, Doing::Digits(collection) if collection.listens())
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
