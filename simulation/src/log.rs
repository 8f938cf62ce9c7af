//! What simulated nodes log, with the simulated time and the machine's name.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock;
use crate::error::Error;

/// Shows what nodes log on standard error: a level, or levels by module such as `info,fipple::calls=debug`.
///
/// # Errors
/// [`Error::LogLevels`].
pub fn log_to_stderr(levels: &str) -> Result<(), Error> {
    let wrong = |problem: String| Error::LogLevels { levels: levels.to_owned(), problem };
    let targets = Targets::from_str(levels).map_err(|error| wrong(error.to_string()))?;
    // A word that is no level would be taken for a module of which everything is shown.
    if let Some(word) =
        levels.split(',').find(|word| !word.contains('=') && word.parse::<LevelFilter>().is_err())
    {
        return Err(wrong(format!("{word:?} is no level: error, warn, info, debug, trace or off")));
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_timer(SimulatedTime)
        .with_writer(std::io::stderr);
    // A second call changes nothing.
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
    Ok(())
}

struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        let now = clock::now();
        write!(line, "{:4}.{:06} {:6}", now.0 / 1_000_000, now.0 % 1_000_000, clock::machine())
    }
}
