//! `fipple-sim bench`: how fast simulations are, and the emulated switch on a real socket.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use fipple_emulator::measure;
use fipple_simulation::{Error, NODES_MAX, Speed, measure_speed, simulate};
use serde_json::{Value, json};

use super::play::up_to;
use super::{print, unusable};

/// Measures how fast simulations are, and prints one JSON object.
///
/// `steady`: how many simulated seconds pass in a second of processor time, for clusters with two switches that have met and
/// attached, with real TLS and no calls. `emulator`: how many events a second the emulated switch writes to a real socket,
/// on one thread.
#[derive(Args)]
pub(crate) struct BenchArguments {
    /// How many simulated seconds are measured, after the nodes have met.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Cluster sizes.
    #[arg(long, value_delimiter = ',', default_values_t = [3, 10, 30], value_parser = up_to(NODES_MAX))]
    nodes: Vec<usize>,
    /// How many real seconds the emulated switch is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    emulator_seconds: u64,
}

pub(crate) fn run(arguments: &BenchArguments) -> ExitCode {
    match measured(arguments) {
        Ok(figures) => print("bench", &format!("{figures}\n"), ExitCode::SUCCESS),
        Err(error) => unusable("bench", &error),
    }
}

fn measured(arguments: &BenchArguments) -> Result<Value, Error> {
    let mut steady: Vec<Speed> = Vec::new();
    for nodes in &arguments.nodes {
        let (nodes, seconds) = (*nodes, arguments.seconds);
        eprintln!("{nodes} nodes for {seconds} simulated seconds");
        steady.push(simulate(move || measure_speed(nodes, Duration::from_secs(seconds)))?);
    }
    eprintln!("the emulated switch for {} seconds", arguments.emulator_seconds);
    let emulator = measure::run(Duration::from_secs(arguments.emulator_seconds));
    let emulator = emulator.map_err(|source| Error::File { path: "the loopback socket".into(), source })?;
    let emulator: Value = serde_json::from_str(&emulator.to_json()).unwrap_or_default();
    Ok(json!({ "steady": steady, "emulator": emulator }))
}
