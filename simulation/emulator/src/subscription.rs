//! Which events a connection gets, and how.

use std::collections::BTreeSet;

use fipple_protocol::esl::encode::EventFormat;

use crate::channel::Uuid;
use crate::connection::split_word;
use crate::event::{self, Event, EventName};
use crate::limits::FILTERS_MAX;
use crate::permissions::Permissions;

/// The events of `myevents` (transcripts f_outbound, e_filter_subscriptions/myevents_*).
const MY_EVENTS: [EventName; 22] = [
    "CHANNEL_ANSWER",
    "CHANNEL_APPLICATION",
    "CHANNEL_BRIDGE",
    "CHANNEL_CREATE",
    "CHANNEL_DATA",
    "CHANNEL_DESTROY",
    "CHANNEL_EXECUTE",
    "CHANNEL_EXECUTE_COMPLETE",
    "CHANNEL_HANGUP",
    "CHANNEL_HANGUP_COMPLETE",
    "CHANNEL_ORIGINATE",
    "CHANNEL_OUTGOING",
    "CHANNEL_PARK",
    "CHANNEL_PROGRESS",
    "CHANNEL_PROGRESS_MEDIA",
    "CHANNEL_STATE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_UNPARK",
    "DETECTED_SPEECH",
    "DTMF",
    "NOTALK",
    "TALK",
];

/// Which events a connection gets, and how.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) format: EventFormat,
    /// It has subscribed to something and not said `noevents`.
    pub(crate) listening: bool,
    /// Events of this channel only (`myevents`). The uuid may name none.
    only: Option<Uuid>,
    names: BTreeSet<EventName>,
    all_custom: bool,
    /// `CUSTOM` was named: events without a subclass are wanted too (transcript
    /// h_encoding_misc/sendevent_values_plain).
    custom: bool,
    subclasses: BTreeSet<String>,
    filters: Vec<(String, String)>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            format: EventFormat::Plain,
            listening: false,
            only: None,
            names: BTreeSet::new(),
            all_custom: false,
            custom: false,
            subclasses: BTreeSet::new(),
            filters: Vec::new(),
        }
    }
}

impl Subscription {
    /// `event [plain|json|xml] NAME... [CUSTOM subclass...]`; gives the reply's text.
    pub(crate) fn subscribe(&mut self, arguments: &str, permissions: &Permissions) -> String {
        let mut words = arguments.split_ascii_whitespace().peekable();
        let format = match words.peek().copied() {
            Some("plain") => Some(EventFormat::Plain),
            Some("json") => Some(EventFormat::Json),
            Some("xml") => Some(EventFormat::Xml),
            _ => None,
        };
        if format.is_some() {
            words.next();
        }
        if !is_allowed(words.clone(), permissions) {
            return "-ERR permission denied".into();
        }
        if !self.change(words, true) {
            return "-ERR no keywords supplied".into();
        }
        // Without a word for it the format is plain again (transcript e_filter_subscriptions/nixevent_noevents).
        self.format = format.unwrap_or(EventFormat::Plain);
        self.listening = true;
        format!("+OK event listener enabled {}", self.format.name())
    }

    /// `nixevent NAME...`; gives the reply's text.
    pub(crate) fn unsubscribe(&mut self, arguments: &str) -> &'static str {
        if self.change(arguments.split_ascii_whitespace(), false) {
            "+OK events nixed"
        } else {
            "-ERR no keywords supplied"
        }
    }

    /// `noevents`; gives the reply's text.
    pub(crate) fn stop(&mut self) -> &'static str {
        if !self.listening {
            return "-ERR not listening for events";
        }
        let (filters, only) = (std::mem::take(&mut self.filters), self.only.take());
        *self = Self { filters, only, ..Self::default() };
        "+OK no longer listening for events"
    }

    /// `myevents`: all events of one channel; gives the reply's text. `format` is left as it is if there is none.
    pub(crate) fn only_of(&mut self, uuid: Uuid, format: Option<EventFormat>) -> &'static str {
        if self.only.is_some() {
            // As FreeSWITCH spells it.
            return "-ERR aready enabled.";
        }
        self.only = Some(uuid);
        self.names.extend(MY_EVENTS);
        self.format = format.unwrap_or(self.format);
        self.listening = true;
        "+OK Events Enabled"
    }

    /// Adds or removes events; `false` if no word named any.
    fn change<'a>(&mut self, words: impl Iterator<Item = &'a str>, wanted: bool) -> bool {
        let mut found = false;
        let mut custom = false;
        for word in words {
            if custom {
                if !wanted {
                    self.subclasses.remove(word);
                } else if self.subclasses.len() < FILTERS_MAX {
                    self.subclasses.insert(word.to_owned());
                }
                continue;
            }
            if word.eq_ignore_ascii_case("ALL") {
                found = true;
                self.names = if wanted { event::all_names().collect() } else { BTreeSet::new() };
                self.all_custom = wanted;
                self.custom = wanted;
            } else if word.eq_ignore_ascii_case("CUSTOM") {
                // Every word after it is a subclass, even one that is an event's name.
                found = true;
                custom = true;
                self.custom |= wanted;
            } else if let Some(name) = event::known_name(word) {
                found = true;
                if wanted {
                    self.names.insert(name);
                } else {
                    self.names.remove(name);
                }
            }
        }
        found
    }

    /// `filter ...`; gives the reply's text.
    pub(crate) fn filter(&mut self, arguments: &str) -> String {
        let arguments = arguments.trim_start();
        let (word, rest) = split_word(arguments);
        match word {
            "delete" if rest.is_empty() => "-ERR invalid syntax".into(),
            "delete" => {
                let (name, value) = split_word(rest);
                if name.eq_ignore_ascii_case("all") {
                    self.filters.clear();
                }
                self.filters.retain(|(key, present)| {
                    !key.eq_ignore_ascii_case(name) || !(value.is_empty() || present == value)
                });
                format!("+OK filter deleted. [{name}][{value}]")
            }
            "add" => self.add_filter(rest),
            _ => self.add_filter(arguments),
        }
    }

    fn add_filter(&mut self, arguments: &str) -> String {
        let (name, value) = split_word(arguments);
        if name.is_empty() || value.is_empty() {
            return "-ERR invalid syntax".into();
        }
        if self.filters.len() < FILTERS_MAX {
            self.filters.push((name.to_owned(), value.to_owned()));
        }
        format!("+OK filter added. [{name}]=[{value}]")
    }

    /// Whether events of this name are wanted at all, before filters.
    pub(crate) fn wants_name(&self, name: &str, subclass: Option<&str>) -> bool {
        if !self.listening {
            return false;
        }
        match subclass {
            Some("") => self.custom,
            Some(subclass) => self.all_custom || self.subclasses.contains(subclass),
            None => self.names.contains(name),
        }
    }

    /// Whether this event is about the one channel of `myevents`, if there is one.
    pub(crate) fn is_about_own(&self, event: &Event<'_>) -> bool {
        self.only.as_ref().is_none_or(|uuid| event.header("Unique-ID").as_deref() == Some(uuid))
    }

    /// Whether this event passes the filters: one positive filter must match it, and no negative one.
    pub(crate) fn passes_filters(&self, event: &Event<'_>) -> bool {
        let mut wanted = self.filters.is_empty();
        for (name, pattern) in &self.filters {
            let Some(value) = event.header(name) else { continue };
            let signs = pattern.len() - pattern.trim_start_matches(['+', '-', ' ']).len();
            let (signs, pattern) = pattern.split_at(signs);
            let negative = signs.ends_with('-');
            if !filter_matches(pattern, &value) {
                continue;
            }
            if negative {
                return false;
            }
            wanted = true;
        }
        wanted
    }
}

/// Whether a connection may have all events that `event` names.
fn is_allowed<'a>(words: impl Iterator<Item = &'a str>, permissions: &Permissions) -> bool {
    let mut custom = false;
    for word in words {
        if custom && !permissions.allow_event(word, true) {
            return false;
        }
        if word.eq_ignore_ascii_case("CUSTOM") {
            custom = true;
            continue;
        }
        let is_event = event::known_name(word).is_some() || word.eq_ignore_ascii_case("ALL");
        if !custom && is_event && !permissions.allow_event(word, false) {
            return false;
        }
    }
    true
}

/// A filter's value is compared without regard to case, or is `/pattern/`: of regular expressions the emulated
/// switch knows literal text with `^` and `$`.
fn filter_matches(pattern: &str, value: &str) -> bool {
    let Some(expression) = pattern.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest))
    else {
        return value.eq_ignore_ascii_case(pattern);
    };
    match (expression.strip_prefix('^'), expression.strip_suffix('$')) {
        (Some(_), Some(_)) => value == &expression[1..expression.len().max(2) - 1],
        (Some(start), None) => value.starts_with(start),
        (None, Some(end)) => value.ends_with(end),
        (None, None) => value.contains(expression),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: EventName, uuid: &'static str) -> Event<'static> {
        let mut event = Event::new(name);
        event.add("Event-Name", name);
        event.add("Unique-ID", uuid);
        event
    }

    fn subscribe(subscription: &mut Subscription, arguments: &str) -> String {
        subscription.subscribe(arguments, &Permissions::default())
    }

    /// Transcripts e_filter_subscriptions/myevents_*.
    #[test]
    fn my_events_are_those_of_one_channel() {
        let mut subscription = Subscription::default();
        assert_eq!(subscription.only_of("my-1".into(), None), "+OK Events Enabled");
        assert_eq!(subscription.only_of("my-1".into(), None), "-ERR aready enabled.");
        assert!(subscription.wants_name("CHANNEL_HANGUP", None));
        assert!(!subscription.wants_name("CHANNEL_CALLSTATE", None));
        assert!(subscription.is_about_own(&event("CHANNEL_HANGUP", "my-1")));
        assert!(!subscription.is_about_own(&event("CHANNEL_HANGUP", "my-2")));
        subscribe(&mut subscription, "json CUSTOM lab::x");
        assert!(!subscription.is_about_own(&event("CUSTOM", "my-2")), "it stays with its channel");
    }

    #[test]
    fn subscriptions_as_in_the_transcripts() {
        let mut subscription = Subscription::default();
        assert_eq!(subscribe(&mut subscription, ""), "-ERR no keywords supplied");
        assert_eq!(subscribe(&mut subscription, "plain NOSUCH_EVENT"), "-ERR no keywords supplied");
        assert_eq!(subscription.stop(), "-ERR not listening for events");
        assert_eq!(
            subscribe(&mut subscription, "json CHANNEL_CREATE NOSUCH"),
            "+OK event listener enabled json"
        );
        assert_eq!(
            subscribe(&mut subscription, "plain CUSTOM a::b CHANNEL_HANGUP"),
            "+OK event listener enabled plain"
        );
        assert!(subscription.wants_name("CHANNEL_CREATE", None));
        assert!(!subscription.wants_name("CHANNEL_HANGUP", None));
        assert!(subscription.wants_name("CUSTOM", Some("a::b")));
        assert_eq!(subscription.unsubscribe("CUSTOM a::b"), "+OK events nixed");
        assert!(!subscription.wants_name("CUSTOM", Some("a::b")));
        assert_eq!(subscription.unsubscribe(""), "-ERR no keywords supplied");
        assert_eq!(subscribe(&mut subscription, "ALL"), "+OK event listener enabled plain");
        assert!(subscription.wants_name("CUSTOM", Some("x")) && subscription.wants_name("HEARTBEAT", None));
        assert_eq!(subscription.stop(), "+OK no longer listening for events");
        assert!(!subscription.wants_name("HEARTBEAT", None));
    }

    /// Transcript e_filter_subscriptions/filter.
    #[test]
    fn filters_as_in_the_transcript() {
        let mut subscription = Subscription::default();
        assert!(subscription.passes_filters(&event("CHANNEL_CREATE", "x")));
        assert_eq!(subscription.filter("Unique-ID -cccc-1"), "+OK filter added. [Unique-ID]=[-cccc-1]");
        subscription.filter("Event-Name +CHANNEL_CREATE");
        assert!(!subscription.passes_filters(&event("CHANNEL_CREATE", "cccc-1")));
        assert!(subscription.passes_filters(&event("CHANNEL_CREATE", "dddd-1")));
        assert!(!subscription.passes_filters(&event("CHANNEL_ANSWER", "dddd-1")));
        assert_eq!(subscription.filter("delete all"), "+OK filter deleted. [all][]");
        subscription.filter("Unique-ID /^aaaa/");
        assert!(subscription.passes_filters(&event("CHANNEL_CREATE", "aaaa-1")));
        assert!(!subscription.passes_filters(&event("CHANNEL_CREATE", "bbbb-1")));
        assert_eq!(subscription.filter("delete Unique-ID"), "+OK filter deleted. [Unique-ID][]");
        assert!(subscription.passes_filters(&event("CHANNEL_CREATE", "bbbb-1")));
        assert_eq!(subscription.filter("delete"), "-ERR invalid syntax");
        assert_eq!(subscription.filter("x"), "-ERR invalid syntax");
        assert_eq!(subscription.filter("add a b"), "+OK filter added. [a]=[b]");
    }
}
