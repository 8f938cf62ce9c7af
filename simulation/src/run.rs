//! One run: a scenario, played under one seed and watched by all checkers.

use std::collections::BTreeMap;
use std::time::Duration;

use fipple::config::Config as NodeConfig;
use fipple::switch::{Fallback, SwitchConfig};
use fipple_emulator::{Config, Disorder, Time};
use serde::{Deserialize, Serialize};

use crate::agenda::Agenda;
use crate::checkers::{Checks, Listed, Listing, Rest, Sample, Violation};
use crate::engine::{EVENT_SOCKET_PORT, NodeState, Place, Purpose, RestRequest, World};
use crate::error::Error;
use crate::faults::Faults;
use crate::flows;
use crate::panics;
use crate::planted;
use crate::scenario::{Fault, Scenario};
use crate::trace::Trace;
use crate::workload::{Outcomes, Workload};

/// What came of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// SHA-256 of the trace: the same for the same seed, scenario and program.
    pub trace_sha256: String,
    /// Lines of the trace.
    pub trace_lines: u64,
    /// How long it was, in simulated seconds.
    pub simulated_s: f64,
    /// The first thing that did not hold, where the run ended.
    pub violation: Option<Violation>,
    /// Faults that happened.
    pub faults: usize,
    /// Calls that came in.
    pub calls: u64,
    /// Applications that ran at the switches.
    pub applications: u64,
    /// Commands by REST.
    pub commands: Outcomes,
    /// Listings by REST.
    pub listings: Outcomes,
    /// Writes to documents.
    pub writes: Outcomes,
}

/// How often nodes are looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long replicas may take to converge: a push that was lost is made good by the comparison of one pair of members every
/// five seconds, of which the swarm's five nodes need four to have met all.
const CONVERGENCE: Duration = Duration::from_secs(20);

/// How long the nodes may take for their listings at the end.
const LISTING_LIMIT: Duration = Duration::from_secs(20);

/// Plays a scenario under a seed. On a fresh thread: see [`simulate`](crate::simulate).
///
/// # Errors
/// [`Error`], if it could not be played; what does not hold in it is part of the report.
pub fn run(seed: u64, scenario: &Scenario, trace: Trace) -> Result<Report, Error> {
    scenario.check()?;
    panics::watch();
    let mut world = build(seed, scenario, trace)?;
    let node_ids: Vec<String> = (0..world.node_count()).map(|node| world.node_id(node).to_owned()).collect();
    let mut checks = Checks::new(&node_ids);
    let mut workload = Workload::new(&scenario.workload, scenario.planted, seed);
    let mut played = Played::plan(scenario);
    let end = Time(0) + Duration::from_secs(scenario.disturbed_s + scenario.quiet_s);
    workload.stop_writing_at(Time(end.0.saturating_sub(CONVERGENCE.as_micros() as u64)));
    let mut next_sample = Time(0);
    while world.now() < end && checks.violation().is_none() {
        played.play(&mut world, &mut checks)?;
        workload.act(&mut world);
        while let Some(answer) = world.next_answer() {
            workload.answered(&answer);
            checks.answered(&answer);
        }
        if world.now() >= next_sample {
            next_sample = world.now() + SAMPLE_INTERVAL;
            sample(&mut world, &mut checks);
        }
        world.step(&mut checks);
        note_panics(&world, &mut checks);
    }
    if checks.violation().is_none() {
        let acknowledged = workload.acknowledged().clone();
        let quiet_since = played.last_ended;
        let listings = list(&mut world, &mut checks);
        let documents = documents(&mut world);
        let rest = Rest { world: &world, quiet_since, listings, documents, acknowledged: &acknowledged };
        checks.at_rest(&rest);
    }
    report(seed, &world, &checks, &workload, played.begun)
}

pub(crate) fn build(seed: u64, scenario: &Scenario, trace: Trace) -> Result<World, Error> {
    let mut world = World::new(seed, scenario.network, trace)?;
    let mut switches = Vec::new();
    let (xml_dialplan, scripts) = (flows::dialplan()?, flows::phones());
    for _ in 0..scenario.switches {
        let (late_per_million, repeated_sequence_per_million) =
            (scenario.disorder_ppm, scenario.disorder_ppm);
        let disorder = Disorder { late_per_million, repeated_sequence_per_million };
        let pause_ms =
            scenario.planted.and_then(planted::script_pause_ms).unwrap_or(scenario.script_pause_ms);
        let mut config = Config {
            disorder,
            lua_pause_ms: 0..=pause_ms,
            xml_dialplan: xml_dialplan.clone(),
            scripts: scripts.clone(),
            ..Config::default()
        };
        if let Some(bug) = scenario.planted {
            planted::plant_in_scripts(&mut config.lua_scripts, bug)?;
        }
        let number = world.add_switch(config)?;
        let name = Place::Switch(number).to_string();
        let address = format!("{name}:{EVENT_SOCKET_PORT}");
        let (zone, password) = ("default".into(), "ClueCon".into());
        switches.push(SwitchConfig {
            name,
            zone,
            address,
            password,
            fence: None,
            fallback: Fallback::default(),
        });
    }
    let config = NodeConfig { switches, flows: flows::configured(), ..NodeConfig::default() };
    for _ in 0..scenario.nodes {
        world.add_node(config.clone())?;
    }
    for clock in &scenario.clocks {
        world.set_clock_offset_ms(clock.node - 1, clock.offset_ms);
        world.set_clock_drift_ppm(clock.node - 1, clock.drift_ppm);
    }
    if let Some(bug) = scenario.planted {
        planted::plant(&mut world, bug);
    }
    for node in 0..world.node_count() {
        world.start_node(node)?;
    }
    Ok(world)
}

/// The faults of a scenario, as they come.
struct Played {
    faults: Faults,
    agenda: Agenda<(Fault, bool)>,
    begun: usize,
    last_ended: Time,
}

impl Played {
    fn plan(scenario: &Scenario) -> Self {
        let mut agenda = Agenda::default();
        for timed in &scenario.faults {
            let begin = timed.at_ms.min(scenario.disturbed_s * 1_000);
            let end = timed.at_ms.saturating_add(timed.for_ms).min(scenario.disturbed_s * 1_000);
            agenda.add(Time(begin * 1_000), (timed.fault.clone(), true));
            agenda.add(Time(end * 1_000), (timed.fault.clone(), false));
        }
        Self { faults: Faults::new(scenario), agenda, begun: 0, last_ended: Time(0) }
    }

    fn play(&mut self, world: &mut World, checks: &mut Checks) -> Result<(), Error> {
        while let Some((fault, begins)) = self.agenda.next_due(world.now()) {
            let word = if begins { "begins" } else { "ends" };
            world.record(format_args!("fault {word}: {fault:?}"));
            if begins {
                self.begun += 1;
                self.faults.begin(world, &fault);
            } else {
                self.last_ended = world.now();
                self.faults.end(world, &fault)?;
            }
            checks.faulted(world.now(), &fault, begins);
        }
        Ok(())
    }
}

/// A panic of a node's task ends that task and nothing else, and would be seen by nobody.
fn note_panics(world: &World, checks: &mut Checks) {
    if let Some(panic) = panics::take() {
        checks.violated("no panics", world.now(), panic);
    }
}

fn sample(world: &mut World, checks: &mut Checks) {
    for node in 0..world.node_count() {
        let requests_in_flight =
            world.ask(node, async |node| node.cluster().metrics().requests_in_flight.get());
        let state = world.node_state(node);
        let peers = world.node_count() - 1;
        checks.sampled(&Sample { at: world.now(), node, state, peers, requests_in_flight });
    }
    checks.looked(world);
}

/// What every node lists, asked by REST.
fn list(world: &mut World, checks: &mut Checks) -> Vec<(usize, Listing)> {
    // Answers to what people asked come first; theirs are listings of another moment.
    let end = world.now() + LISTING_LIMIT;
    let asked = world.now();
    for node in 0..world.node_count() {
        let request =
            RestRequest { method: "GET", path: "/v2/channels".into(), body: None, purpose: Purpose::List };
        world.send_rest(node, request);
    }
    let mut listings: BTreeMap<usize, Listing> = BTreeMap::new();
    while listings.len() < world.node_count() && world.now() < end {
        world.step(checks);
        note_panics(world, checks);
        while let Some(answer) = world.next_answer() {
            checks.answered(&answer);
            if answer.asked >= asked {
                let channels = answer.outcome.and_then(|(status, body)| read_list(status, &body));
                listings.insert(answer.node, Listing { asked, at: answer.at, channels });
            }
        }
    }
    let missing = || Listing { asked, at: end, channels: Err("no answer in time".to_owned()) };
    (0..world.node_count()).map(|node| (node, listings.remove(&node).unwrap_or_else(missing))).collect()
}

fn read_list(status: u16, body: &[u8]) -> Result<BTreeMap<String, Listed>, String> {
    /// REST's envelope, as far as it is looked at.
    #[derive(Deserialize)]
    struct Envelope {
        data: Vec<Listed>,
        #[serde(default)]
        unanswered: Vec<serde_json::Value>,
    }
    let text = || String::from_utf8_lossy(body).into_owned();
    if status != 200 {
        return Err(format!("status {status}: {}", text()));
    }
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| format!("{error}: {}", text()))?;
    if !envelope.unanswered.is_empty() {
        return Err(format!("nodes did not answer: {:?}", envelope.unanswered));
    }
    Ok(envelope.data.into_iter().map(|listed| (listed.uuid.clone(), listed)).collect())
}

fn documents(world: &mut World) -> Vec<(usize, Option<Vec<fipple_crdt::Entry>>)> {
    let nodes = 0..world.node_count();
    let read = async |node: &fipple::Node| node.documents().list("cluster", None, usize::MAX).await.ok();
    nodes.map(|number| (number, world.ask(number, read).flatten())).collect()
}

fn report(
    seed: u64,
    world: &World,
    checks: &Checks,
    workload: &Workload,
    faults: usize,
) -> Result<Report, Error> {
    let trace = world.take_trace();
    let trace_lines = trace.lines();
    let applications =
        (0..world.switch_count()).filter_map(|switch| Some(world.switch(switch)?.counts().executions)).sum();
    let trace_sha256 = trace.finish().map_err(|source| Error::File { path: "the trace".into(), source })?;
    Ok(Report {
        seed,
        trace_sha256,
        trace_lines,
        simulated_s: world.now().0 as f64 / 1e6,
        violation: checks.violation().cloned(),
        faults,
        calls: workload.calls(),
        applications,
        commands: workload.commands(),
        listings: workload.listings(),
        writes: workload.writes(),
    })
}

/// Whether a node works; for benchmarks that wait until all do.
pub(crate) fn all_up(world: &World) -> bool {
    (0..world.node_count()).all(|node| world.node_state(node) == NodeState::Up)
}
