//! `fipple node`: a node until it is told to stop.

use std::path::Path;

use super::signals::StopSignals;
use super::{arguments, logging, setup};
use crate::cluster::Identity;
use crate::config::Config;
use crate::net::Host;
use crate::{Error, Node};

/// Runs a node; returns when it was told to stop and has stopped.
pub(super) async fn run(data_dir: &Path, arguments: arguments::Node) -> Result<(), Error> {
    let arguments::Node { config, token_file, settings } = arguments;
    let mut stop = StopSignals::listen()?;
    let loaded = Config::load(settings.clone(), config.as_deref(), data_dir)?;
    logging::start(&loaded)?;
    let directory = data_dir.display().to_string();
    let can_enrol = token_file.is_some() && !loaded.seeds.is_empty();
    if !data_dir.exists() && !can_enrol {
        return Err(Error::NotInitialised { directory });
    }
    let host = Host::system(data_dir).map_err(Error::io(format!("open the data directory {directory}")))?;
    match (Identity::load(&host)?, token_file) {
        (Some(_), _) => {}
        (None, Some(token)) if can_enrol => {
            let identity = setup::enrol(&host, &token, &settings)?;
            tracing::info!(node = %identity.id(), cluster = identity.cluster_name(), "enrolled");
        }
        (None, _) => return Err(Error::NotInitialised { directory }),
    }
    let node = Node::start(host, loaded).await?;
    tracing::info!(node = %node.id(), api = %node.api_address(), "running");
    stop.next().await;
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        biased;
        () = stop.next() => tracing::warn!("stopped at once"),
        () = node.shutdown() => tracing::info!("stopped"),
    }
    Ok(())
}
