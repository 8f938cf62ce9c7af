//! `fipple-sim`: the parts of a fipple cluster that are not fipple, and clusters that exist only in memory.

mod switch_command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Simulated surroundings for fipple.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Switch(switch_command::SwitchArguments),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("fipple-sim: the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match command {
        Command::Switch(arguments) => runtime.block_on(switch_command::run(arguments)),
    }
}
