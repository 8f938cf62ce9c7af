//! How fast a simulation is.

use std::time::Duration;

use fipple_determinism::thread_processor_time;
use serde::Serialize;

use crate::engine::World;
use crate::error::Error;
use crate::run::{all_up, build};
use crate::scenario::Scenario;
use crate::trace::Trace;

/// How fast a steady cluster was simulated.
#[derive(Debug, Clone, Serialize)]
pub struct Speed {
    /// Nodes.
    pub nodes: usize,
    /// Simulated seconds that were measured.
    pub simulated_s: f64,
    /// Processor time that they took, in seconds.
    pub processor_s: f64,
    /// Simulated seconds a second of processor time.
    pub speed: f64,
    /// Packets and other lines of the trace in a simulated second.
    pub trace_lines_per_s: f64,
}

/// How long nodes are given to meet.
const MEETING: Duration = Duration::from_secs(120);

/// How long a cluster that has met goes on before it is measured: first connections and retries are over.
const SETTLING: Duration = Duration::from_secs(20);

/// Measures a steady cluster: all nodes have met, both switches are attached, and there are no calls. On a fresh thread: see
/// [`simulate`](crate::simulate).
///
/// # Errors
/// [`Error`], if it could not be run or the nodes did not meet.
pub fn measure_speed(nodes: usize, measured: Duration) -> Result<Speed, Error> {
    let scenario = Scenario { nodes, ..Scenario::default() };
    let mut world = build(1, &scenario, Trace::default())?;
    let met = world.eventually(MEETING, |world| (all_up(world) && all_met(world)).then_some(()));
    met.ok_or_else(|| Error::Scenario { problem: format!("{nodes} nodes did not meet in {MEETING:?}") })?;
    let settled = world.now() + SETTLING;
    world.run_until(settled, &mut ());
    let (lines, start, processor) = (world.trace_lines(), world.now(), thread_processor_time());
    let end = start + measured;
    world.run_until(end, &mut ());
    let processor_s = (thread_processor_time() - processor).as_secs_f64();
    let simulated_s = world.now().micros_since(start) as f64 / 1e6;
    Ok(Speed {
        nodes,
        simulated_s,
        processor_s,
        speed: simulated_s / processor_s,
        trace_lines_per_s: (world.trace_lines() - lines) as f64 / simulated_s,
    })
}

fn all_met(world: &mut World) -> bool {
    let nodes = world.node_count();
    (0..nodes).all(|node| {
        let alive = world.ask(node, async |node| {
            let members = node.cluster().members();
            let members = members.borrow();
            members.all.keys().filter(|member| members.is_alive(**member)).count()
        });
        alive == Some(nodes)
    })
}
