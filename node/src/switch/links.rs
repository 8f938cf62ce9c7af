//! What this node says about its switches, all in one place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::calls::attached::AttachedSwitch;
use crate::calls::peers::Peers;
use crate::cluster::{SwitchFact, SwitchLink, SwitchTrouble};

/// What this node says about its switches.
pub(crate) struct Links {
    facts: Mutex<BTreeMap<String, SwitchFact>>,
    peers: Arc<dyn Peers>,
}

/// What is remembered of a switch from one connection to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Its last `Core-UUID`.
    pub(super) core_uuid: Option<String>,
    /// When it was last found to be another run than before, in Unix milliseconds.
    pub(super) restarted_at_ms: Option<u64>,
    /// Why it cannot be reached, while it cannot.
    pub(super) trouble: Option<SwitchTrouble>,
}

impl Links {
    pub(crate) fn new(peers: Arc<dyn Peers>) -> Self {
        Self { facts: Mutex::default(), peers }
    }

    /// Says how this node stands to a switch, if that is news.
    pub(super) fn set(&self, switch: &AttachedSwitch, link: SwitchLink, known: &Known) {
        let trouble = known.trouble.filter(|_| link == SwitchLink::Unreachable);
        switch.metrics.gate.set_state(link, trouble);
        let config = &switch.config;
        let fact = SwitchFact {
            name: config.name.clone(),
            zone: config.zone.clone(),
            address: config.address.clone(),
            link,
            fence: (link == SwitchLink::Attached).then(|| switch.table().fence()),
            trouble,
            run: known.core_uuid.as_deref().map(run_of),
            restarted_at_ms: known.restarted_at_ms,
        };
        let facts = {
            let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
            if facts.insert(config.name.clone(), fact.clone()) == Some(fact) {
                return;
            }
            facts.values().cloned().collect()
        };
        self.peers.publish_switches(facts);
    }
}

/// A run of a switch as facts name it: the first eight bytes of its `Core-UUID`, which is random.
fn run_of(core_uuid: &str) -> u64 {
    let digits = core_uuid.chars().filter_map(|digit| digit.to_digit(16)).take(16);
    digits.fold(0, |run, digit| run << 4 | u64::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_switch_are_told_apart() {
        assert_eq!(run_of("c4db52f0-7fa7-4b0c-b3ef-a1571ec6abd8"), 0xc4db_52f0_7fa7_4b0c);
        assert_ne!(
            run_of("c4db52f0-7fa7-4b0c-b3ef-a1571ec6abd8"),
            run_of("0062970c-f7fb-42d6-84c1-a681273b46a9")
        );
    }
}
