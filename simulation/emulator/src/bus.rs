//! From the switch to its connections: replies, and every event to those who want it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fipple_protocol::esl::encode::{self, EventFormat};

use crate::connection::Connection;
use crate::event::Event;
use crate::switch::{ConnectionId, Output};

/// All connections, and what is to be written to them.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    outputs: VecDeque<Output>,
    /// Events that were fired, whether or not anybody listened.
    pub(crate) events_fired: u64,
    /// Event frames that were written to connections.
    pub(crate) events_sent: u64,
}

impl Bus {
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn send(&mut self, connection: ConnectionId, frame: impl Into<Bytes>) {
        if self.connections.contains_key(&connection) {
            self.outputs.push_back(Output::Send { connection, bytes: frame.into() });
        }
    }

    /// Sends what is not a reply: behind the reply of an `api` that is running.
    pub(crate) fn send_behind_api(&mut self, connection: ConnectionId, frame: impl Into<Bytes>) {
        let frame = frame.into();
        match self.connections.get_mut(&connection) {
            Some(state) if state.busy => {
                if !state.hold(frame) {
                    self.disconnect(connection);
                }
            }
            _ => self.send(connection, frame),
        }
    }

    pub(crate) fn reply(&mut self, connection: ConnectionId, text: &str) {
        let mut frame = Vec::new();
        encode::write_command_reply(&mut frame, text);
        self.send(connection, frame);
    }

    /// Says goodbye and closes.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        let mut frame = Vec::new();
        encode::write_disconnect_notice(&mut frame);
        self.send(connection, frame);
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
            let head = "Content-Type: text/disconnect-notice\n";
            self.send(connection, format!("{head}Content-Length: {}\n\n{word}", word.len()));
            self.close(connection);
        }
    }

    /// Closes all without a word.
    pub(crate) fn close_all(&mut self) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|connection| self.close(connection));
    }

    /// Closes without a word.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        if self.connections.remove(&connection).is_some() {
            self.outputs.push_back(Output::Close { connection });
        }
    }

    /// Whether anybody would look at an event of this name.
    pub(crate) fn is_wanted(&self, name: &str, subclass: Option<&str>) -> bool {
        self.connections.values().any(|connection| connection.subscription.wants_name(name, subclass))
    }

    /// Writes the event to all who want it, in their formats; encodes once for each format.
    pub(crate) fn publish(&mut self, event: &Event<'_>) {
        let mut frames: [Option<Bytes>; 3] = [None, None, None];
        let mut overrun = Vec::new();
        for (&id, connection) in &mut self.connections {
            let subscription = &connection.subscription;
            if !subscription.wants_name(event.name, event.subclass.as_deref())
                || !subscription.passes_filters(event)
            {
                continue;
            }
            let frame = frames[subscription.format as usize]
                .get_or_insert_with(|| encode_event(subscription.format, event))
                .clone();
            self.events_sent += 1;
            if !connection.busy {
                self.outputs.push_back(Output::Send { connection: id, bytes: frame });
            } else if !connection.hold(frame) {
                overrun.push(id);
            }
        }
        for connection in overrun {
            self.disconnect(connection);
        }
    }

    /// Writes the events that a busy connection was not sent, and ends its being busy.
    pub(crate) fn release(&mut self, connection: ConnectionId) {
        let Some(state) = self.connections.get_mut(&connection) else { return };
        state.busy = false;
        for bytes in state.release() {
            self.outputs.push_back(Output::Send { connection, bytes });
        }
    }
}

fn encode_event(format: EventFormat, event: &Event<'_>) -> Bytes {
    let mut frame = Vec::with_capacity(64 + event.len() * 48);
    encode::write_event(&mut frame, format, event);
    frame.into()
}
