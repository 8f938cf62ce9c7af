//! `fipple demo`: a cluster of real processes on this machine, with emulated switches that this process serves on
//! loopback, real calls through them, and a node that is killed on the way.

mod chaos;
mod emulated;
mod figures;
mod nodes;
mod observe;
mod screen;
mod show;
mod traffic;
mod verdict;

use std::time::Duration;

use clap::Args;

use crate::Error;
use crate::cli::output::{print, print_json};
use crate::cli::signals::StopSignals;
use nodes::Nodes;
use screen::Screen;

/// What can be asked of the demonstration.
#[derive(Args, Clone, Debug)]
pub struct DemoArguments {
    /// How many node processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    nodes: u8,
    /// How many emulated switches
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    switches: u8,
    /// New calls a second
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    rate: f64,
    /// Stop after so many seconds of calls [default: goes on until Ctrl-C]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Kill no node. Otherwise the one that owns most calls is killed half-way, or after 15 s
    #[arg(long)]
    no_chaos: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    // 100 is what a real FreeSWITCH sustained on two cores (tests/fixtures/freeswitch/README.md, "Volumes seen").
    if (0.1..=100.0).contains(&rate) { Ok(rate) } else { Err("it has to be from 0.1 to 100".into()) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("it has to be whole seconds, from 1 to 86400".into()),
    }
}

/// Runs the demonstration to its end. All that it started is stopped when this returns.
///
/// # Errors
/// If the cluster did not come up, or any call was not controlled to its end.
pub async fn run(arguments: DemoArguments, json: bool) -> Result<(), Error> {
    let mut stop = StopSignals::listen()?;
    let mut nodes = Nodes::new()?;
    let result = show::perform(&arguments, &mut nodes, &mut Screen::new(json), &mut stop).await;
    nodes.kill_all();
    let result = match result {
        Ok(summary) => {
            if json {
                print_json(&summary.json())?
            } else {
                print(&summary.text())?
            }
            summary.judge()
        }
        Err(error) => Err(error),
    };
    match &result {
        Ok(()) => nodes.remove_files(),
        Err(_) => eprintln!("{}", nodes.last_words()),
    }
    result
}
