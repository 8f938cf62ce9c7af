//! Three nodes, one switch, and calls that follow a flow of seven steps. Nodes are killed at exact moments of its steps: the
//! owner of a call, the node that is attached to the switch, or both at once; and are started again. However many of its
//! controllers a call has lost, each of its steps has run once, in order, and it has ended as its flow says.

#![expect(clippy::disallowed_methods, reason = "tests of real processes need threads and the time")]
#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{scope, sleep};
use std::time::Duration;

use fipple_emulator::config::CalleeScript;
use fipple_emulator::far_end::{Act, Step};
use fipple_emulator::{Config, Uuid};
use fipple_tests::{
    Moment, NodeProcess, TestCluster, TestSwitch, Trap, Victims, Watch, eventually, faults_of,
};

/// Every kind of step.
const FLOW: &str = r##"[{ name = "support", steps = [
    { do = "answer" },
    { do = "play", file = "tone_stream://%(400,0,440)" },
    { do = "collect_digits", min = 1, max = 4, tries = 2, timeout_ms = 8000, terminators = "#",
      prompt = "tone_stream://%(200,0,660)", variable = "extension", pattern = "^[1-9]\\d*$" },
    { do = "record", path = "/recordings/${uuid}.wav", limit_seconds = 1 },
    { do = "bridge", to = "user/${extension}", timeout_seconds = 20 },
    { do = "play", file = "tone_stream://%(400,0,880)" },
    { do = "hangup", cause = "CALL_REJECTED" },
] }]"##;

const APPLICATIONS: [&str; 7] =
    ["answer", "playback", "play_and_get_digits", "record", "bridge", "playback", "hangup"];

/// What a caller presses, and when after being asked.
const EXTENSION: &str = "42#";
const PRESSED_AFTER: Duration = Duration::from_millis(400);

/// The pause between two calls: about a dozen live at a time, so that some call soon comes to any moment.
const BETWEEN_CALLS: Duration = Duration::from_millis(250);

/// Every moment of every step. A step that takes no time is over when it begins.
fn moments() -> Vec<(u32, Moment)> {
    let mut moments = vec![(1, Moment::Claimed)];
    for (step, runs_ms) in (1..).zip([0, 200, 200, 500, 400, 200, 0]) {
        moments.extend([(step, Moment::Sent), (step, Moment::Started)]);
        if runs_ms > 0 {
            moments.extend([(step, Moment::Running(runs_ms)), (step, Moment::Completed)]);
        }
    }
    moments
}

fn switch(seed: u64) -> TestSwitch {
    // The other party talks for half a second.
    let hangs_up = Step::new(Duration::from_millis(500), Act::HangsUp);
    let scripts = vec![CalleeScript { pattern: "42".to_owned(), steps: vec![hangs_up] }];
    TestSwitch::start_with(Config { scripts, ..Config::default() }, seed)
}

/// Ends what runs beside a test, even when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Calls come in until they are told to stop.
fn calls(switch: &TestSwitch, stop: &AtomicBool) -> Vec<Uuid> {
    let mut calls = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        calls.push(switch.inbound_call("support"));
        sleep(BETWEEN_CALLS);
    }
    calls
}

/// Callers press keys when they are asked to.
fn press_keys(switch: &TestSwitch, asked: &Receiver<String>, stop: &AtomicBool) {
    scope(|scope| {
        while !stop.load(Ordering::Relaxed) {
            let Ok(uuid) = asked.recv_timeout(Duration::from_millis(100)) else { continue };
            scope.spawn(move || {
                sleep(PRESSED_AFTER);
                switch.press(&uuid, EXTENSION);
            });
        }
    });
}

/// Lets calls come to every moment of every step, and kills nodes there. Half of the dead come back at once, the others when the
/// calls have been taken over.
fn kill_everywhere(victims: Victims, seed: u64) {
    let switch = switch(seed);
    let (watcher, watch, asked) = Watch::new();
    switch.watch(watcher);
    let mut cluster = TestCluster::start_with(3, &[&switch], &["--flow".to_owned(), FLOW.to_owned()]);
    let ids = cluster.ids();
    let (stop_calls, stop_keys) = (AtomicBool::new(false), AtomicBool::new(false));
    let (calls, trapped) = scope(|scope| {
        let coming = scope.spawn(|| calls(&switch, &stop_calls));
        let (switch, stop) = (&switch, &stop_keys);
        scope.spawn(move || press_keys(switch, &asked, stop));
        let (stop_calls, _stop_keys) = (Stop(&stop_calls), Stop(&stop_keys));
        let mut trapped = Vec::new();
        for (number, (step, moment)) in moments().into_iter().enumerate() {
            let nodes = ids.iter().cloned().zip(cluster.nodes.iter().map(NodeProcess::killer)).collect();
            let trap = Trap { step, moment, victims };
            let sprung = watch.spring(trap, nodes);
            let sprung = sprung.unwrap_or_else(|error| panic!("no call comes to {trap:?}: {error}"));
            if number % 2 == 1 {
                sleep(Duration::from_secs(2));
            }
            for index in &sprung.killed {
                cluster.restart_node(*index);
            }
            cluster.wait_until_whole();
            trapped.push((sprung.call, step, moment));
        }
        drop(stop_calls);
        let calls = coming.join().expect("calls come");
        eventually("all calls end", || {
            let ledger = switch.ledger();
            let live = calls.iter().filter(|uuid| ledger.call(uuid).is_some_and(|call| call.ended.is_none()));
            match live.count() {
                0 => Ok(()),
                live => Err(format!("{live} of {} go on", calls.len())),
            }
        });
        (calls, trapped)
    });
    let ledger = switch.ledger();
    let mut faults = Vec::new();
    for uuid in &calls {
        let trap = trapped.iter().find(|(call, ..)| **call == **uuid);
        for fault in faults_of(&ledger, uuid, &APPLICATIONS, "CALL_REJECTED") {
            faults.push(format!(
                "{uuid}, killed at {:?}: {fault}",
                trap.map(|(_, step, moment)| (step, moment))
            ));
        }
    }
    let shown = faults.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{victims:?}: {} faults in {} calls:\n{shown}", faults.len(), calls.len());
}

#[test]
fn a_call_goes_on_wherever_its_owner_is_killed() {
    kill_everywhere(Victims::Owner, 1);
}

#[test]
fn a_call_goes_on_wherever_the_attached_node_is_killed() {
    kill_everywhere(Victims::Attached, 2);
}

#[test]
fn a_call_goes_on_wherever_its_owner_and_the_attached_node_are_killed() {
    kill_everywhere(Victims::Both, 3);
}
