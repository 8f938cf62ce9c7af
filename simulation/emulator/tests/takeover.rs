//! A call whose controllers die, one after the other, at every point of every step: each next one goes on by the recipe
//! (freeswitch takeover README), and every step happens once.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::{Bench, Event, FIRST, frames};
use fipple_emulator::dialplan::{Action, Extension};
use fipple_emulator::random::Random;
use fipple_emulator::{Config, ConnectionId, InboundCall, Input, Time};

/// The flow of the trials on the real switch.
const FLOW: [(&str, &str); 7] = [
    ("answer", ""),
    ("playback", "tone_stream://%(3000,0,440)"),
    ("play_and_get_digits", "4 4 1 5000 # tone_stream://%(1500,0,660) silence_stream://100 fdigits .+ 3000"),
    ("record_session", "/rec/a.wav"),
    ("bridge", "loopback/9015/default/XML"),
    ("playback", "tone_stream://%(1000,0,880)"),
    ("hangup", "NORMAL_CLEARING"),
];

/// How steps are sent, and resumed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Script,
    Snippet,
    /// A variable that names the step, then the application: whoever takes over runs the named step again.
    Marker,
}

/// Where a controller dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Point {
    BeforeSending,
    AfterSending,
    Executing,
    Completed,
}

const POINTS: [Point; 4] = [Point::BeforeSending, Point::AfterSending, Point::Executing, Point::Completed];

/// One controller, which knows nothing but what the switch tells it.
struct Controller {
    id: ConnectionId,
    mode: Mode,
    uuid: String,
    epoch: u64,
    step: u64,
    /// The mark of a step that another controller sent and that seems to run.
    adopted: Option<String>,
    fault: Option<(Point, u64)>,
    polled: Time,
    events: Vec<Event>,
    finished: bool,
    dead: bool,
}

impl Controller {
    /// Takes the call over: subscribes, raises the epoch, then reads how it stands.
    fn take(bench: &mut Bench, number: u64, mode: Mode, uuid: &str, fault: Option<(Point, u64)>) -> Self {
        let id = ConnectionId(100 + number);
        bench.connect(id);
        let mut controller = Self {
            id,
            mode,
            uuid: uuid.to_owned(),
            epoch: 0,
            step: 0,
            adopted: None,
            fault,
            polled: bench.now,
            events: Vec::new(),
            finished: false,
            dead: false,
        };
        controller.ask(bench, "auth ClueCon");
        controller.ask(bench, &format!("filter Unique-ID {uuid}"));
        let names = "CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP_COMPLETE CUSTOM fipple::step";
        controller.ask(bench, &format!("event plain {names}"));
        let epoch = controller.ask(bench, &format!("api uuid_getvar {uuid} fipple_epoch"));
        controller.epoch = epoch.parse().unwrap_or(0) + 1;
        if mode != Mode::Marker {
            let take = format!("api lua fipple_fence.lua take me {uuid}:{}", controller.epoch);
            controller.ask(bench, &take);
        }
        controller.resume(bench);
        controller
    }

    fn resume(&mut self, bench: &mut Bench) {
        let Some(dump) = self.dump(bench) else { return };
        self.step = match self.mode {
            Mode::Marker => value(&dump, "fipple_step").parse().unwrap_or(1),
            _ => value(&dump, "fipple_done").parse().unwrap_or(0) + 1,
        };
        let mark = mark(&dump);
        if self.mode != Mode::Marker && mark.starts_with(&format!("{}:", self.step)) {
            self.adopted = Some(mark);
        } else {
            self.send(bench);
        }
    }

    /// Gives a command and its reply; events that come with it wait.
    fn ask(&mut self, bench: &mut Bench, command: &str) -> String {
        bench.say(self.id, command);
        let mut reply = String::new();
        for frame in frames(&bench.take(self.id)) {
            match frame.content_type() {
                "text/event-plain" => self.events.push(frame.event()),
                "api/response" => reply = frame.body,
                _ => reply = frame.header("Reply-Text").to_owned(),
            }
        }
        reply
    }

    fn dump(&mut self, bench: &mut Bench) -> Option<serde_json::Value> {
        let reply = self.ask(bench, &format!("api uuid_dump {} json", self.uuid));
        let dump = serde_json::from_str(&reply).ok();
        self.finished |= dump.is_none();
        dump
    }

    /// Dies here, if this is where it is to die.
    fn dies_at(&mut self, bench: &mut Bench, point: Point) -> bool {
        if self.fault == Some((point, self.step)) && !self.dead {
            self.dead = true;
            bench.switch.handle(bench.now, Input::Closed(self.id));
        }
        self.dead
    }

    fn send(&mut self, bench: &mut Bench) {
        self.adopted = None;
        let Some((application, argument)) = FLOW.get(self.step as usize - 1) else { return };
        if self.dies_at(bench, Point::BeforeSending) {
            return;
        }
        let Self { epoch, step, uuid, .. } = &*self;
        let hex: String = argument.bytes().map(|byte| format!("{byte:02x}")).collect();
        let (before, own) = (step - 1, format!("{uuid}-{step}"));
        let execute = |application: &str, argument: &str, event_uuid: &str| {
            format!(
                "sendmsg {uuid}\ncall-command: execute\nexecute-app-name: {application}\n\
                 execute-app-arg: {argument}\nevent-lock: true\nEvent-UUID: {event_uuid}"
            )
        };
        let messages = match self.mode {
            Mode::Script => {
                let line = format!("fipple_step.lua {epoch} {step} {application} {hex}");
                vec![execute("lua", &line, &format!("{own}-{epoch}"))]
            }
            Mode::Snippet => {
                let variables = format!("fipple_run={step}:{epoch};fe={epoch};fd={before};fn={step}");
                let line = format!("%;[{variables};fx={application}:{argument}]step XML fipple");
                vec![execute("execute_extension", &line, &own)]
            }
            Mode::Marker => vec![
                execute("set", &format!("fipple_step={step}"), &format!("{own}-mark")),
                execute(application, argument, &own),
            ],
        };
        for message in messages {
            self.ask(bench, &message);
        }
        self.dies_at(bench, Point::AfterSending);
    }

    fn next_step(&mut self, bench: &mut Bench) {
        if !self.dies_at(bench, Point::Completed) {
            self.step += 1;
            self.send(bench);
        }
    }

    /// Does what the events ask for, and looks for itself every half second.
    fn work(&mut self, bench: &mut Bench) {
        for frame in frames(&bench.take(self.id)) {
            self.events.push(frame.event());
        }
        while !self.events.is_empty() && !self.dead && !self.finished {
            let event = self.events.remove(0);
            self.hear(bench, &event);
        }
        if bench.now.micros_since(self.polled) >= 500_000 && !self.dead && !self.finished {
            self.polled = bench.now;
            self.poll(bench);
        }
    }

    fn hear(&mut self, bench: &mut Bench, event: &Event) {
        if event.get("Unique-ID") != self.uuid {
            return;
        }
        let own = format!("{}-{}", self.uuid, self.step);
        let is_own = event.get("Application-UUID") == own && event.get("Application") != "execute_extension";
        match event.name() {
            "CHANNEL_HANGUP_COMPLETE" => self.finished = true,
            "CHANNEL_EXECUTE" if is_own => drop(self.dies_at(bench, Point::Executing)),
            "CHANNEL_EXECUTE_COMPLETE" if is_own && self.mode == Mode::Marker => self.next_step(bench),
            "CUSTOM" if event.get("Result") == "stale" => {
                let refused = format!("{}:{}", event.get("Step"), event.get("Epoch"));
                if self.adopted.as_ref() == Some(&refused) {
                    self.send(bench);
                }
            }
            "CUSTOM" if event.get("Done").parse().is_ok_and(|done: u64| done >= self.step) => {
                self.next_step(bench);
            }
            _ => {}
        }
    }

    fn poll(&mut self, bench: &mut Bench) {
        let Some(dump) = self.dump(bench) else { return };
        if self.mode == Mode::Marker {
            return;
        }
        let done: u64 = value(&dump, "fipple_done").parse().unwrap_or(0);
        if done >= self.step {
            self.next_step(bench);
        } else if self.adopted.as_ref().is_some_and(|adopted| *adopted != mark(&dump)) {
            self.send(bench);
        }
    }
}

fn value(dump: &serde_json::Value, name: &str) -> String {
    dump[format!("variable_{name}")].as_str().unwrap_or_default().to_owned()
}

fn mark(dump: &serde_json::Value) -> String {
    let scoped = dump["scope_variable_fipple_run"].as_str().unwrap_or_default();
    Some(value(dump, "fipple_run")).filter(|mark| !mark.is_empty()).unwrap_or_else(|| scoped.to_owned())
}

/// Leads a call through the flow, each controller dying at its fault, and gives the steps that ran, in their order, and
/// how many controllers died.
fn lead(mode: Mode, faults: &[(Point, u64)], mut random: Random) -> (Vec<u64>, u64) {
    let mut config = Config { mod_lua: true, ..Config::default() };
    let far = [("answer", ""), ("sleep", "3000"), ("hangup", "NORMAL_CLEARING")];
    let actions = far.map(|(application, argument)| Action::new(application, argument)).to_vec();
    config.dialplan.extensions.insert(0, Extension { destination: "9015".into(), actions });
    let mut bench = Bench::connected(config);
    bench.say(FIRST, "auth ClueCon");
    let uuid = bench.switch.inbound_call(bench.now, &InboundCall::new("100", "5000")).unwrap();
    bench.wait_ms(40);
    let mut faults = faults.iter().copied();
    let mut number = 0;
    let mut controller = Controller::take(&mut bench, number, mode, &uuid, faults.next());
    for _ in 0..12_000 {
        let step_ms = random.in_range(&(1..=20));
        bench.wait_ms(step_ms);
        press_keys(&mut bench, &uuid);
        controller.work(&mut bench);
        if controller.finished {
            break;
        }
        if controller.dead {
            number += 1;
            bench.wait_ms(random.in_range(&(20..=300)));
            controller = Controller::take(&mut bench, number, mode, &uuid, faults.next());
        }
    }
    bench.wait_ms(10_000);
    let record = bench.switch.ledger().call(&uuid).unwrap();
    assert_eq!(record.cause, "NORMAL_CLEARING", "{mode:?}");
    if mode != Mode::Marker {
        let fence = bench.switch.ledger().fence(&uuid).unwrap();
        assert!(fence.violations().is_empty(), "{:?}", fence.violations());
    }
    let number_of =
        |uuid_of_run: &str| uuid_of_run.strip_prefix(&*uuid)?.strip_prefix('-')?.parse::<u64>().ok();
    let runs = record.executions.iter().filter(|run| run.application != "execute_extension");
    let runs = runs.filter_map(|run| Some((number_of(&run.application_uuid)?, run.application.as_str())));
    let steps = runs.map(|(step, application)| {
        assert_eq!(application, FLOW[step as usize - 1].0);
        step
    });
    (steps.collect(), number)
}

/// The caller enters a code a second after being asked for it, whoever controls the call.
fn press_keys(bench: &mut Bench, uuid: &str) {
    let record = bench.switch.ledger().call(uuid).unwrap();
    let asked = record.executions.iter().find(|run| run.application == "play_and_get_digits");
    let Some(asked) = asked.filter(|run| run.ended.is_none()) else { return };
    let waited_ms = bench.now.micros_since(asked.started) / 1_000;
    if (1_000..1_020).contains(&waited_ms) {
        let now = bench.now;
        bench.switch.caller_dtmf(now, uuid, "1234").unwrap();
        bench.collect();
    }
}

const EXACT: [u64; 7] = [1, 2, 3, 4, 5, 6, 7];

/// A death at every point of every step.
fn single_faults() -> impl Iterator<Item = (Point, u64)> {
    (1..=FLOW.len() as u64).flat_map(|step| POINTS.into_iter().map(move |point| (point, step)))
}

#[test]
fn a_controller_may_die_anywhere() {
    for mode in [Mode::Script, Mode::Snippet] {
        assert_eq!(lead(mode, &[], Random::new(0)), (EXACT.into(), 0), "{mode:?}");
        let mut deaths = 0;
        for (seed, fault) in single_faults().enumerate() {
            let (runs, died) = lead(mode, &[fault], Random::new(seed as u64));
            assert_eq!(runs, EXACT, "{mode:?} {fault:?}");
            deaths += died;
        }
        // The call ends before anybody hears that its last step was executed.
        assert!((26..=28).contains(&deaths), "{mode:?}: {deaths} controllers died");
    }
}

#[test]
fn one_controller_may_die_after_the_other() {
    let mut deaths = 0;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mode = if seed % 2 == 0 { Mode::Script } else { Mode::Snippet };
        let mut fault = |_| (POINTS[random.in_range(&(0..=3)) as usize], random.in_range(&(1..=7)));
        let mut faults: Vec<(Point, u64)> = (0..4).map(&mut fault).collect();
        faults.sort_by_key(|(_, step)| *step);
        let (runs, died) = lead(mode, &faults, random);
        assert_eq!(runs, EXACT, "seed {seed}, {mode:?} {faults:?}");
        deaths += died;
    }
    assert!(deaths > 120, "only {deaths} controllers died");
}

#[test]
fn a_mark_alone_repeats_steps() {
    let runs = single_faults().map(|fault| lead(Mode::Marker, &[fault], Random::new(1)).0);
    let repeated = runs.filter(|runs| runs.as_slice() != EXACT).count();
    assert!(repeated > 5, "only {repeated} of 28 trials repeated a step");
}
