//! Controllers that say anything in any order, read when they like and vanish: the switch goes on, stays within its
//! bounds, and does the same again for the same seed.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use std::collections::BTreeMap;

use common::frames;
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::random::Random;
use fipple_emulator::{Config, ConnectionId, InboundCall, Input, Output, Switch, Time, Uuid};

const WINDOW_BYTES: usize = 20_000;
/// No frame of these switches is longer.
const FRAME_MAX_BYTES: usize = 20_000;

const COMMANDS: &[&str] = &[
    "auth ClueCon",
    "auth ClueCon",
    "auth wrong",
    "userauth a@b:c",
    "event plain ALL",
    "event json CHANNEL_CREATE CUSTOM x",
    "event xml ALL",
    "noevents",
    "nixevent CHANNEL_STATE",
    "filter Unique-ID <uuid>",
    "filter delete all",
    "myevents <uuid>",
    "myevents json",
    "connect",
    "linger",
    "linger 1",
    "nolinger",
    "divert_events on",
    "log debug",
    "nolog",
    "getvar uuid",
    "resume",
    "api status",
    "api msleep 30",
    "api uuid_kill <uuid>",
    "api uuid_dump <uuid>",
    "bgapi msleep 50",
    "bgapi originate null/x &park()",
    "api originate null/x &socket(127.0.0.1:8084 async full)",
    "sendevent CUSTOM\nEvent-Subclass: x\nContent-Length: 5\n\nhello",
    "sendmsg <uuid>\ncall-command: execute\nexecute-app-name: sleep\nexecute-app-arg: 40",
    "sendmsg <uuid>\ncall-command: execute\nexecute-app-name: socket\nexecute-app-arg: 127.0.0.1:8084 full",
    "sendmsg\ncall-command: execute\nexecute-app-name: answer",
    "sendmsg\ncall-command: hangup",
    "sendmsg nobody\ncall-command: hangup",
    "exit",
    "\r\n\r\n",
    "nosuchcommand \u{0}\u{7f}\u{fffd}",
];

/// A switch with controllers that do anything, and what each of them was written.
struct Chaos {
    switch: Switch,
    random: Random,
    now: Time,
    last_connection: u64,
    open: Vec<ConnectionId>,
    calls: Vec<Uuid>,
    heard: BTreeMap<ConnectionId, Vec<u8>>,
    unwritten: BTreeMap<ConnectionId, usize>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let actions = [("socket", "127.0.0.1:8084 async full"), ("socket", "127.0.0.1:8085"), ("park", "")];
        let actions = actions.map(|(application, argument)| Action::new(application, argument)).to_vec();
        let dialplan = Dialplan { extensions: vec![Extension { destination: "*".into(), actions }] };
        let config = Config {
            dialplan,
            unwritten_max_bytes: WINDOW_BYTES,
            listener_queue_max: 200,
            ..Config::default()
        };
        Self {
            switch: Switch::new(config, seed),
            random: Random::new(seed ^ 0x5eed),
            now: Time(0),
            last_connection: 0,
            open: Vec::new(),
            calls: Vec::new(),
            heard: BTreeMap::new(),
            unwritten: BTreeMap::new(),
        }
    }

    fn below(&mut self, end: usize) -> usize {
        (self.random.next_u64() % end as u64) as usize
    }

    fn new_connection(&mut self) -> ConnectionId {
        self.last_connection += 1;
        let id = ConnectionId(self.last_connection);
        self.open.push(id);
        id
    }

    fn chosen(&mut self) -> Option<ConnectionId> {
        let index = self.below(self.open.len().max(1));
        self.open.get(index).copied()
    }

    fn step(&mut self) {
        match self.below(20) {
            0 | 1 => {
                let id = self.new_connection();
                self.switch.handle(self.now, Input::Connected(id));
            }
            2 => {
                if let Ok(uuid) = self.switch.inbound_call(self.now, &InboundCall::new("1", "2")) {
                    self.calls.push(uuid);
                }
            }
            3 => {
                let index = self.below(self.calls.len().max(1));
                if let Some(uuid) = self.calls.get(index).cloned() {
                    // It may have ended.
                    let _ = self.switch.caller_hangup(self.now, &uuid);
                }
            }
            4 => {
                if let Some(id) = self.chosen() {
                    self.open.retain(|open| *open != id);
                    self.switch.handle(self.now, Input::Closed(id));
                }
            }
            5 | 6 => {
                let later = self.random.in_range(&(0..=60_000));
                self.now = Time(self.now.0 + later);
                self.switch.on_timeout(self.now);
            }
            7..=10 => self.read_something(),
            _ => self.say_something(),
        }
        self.carry_out();
    }

    /// A controller reads some of what was written to it.
    fn read_something(&mut self) {
        let Some(id) = self.chosen() else { return };
        let unwritten = self.unwritten.entry(id).or_default();
        let taken = if self.random.next_u64().is_multiple_of(2) { *unwritten } else { *unwritten / 2 };
        *unwritten -= taken;
        self.switch.handle(self.now, Input::Written(id, taken));
    }

    fn say_something(&mut self) {
        let Some(id) = self.chosen() else { return };
        let index = self.below(COMMANDS.len());
        let call = self.below(self.calls.len().max(1));
        let uuid = self.calls.get(call).map_or("nobody", |uuid| uuid);
        let mut bytes = format!("{}\n\n", COMMANDS[index].replace("<uuid>", uuid)).into_bytes();
        if self.below(10) == 0 {
            let cut = self.below(bytes.len());
            bytes.truncate(cut);
        }
        self.switch.handle(self.now, Input::Received(id, &bytes));
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Send { connection, bytes } => {
                    self.heard.entry(connection).or_default().extend_from_slice(&bytes);
                    let unwritten = self.unwritten.entry(connection).or_default();
                    *unwritten += bytes.len();
                    assert!(
                        *unwritten < WINDOW_BYTES + FRAME_MAX_BYTES,
                        "{connection:?} has {unwritten} bytes"
                    );
                }
                Output::Close { connection } => self.open.retain(|open| *open != connection),
                Output::Connect { request, .. } if self.random.next_u64().is_multiple_of(3) => {
                    self.switch.handle(self.now, Input::ConnectFailed(request));
                }
                Output::Connect { request, .. } => {
                    let id = self.new_connection();
                    self.switch.handle(self.now, Input::Opened(request, id));
                }
            }
        }
    }
}

fn run(seed: u64) -> Chaos {
    let mut chaos = Chaos::new(seed);
    for _ in 0..1_500 {
        chaos.step();
    }
    chaos
}

#[test]
fn anything_in_any_order_leaves_whole_frames_and_a_switch_that_goes_on() {
    let (mut froze, mut frames_heard) = (0, 0);
    for seed in 0..30 {
        let mut chaos = run(seed);
        froze += u32::from(chaos.switch.is_frozen());
        for bytes in chaos.heard.values() {
            // Whatever was cut off, what was written are whole frames.
            frames_heard += frames(bytes).len();
        }
        for id in std::mem::take(&mut chaos.open) {
            chaos.switch.handle(chaos.now, Input::Closed(id));
        }
        chaos.carry_out();
        for id in std::mem::take(&mut chaos.open) {
            chaos.switch.handle(chaos.now, Input::Closed(id));
        }
        assert!(!chaos.switch.is_frozen());
        let id = chaos.new_connection();
        chaos.unwritten.clear();
        chaos.heard.clear();
        chaos.switch.handle(chaos.now, Input::Connected(id));
        chaos.switch.handle(chaos.now, Input::Received(id, b"auth ClueCon\n\napi echo alive\n\n"));
        chaos.carry_out();
        assert!(chaos.heard[&id].ends_with(b"alive"), "seed {seed}");
    }
    assert!(frames_heard > 5_000, "{frames_heard} frames were written");
    assert!(froze > 0, "no seed froze the switch");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [3, 17] {
        assert_eq!(run(seed).heard, run(seed).heard, "seed {seed}");
    }
    assert_ne!(run(3).heard, run(17).heard);
}
