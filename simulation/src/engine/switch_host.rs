//! A machine on which an emulated FreeSWITCH runs. It is driven as the state machine that it is, at exact moments, and
//! so can be looked into after every single thing that happens.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use fipple_emulator::journal::Entry;
use fipple_emulator::{Config, ConnectId, ConnectionId, Input, Output, Switch, Time};

use crate::clock;
use crate::network::{Arrived, ConnectionEnd, Fabric, HostId, Readable};

/// Where the Event Socket of every simulated switch listens.
pub(crate) const EVENT_SOCKET_PORT: u16 = 8021;

/// A switch and its sockets.
pub(super) struct SwitchHost {
    fabric: Fabric,
    id: HostId,
    address: SocketAddr,
    switch: Switch,
    /// When it was started: its own time counts from there.
    started: Time,
    connections: BTreeMap<ConnectionId, Socket>,
    ends: BTreeMap<ConnectionEnd, ConnectionId>,
    /// Connections to controllers that have not answered yet.
    connecting: BTreeMap<ConnectionEnd, ConnectId>,
    /// Where controllers came from, those that are gone too.
    controllers: BTreeMap<ConnectionId, IpAddr>,
    /// When the commands were written that the switch has not begun to carry out, oldest first.
    written: BTreeMap<ConnectionId, VecDeque<Time>>,
    last_connection: u64,
}

/// Sees the switch, and when it is.
type Observe<'a> = dyn FnMut(Time, &mut SwitchHost) + 'a;

/// Bytes cut behind every empty line, where a command ends.
fn commands(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = rest.windows(2).position(|window| window == b"\n\n").map_or(rest.len(), |at| at + 2);
        let (command, behind) = rest.split_at(end);
        rest = behind;
        (!command.is_empty()).then_some(command)
    })
}

/// One Event Socket connection.
struct Socket {
    end: ConnectionEnd,
    /// What the network has not taken yet.
    unwritten: VecDeque<Bytes>,
    /// To be closed when all is written.
    closing: bool,
}

impl SwitchHost {
    pub(super) fn start(
        fabric: &Fabric,
        id: HostId,
        address: IpAddr,
        config: Config,
        seed: u64,
        now: Time,
    ) -> Self {
        let address = SocketAddr::new(address, EVENT_SOCKET_PORT);
        let mut switch = Switch::new(config, seed);
        switch.keep_journal();
        let host = Self {
            fabric: fabric.clone(),
            id,
            address,
            switch,
            started: now,
            connections: BTreeMap::new(),
            ends: BTreeMap::new(),
            connecting: BTreeMap::new(),
            controllers: BTreeMap::new(),
            written: BTreeMap::new(),
            last_connection: 0,
        };
        host.listen();
        host
    }

    /// Takes connections from now on.
    pub(super) fn listen(&self) {
        self.fabric.lock().listen(self.id, self.address);
    }

    pub(super) fn switch(&self) -> &Switch {
        &self.switch
    }

    /// When it was started.
    pub(super) fn started(&self) -> Time {
        self.started
    }

    /// Where a connection's controller is.
    pub(super) fn controller(&self, connection: ConnectionId) -> Option<IpAddr> {
        self.controllers.get(&connection).copied()
    }

    /// When the controller wrote the oldest command that was not asked for yet.
    pub(super) fn take_written(&mut self, connection: ConnectionId) -> Option<Time> {
        self.written.get_mut(&connection)?.pop_front()
    }

    /// The world's time, by the switch's clock.
    fn own_time(&self, now: Time) -> Time {
        Time(now.micros_since(self.started))
    }

    fn next_timeout(&self) -> Option<Time> {
        self.switch.next_timeout().map(|at| Time(self.started.0 + at.0))
    }

    /// Lets the switch run until the world's time is `until`; `observe` sees it after every single thing that happens.
    pub(super) fn run(&mut self, until: Time, observe: &mut Observe<'_>) {
        // What was done to the switch between two steps has happened by now.
        observe(clock::now(), self);
        loop {
            let arrival = self.fabric.next_arrival(self.id);
            let timeout = self.next_timeout();
            let Some(at) = [arrival, timeout].into_iter().flatten().min().filter(|at| *at < until) else {
                return;
            };
            clock::set_world(at);
            if arrival == Some(at) {
                if let Some(arrived) = self.fabric.deliver(self.id, at) {
                    self.arrive(at, arrived, observe);
                }
            } else {
                self.switch.on_timeout(self.own_time(at));
            }
            self.carry_out();
            observe(at, self);
        }
    }

    /// Does something to the switch, such as letting a call come in.
    pub(super) fn act<R>(&mut self, now: Time, act: impl FnOnce(&mut Switch, Time) -> R) -> R {
        let own = self.own_time(now);
        let result = act(&mut self.switch, own);
        self.carry_out();
        result
    }

    /// What happened and was not taken yet, oldest first.
    pub(super) fn take_journal(&mut self) -> Option<Entry> {
        self.switch.take_journal()
    }

    fn arrive(&mut self, at: Time, arrived: Arrived, observe: &mut Observe<'_>) {
        let own = self.own_time(at);
        match arrived {
            Arrived::Connected(end) => {
                let mut state = self.fabric.lock();
                state.accept(self.id, self.address);
                let peer = state.peer_address(end);
                drop(state);
                let id = self.add(end, peer);
                self.switch.handle(own, Input::Connected(id));
            }
            Arrived::Changed(end) => {
                if let Some(id) = self.ends.get(&end).copied() {
                    self.receive(at, id, end, observe);
                } else if let Some(request) = self.connecting.get(&end).copied() {
                    self.connected(at, end, request, observe);
                }
            }
            Arrived::Datagram | Arrived::Nothing => {}
        }
    }

    /// Takes what a connection has to say, one command after the other, and shows each.
    fn receive(&mut self, at: Time, id: ConnectionId, end: ConnectionEnd, observe: &mut Observe<'_>) {
        let own = self.own_time(at);
        loop {
            let mut state = self.fabric.lock();
            let written_at = state.written_at(end).unwrap_or(at);
            let readable = state.read(end, usize::MAX);
            drop(state);
            match readable {
                Readable::Bytes(bytes) => {
                    for command in commands(&bytes) {
                        if command.ends_with(b"\n\n") {
                            self.written.entry(id).or_default().push_back(written_at);
                        }
                        self.switch.handle(own, Input::Received(id, command));
                        self.carry_out();
                        observe(at, self);
                    }
                }
                Readable::Nothing => break,
                Readable::End | Readable::Failed(_) => {
                    self.switch.handle(own, Input::Closed(id));
                    self.let_go(id);
                    break;
                }
            }
        }
        self.write(id);
    }

    /// Does what the switch wants done.
    fn carry_out(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Send { connection, bytes } => {
                    if let Some(socket) = self.connections.get_mut(&connection) {
                        socket.unwritten.push_back(bytes);
                        self.write(connection);
                    }
                }
                Output::Close { connection } => {
                    if let Some(socket) = self.connections.get_mut(&connection) {
                        socket.closing = true;
                        self.write(connection);
                    }
                }
                Output::Connect { request, address } => self.connect(request, &address),
            }
        }
    }

    /// Begins to connect to a controller, as the application `socket` asks.
    fn connect(&mut self, request: ConnectId, address: &str) {
        let mut state = self.fabric.lock();
        let connecting = state.resolve(address).and_then(|address| state.connect(self.id, address));
        drop(state);
        match connecting {
            Ok(end) => {
                self.connecting.insert(end, request);
            }
            Err(_) => self.switch.handle(self.switch.now(), Input::ConnectFailed(request)),
        }
    }

    /// Takes note of whether a controller has answered.
    fn connected(&mut self, at: Time, end: ConnectionEnd, request: ConnectId, observe: &mut Observe<'_>) {
        let own = self.own_time(at);
        let mut state = self.fabric.lock();
        match state.is_established(end) {
            Ok(false) => {}
            Ok(true) => {
                let peer = state.peer_address(end);
                drop(state);
                self.connecting.remove(&end);
                let id = self.add(end, peer);
                self.switch.handle(own, Input::Opened(request, id));
                self.receive(at, id, end, observe);
            }
            Err(_) => {
                state.close(end);
                drop(state);
                self.connecting.remove(&end);
                self.switch.handle(own, Input::ConnectFailed(request));
            }
        }
    }

    fn add(&mut self, end: ConnectionEnd, peer: Option<SocketAddr>) -> ConnectionId {
        self.last_connection += 1;
        let id = ConnectionId(self.last_connection);
        self.connections.insert(id, Socket { end, unwritten: VecDeque::new(), closing: false });
        self.ends.insert(end, id);
        self.controllers.extend(peer.map(|peer| (id, peer.ip())));
        id
    }

    /// Writes as much as the network takes.
    fn write(&mut self, id: ConnectionId) {
        let Some(socket) = self.connections.get_mut(&id) else { return };
        let mut state = self.fabric.lock();
        let mut taken_bytes = 0;
        while let Some(first) = socket.unwritten.front_mut() {
            let Ok(written) = state.write(socket.end, first) else {
                // The peer is gone; that is told by what is read.
                socket.unwritten.clear();
                break;
            };
            taken_bytes += written;
            if written < first.len() {
                bytes::Buf::advance(first, written);
                break;
            }
            socket.unwritten.pop_front();
        }
        let closed = socket.closing && socket.unwritten.is_empty();
        drop(state);
        if taken_bytes > 0 {
            self.switch.handle(self.switch.now(), Input::Written(id, taken_bytes));
        }
        if closed {
            self.let_go(id);
        }
    }

    fn let_go(&mut self, id: ConnectionId) {
        if let Some(socket) = self.connections.remove(&id) {
            self.written.remove(&id);
            self.ends.remove(&socket.end);
            self.fabric.lock().close(socket.end);
        }
    }

    /// The program is killed: its connections end, and its calls are gone.
    pub(super) fn kill(mut self) {
        self.close();
    }

    /// Ends all connections, and takes no more.
    pub(super) fn close(&mut self) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.let_go(id));
        self.fabric.close_all(self.id);
    }
}
