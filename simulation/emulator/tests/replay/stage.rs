//! The emulated switch on stage: plays the cues of a scenario and hears what each connection is told.

use std::collections::BTreeMap;

use fipple_emulator::{ConnectId, ConnectionId, Input, Output, Switch, Time};

use super::cues::{Cue, connection_id, cues_of};
use super::frame::{Event, Frame, FrameReader};
use super::lab;
use super::scenario::Scenario;
use super::uuids::Uuids;

/// How long the switch may go on after the last cue, for the events that a recording ends with.
const AFTERWARDS_MICROS: u64 = 200_000;
/// The default period of HEARTBEAT.
const HEARTBEAT_MICROS: u64 = 20_000_000;
/// The period of the task check_ip.
const MINUTE_MICROS: u64 = 60_000_000;

struct Ear {
    reader: FrameReader,
    frames: Vec<Frame>,
    /// Answers to commands so far.
    replies: usize,
}

/// What came out of one scenario.
pub(crate) struct Performance {
    /// What each connection heard, in the order of the scenario's connections.
    pub(crate) heard: Vec<Vec<Frame>>,
    pub(crate) uuids: Uuids,
}

struct Stage<'a> {
    scenario: &'a Scenario<'a>,
    switch: Switch,
    /// When the scenario begins on the switch's clock.
    curtain: u64,
    ears: BTreeMap<ConnectionId, Ear>,
    /// What controllers wrote that the switch has not called yet.
    early: Vec<(ConnectionId, Vec<u8>)>,
    uuids: Uuids,
}

/// Plays a scenario to its end.
pub(crate) fn perform(scenario: &Scenario<'_>) -> Performance {
    let curtain = curtain(scenario);
    let wall = scenario.wall_micros().unwrap_or(1_795_406_400_000_000) - curtain;
    let mut stage = Stage {
        scenario,
        switch: Switch::new(lab::config(wall), 42),
        curtain,
        ears: BTreeMap::new(),
        early: Vec::new(),
        uuids: Uuids::of(scenario),
    };
    for (at, cue) in cues_of(scenario) {
        stage.go_to(at);
        stage.play(at, cue);
        stage.listen();
    }
    let ended = scenario.connections.iter().map(|(began, recording)| began + recording.ended);
    stage.go_to(ended.max().unwrap_or(0) + AFTERWARDS_MICROS);
    let mut ears = stage.ears;
    let heard = (0..scenario.connections.len())
        .map(|index| ears.remove(&connection_id(index)).map(|ear| ear.frames).unwrap_or_default());
    Performance { heard: heard.collect(), uuids: stage.uuids }
}

/// The real switch had been up for a while, and its minutes and heartbeats passed when they passed.
fn curtain(scenario: &Scenario<'_>) -> u64 {
    let first = |fits: fn(&Event) -> bool| {
        let times = scenario.connections.iter().flat_map(|(began, recording)| {
            recording.events().filter(|(_, event)| fits(event)).map(move |(at, _)| began + at)
        });
        times.min()
    };
    let minute =
        first(|event| event.get("Task-Desc") == "check_ip").map(|at| MINUTE_MICROS - at % MINUTE_MICROS);
    let beat = first(|event| event.name() == "HEARTBEAT").map(|at| HEARTBEAT_MICROS - at % HEARTBEAT_MICROS);
    minute.or(beat).unwrap_or(HEARTBEAT_MICROS + 100_000)
}

impl Stage<'_> {
    fn go_to(&mut self, at: u64) {
        let end = Time(self.curtain + at);
        while let Some(next) = self.switch.next_timeout().filter(|next| *next <= end) {
            self.switch.on_timeout(next);
            self.listen();
        }
        self.switch.on_timeout(end);
        self.listen();
    }

    fn play(&mut self, at: u64, cue: Cue) {
        let now = Time(self.curtain + at);
        match cue {
            Cue::Connect(id) => {
                self.prick_up(id);
                self.switch.handle(now, Input::Connected(id));
            }
            Cue::Refuse(id) => {
                self.prick_up(id);
                self.switch.handle(now, Input::Refused(id));
            }
            Cue::Close(id) => self.switch.handle(now, Input::Closed(id)),
            Cue::Write(id, bytes) if !self.ears.contains_key(&id) => self.early.push((id, bytes)),
            Cue::Write(id, bytes) => {
                let bytes = self.uuids.translate(&bytes);
                self.switch.handle(now, Input::Received(id, &bytes));
            }
            Cue::Call { uuid, call } => {
                let emulated = self.switch.inbound_call(now, &call).unwrap();
                self.uuids.pair(&uuid, &emulated);
            }
            Cue::Register { phone } => self.switch.register(now, &phone).unwrap(),
            Cue::Unregister { phone } => self.switch.unregister(now, &phone),
            // A channel that the emulated switch does not have, or has no more, is a difference of its events.
            Cue::CalleeHangup { uuid } => {
                if let Some(emulated) = self.uuids.emulated(&uuid).map(str::to_owned) {
                    let _ = self.switch.caller_hangup(now, &emulated);
                }
            }
        }
    }

    fn prick_up(&mut self, id: ConnectionId) {
        self.ears.insert(id, Ear { reader: FrameReader::new(), frames: Vec::new(), replies: 0 });
    }

    /// The switch calls a controller: the next of those who were recorded, if there is one.
    fn answer_connect(&mut self, request: ConnectId) {
        let now = self.switch.now();
        let connections = self.scenario.connections.iter().enumerate();
        let called = connections
            .filter(|(_, (_, recording))| recording.is_outbound())
            .map(|(index, _)| connection_id(index))
            .find(|id| !self.ears.contains_key(id));
        let Some(id) = called else { return self.switch.handle(now, Input::ConnectFailed(request)) };
        self.prick_up(id);
        self.switch.handle(now, Input::Opened(request, id));
        let (own, others) = std::mem::take(&mut self.early).into_iter().partition(|(early, _)| *early == id);
        self.early = others;
        let own: Vec<(ConnectionId, Vec<u8>)> = own;
        for (id, bytes) in own {
            let bytes = self.uuids.translate(&bytes);
            self.switch.handle(now, Input::Received(id, &bytes));
        }
    }

    fn listen(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            let (connection, bytes) = match output {
                Output::Send { connection, bytes } => (connection, bytes),
                Output::Connect { request, .. } => {
                    self.answer_connect(request);
                    continue;
                }
                Output::Close { .. } => continue,
            };
            self.switch.handle(self.switch.now(), Input::Written(connection, bytes.len()));
            let Some(ear) = self.ears.get_mut(&connection) else { continue };
            for frame in ear.reader.read(&bytes) {
                if frame.is_event() {
                    frame.event.iter().for_each(|event| self.uuids.meet(event));
                } else {
                    let recording = self.scenario.connections.get(connection.0 as usize - 1);
                    let heard =
                        recording.map(|(_, recording)| recording.heard.as_slice()).unwrap_or_default();
                    let mut replies = heard.iter().filter(|(_, frame)| !frame.is_event());
                    if let Some((_, recorded)) = replies.nth(ear.replies) {
                        self.uuids.compare_replies(recorded, &frame);
                    }
                    ear.replies += 1;
                }
                ear.frames.push(frame);
            }
        }
    }
}
