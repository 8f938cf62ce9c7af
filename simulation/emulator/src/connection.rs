//! One Event Socket connection: what it has said, and what it wants to hear.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use fipple_protocol::esl::encode::EventFormat;
use fipple_protocol::esl::request::RequestDecoder;

use crate::event::{self, Event, EventName};
use crate::limits::{FILTERS_MAX, LISTENER_QUEUE_MAX, REQUEST};

/// A listener's state.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) decoder: RequestDecoder,
    pub(crate) authenticated: bool,
    pub(crate) subscription: Subscription,
    /// An `api` of this connection is running: no input is read and no event is written until it has replied.
    pub(crate) busy: bool,
    /// Events that came while it was busy.
    held: VecDeque<Bytes>,
    /// Jobs of `bgapi` that have not ended.
    pub(crate) pending_jobs: usize,
    /// It said `exit` and is closed when its jobs have ended.
    pub(crate) exiting: bool,
    /// The log level up to which it wants log lines.
    pub(crate) log_level: Option<u8>,
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            decoder: RequestDecoder::new(REQUEST),
            authenticated: false,
            subscription: Subscription::default(),
            busy: false,
            held: VecDeque::new(),
            pending_jobs: 0,
            exiting: false,
            log_level: None,
        }
    }

    /// Keeps an event until the running `api` has replied; `false` if the queue is full.
    pub(crate) fn hold(&mut self, frame: Bytes) -> bool {
        self.held.push_back(frame);
        self.held.len() <= LISTENER_QUEUE_MAX
    }

    /// The events that were held, oldest first.
    pub(crate) fn release(&mut self) -> VecDeque<Bytes> {
        std::mem::take(&mut self.held)
    }
}

/// Which events a connection gets, and how.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) format: EventFormat,
    /// It has subscribed to something and not said `noevents`.
    pub(crate) listening: bool,
    names: BTreeSet<EventName>,
    all_custom: bool,
    subclasses: BTreeSet<String>,
    filters: Vec<(String, String)>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            format: EventFormat::Plain,
            listening: false,
            names: BTreeSet::new(),
            all_custom: false,
            subclasses: BTreeSet::new(),
            filters: Vec::new(),
        }
    }
}

impl Subscription {
    /// `event [plain|json|xml] NAME... [CUSTOM subclass...]`; gives the reply's text.
    pub(crate) fn subscribe(&mut self, arguments: &str) -> String {
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
        *self = Self { filters: std::mem::take(&mut self.filters), ..Self::default() };
        "+OK no longer listening for events"
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
            } else if word.eq_ignore_ascii_case("CUSTOM") {
                // Every word after it is a subclass, even one that is an event's name.
                found = true;
                custom = true;
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
            Some(subclass) => self.all_custom || self.subclasses.contains(subclass),
            None => self.names.contains(name),
        }
    }

    /// Whether this event passes the filters: one positive filter must match it, and no negative one.
    pub(crate) fn passes_filters(&self, event: &Event<'_>) -> bool {
        let mut wanted = self.filters.is_empty();
        for (name, pattern) in &self.filters {
            let Some(value) = event.header(name) else { continue };
            let signs = pattern.len() - pattern.trim_start_matches(['+', '-', ' ']).len();
            let (signs, pattern) = pattern.split_at(signs);
            let negative = signs.ends_with('-');
            if !filter_matches(pattern, value) {
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

/// The text up to the first space, and what follows the spaces after it.
pub(crate) fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start())
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

    #[test]
    fn subscriptions_as_in_the_transcripts() {
        let mut subscription = Subscription::default();
        assert_eq!(subscription.subscribe(""), "-ERR no keywords supplied");
        assert_eq!(subscription.subscribe("plain NOSUCH_EVENT"), "-ERR no keywords supplied");
        assert_eq!(subscription.stop(), "-ERR not listening for events");
        assert_eq!(subscription.subscribe("json CHANNEL_CREATE NOSUCH"), "+OK event listener enabled json");
        assert_eq!(
            subscription.subscribe("plain CUSTOM a::b CHANNEL_HANGUP"),
            "+OK event listener enabled plain"
        );
        assert!(subscription.wants_name("CHANNEL_CREATE", None));
        assert!(!subscription.wants_name("CHANNEL_HANGUP", None));
        assert!(subscription.wants_name("CUSTOM", Some("a::b")));
        assert_eq!(subscription.unsubscribe("CUSTOM a::b"), "+OK events nixed");
        assert!(!subscription.wants_name("CUSTOM", Some("a::b")));
        assert_eq!(subscription.unsubscribe(""), "-ERR no keywords supplied");
        assert_eq!(subscription.subscribe("ALL"), "+OK event listener enabled plain");
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
