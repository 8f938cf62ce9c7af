//! What calls cost a cluster, and how long they are without a controller when one dies: `cargo build --release --bin fipple`,
//! then `cargo run --release -p fipple-tests --bin takeover`. Three real node processes and an emulated switch in this process;
//! README.md beside the folder says what is measured and what was found. `-- park` and `-- death` run one half alone.

#![expect(clippy::disallowed_methods, reason = "a benchmark takes the time and reads the kernel's files")]
#![expect(clippy::print_stdout, reason = "what a benchmark is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run may say so by ending")]

use std::thread::sleep;
use std::time::{Duration, Instant};

use fipple_emulator::{Config, Disorder, Uuid};
use fipple_tests::{NodeProcess, TestCluster, TestSwitch, faults_of};
use serde_json::json;

use crate::figures::{Spread, load_average, print_table};
use crate::recorder::Recorder;

mod event_size;
mod figures;
mod recorder;

/// Calls a second, and for how long.
const RATE_PER_SECOND: u32 = 300;
const RATE_SECONDS: u32 = 20;

/// Calls that live when a node dies, and how many of them come in a second.
const LIVE_CALLS: usize = 5_000;
const LIVE_CALLS_PER_SECOND: u32 = 200;

/// How long nodes have to settle before something is read or killed.
const SETTLE: Duration = Duration::from_secs(5);

/// How long a call may be without a controller before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call that is soon over, and one that lives until its caller has pressed three keys.
const FLOWS: &str = r#"[
  { name = "short", steps = [
    { do = "answer" }, { do = "play", file = "tone_stream://%(1000,0,440)" }, { do = "hangup" } ] },
  { name = "long", steps = [
    { do = "answer" },
    { do = "collect_digits", min = 1, max = 1, timeout_ms = 600000, prompt = "silence_stream://20", variable = "a" },
    { do = "collect_digits", min = 1, max = 1, timeout_ms = 600000, prompt = "silence_stream://20", variable = "b" },
    { do = "collect_digits", min = 1, max = 1, timeout_ms = 600000, prompt = "silence_stream://20", variable = "c" },
    { do = "hangup" } ] },
]"#;

const SHORT: [&str; 3] = ["answer", "playback", "hangup"];
const LONG: [&str; 5] =
    ["answer", "play_and_get_digits", "play_and_get_digits", "play_and_get_digits", "hangup"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| arguments.iter().all(|argument| argument == name);
    let mut rows = Vec::new();
    println!("{}", json!({"load_average": load_average(), "mean_event_bytes": event_size::mean_bytes()}));
    if wanted("park") {
        park_to_answer(&mut rows);
    }
    if wanted("death") {
        deaths(&mut rows);
    }
    print_table(&rows);
}

/// A switch that tells what happens at once, so that what is measured is the nodes'.
fn switch() -> TestSwitch {
    let disorder = Disorder { late_per_million: 0, repeated_sequence_per_million: 0 };
    let config = Config { sessions_max: 2 * LIVE_CALLS, event_lag_ms: 0..=0, disorder, ..Config::default() };
    TestSwitch::start_with(config, 1)
}

fn cluster(switch: &TestSwitch) -> TestCluster {
    TestCluster::start_with(3, &[switch], &["--flow".to_owned(), FLOWS.to_owned()])
}

/// Calls come in evenly.
fn call_in(switch: &TestSwitch, flow: &str, calls: usize, per_second: u32) -> Vec<Uuid> {
    let started = Instant::now();
    let spacing = Duration::from_secs(1) / per_second;
    (0..calls)
        .map(|number| {
            sleep((started + spacing * number as u32).saturating_duration_since(Instant::now()));
            switch.inbound_call(flow)
        })
        .collect()
}

/// From CHANNEL_PARK to the first step's arrival at the switch.
fn park_to_answer(rows: &mut Vec<(String, String)>) {
    let switch = switch();
    let recorder = Recorder::of(&switch);
    let cluster = cluster(&switch);
    let processor_before: f64 = cluster.nodes.iter().map(figures::processor_seconds).sum();
    let calls = call_in(&switch, "short", (RATE_PER_SECOND * RATE_SECONDS) as usize, RATE_PER_SECOND);
    wait_until(|| switch.counts().channels == 0);
    let processor: f64 = cluster.nodes.iter().map(figures::processor_seconds).sum::<f64>() - processor_before;
    let spread = recorder.read(|log| {
        Spread::of(calls.iter().filter_map(|uuid| Some(log.step(uuid, 1)? - log.parked(uuid)?)).collect())
    });
    let faults = faults(&switch, &calls, &SHORT);
    println!(
        "{}",
        json!({"what": "park to the first step", "calls_per_second": RATE_PER_SECOND, "calls": calls.len(),
            "ms": spread.to_json(), "steps_repeated_or_lost": faults, "nodes_processor_seconds": processor,
            "load_average": load_average()})
    );
    rows.push((format!("park to the first step, {RATE_PER_SECOND} calls/s"), spread.to_string()));
    rows.push(("steps repeated or lost".to_owned(), faults.to_string()));
}

/// What living calls cost, and what the deaths of their owner and of the attached node cost them.
fn deaths(rows: &mut Vec<(String, String)>) {
    let switch = switch();
    let recorder = Recorder::of(&switch);
    let mut cluster = cluster(&switch);
    let ids = cluster.ids();
    sleep(SETTLE);
    let before = [memory(&cluster, "VmRSS"), memory(&cluster, "RssAnon")];
    let calls = call_in(&switch, "long", LIVE_CALLS, LIVE_CALLS_PER_SECOND);
    wait_until(|| recorder.read(|log| calls.iter().all(|uuid| log.step(uuid, 2).is_some())));
    sleep(SETTLE);
    let [resident, own] = [memory(&cluster, "VmRSS") - before[0], memory(&cluster, "RssAnon") - before[1]];
    let json = json!({"what": "memory of live calls", "calls": calls.len(), "nodes_mb": resident, "nodes_own_mb": own});
    println!("{json}");
    let figure = format!("{resident:.1} MB, of which {own:.1} MB are no pages of the program");
    rows.push((format!("memory of {LIVE_CALLS} live calls on all nodes"), figure));

    let attached = attached(&cluster, &ids, 0);
    let owned_by = |index: usize| -> Vec<Uuid> {
        recorder
            .read(|log| calls.iter().filter(|uuid| log.owner(uuid) == Some(&ids[index])).cloned().collect())
    };
    let victim =
        (0..3).filter(|index| *index != attached).max_by_key(|index| owned_by(*index).len()).unwrap();
    let theirs = owned_by(victim);
    report(rows, "death of the owner", &measure(&switch, &recorder, &cluster.nodes[victim], &theirs));

    cluster.restart_node(victim);
    cluster.wait_until_whole();
    sleep(SETTLE);
    let attached = self::attached(&cluster, &ids, victim);
    report(
        rows,
        "death of the attached node",
        &measure(&switch, &recorder, &cluster.nodes[attached], &calls),
    );

    wait_until(|| {
        calls.iter().for_each(|uuid| switch.press(uuid, "1"));
        sleep(SETTLE);
        switch.counts().channels == 0
    });
    let faults = faults(&switch, &calls, &LONG);
    println!("{}", json!({"what": "all deaths", "calls": calls.len(), "steps_repeated_or_lost": faults}));
    rows.push(("steps repeated or lost in both deaths".to_owned(), faults.to_string()));
}

/// What the death of a node cost some calls.
struct Death {
    calls: usize,
    /// Those of which no next step came.
    lost: usize,
    /// Until the call's epoch was raised, for the last time where it was more than once.
    taken: Spread,
    /// Until the next step arrived at the switch.
    next_step: Spread,
}

/// Kills a node. At the same moment the callers press a key, which ends the step that runs: so all calls need their next one.
fn measure(switch: &TestSwitch, recorder: &Recorder, node: &NodeProcess, calls: &[Uuid]) -> Death {
    let before: Vec<u32> = recorder.read(|log| calls.iter().map(|uuid| log.last_step(uuid)).collect());
    let killed_at = recorder.kill(switch, node);
    calls.iter().for_each(|uuid| switch.press(uuid, "1"));
    let next_steps = || {
        recorder.read(|log| {
            let next = calls.iter().zip(&before).filter_map(|(uuid, step)| log.step(uuid, step + 1));
            next.map(|at| at - killed_at).collect::<Vec<_>>()
        })
    };
    let started = Instant::now();
    while next_steps().len() < calls.len() && started.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200));
    }
    let next_steps = next_steps();
    let taken =
        recorder.read(|log| calls.iter().filter_map(|uuid| Some(log.taken(uuid)? - killed_at)).collect());
    Death {
        calls: calls.len(),
        lost: calls.len() - next_steps.len(),
        taken: Spread::of(taken),
        next_step: Spread::of(next_steps),
    }
}

fn report(rows: &mut Vec<(String, String)>, what: &str, death: &Death) {
    let Death { calls, lost, taken, next_step } = death;
    println!(
        "{}",
        json!({"what": what, "calls": calls, "without_a_next_step": lost, "ms_to_the_new_epoch": taken.to_json(), "ms_to_the_next_step": next_step.to_json(),
            "load_average": load_average()})
    );
    rows.push((format!("{what}, {calls} calls: to the new epoch"), taken.to_string()));
    rows.push((format!("{what}, {calls} calls: to the next step"), next_step.to_string()));
}

/// The number of the node that is attached to the switch, as a node says that is not `dead`.
fn attached(cluster: &TestCluster, ids: &[String], dead: usize) -> usize {
    let switches = cluster.nodes[(dead + 1) % 3].data("/v2/cluster/switches").unwrap();
    ids.iter().position(|id| switches[0]["attached_to"] == **id).unwrap()
}

fn memory(cluster: &TestCluster, name: &str) -> f64 {
    cluster.nodes.iter().map(|node| figures::memory_mb(node, name)).sum()
}

fn faults(switch: &TestSwitch, calls: &[Uuid], applications: &[&str]) -> usize {
    let ledger = switch.ledger();
    let faults: Vec<_> =
        calls.iter().flat_map(|uuid| faults_of(&ledger, uuid, applications, "NORMAL_CLEARING")).collect();
    for fault in faults.iter().take(5) {
        eprintln!("{fault}");
    }
    faults.len()
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < 5 * PATIENCE, "it takes too long");
        sleep(Duration::from_millis(500));
    }
}
