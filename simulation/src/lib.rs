//! Whole fipple clusters that exist only in memory: the real node, on machines, clocks, disks and a network that one seed
//! decides.
//!
//! [`World`] is the engine, with machines that can be killed, cut off and set to the wrong time.

mod agenda;
mod checkers;
mod clock;
mod disk;
mod engine;
mod error;
mod faults;
mod flows;
mod limits;
mod log;
mod machine;
mod network;
mod panics;
mod planted;
mod run;
mod scenario;
mod speed;
mod trace;
mod workload;

use std::thread::Builder;

pub use checkers::Violation;
pub use clock::EPOCH;
pub use engine::{NodeState, Observer, Place, Purpose, RestAnswer, RestRequest, Seen, World};
pub use error::Error;
pub use fipple_emulator::Time;
pub use limits::{NODES_MAX, SWITCHES_MAX};
pub use log::log_to_stderr;
pub use network::LinkQuality;
pub use run::{Report, run};
pub use scenario::{ClockSetting, Fault, PlantedBug, Scenario, TimedFault, Workload};
pub use speed::{Speed, measure_speed};
pub use trace::Trace;
pub use workload::Outcomes;

/// Runs a simulation on a thread of its own. Libraries seed hash maps once a thread, so that a thread on which anything
/// ran before the seed decided would not give the same run twice.
///
/// # Panics
/// If the simulation does.
#[expect(clippy::disallowed_methods, reason = "the simulator is what threads are hidden from")]
pub fn simulate<R: Send + 'static>(simulation: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = Builder::new().name("simulation".into()).stack_size(limits::STACK_BYTES).spawn(simulation);
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => panic!("no thread for a simulation: {error}"),
    }
}
