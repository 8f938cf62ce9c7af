//! What is on its way to one connection: its listener's queues, and how much its socket still takes.

use std::collections::VecDeque;

use bytes::Bytes;

/// A listener's thread writes one thing after another. When its socket takes no more it is stuck in that write, and
/// its queues grow behind it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Events that the listener has not looked at. Their bytes are shared with all listeners of the same format.
    events: VecDeque<Bytes>,
    /// Lines of the log, which have a queue of their own.
    log: VecDeque<Bytes>,
    /// What the listener is writing and its socket does not take.
    stuck: VecDeque<Bytes>,
    /// Bytes that the carrier was given and has not reported as written.
    unwritten_bytes: usize,
}

impl Outbox {
    /// Whether something written now would go out.
    pub(crate) fn has_room(&self, room_bytes: usize) -> bool {
        self.stuck.is_empty() && self.unwritten_bytes < room_bytes
    }

    /// Whether the listener is stuck in a write.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// Writes a frame; gives it back if it goes out now.
    pub(crate) fn write(&mut self, frame: Bytes, room_bytes: usize) -> Option<Bytes> {
        if !self.has_room(room_bytes) {
            self.stuck.push_back(frame);
            return None;
        }
        self.unwritten_bytes += frame.len();
        Some(frame)
    }

    /// Holds a frame back, whatever room there is.
    pub(crate) fn hold(&mut self, frame: Bytes) {
        self.stuck.push_back(frame);
    }

    /// The socket took this much.
    pub(crate) fn written(&mut self, size_bytes: usize) {
        self.unwritten_bytes = self.unwritten_bytes.saturating_sub(size_bytes);
    }

    /// The next frame that was stuck and goes out now.
    pub(crate) fn unstick(&mut self, room_bytes: usize) -> Option<Bytes> {
        if self.unwritten_bytes >= room_bytes {
            return None;
        }
        let frame = self.stuck.pop_front()?;
        self.unwritten_bytes += frame.len();
        Some(frame)
    }

    /// Queues an event; gives the length of the queue.
    pub(crate) fn queue_event(&mut self, frame: Bytes) -> usize {
        self.events.push_back(frame);
        self.events.len()
    }

    /// The length of the queue of events.
    pub(crate) fn queued_events(&self) -> usize {
        self.events.len()
    }

    /// Queues a line of the log. FreeSWITCH drops it if there are too many.
    pub(crate) fn queue_log(&mut self, frame: Bytes, limit: usize) {
        if self.log.len() < limit {
            self.log.push_back(frame);
        }
    }

    /// Whether everything that was queued has been written.
    pub(crate) fn is_drained(&self) -> bool {
        self.events.is_empty() && self.log.is_empty()
    }

    /// The next of the queues that goes out now, and whether it is an event. In each of its rounds a listener writes
    /// one line of the log and then all events (transcript i_log_sendevent/log_and_events_interleaved); `first` says
    /// that a round begins.
    pub(crate) fn next(&mut self, first: bool, room_bytes: usize) -> Option<(Bytes, bool)> {
        if !self.has_room(room_bytes) {
            return None;
        }
        let line = if first || self.events.is_empty() { self.log.pop_front() } else { None };
        let (frame, is_event) = match line {
            Some(line) => (line, false),
            None => (self.events.pop_front()?, true),
        };
        self.unwritten_bytes += frame.len();
        Some((frame, is_event))
    }

    /// Forgets the events that were not looked at.
    pub(crate) fn forget_events(&mut self) {
        self.events = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_socket_holds_everything_back_in_order() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.write(Bytes::from_static(b"12345678"), 4), Some(Bytes::from_static(b"12345678")));
        assert_eq!(outbox.write(Bytes::from_static(b"a"), 4), None);
        assert_eq!(outbox.queue_event(Bytes::from_static(b"e")), 1);
        outbox.written(4);
        assert_eq!(outbox.unstick(4), None, "four bytes are still unwritten");
        outbox.written(4);
        assert!(!outbox.has_room(4), "the reply comes before anything else");
        assert_eq!(outbox.unstick(4), Some(Bytes::from_static(b"a")));
        assert_eq!(outbox.next(true, 4), Some((Bytes::from_static(b"e"), true)));
        assert!(outbox.is_drained() && !outbox.is_stuck());
    }

    #[test]
    fn a_round_is_one_line_of_the_log_and_then_all_events() {
        let mut outbox = Outbox::default();
        for line in ["l1", "l2", "l3"] {
            outbox.queue_log(Bytes::from(line), 2);
        }
        for event in ["e1", "e2"] {
            outbox.queue_event(Bytes::from(event));
        }
        let mut order = Vec::new();
        while let Some((frame, _)) = outbox.next(order.is_empty(), 100) {
            order.push(String::from_utf8(frame.to_vec()).unwrap());
        }
        assert_eq!(order, ["l1", "e1", "e2", "l2"], "the third line was one too many");
    }
}
