//! Three nodes and a real FreeSWITCH, whose Event Socket `FIPPLE_TEST_FREESWITCH=HOST:PORT:PASSWORD` names, with fipple's scripts
//! installed. Calls follow
//! a flow of seven steps; the owner of a call, the attached node, or both are killed at every moment of every step. Each step
//! runs once, in order, and each call ends as its flow says. Without the variable nothing is tested.

#![expect(
    clippy::disallowed_methods,
    reason = "tests of real processes need threads, the time and real sockets"
)]
#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{scope, sleep, spawn};
use std::time::Duration;

use fipple_tests::{
    EventSocket, Killer, Moment, NodeProcess, RealSwitch, Sprung, TestCluster, Trap, Victims, Way,
    call_and_step, eventually, proxy, step_of,
};

const FLOW: &str = r##"[{ name = "support", steps = [
    { do = "answer" },
    { do = "play", file = "tone_stream://%(400,0,440)" },
    { do = "collect_digits", min = 1, max = 4, tries = 2, timeout_ms = 8000, terminators = "#",
      prompt = "tone_stream://%(200,0,660)", variable = "extension", pattern = "^[1-9]\\d*$" },
    { do = "record", path = "/tmp/fipple-test-${uuid}.wav", limit_seconds = 1 },
    { do = "bridge", to = "{execute_on_answer='sched_hangup +1'}null/${extension}", timeout_seconds = 20 },
    { do = "play", file = "tone_stream://%(400,0,880)" },
    { do = "hangup", cause = "CALL_REJECTED" },
] }]"##;

const APPLICATIONS: [&str; 7] =
    ["answer", "playback", "play_and_get_digits", "record", "bridge", "playback", "hangup"];

const BETWEEN_CALLS: Duration = Duration::from_millis(250);
const PRESSED_AFTER: Duration = Duration::from_millis(400);

/// How long a trap may wait for a call. No test asserts a time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The switch, and what is known of its calls.
struct Bench {
    address: SocketAddr,
    password: String,
    /// What ran on each call, and its end.
    calls: Mutex<BTreeMap<String, Call>>,
    armed: Mutex<Option<Armed>>,
    sprung: SyncSender<Sprung>,
}

#[derive(Default, Debug)]
struct Call {
    ran: Vec<(u32, String)>,
    cause: Option<String>,
}

struct Armed {
    trap: Trap,
    ids: Vec<String>,
    killers: Vec<Killer>,
}

fn moments() -> Vec<(u32, Moment)> {
    let mut moments = Vec::new();
    for (step, runs_ms) in (1..).zip([0, 200, 200, 500, 400, 200, 0]) {
        moments.extend([(step, Moment::Sent), (step, Moment::Started)]);
        if runs_ms > 0 {
            moments.extend([(step, Moment::Running(runs_ms)), (step, Moment::Completed)]);
        }
    }
    moments
}

impl Bench {
    fn connect(&self) -> EventSocket {
        EventSocket::connect(self.address, &self.password).expect("the switch takes the password")
    }

    /// What a node and the switch say to each other, before it passes: kills where a trap is set.
    fn sees(&self, attached: usize, way: Way, bytes: &[u8]) -> bool {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Armed { trap, ids, killers }) = armed.as_ref() else { return true };
        let text = String::from_utf8_lossy(bytes);
        let (call, after) = match (trap.moment, way) {
            (Moment::Sent | Moment::Started, Way::ToSwitch) => (sent(&text, trap.step), Duration::ZERO),
            (Moment::Running(ms), Way::ToSwitch) => (sent(&text, trap.step), Duration::from_millis(ms)),
            (Moment::Completed, Way::ToNode) => (completed(&text, trap.step), Duration::ZERO),
            _ => return true,
        };
        let Some(call) = call else { return true };
        let owner = self.connect().api(&format!("uuid_getvar {call} fipple_owner")).unwrap_or_default();
        let Some(owner) = ids.iter().position(|id| owner.contains(id)) else { return true };
        if owner == attached {
            return true;
        }
        let killed = match trap.victims {
            Victims::Owner => vec![owner],
            Victims::Attached => vec![attached],
            Victims::Both => vec![owner, attached],
        };
        // What a node had written before it died arrives; what it was about to write does not, and what it was to read neither.
        let passes =
            !killed.contains(&attached) || matches!(trap.moment, Moment::Started | Moment::Running(_));
        let victims: Vec<Killer> = killed.iter().map(|index| killers[*index].clone()).collect();
        let (report, sprung) = (self.sprung.clone(), Sprung { call, killed });
        *armed = None;
        let kill = move || {
            sleep(after);
            victims.iter().for_each(Killer::kill);
            let _nobody_waits = report.send(sprung);
        };
        if after.is_zero() {
            kill();
        } else {
            spawn(kill);
        }
        passes
    }

    /// Calls come in until they are told to stop.
    fn call_in(&self, stop: &AtomicBool) -> Vec<String> {
        let mut socket = self.connect();
        let mut calls = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let uuid = socket.api("create_uuid").expect("the switch answers");
            let variables = "fipple_epoch=0,fipple_done=0,fipple_flow=support,continue_on_fail=true";
            let originate = format!("originate {{origination_uuid={uuid},{variables}}}null/fipple &park()");
            assert_eq!(socket.api(&originate).expect("the switch answers"), format!("+OK {uuid}"));
            calls.push(uuid);
            sleep(BETWEEN_CALLS);
        }
        calls
    }

    /// Takes down what runs, and presses keys for callers that are asked to.
    fn listen(&self, stop: &AtomicBool) {
        let mut socket = self.connect();
        let events = "CHANNEL_EXECUTE CHANNEL_HANGUP_COMPLETE HEARTBEAT";
        socket.command(&format!("event plain {events}")).expect("the switch answers");
        scope(|scope| {
            while !stop.load(Ordering::Relaxed) {
                let event = socket.event().expect("the switch goes on");
                let header = |name: &str| event.get(name).map(String::as_str).unwrap_or_default();
                let uuid = header("Unique-ID").to_owned();
                let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
                if header("Event-Name") == "CHANNEL_HANGUP_COMPLETE" {
                    calls.entry(uuid).or_default().cause = Some(header("Hangup-Cause").to_owned());
                    continue;
                }
                let application = header("Application");
                let Some(step) = step_of(&uuid, application, header("Application-UUID")) else { continue };
                calls.entry(uuid.clone()).or_default().ran.push((step, application.to_owned()));
                if application == "play_and_get_digits" {
                    scope.spawn(move || {
                        sleep(PRESSED_AFTER);
                        let _gone = self.connect().api(&format!("uuid_recv_dtmf {uuid} 42#"));
                    });
                }
            }
        });
    }

    fn faults(&self, call: &str) -> Vec<String> {
        let expected: Vec<_> = (1..).zip(APPLICATIONS.map(str::to_owned)).collect();
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Call { ran, cause }) = calls.get(call) else { return vec!["nothing ran on it".to_owned()] };
        let mut faults = Vec::new();
        if *ran != expected {
            faults.push(format!("its steps were {ran:?}"));
        }
        if cause.as_deref() != Some("CALL_REJECTED") {
            faults.push(format!("it ended with {cause:?}"));
        }
        faults
    }
}

/// The call whose step is sent here.
fn sent(text: &str, step: u32) -> Option<String> {
    let uuids = text.lines().filter_map(|line| line.strip_prefix("Event-UUID: "));
    uuids.filter_map(call_and_step).find(|(_, sent)| *sent == step).map(|(call, _)| call.to_owned())
}

/// The call whose step's end is told here: by the channel, or by the switch where the channel does not tell.
fn completed(text: &str, step: u32) -> Option<String> {
    for event in text.split("\n\n") {
        let header = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if header("Event-Subclass") == Some("fipple%3A%3Astep") && header("Result") == Some("done") {
            if header("Step") == Some(&step.to_string()) {
                return header("Unique-ID").map(str::to_owned);
            }
        } else if header("Event-Name") == Some("CHANNEL_EXECUTE_COMPLETE")
            && let Some((call, done)) = header("Application-UUID").and_then(call_and_step)
            && done == step
        {
            return Some(call.to_owned());
        }
    }
    None
}

/// Ends what runs beside a test, even when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_real_freeswitch_keeps_its_calls_going() {
    let Some(RealSwitch { address, password }) = RealSwitch::from_environment() else { return };
    let address = address.to_socket_addrs().expect("HOST:PORT").next().expect("the host has an address");
    let (sprung, springs) = sync_channel(1);
    let (calls, armed) = (Mutex::default(), Mutex::default());
    let bench = Arc::new(Bench { address, password: password.clone(), calls, armed, sprung });
    let proxies: Vec<SocketAddr> = (0..3)
        .map(|node| {
            let bench = Arc::clone(&bench);
            proxy(address, move |way, bytes: &[u8]| bench.sees(node, way, bytes))
        })
        .collect();
    let mut cluster = TestCluster::start_each(3, 1, move |node| {
        let switch = format!("fs1={}", proxies[node]);
        ["--switch", &switch, "--switch-password", &password, "--flow", FLOW].map(str::to_owned).into()
    });
    let ids = cluster.ids();
    let (stop_calls, stop_listening) = (AtomicBool::new(false), AtomicBool::new(false));
    let (calls, trapped) = scope(|scope| {
        scope.spawn(|| bench.listen(&stop_listening));
        let coming = scope.spawn(|| bench.call_in(&stop_calls));
        let (stop_calls, _stop_listening) = (Stop(&stop_calls), Stop(&stop_listening));
        let mut trapped = BTreeMap::new();
        let all = [Victims::Owner, Victims::Attached, Victims::Both];
        let traps = all.into_iter().flat_map(|victims| {
            moments().into_iter().map(move |(step, moment)| Trap { step, moment, victims })
        });
        for (number, trap) in traps.enumerate() {
            let killers = cluster.nodes.iter().map(NodeProcess::killer).collect();
            let armed = Armed { trap, ids: ids.clone(), killers };
            *bench.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some(armed);
            let sprung: Sprung = springs
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("no call comes to {trap:?}: {error}"));
            if number % 2 == 1 {
                sleep(Duration::from_secs(2));
            }
            sprung.killed.iter().for_each(|index| cluster.restart_node(*index));
            cluster.wait_until_whole();
            trapped.insert(sprung.call, trap);
        }
        drop(stop_calls);
        let calls = coming.join().expect("calls come");
        eventually("all calls end", || {
            let ended = bench.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let live = calls.iter().filter(|uuid| ended.get(*uuid).is_none_or(|call| call.cause.is_none()));
            match live.count() {
                0 => Ok(()),
                live => Err(format!("{live} of {} go on", calls.len())),
            }
        });
        (calls, trapped)
    });
    let mut faults = Vec::new();
    for uuid in &calls {
        let _not_recorded = std::fs::remove_file(format!("/tmp/fipple-test-{uuid}.wav"));
        for fault in bench.faults(uuid) {
            faults.push(format!("{uuid}, {:?}: {fault}", trapped.get(uuid)));
        }
    }
    let shown = faults.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} faults in {} calls:\n{shown}", faults.len(), calls.len());
}
