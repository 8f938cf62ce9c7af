//! Seeds: where a node looks for its cluster.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::peers::Peers;
use crate::limits::{SEED_INTERVAL, SEED_RETRY};
use crate::net::Network;

/// Dials the seeds, often until somebody is connected and seldom from then on. Their names are resolved each
/// time: an address changes, and two halves that forgot each other meet again.
pub(super) async fn dial_seeds(seeds: Vec<String>, network: Arc<dyn Network>, peers: Arc<Peers>) {
    let mut unresolved = BTreeSet::new();
    loop {
        for seed in &seeds {
            match network.resolve(seed).await {
                Ok(addresses) => {
                    unresolved.remove(seed);
                    addresses.into_iter().for_each(|address| peers.dial_address(address));
                }
                // Said once: it is tried twice a second.
                Err(error) if unresolved.insert(seed) => {
                    tracing::warn!(seed, %error, "a seed's name cannot be resolved, which is tried again");
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(if peers.connected_addresses().is_empty() { SEED_RETRY } else { SEED_INTERVAL })
            .await;
    }
}
