//! A controller for tests: drives a switch by hand and reads what it writes.
#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy sees only in #[test]"
)]
#![allow(clippy::disallowed_methods, reason = "fixtures are read from the real disk")]

pub(crate) mod race;

use std::time::Duration;

use fipple_emulator::{Config, ConnectId, ConnectionId, Disorder, Input, Output, Switch, Time};

/// A frame that a switch wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Frame {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn content_type(&self) -> &str {
        self.header("Content-Type")
    }

    /// The headers of a plain event, decoded.
    pub(crate) fn event(&self) -> Event {
        assert_eq!(self.content_type(), "text/event-plain");
        let head = self.body.split("\n\n").next().unwrap();
        let headers = head.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), percent_decode(value))
        });
        Event { headers: headers.collect(), size_bytes: self.body.len() }
    }
}

/// A plain event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) size_bytes: usize,
}

impl Event {
    pub(crate) fn get(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn name(&self) -> &str {
        self.get("Event-Name")
    }

    /// Name, state and the application that it is about.
    pub(crate) fn summary(&self) -> String {
        let state = format!(
            "{} {} {} {}",
            self.get("Channel-State"),
            self.get("Channel-State-Number"),
            self.get("Channel-Call-State"),
            self.get("Answer-State"),
        );
        format!("{} {} {}", self.name(), state, self.get("Application")).trim_end().to_owned()
    }

    pub(crate) fn header_names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

pub(crate) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Splits what a switch wrote into frames.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\n\n").expect("a frame's head ends");
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        let headers: Vec<(String, String)> = head
            .lines()
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "Content-Length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
        let body = &rest[end + 2..end + 2 + length];
        frames.push(Frame { headers, body: String::from_utf8_lossy(body).into_owned() });
        rest = &rest[end + 2 + length..];
    }
    frames
}

/// A fixture of the transcripts.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/fixtures/freeswitch/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A switch with one controller or more, under a clock that the test moves.
pub(crate) struct Bench {
    pub(crate) switch: Switch,
    pub(crate) now: Time,
    received: Vec<(ConnectionId, Vec<u8>)>,
    closed: Vec<ConnectionId>,
    /// Connections that the switch wants opened.
    pub(crate) wanted: Vec<(ConnectId, String)>,
    /// Connections whose sockets take nothing more.
    pub(crate) stalled: Vec<ConnectionId>,
}

pub(crate) const FIRST: ConnectionId = ConnectionId(1);
pub(crate) const SECOND: ConnectionId = ConnectionId(2);

impl Bench {
    /// A switch without heartbeats and an unauthenticated controller.
    pub(crate) fn connected(config: Config) -> Self {
        Self::lagging(Config { event_lag_ms: 0..=0, disorder: Disorder::default(), ..config })
    }

    /// [`Bench::connected`] to a switch whose events take as long as its configuration says, and in that order.
    pub(crate) fn lagging(config: Config) -> Self {
        let config = Config { heartbeat: Duration::from_secs(1_000_000), ..config };
        let mut bench = Self {
            switch: Switch::new(config, 42),
            now: Time(0),
            received: Vec::new(),
            closed: Vec::new(),
            wanted: Vec::new(),
            stalled: Vec::new(),
        };
        bench.connect(FIRST);
        bench
    }

    /// A switch and a controller that has logged in; what was written until then is forgotten.
    pub(crate) fn logged_in() -> Self {
        let mut bench = Self::connected(Config::default());
        bench.say(FIRST, "auth ClueCon");
        bench.take(FIRST);
        bench
    }

    /// Logged in and subscribed to everything.
    pub(crate) fn subscribed() -> Self {
        let mut bench = Self::logged_in();
        bench.say(FIRST, "event plain ALL");
        bench.take(FIRST);
        bench
    }

    pub(crate) fn connect(&mut self, id: ConnectionId) {
        self.received.push((id, Vec::new()));
        self.switch.handle(self.now, Input::Connected(id));
        self.collect();
    }

    pub(crate) fn write(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.switch.handle(self.now, Input::Received(id, bytes));
        self.collect();
    }

    pub(crate) fn say(&mut self, id: ConnectionId, command: &str) {
        self.write(id, format!("{command}\n\n").as_bytes());
    }

    /// Sends a command on the first connection and gives its reply's text or body. Events stay to be taken.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        let before = self.peek(FIRST).len();
        self.say(FIRST, command);
        let frames = frames(&self.peek(FIRST)[before..]);
        let reply = frames.iter().find(|frame| !frame.content_type().starts_with("text/event"));
        let reply = reply.unwrap_or_else(|| panic!("no reply to {command:?}"));
        if reply.content_type() == "api/response" {
            reply.body.clone()
        } else {
            reply.header("Reply-Text").into()
        }
    }

    /// Lets time pass; timers go off at their own moments.
    pub(crate) fn wait_ms(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(at) = self.switch.next_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.switch.on_timeout(at);
            self.collect();
        }
        self.now = end;
        self.switch.on_timeout(end);
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Send { connection, bytes } => {
                    let received = self.received.iter_mut().find(|(id, _)| *id == connection).unwrap();
                    received.1.extend_from_slice(&bytes);
                    if !self.stalled.contains(&connection) {
                        self.switch.handle(self.now, Input::Written(connection, bytes.len()));
                    }
                }
                Output::Close { connection } => self.closed.push(connection),
                Output::Connect { request, address } => self.wanted.push((request, address)),
            }
        }
    }

    /// A controller logs in, and listens to what `event` says.
    pub(crate) fn log_in(&mut self, id: ConnectionId, event: &str) {
        if self.received.iter().all(|(connection, _)| *connection != id) {
            self.connect(id);
        }
        self.say(id, "auth ClueCon");
        self.say(id, event);
        self.take(id);
    }

    /// The controller that the switch called for a channel answers.
    pub(crate) fn answer_connect(&mut self, id: ConnectionId) {
        let (request, _) = self.wanted.remove(0);
        self.received.push((id, Vec::new()));
        self.switch.handle(self.now, Input::Opened(request, id));
        self.collect();
    }

    /// A controller is gone without a word.
    pub(crate) fn drop_connection(&mut self, id: ConnectionId) {
        self.switch.handle(self.now, Input::Closed(id));
        self.collect();
    }

    /// What a connection received since it was asked last, each frame shortened: an event's name, a reply's text.
    pub(crate) fn heard(&mut self, id: ConnectionId) -> Vec<String> {
        let frames = frames(&self.take(id));
        let short = |frame: &Frame| match frame.content_type() {
            "text/event-plain" => frame.event().name().to_owned(),
            "command/reply" => frame.header("Reply-Text").to_owned(),
            "text/disconnect-notice" => format!("notice {}", frame.header("Content-Disposition")),
            _ => frame.body.clone(),
        };
        frames.iter().map(short).collect()
    }

    fn peek(&self, id: ConnectionId) -> &[u8] {
        &self.received.iter().find(|(connection, _)| *connection == id).unwrap().1
    }

    /// What a connection received since it was asked last.
    pub(crate) fn take(&mut self, id: ConnectionId) -> Vec<u8> {
        let received = self.received.iter_mut().find(|(connection, _)| *connection == id).unwrap();
        std::mem::take(&mut received.1)
    }

    /// The events that the first connection received since it was asked last.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let frames = frames(&self.take(FIRST));
        frames.iter().filter(|frame| frame.content_type() == "text/event-plain").map(Frame::event).collect()
    }

    /// `Application Application-UUID` of EXECUTE and EXECUTE_COMPLETE events, with `+` and `-` before them.
    pub(crate) fn executions(&mut self) -> Vec<String> {
        let events = self.events();
        let lines = events.iter().filter_map(|event| {
            let sign = match event.name() {
                "CHANNEL_EXECUTE" => '+',
                "CHANNEL_EXECUTE_COMPLETE" => '-',
                _ => return None,
            };
            let uuid = Some(event.get("Application-UUID")).filter(|uuid| uuid.len() < 36).unwrap_or_default();
            Some(format!("{sign}{} {uuid}", event.get("Application")).trim_end().to_owned())
        });
        lines.collect()
    }

    pub(crate) fn is_closed(&self, id: ConnectionId) -> bool {
        self.closed.contains(&id)
    }

    /// Originates a parked leg on the null endpoint under this uuid.
    pub(crate) fn park(&mut self, uuid: &str) {
        assert_eq!(
            self.ask(&format!("api originate {{origination_uuid={uuid}}}null/x &park()")),
            format!("+OK {uuid}\n")
        );
    }

    pub(crate) fn execute(&mut self, uuid: &str, application: &str, argument: &str, more: &str) -> String {
        self.ask(&format!(
            "sendmsg {uuid}\ncall-command: execute\nexecute-app-name: {application}\nexecute-app-arg: {argument}{more}"
        ))
    }
}
