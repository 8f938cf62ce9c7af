//! Controllers that do not wait for each other, on one switch.

use std::time::Duration;

use fipple_emulator::random::Random;
use fipple_emulator::{Config, ConnectionId, Input, Output, Switch, Time};

/// A connection that takes no part.
pub(crate) const OBSERVER: ConnectionId = ConnectionId(9);

/// A switch whose controllers do not wait for each other.
pub(crate) struct Race {
    pub(crate) switch: Switch,
    pub(crate) now: Time,
    pub(crate) random: Random,
    pub(crate) heard: Vec<(ConnectionId, Vec<u8>)>,
    /// All that was written to anybody.
    pub(crate) written: Vec<u8>,
}

impl Race {
    pub(crate) fn new(seed: u64, config: Config) -> Self {
        let config = Config { heartbeat: Duration::from_secs(1_000_000), ..config };
        let mut race = Self {
            switch: Switch::new(config, seed),
            now: Time(0),
            random: Random::new(seed ^ 0x5eed),
            heard: Vec::new(),
            written: Vec::new(),
        };
        for connection in (1..=4).map(ConnectionId).chain([OBSERVER]) {
            race.switch.handle(race.now, Input::Connected(connection));
            race.say(connection, "auth ClueCon");
        }
        race.ask("originate {origination_uuid=u,fipple_epoch=1,fipple_done=0}null/x &park()");
        race
    }

    pub(crate) fn say(&mut self, connection: ConnectionId, command: &str) {
        self.switch.handle(self.now, Input::Received(connection, format!("{command}\n\n").as_bytes()));
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            if let Output::Send { connection, bytes } = output {
                self.written.extend_from_slice(&bytes);
                self.heard.push((connection, bytes.to_vec()));
            }
        }
    }

    pub(crate) fn wait(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(at) = self.switch.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.switch.on_timeout(self.now);
            self.collect();
        }
        self.now = end;
        self.switch.on_timeout(end);
        self.collect();
    }

    pub(crate) fn wait_up_to(&mut self, milliseconds: u64) {
        let milliseconds = self.random.in_range(&(0..=milliseconds));
        self.wait(milliseconds);
    }

    /// An API command of the observer, however long it takes.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.heard.clear();
        self.say(OBSERVER, &format!("api {command}"));
        for _ in 0..10_000 {
            if let Some((_, reply)) = self.heard.iter().find(|(connection, _)| *connection == OBSERVER) {
                let text = String::from_utf8(reply.clone()).unwrap();
                return text.split_once("\n\n").unwrap().1.to_owned();
            }
            self.wait(1);
        }
        panic!("no reply to {command}");
    }

    pub(crate) fn variable(&mut self, name: &str) -> String {
        self.ask(&format!("uuid_getvar u {name}"))
    }

    pub(crate) fn number(&mut self, name: &str) -> u64 {
        self.variable(name).parse().unwrap_or(0)
    }
}

impl Race {
    /// What a connection heard, as text.
    pub(crate) fn heard_by(&self, connection: u64) -> String {
        let own = self.heard.iter().filter(|(heard_by, _)| *heard_by == ConnectionId(connection));
        own.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// Whether some script left a lock.
    pub(crate) fn is_locked(&mut self) -> bool {
        self.ask("hash_dump all").contains("fipplelock")
    }
}

pub(crate) fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// A script, with locks that hold nobody back.
pub(crate) fn unlocked(text: &str) -> String {
    let unlocked = text.replace(r#":sub(1, 3) ~= "+OK" do"#, r#":sub(1, 3) == "never" do"#);
    assert_ne!(text, unlocked);
    unlocked
}
