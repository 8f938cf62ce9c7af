//! Which channel of the emulated switch plays which channel of the recording.

use std::collections::BTreeMap;

use super::frame::{Event, Frame};
use super::scenario::Scenario;

/// What distinguishes channels that came to be for different reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Likeness {
    outbound: bool,
    name: String,
    destination: String,
}

impl Likeness {
    fn of(event: &Event) -> Self {
        let name = event.get("Channel-Name");
        Self {
            outbound: event.get("Call-Direction") == "outbound",
            // The host and port of a sofia channel are each machine's own.
            name: name.split('@').next().unwrap_or_default().to_owned(),
            destination: event.get("Caller-Destination-Number").to_owned(),
        }
    }
}

/// Recorded uuids and emulated ones, matched as they turn up.
#[derive(Debug, Default)]
pub(crate) struct Uuids {
    /// Channels of the recording in the order in which they turn up.
    recorded: Vec<(String, Likeness)>,
    emulated: BTreeMap<String, String>,
    recorded_of: BTreeMap<String, String>,
}

impl Uuids {
    pub(crate) fn of(scenario: &Scenario<'_>) -> Self {
        let mut events: Vec<(u64, &Event)> = Vec::new();
        for (began, recording) in &scenario.connections {
            events.extend(recording.events().map(|(at, event)| (began + at, event)));
        }
        events.sort_by_key(|(at, _)| *at);
        let mut uuids = Self::default();
        for (_, event) in events.iter().filter(|(_, event)| !event.uuid().is_empty()) {
            if !uuids.recorded.iter().any(|(uuid, _)| uuid == event.uuid()) {
                uuids.recorded.push((event.uuid().to_owned(), Likeness::of(event)));
            }
        }
        uuids
    }

    pub(crate) fn pair(&mut self, recorded: &str, emulated: &str) {
        if !recorded.is_empty()
            && !self.emulated.contains_key(recorded)
            && !self.recorded_of.contains_key(emulated)
        {
            self.emulated.insert(recorded.to_owned(), emulated.to_owned());
            self.recorded_of.insert(emulated.to_owned(), recorded.to_owned());
        }
    }

    /// The emulated switch told of a channel: the oldest recorded one that is like it and not taken.
    pub(crate) fn meet(&mut self, event: &Event) {
        let uuid = event.uuid();
        if uuid.is_empty() || self.recorded_of.contains_key(uuid) {
            return;
        }
        let likeness = Likeness::of(event);
        let free = |(recorded, _): &&(String, Likeness)| !self.emulated.contains_key(recorded);
        let same_uuid = self.recorded.iter().find(|(recorded, _)| recorded == uuid);
        let alike = || self.recorded.iter().filter(free).find(|(_, other)| *other == likeness);
        if let Some(recorded) = same_uuid.or_else(alike).map(|(recorded, _)| recorded.clone()) {
            self.pair(&recorded, uuid);
        }
    }

    /// Two answers to the same command name the same channels.
    pub(crate) fn compare_replies(&mut self, recorded: &Frame, emulated: &Frame) {
        let words = |frame: &Frame| -> Vec<String> {
            let words = frame
                .text()
                .split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'));
            words.filter(|word| is_uuid(word)).map(str::to_owned).collect()
        };
        for (recorded, emulated) in words(recorded).iter().zip(&words(emulated)) {
            self.pair(recorded, emulated);
        }
    }

    pub(crate) fn emulated(&self, recorded: &str) -> Option<&str> {
        self.emulated.get(recorded).map(String::as_str)
    }

    pub(crate) fn recorded(&self, emulated: &str) -> Option<&str> {
        self.recorded_of.get(emulated).map(String::as_str)
    }

    /// A controller's bytes with the emulated uuids in the place of the recorded ones.
    pub(crate) fn translate(&self, bytes: &[u8]) -> Vec<u8> {
        let Ok(mut text) = String::from_utf8(bytes.to_vec()) else { return bytes.to_vec() };
        for (recorded, emulated) in &self.emulated {
            if is_uuid(recorded) && recorded != emulated {
                text = text.replace(recorded.as_str(), emulated);
            }
        }
        text.into_bytes()
    }
}

/// Whether a word is a uuid that a switch made up.
pub(crate) fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.char_indices().all(|(index, character)| match index {
            8 | 13 | 18 | 23 => character == '-',
            _ => character.is_ascii_hexdigit(),
        })
}
