//! `fipple-sim bench`: how fast simulations are.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use fipple_simulation::{Error, Speed, measure_speed, simulate};

use super::unusable;

/// Measures how many simulated seconds pass in a second of processor time, and prints one JSON object.
///
/// Clusters of 3, 10 and 30 nodes with two switches, met and attached, with real TLS and no calls.
#[derive(Args)]
pub(crate) struct BenchArguments {
    /// How many simulated seconds are measured, after the nodes have met.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Cluster sizes.
    #[arg(long, value_delimiter = ',', default_values_t = [3, 10, 30])]
    nodes: Vec<usize>,
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub(crate) fn run(arguments: &BenchArguments) -> ExitCode {
    let speeds: Result<Vec<Speed>, Error> = arguments
        .nodes
        .iter()
        .map(|nodes| {
            let (nodes, seconds) = (*nodes, arguments.seconds);
            simulate(move || measure_speed(nodes, Duration::from_secs(seconds)))
        })
        .collect();
    match speeds {
        Ok(speeds) => {
            let load = std::env::var("FIPPLE_BENCH_LOAD").ok();
            println!("{}", serde_json::json!({ "steady": speeds, "load": load }));
            ExitCode::SUCCESS
        }
        Err(error) => unusable("bench", &error),
    }
}
