//! The subcommands, a file each.

pub(crate) mod bench;
pub(crate) mod check_determinism;
mod child;
mod play;
pub(crate) mod run;
pub(crate) mod shrink;
pub(crate) mod sweep;
pub(crate) mod switch;

use std::io::{self, Write};
use std::process::ExitCode;

/// Something did not hold: the exit code of a run that failed.
const VIOLATED: u8 = 1;

/// The run itself could not be had: a wrong argument, a file that cannot be read.
const UNUSABLE: u8 = 2;

/// Says what went wrong with a subcommand itself.
fn unusable(command: &str, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("fipple-sim {command}: {error}");
    ExitCode::from(UNUSABLE)
}

/// Prints what a subcommand is for; its own exit code, or that of a subcommand that could not do its work where nobody takes
/// what it prints.
fn print(command: &str, text: &str, code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(error) => unusable(command, &format!("standard output: {error}")),
    }
}
