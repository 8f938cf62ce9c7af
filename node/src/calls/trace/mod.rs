//! What this node remembers of calls: what it decided, sent, heard and refused.
//!
//! One ring holds it for all calls, and outlives each of them; the oldest goes first. A push costs a lock and a look
//! at a map, and words are made only for who asks.

mod gather;
mod what;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fipple_protocol::NodeId;
use fipple_protocol::peer::TraceEntry;

pub use self::gather::CallTrace;
pub(crate) use self::what::{Fate, Part, What, Why, short};
use crate::limits::{
    CHANNEL_TEXT_MAX_BYTES, TRACE_ANSWER_ENTRIES, TRACE_CALL_BYTES, TRACE_ENTRIES, TRACE_MAX_BYTES,
};
use crate::net::Clock;

/// The memory of one node.
pub(crate) struct Trace {
    clock: Arc<dyn Clock>,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    oldest_first: VecDeque<Entry>,
    /// Calls and switches by name, each as often as `oldest_first` holds it.
    subjects: BTreeMap<Arc<str>, Subject>,
    size_bytes: usize,
}

struct Entry {
    at_ms: u64,
    /// The call, or the switch where a gate is meant.
    subject: Arc<str>,
    what: What,
}

#[derive(Default)]
struct Subject {
    entries: usize,
    /// Which switch carries the call, where this node has been attached to it.
    switch: Option<Arc<str>>,
}

impl Trace {
    /// An empty one.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, ring: Mutex::default() }
    }

    /// Remembers something of a call.
    pub(crate) fn note(&self, call: &str, what: What) {
        let at_ms = self.clock.unix_ms();
        self.ring().push(at_ms, call, what);
    }

    /// Remembers something of a call on a switch that this node serves: who asks for the call is also told how the
    /// switch's gate changed hands meanwhile.
    pub(crate) fn note_on(&self, switch: &str, call: &str, what: What) {
        let at_ms = self.clock.unix_ms();
        let mut ring = self.ring();
        ring.push(at_ms, call, what);
        ring.put_on(call, switch);
    }

    /// Remembers something of a switch.
    pub(crate) fn note_switch(&self, switch: &str, text: &str) {
        let at_ms = self.clock.unix_ms();
        self.ring().push(at_ms, switch, What::Gate { text: short(text) });
    }

    /// What is remembered of a call, in the order in which it was noted: the latest [`TRACE_ANSWER_ENTRIES`].
    pub(crate) fn of(&self, call: &str, node: NodeId) -> Vec<TraceEntry> {
        let ring = self.ring();
        let mut entries: Vec<_> = ring.of(call).collect();
        entries.drain(..entries.len().saturating_sub(TRACE_ANSWER_ENTRIES));
        let in_words = |entry: &Entry| TraceEntry {
            at_ms: entry.at_ms,
            node,
            epoch: entry.what.epoch(),
            kind: entry.what.kind().to_owned(),
            text: entry.what.to_string(),
        };
        entries.into_iter().map(in_words).collect()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, at_ms: u64, subject: &str, what: What) {
        if subject.len() > CHANNEL_TEXT_MAX_BYTES {
            return;
        }
        let subject = match self.subjects.get_key_value(subject) {
            Some((known, _)) => known.clone(),
            None => subject.into(),
        };
        let known = self.subjects.entry(subject.clone()).or_default();
        if known.entries == 0 {
            self.size_bytes += call_bytes(&subject);
        }
        known.entries += 1;
        let entry = Entry { at_ms, subject, what };
        self.size_bytes += entry.size_bytes();
        // Room comes first: with one entry too many for a moment the deque would double.
        while self.oldest_first.len() >= TRACE_ENTRIES || self.size_bytes > TRACE_MAX_BYTES {
            if !self.forget_oldest() {
                break;
            }
        }
        self.oldest_first.push_back(entry);
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(oldest) = self.oldest_first.pop_front() else { return false };
        self.size_bytes -= oldest.size_bytes();
        if let Some(known) = self.subjects.get_mut(&oldest.subject) {
            known.entries -= 1;
            if known.entries == 0 {
                self.size_bytes -= call_bytes(&oldest.subject);
                self.subjects.remove(&oldest.subject);
            }
        }
        true
    }

    fn put_on(&mut self, call: &str, switch: &str) {
        let Some(known) = self.subjects.get(call) else { return };
        if known.switch.as_deref() == Some(switch) {
            return;
        }
        // All calls of a switch share its name.
        let switch = match self.subjects.get_key_value(switch) {
            Some((name, _)) => name.clone(),
            None => switch.into(),
        };
        if let Some(known) = self.subjects.get_mut(call) {
            known.switch = Some(switch);
        }
    }

    /// The entries of a call, and those of its switch from just before its first one until it ended.
    fn of(&self, call: &str) -> impl Iterator<Item = &Entry> {
        let switch = self.subjects.get(call).and_then(|known| known.switch.as_deref());
        let is_call = move |entry: &Entry| &*entry.subject == call && !entry.what.is_gate();
        let is_gate = move |entry: &Entry| entry.what.is_gate() && Some(&*entry.subject) == switch;
        let first = self.oldest_first.iter().position(is_call).unwrap_or(self.oldest_first.len());
        let last = self.oldest_first.iter().rposition(is_call).unwrap_or(first);
        let is_over =
            self.oldest_first.get(last).is_some_and(|entry| matches!(entry.what, What::HungUp { .. }));
        let held_before = self.oldest_first.iter().take(first).rposition(is_gate).unwrap_or(first);
        let relevant = self.oldest_first.iter().enumerate().skip(held_before);
        relevant
            .filter(move |(index, entry)| is_call(entry) || is_gate(entry) && (!is_over || *index < last))
            .map(|(_, entry)| entry)
    }
}

impl Entry {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.what.text_bytes()
    }
}

/// What a call takes beside its entries.
fn call_bytes(subject: &str) -> usize {
    TRACE_CALL_BYTES + subject.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::trace::what::Fate;

    struct Stopped;

    impl Clock for Stopped {
        fn unix_ms(&self) -> u64 {
            7
        }
    }

    fn trace() -> Trace {
        Trace::new(Arc::new(Stopped))
    }

    fn node() -> NodeId {
        NodeId::from_bytes([1; 16])
    }

    fn texts(trace: &Trace, call: &str) -> Vec<String> {
        trace.of(call, node()).into_iter().map(|entry| entry.text).collect()
    }

    #[test]
    fn entries_are_small() {
        assert!(size_of::<Entry>() <= 56, "{}", size_of::<Entry>());
    }

    #[test]
    fn what_is_noted_of_a_call_is_told_in_words_and_outlives_others() {
        let trace = trace();
        trace.note("a", What::Appointed { owner: node(), epoch: 3, why: Why::OwnerDied });
        trace.note("b", What::Parked);
        trace.note("a", What::Step { epoch: 3, step: 2, fate: Fate::Sent });
        let entries = trace.of("a", node());
        let seen: Vec<_> = entries.iter().map(|entry| (entry.at_ms, entry.epoch, &*entry.kind)).collect();
        assert_eq!(seen, [(7, Some(3), "appointment"), (7, Some(3), "step")]);
        assert!(entries[0].text.contains(&node().to_string()) && entries[0].text.contains("died"));
        assert_eq!(texts(&trace, "b"), ["parked"]);
        assert!(trace.of("c", node()).is_empty());
    }

    #[test]
    fn a_call_is_told_with_the_gate_of_its_switch_while_it_lasted() {
        let trace = trace();
        let hung_up = || What::HungUp { cause: "NORMAL_CLEARING".into() };
        for text in ["taken", "lost", "taken again"] {
            trace.note_switch("pbx", text);
        }
        trace.note_switch("other", "taken");
        trace.note_on("pbx", "a", What::Parked);
        trace.note_on("pbx", "b", What::Parked);
        trace.note_switch("pbx", "lost again");
        trace.note_on("pbx", "a", hung_up());
        trace.note_switch("pbx", "taken at last");
        assert_eq!(texts(&trace, "a"), ["taken again", "parked", "lost again", "hung up: NORMAL_CLEARING"]);
        assert_eq!(texts(&trace, "b"), ["taken again", "parked", "lost again", "taken at last"]);
        trace.note("pbx", What::Parked);
        assert_eq!(texts(&trace, "pbx"), ["parked"], "a call may bear any name");
    }

    #[test]
    fn the_oldest_is_forgotten_and_everything_is_bounded() {
        let trace = trace();
        for number in 0..3 * TRACE_ENTRIES {
            trace.note(&format!("call-{number}"), What::HungUp { cause: "X".repeat(number % 256).into() });
        }
        let ring = trace.ring();
        assert!(ring.size_bytes <= TRACE_MAX_BYTES && ring.oldest_first.len() > TRACE_ENTRIES / 4);
        assert!(ring.oldest_first.capacity() <= TRACE_ENTRIES);
        assert_eq!(ring.subjects.len(), ring.oldest_first.len());
        drop(ring);
        assert!(trace.of("call-0", node()).is_empty());
        assert_eq!(trace.of(&format!("call-{}", 3 * TRACE_ENTRIES - 1), node()).len(), 1);
    }

    #[test]
    fn a_busy_call_fills_the_ring_and_no_more() {
        let trace = trace();
        for step in 0..TRACE_ENTRIES as u32 + 10 {
            trace.note("a", What::Step { epoch: 1, step, fate: Fate::Sent });
        }
        trace.note(&"x".repeat(CHANNEL_TEXT_MAX_BYTES + 1), What::Parked);
        assert_eq!(trace.ring().oldest_first.len(), TRACE_ENTRIES);
        assert_eq!(trace.ring().subjects.len(), 1);
        let entries = trace.of("a", node());
        assert_eq!(entries.len(), TRACE_ANSWER_ENTRIES);
        assert!(entries.last().unwrap().text.contains(&(TRACE_ENTRIES as u32 + 9).to_string()));
    }
}
