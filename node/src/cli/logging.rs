//! Log lines, to standard error.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Error;
use crate::config::{Config, LogFormat};

/// Starts logging as the configuration says.
pub(super) fn start(config: &Config) -> Result<(), Error> {
    let wrong = |detail: String| Error::Configuration { origin: "log.level".into(), detail };
    let filter = Targets::from_str(&config.log_level).map_err(|error| {
        wrong(format!("{:?}: {error}; use a level, or module=level with commas between", config.log_level))
    })?;
    let layer = match config.log_format {
        LogFormat::Text => {
            fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
    };
    let started = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    started.map_err(|error| wrong(error.to_string()))
}
