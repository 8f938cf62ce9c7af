//! Prints how many events a second the emulated switch writes to a real socket, as one JSON object.
//!
//!     cargo bench --package fipple-emulator --features measure --bench socket -- [SECONDS]

use std::io;
use std::time::Duration;

#[expect(clippy::print_stdout, reason = "it is what a benchmark is for")]
fn main() -> io::Result<()> {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(5);
    println!("{}", fipple_emulator::measure::run(Duration::from_secs(seconds))?.to_json());
    Ok(())
}
