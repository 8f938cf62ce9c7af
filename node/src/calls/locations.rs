//! Where channels are, as far as this node has learnt: it saves a search before most commands.

use std::collections::{BTreeMap, VecDeque};

use fipple_protocol::NodeId;

use crate::limits::LOCATIONS_KEPT;

/// Where channels were when they were last heard of.
#[derive(Default)]
pub(super) struct Locations {
    by_channel: BTreeMap<String, Location>,
    oldest_first: VecDeque<String>,
}

/// How a channel is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) call: String,
    pub(super) switch: String,
    pub(super) owner: Option<NodeId>,
    pub(super) attached: NodeId,
}

impl Locations {
    pub(super) fn get(&self, channel: &str) -> Option<Location> {
        self.by_channel.get(channel).cloned()
    }

    pub(super) fn put(&mut self, channel: &str, location: Location) {
        if self.by_channel.insert(channel.to_owned(), location).is_some() {
            return;
        }
        self.oldest_first.push_back(channel.to_owned());
        if self.oldest_first.len() > LOCATIONS_KEPT
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_channel.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, channel: &str) {
        if self.by_channel.remove(channel).is_some() {
            self.oldest_first.retain(|kept| kept != channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut locations = Locations::default();
        let node = NodeId::from_bytes([1; 16]);
        let location =
            Location { call: "a".to_owned(), switch: "pbx".to_owned(), owner: None, attached: node };
        for number in 0..=LOCATIONS_KEPT {
            locations.put(&number.to_string(), location.clone());
            locations.put(&number.to_string(), location.clone());
        }
        assert_eq!((locations.get("0"), locations.get("1")), (None, Some(location.clone())));
        locations.forget("1");
        locations.put("new", location);
        assert_eq!(locations.by_channel.len(), LOCATIONS_KEPT);
        assert_eq!(locations.oldest_first.len(), LOCATIONS_KEPT);
    }
}
