//! From the switch to its connections: replies, and every event to those who want it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fipple_protocol::esl::encode::{self, EventFormat};

use crate::config::Config;
use crate::connection::{Connection, Session};
use crate::disorder::Late;
use crate::event::Event;
use crate::freeze::Freeze;
use crate::limits::REPLY_MAX_BYTES;
use crate::outbox::Outbox;
use crate::switch::{ConnectionId, Output};

/// What `exit` and a fatal error end with.
const GOODBYE: &str = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n";

/// All connections, and what is to be written to them.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    /// Connections that have ended and whose sockets have not taken the last of it.
    closing: BTreeMap<ConnectionId, Outbox>,
    outputs: VecDeque<Output>,
    /// Listeners that have something to look at and no timer for it.
    pub(crate) woken: Vec<ConnectionId>,
    /// Channels whose controlling connections have ended, for [`crate::switch::Switch`] to deal with.
    pub(crate) detached: Vec<(ConnectionId, Session)>,
    /// Connections whose queues were full, for the journal.
    pub(crate) full: Vec<ConnectionId>,
    pub(crate) freeze: Option<Freeze>,
    /// An event that is late.
    pub(crate) late: Option<Late>,
    /// Listeners look at once, without a lag.
    prompt: bool,
    /// What a socket takes, in bytes.
    room_bytes: usize,
    /// Events that a listener's queue holds.
    queue_max: usize,
    /// Events that were fired, whether or not anybody listened.
    pub(crate) events_fired: u64,
    /// Event frames that were written to connections.
    pub(crate) events_sent: u64,
}

/// An event's frames and those who get them.
pub(crate) type Deliveries = Vec<(ConnectionId, Bytes)>;

impl Bus {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            connections: BTreeMap::new(),
            closing: BTreeMap::new(),
            outputs: VecDeque::new(),
            woken: Vec::new(),
            detached: Vec::new(),
            full: Vec::new(),
            freeze: None,
            late: None,
            prompt: *config.event_lag_ms.end() == 0,
            room_bytes: config.unwritten_max_bytes.max(1),
            queue_max: config.listener_queue_max,
            events_fired: 0,
            events_sent: 0,
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Wants something done that is not a frame.
    pub(crate) fn want(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Writes what is no event: it does not wait in a queue.
    pub(crate) fn send(&mut self, connection: ConnectionId, frame: impl Into<Bytes>) {
        let Some(state) = self.connections.get_mut(&connection) else { return };
        if self.freeze.is_some() {
            return state.outbox.hold(frame.into());
        }
        if let Some(bytes) = state.outbox.write(frame.into(), self.room_bytes) {
            self.outputs.push_back(Output::Send { connection, bytes });
        }
    }

    /// Queues a line of the log.
    pub(crate) fn send_log(&mut self, connection: ConnectionId, frame: impl Into<Bytes>) {
        let Some(state) = self.connections.get_mut(&connection) else { return };
        state.outbox.queue_log(frame.into(), self.queue_max);
        self.wake(connection);
    }

    /// Replies to a command. FreeSWITCH writes replies into 512 bytes and cuts the rest off (transcript
    /// e_filter_subscriptions/getvar_injection).
    pub(crate) fn reply(&mut self, connection: ConnectionId, text: &str) {
        let mut frame = Vec::new();
        encode::write_command_reply(&mut frame, cut(text, REPLY_MAX_BYTES));
        self.send_reply(connection, frame);
    }

    /// Writes a reply, unless the connection gets none yet.
    pub(crate) fn send_reply(&mut self, connection: ConnectionId, frame: impl Into<Bytes>) {
        if self.connections.get(&connection).is_some_and(|state| !state.muted) {
            self.send(connection, frame);
        }
    }

    /// Says goodbye and closes.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        let Some(state) = self.connections.get(&connection) else { return };
        let controlled = state.session.as_ref().map_or(String::new(), |session| {
            format!("Controlled-Session-UUID: {}\nContent-Disposition: disconnect\n", session.uuid)
        });
        self.disconnect_with(connection, &controlled, GOODBYE);
    }

    /// Closes with a notice of this text.
    pub(crate) fn disconnect_with(&mut self, connection: ConnectionId, headers: &str, text: &str) {
        let notice = format!(
            "Content-Type: text/disconnect-notice\n{headers}Content-Length: {}\n\n{text}",
            text.len()
        );
        self.send(connection, notice);
        self.close(connection);
    }

    /// Closes a connection that was not accepted.
    pub(crate) fn refuse(&mut self, connection: ConnectionId) {
        self.outputs.push_back(Output::Close { connection });
    }

    /// Says a last word to all and closes them.
    pub(crate) fn disconnect_all(&mut self, word: &str) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for connection in ids {
            self.flush(connection);
            self.disconnect_with(connection, "", word);
        }
    }

    /// Closes all without a word, as the end of the process does.
    pub(crate) fn close_all(&mut self) {
        let closing = std::mem::take(&mut self.closing).into_keys();
        let all = std::mem::take(&mut self.connections).into_keys().chain(closing);
        self.outputs.extend(all.map(|connection| Output::Close { connection }));
        self.woken.clear();
        self.detached.clear();
        self.freeze = None;
        self.late = None;
    }

    /// Closes without a word, once everything before is written.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        let Some(state) = self.connections.remove(&connection) else { return };
        self.detached.extend(state.session.map(|session| (connection, session)));
        if state.outbox.is_stuck() {
            self.closing.insert(connection, state.outbox);
        } else {
            self.outputs.push_back(Output::Close { connection });
        }
    }

    /// The controller has closed the connection.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.closing.remove(&connection);
        if let Some(state) = self.connections.remove(&connection) {
            self.detached.extend(state.session.map(|session| (connection, session)));
        }
    }

    /// Whether anybody would look at an event of this name.
    pub(crate) fn is_wanted(&self, name: &str, subclass: Option<&str>) -> bool {
        self.connections.values().any(|connection| connection.subscription.wants_name(name, subclass))
    }

    /// The event for all who want it, in their formats; encodes once for each format.
    pub(crate) fn encode(&self, event: &Event<'_>) -> Deliveries {
        let mut frames: [Option<Bytes>; 3] = [None, None, None];
        let mut deliveries = Vec::new();
        for (&id, connection) in &self.connections {
            let subscription = &connection.subscription;
            if subscription.wants_name(event.name, event.subclass.as_deref())
                && subscription.is_about_own(event)
                && subscription.passes_filters(event)
            {
                let frame = frames[subscription.format as usize]
                    .get_or_insert_with(|| encode_event(subscription.format, event));
                deliveries.push((id, frame.clone()));
            }
        }
        deliveries
    }

    /// Puts an event into the listeners' queues.
    pub(crate) fn deliver(&mut self, deliveries: Deliveries) {
        if let Some(freeze) = &mut self.freeze {
            freeze.undelivered += 1;
        }
        for (id, frame) in deliveries {
            let Some(state) = self.connections.get_mut(&id) else { continue };
            // Nothing gets into the queue that is full, and while the switch is frozen none else fills: the events
            // wait before them.
            if self.freeze.as_ref().is_some_and(|freeze| freeze.connection == id) {
                continue;
            }
            if state.outbox.queue_event(frame) > self.queue_max && self.freeze.is_none() {
                self.queue_is_full(id);
            } else {
                self.wake(id);
            }
        }
    }

    /// A listener's queue is full. If it only had no time to look yet, it does so now; else whoever notices tells the
    /// controller and ends the connection. Where the socket takes no more the telling does not end, and the whole
    /// switch waits for it.
    fn queue_is_full(&mut self, connection: ConnectionId) {
        self.flush(connection);
        let (queue_max, room_bytes) = (self.queue_max, self.room_bytes);
        let Some(state) = self.connections.get_mut(&connection) else { return };
        if state.outbox.queued_events() <= queue_max {
            return;
        }
        self.full.push(connection);
        if state.outbox.has_room(room_bytes) {
            return self.disconnect(connection);
        }
        state.outbox.forget_events();
        self.freeze = Some(Freeze::of(connection));
    }

    /// Makes a listener look at its queues, now or after its lag.
    fn wake(&mut self, connection: ConnectionId) {
        if self.prompt {
            return self.flush(connection);
        }
        let Some(state) = self.connections.get_mut(&connection) else { return };
        if !state.armed {
            state.armed = true;
            self.woken.push(connection);
        }
    }

    /// A listener writes what is in its queues, as far as its socket takes it.
    pub(crate) fn flush(&mut self, connection: ConnectionId) {
        let Some(state) = self.connections.get_mut(&connection) else { return };
        if self.freeze.is_some() || !state.may_look() || state.decoder.buffered_bytes() > 0 {
            return;
        }
        let mut first = true;
        while let Some((bytes, is_event)) = state.outbox.next(first, self.room_bytes) {
            first = false;
            self.events_sent += u64::from(is_event);
            self.outputs.push_back(Output::Send { connection, bytes });
        }
    }

    /// A socket took this much: what was stuck goes on. Gives whether the listener is free again.
    pub(crate) fn written(&mut self, connection: ConnectionId, size_bytes: usize) -> bool {
        let (room_bytes, frozen) = (self.room_bytes, self.freeze.is_some());
        let is_closing = self.closing.contains_key(&connection);
        let outbox = match self.connections.get_mut(&connection) {
            Some(state) => Some(&mut state.outbox),
            None => self.closing.get_mut(&connection),
        };
        let Some(outbox) = outbox else { return false };
        outbox.written(size_bytes);
        if frozen && !is_closing {
            return false;
        }
        while let Some(bytes) = outbox.unstick(room_bytes) {
            self.outputs.push_back(Output::Send { connection, bytes });
        }
        if outbox.is_stuck() {
            return false;
        }
        if is_closing {
            self.closing.remove(&connection);
            self.outputs.push_back(Output::Close { connection });
        }
        !is_closing
    }

    /// The switch is not frozen any more: everybody's writes go on. Gives the listeners that are free again.
    pub(crate) fn thaw(&mut self) -> Vec<ConnectionId> {
        self.freeze = None;
        let all: Vec<ConnectionId> = self.connections.keys().chain(self.closing.keys()).copied().collect();
        all.into_iter().filter(|connection| self.written(*connection, 0)).collect()
    }

    /// Whether a connection would take a frame now.
    pub(crate) fn has_room(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_none_or(|state| state.outbox.has_room(self.room_bytes))
    }

    /// Whether a connection controls this channel, and so keeps it from being destroyed.
    pub(crate) fn is_controlled(&self, uuid: &str) -> bool {
        self.connections.values().any(|connection| connection.controls(uuid))
    }
}

/// The beginning of a text: at most this many bytes, and whole characters.
fn cut(text: &str, max_bytes: usize) -> &str {
    let end = (0..=max_bytes.min(text.len())).rev().find(|&index| text.is_char_boundary(index));
    &text[..end.unwrap_or(0)]
}

fn encode_event(format: EventFormat, event: &Event<'_>) -> Bytes {
    let mut frame = Vec::with_capacity(event.size_hint());
    encode::write_event(&mut frame, format, event);
    frame.into()
}
