//! The application `socket`: the switch connects to a controller, which then controls the channel.

use crate::channel::{Doing, Uuid};
use crate::connection::{Connection, Control, Session};
use crate::switch::{ConnectId, ConnectionId, Output, Switch};

use super::Started;

/// Where `socket` connects to if its argument names no port.
const DEFAULT_PORT: &str = "8084";

/// A running `socket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outbound {
    control: Control,
    full: bool,
    stage: Stage,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting(ConnectId),
    /// Open, until the controller says `connect`.
    Open(ConnectionId),
    /// The controller has said `connect`.
    Controlled(ConnectionId),
}

impl Outbound {
    /// Whether the channel's thread runs commands: not before the controller has it.
    pub(crate) fn runs_commands(&self) -> bool {
        matches!(self.stage, Stage::Controlled(_))
    }

    fn is_parked(&self) -> bool {
        self.control == Control::Async && matches!(self.stage, Stage::Controlled(_))
    }
}

impl Switch {
    /// `socket <host>[:<port>] [async] [full]`
    pub(super) fn start_socket(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let mut words = argument.split_ascii_whitespace();
        let target = words.next().unwrap_or_default().to_owned();
        let flags: Vec<&str> = words.collect();
        let control = if flags.contains(&"async") { Control::Async } else { Control::Sync };
        let (host, port) = target.rsplit_once(':').unwrap_or((&target, DEFAULT_PORT));
        self.set_variable(uuid, "socket_host", host);
        self.last_connect += 1;
        let request = ConnectId(self.last_connect);
        self.connecting.insert(request, uuid.clone());
        self.bus.want(Output::Connect { request, address: format!("{host}:{port}") });
        let stage = Stage::Connecting(request);
        Started::Runs(Doing::Socket(Outbound { control, full: flags.contains(&"full"), stage }), None)
    }

    /// The connection that a channel waited for is open.
    pub(crate) fn connect_opened(&mut self, request: ConnectId, id: ConnectionId) {
        let waiting = self.connecting.remove(&request).and_then(|uuid| {
            let outbound = self.outbound_of(&uuid)?;
            if outbound.stage != Stage::Connecting(request) {
                return None;
            }
            outbound.stage = Stage::Open(id);
            Some((uuid.clone(), outbound.control, outbound.full))
        });
        match waiting {
            Some((uuid, control, full)) => {
                let session = Session::new(uuid, control, full);
                self.bus.connections.insert(id, Connection::outbound(session));
            }
            // The call is over.
            None => self.bus.want(Output::Close { connection: id }),
        }
    }

    /// Nobody listens there: the dialplan goes on (transcript f_outbound/async_server_absent_watch).
    pub(crate) fn connect_failed(&mut self, request: ConnectId) {
        let Some(uuid) = self.connecting.remove(&request) else { return };
        if self.outbound_of(&uuid).is_some_and(|outbound| outbound.stage == Stage::Connecting(request)) {
            self.end_socket_frame(&uuid);
        }
    }

    /// `connect`: the channel's data as one block of headers, at whose end those of the reply stand; `None` for a
    /// connection that was not opened by the switch.
    pub(crate) fn connect_reply(&mut self, id: ConnectionId) -> Option<Vec<u8>> {
        let session = self.bus.connections.get_mut(&id)?.session.as_mut()?;
        if session.control == Control::Inbound {
            return None;
        }
        session.connected = true;
        let (uuid, control, full) = (session.uuid.clone(), session.control, session.full);
        self.connect_block(&uuid, control == Control::Async, full)
    }

    /// The controller has got its block: the channel is its own now, and parks if it need not wait for commands.
    pub(crate) fn hand_over(&mut self, id: ConnectionId) {
        let session = self.bus.connections.get(&id).and_then(|connection| connection.session.as_ref());
        let Some(uuid) = session.map(|session| session.uuid.clone()) else { return };
        let Some(outbound) = self.outbound_of(&uuid).filter(|outbound| outbound.stage == Stage::Open(id))
        else {
            return;
        };
        outbound.stage = Stage::Controlled(id);
        if outbound.is_parked() {
            self.fire_channel(&uuid, "CHANNEL_PARK", &[], &[]);
        }
        self.make_runnable(&uuid);
    }

    /// The controller's connection has ended, whoever ended it: the dialplan goes on (transcripts
    /// f_outbound/async_noresume_exit_watch and async_tcp_drop_watch).
    pub(crate) fn socket_ended(&mut self, id: ConnectionId, uuid: &Uuid) {
        let own = |outbound: &&mut Outbound| matches!(outbound.stage, Stage::Open(own) | Stage::Controlled(own) if own == id);
        if self.outbound_of(uuid).filter(own).is_some() {
            self.end_socket_frame(uuid);
        }
    }

    /// `socket` is over, by the end of its connection, of the call, or by a transfer.
    pub(super) fn end_socket(&mut self, uuid: &Uuid, outbound: &Outbound) {
        if outbound.is_parked() {
            self.fire_channel(uuid, "CHANNEL_UNPARK", &[], &[]);
        }
        // The thread that listened for the controller goes its own way.
        if let (Control::Sync, Stage::Open(id) | Stage::Controlled(id)) = (outbound.control, outbound.stage) {
            if let Some(connection) = self.bus.connections.get_mut(&id) {
                connection.reading = false;
            }
            self.bus.flush(id);
            self.bus.disconnect(id);
        }
    }

    /// A command of a controller whose channel is its own thread has run: now it is answered.
    pub(crate) fn sync_command_done(&mut self, id: ConnectionId) {
        let Some(connection) = self.bus.connections.get_mut(&id) else { return };
        let is_sync = connection.session.as_ref().is_some_and(|session| session.control == Control::Sync);
        if is_sync && std::mem::take(&mut connection.busy) {
            self.bus.reply(id, "+OK");
            self.resumable.push_back(id);
        }
    }

    /// The innermost `socket` of a channel.
    fn outbound_of(&mut self, uuid: &str) -> Option<&mut Outbound> {
        self.channels.get_mut(uuid)?.stack.iter_mut().rev().find_map(|frame| match &mut frame.doing {
            Doing::Socket(outbound) => Some(outbound),
            _ => None,
        })
    }

    fn end_socket_frame(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let is_socket = |frame: &&mut crate::channel::Frame| matches!(frame.doing, Doing::Socket(_));
        if let Some(frame) = channel.stack.iter_mut().rev().find(is_socket) {
            frame.interrupted = true;
        }
        self.make_runnable(uuid);
    }
}
