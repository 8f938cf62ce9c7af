//! Who held which switch's gate and when, by the switches themselves.

use std::collections::BTreeMap;

use fipple_emulator::Time;

use crate::engine::Seen;

/// The gates of all switches.
pub(super) struct Gates {
    node_ids: Vec<String>,
    by_switch: BTreeMap<usize, Gate>,
}

/// The gate of one run of one switch.
#[derive(Default)]
struct Gate {
    core_uuid: String,
    /// Who held it, if anybody did, and since when; the present one last.
    tenures: Vec<(Option<usize>, Time)>,
}

impl Gates {
    /// Gates of nodes with these ids.
    pub(super) fn new(node_ids: &[String]) -> Self {
        Self { node_ids: node_ids.to_vec(), by_switch: BTreeMap::new() }
    }

    /// Takes note of who holds the gate now. Whether it is another than before.
    pub(super) fn look(&mut self, seen: &Seen<'_>) -> bool {
        let core_uuid = seen.state.core_uuid();
        let key = format!("gate.{core_uuid}");
        let name = seen.state.hash_value("fipple", &key);
        let holder = name.and_then(|name| self.node_ids.iter().position(|id| id == name));
        let gate = self.by_switch.entry(seen.switch).or_default();
        let is_new = gate.core_uuid != core_uuid;
        if is_new {
            *gate = Gate { core_uuid: core_uuid.to_owned(), tenures: Vec::new() };
        }
        let changed = gate.tenures.last().is_none_or(|(present, _)| *present != holder);
        if changed {
            gate.tenures.push((holder, seen.at));
        }
        is_new || changed
    }

    /// The node that holds the gate.
    pub(super) fn holder(&self, switch: usize) -> Option<usize> {
        self.by_switch.get(&switch)?.tenures.last()?.0
    }

    /// The last node that held the gate, whether it does or not.
    pub(super) fn last_holder(&self, switch: usize) -> Option<usize> {
        self.by_switch.get(&switch)?.tenures.iter().rev().find_map(|(holder, _)| *holder)
    }

    /// Whether a node held the gate at a moment.
    pub(super) fn held_at(&self, switch: usize, node: usize, at: Time) -> bool {
        let Some(gate) = self.by_switch.get(&switch) else { return false };
        let ends = gate.tenures.iter().skip(1).map(|(_, since)| Some(*since)).chain([None]);
        let mut tenures = gate.tenures.iter().zip(ends);
        tenures.any(|((holder, since), end)| {
            *holder == Some(node) && *since <= at && end.is_none_or(|end| at <= end)
        })
    }
}
