//! What people do: they call, wait or do not, command calls by REST, list them, and write documents.

use std::collections::BTreeMap;
use std::time::Duration;

use fipple_crdt::Edit;
use fipple_determinism::Stream;
use fipple_emulator::far_end::{Act, Step};
use fipple_emulator::{InboundCall, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::agenda::Agenda;
use crate::engine::{Purpose, RestAnswer, RestRequest, World};
use crate::flows::{DESK, FLOWS, PARKED};
use crate::scenario::{self, PlantedBug};

/// Something that somebody does at one moment.
#[derive(Debug)]
enum Deed {
    Call,
    HangUp { switch: usize, uuid: String },
    Command { uuid: String, data: String },
    List,
    Write,
}

/// All that people do in one run.
pub(crate) struct Workload {
    settings: scenario::Workload,
    draw: Stream,
    agenda: Agenda<Deed>,
    calls: u64,
    commands: Outcomes,
    listings: Outcomes,
    /// The last number that each node has acknowledged as written.
    acknowledged: BTreeMap<usize, u64>,
    writes: Outcomes,
    /// The last call of each switch that waits for commands.
    parked: BTreeMap<usize, String>,
    /// Takes writes for acknowledged that were never made.
    forgets_writes: bool,
    /// From then on nothing is written, so that what was can be compared.
    writes_end: Option<Time>,
}

/// How often something was tried, and how often it was done.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Outcomes {
    /// How often it was tried.
    pub asked: u64,
    /// How often it was done.
    pub done: u64,
}

impl Workload {
    pub(crate) fn new(settings: &scenario::Workload, planted: Option<PlantedBug>, seed: u64) -> Self {
        let mut workload = Self {
            settings: settings.clone(),
            draw: Stream::new(seed, "workload"),
            agenda: Agenda::default(),
            calls: 0,
            commands: Outcomes::default(),
            listings: Outcomes::default(),
            acknowledged: BTreeMap::new(),
            writes: Outcomes::default(),
            writes_end: None,
            parked: BTreeMap::new(),
            forgets_writes: planted == Some(PlantedBug::ForgottenWrites),
        };
        // Nodes are given a moment to find each other and to attach; calls that come earlier wait for them.
        let start = Time(2_000_000);
        workload.plan(start, settings.calls_per_100_s, Deed::Call);
        workload.plan(start, settings.writes_per_100_s, Deed::Write);
        workload.plan(start, settings.listings_per_100_s, Deed::List);
        workload
    }

    /// From this moment on nothing is written.
    pub(crate) fn stop_writing_at(&mut self, moment: Time) {
        self.writes_end = Some(moment);
    }

    /// Calls that came in.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Commands by REST.
    pub(crate) fn commands(&self) -> Outcomes {
        self.commands
    }

    /// Listings by REST.
    pub(crate) fn listings(&self) -> Outcomes {
        self.listings
    }

    /// Documents written.
    pub(crate) fn writes(&self) -> Outcomes {
        self.writes
    }

    /// The last number that each node has acknowledged as written.
    pub(crate) fn acknowledged(&self) -> &BTreeMap<usize, u64> {
        &self.acknowledged
    }

    /// Plans the next of something that happens so often, at random.
    fn plan(&mut self, now: Time, per_100_s: u64, deed: Deed) {
        if let Some(mean_us) = 100_000_000_u64.checked_div(per_100_s) {
            let pause = Duration::from_micros(self.draw.in_range(0..=2 * mean_us));
            self.agenda.add(now + pause, deed);
        }
    }

    /// Does everything that is due.
    pub(crate) fn act(&mut self, world: &mut World) {
        while let Some(deed) = self.agenda.next_due(world.now()) {
            let now = world.now();
            match deed {
                Deed::Call => {
                    self.plan(now, self.settings.calls_per_100_s, Deed::Call);
                    self.call(world);
                }
                Deed::HangUp { switch, uuid } => {
                    // The call may have ended before.
                    let _ = world.act(switch, |switch, now| switch.caller_hangup(now, &uuid));
                }
                Deed::Command { uuid, data } => self.command(world, uuid, &data),
                Deed::List => {
                    self.plan(now, self.settings.listings_per_100_s, Deed::List);
                    self.list(world);
                }
                Deed::Write => {
                    self.plan(now, self.settings.writes_per_100_s, Deed::Write);
                    if self.writes_end.is_none_or(|end| now < end) {
                        self.write(world);
                    }
                }
            }
        }
    }

    /// Somebody calls, and hangs up after a while if the call still is.
    fn call(&mut self, world: &mut World) {
        let switch = self.draw.in_range(0..=world.switch_count() as u64 - 1) as usize;
        let (number, _) = match self.draw.happens(WAIT_FOR_COMMANDS_PPM) {
            true => (PARKED, ""),
            false => *self.draw.choose(&FLOWS).unwrap_or(&FLOWS[0]),
        };
        let mut call = InboundCall::new(format!("{}", 1_000 + self.calls), number);
        call.script = vec![
            Step::new(Duration::ZERO, Act::WaitsForAnswer),
            Step::new(Duration::from_millis(1_000), Act::Presses("12#".into())),
        ];
        let patience = Duration::from_millis(match self.draw.in_range(0..=3) {
            0 => self.draw.in_range(100..=5_000),
            _ => self.draw.in_range(self.settings.patience_s * 500..=self.settings.patience_s * 1_000),
        });
        let Some(Ok(uuid)) = world.act(switch, |switch, now| switch.inbound_call(now, &call)) else { return };
        self.calls += 1;
        let now = world.now();
        self.agenda.add(now + patience, Deed::HangUp { switch, uuid: uuid.to_string() });
        if number == PARKED {
            self.plan_commands(now, switch, &uuid);
            self.parked.insert(switch, uuid.to_string());
        } else if self.settings.commands_per_call > 0 && self.draw.happens(COMES_BACK_PPM) {
            let at = now + Duration::from_millis(self.draw.in_range(300..=5_000));
            self.agenda.add(at, Deed::Command { uuid: uuid.to_string(), data: transfer_to(number) });
        }
    }

    fn plan_commands(&mut self, now: Time, switch: usize, uuid: &str) {
        let mut at = now;
        for _ in 0..self.draw.in_range(0..=2 * self.settings.commands_per_call) {
            at = at + Duration::from_millis(self.draw.in_range(200..=3_000));
            let data = self.draw_command(switch);
            self.agenda.add(at, Deed::Command { uuid: uuid.to_owned(), data });
        }
    }

    /// A command of any kind for a call that waits for them.
    fn draw_command(&mut self, switch: usize) -> String {
        const SHORT: [&str; 7] = [
            r#"{"action":"answer"}"#,
            r#"{"action":"play","file":"silence_stream://500"}"#,
            r#"{"action":"play","file":"silence_stream://3000"}"#,
            r#"{"action":"set","name":"colour","value":"blue"}"#,
            r#"{"action":"execute","application":"playback","argument":"silence_stream://300"}"#,
            r#"{"action":"break"}"#,
            r#"{"action":"park"}"#,
        ];
        let (number, _) = *self.draw.choose(&FLOWS).unwrap_or(&FLOWS[0]);
        match (self.draw.in_range(0..=15), self.parked.get(&switch)) {
            (0, _) => r#"{"action":"hangup"}"#.to_owned(),
            (1, _) => format!(r#"{{"action":"bridge","to":"{DESK}"}}"#),
            (2, Some(other)) => format!(r#"{{"action":"bridge","to":"{other}"}}"#),
            (3..=4, _) => transfer_to(number),
            _ => (*self.draw.choose(&SHORT).unwrap_or(&SHORT[0])).to_owned(),
        }
    }

    fn command(&mut self, world: &mut World, uuid: String, data: &str) {
        self.commands.asked += 1;
        let request = RestRequest {
            method: "POST",
            path: format!("/v2/channels/{uuid}"),
            body: Some(format!("{{\"data\":{data}}}")),
            purpose: Purpose::Command(uuid),
        };
        self.ask_anybody(world, request);
    }

    fn list(&mut self, world: &mut World) {
        self.listings.asked += 1;
        let request =
            RestRequest { method: "GET", path: "/v2/channels".into(), body: None, purpose: Purpose::List };
        self.ask_anybody(world, request);
    }

    fn ask_anybody(&mut self, world: &mut World, request: RestRequest) {
        let node = self.draw.in_range(0..=world.node_count() as u64 - 1) as usize;
        world.send_rest(node, request);
    }

    /// Takes note of an answer.
    pub(crate) fn answered(&mut self, answer: &RestAnswer) {
        let outcomes = match answer.purpose {
            Purpose::Command(_) => &mut self.commands,
            Purpose::List => &mut self.listings,
        };
        outcomes.done += u64::from(matches!(answer.outcome, Ok((200, _))));
    }

    /// A node writes a number into its own document, the one that every member may write.
    fn write(&mut self, world: &mut World) {
        let node = self.draw.in_range(0..=world.node_count() as u64 - 1) as usize;
        self.writes.asked += 1;
        let number = self.writes.asked;
        if self.forgets_writes && self.draw.happens(500_000) {
            self.acknowledged.insert(node, number);
            return;
        }
        let document = format!("member.{}", world.node_id(node));
        let edit = Edit::Patch(Map::from_iter([(WRITTEN_FIELD.to_owned(), Value::from(number))]));
        let written = world.ask(node, async |node| node.documents().write("cluster", &document, edit).await);
        if let Some(Ok(())) = written {
            self.acknowledged.insert(node, number);
            self.writes.done += 1;
        }
    }
}

/// How many of a million calls wait for commands, beside those whose number says so by chance.
const WAIT_FOR_COMMANDS_PPM: u32 = 200_000;

/// How many of a million other calls are transferred back to where they came from.
const COMES_BACK_PPM: u32 = 80_000;

fn transfer_to(number: &str) -> String {
    format!(r#"{{"action":"transfer","extension":"{number}"}}"#)
}

/// The field of a member's document into which simulations write.
pub(crate) const WRITTEN_FIELD: &str = "simulated";
