//! `fipple-sim`: fipple clusters that exist only in memory, and the parts of one that are not fipple.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Simulates fipple clusters: the real nodes, under a seed that decides everything else.
///
/// A seed draws a cluster, what people do with it and what breaks, and always plays the same way. What must hold is
/// checked all the while: a run that fails says what did not hold, when, and how to see it again.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::RunArguments),
    Sweep(commands::sweep::SweepArguments),
    CheckDeterminism(commands::check_determinism::CheckArguments),
    Shrink(commands::shrink::ShrinkArguments),
    Bench(commands::bench::BenchArguments),
    Switch(commands::switch::SwitchArguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Sweep(arguments) => commands::sweep::run(&arguments),
        Command::CheckDeterminism(arguments) => commands::check_determinism::run(&arguments),
        Command::Shrink(arguments) => commands::shrink::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Switch(arguments) => commands::switch::run(arguments),
    }
}
