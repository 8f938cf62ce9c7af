//! Bugs that are planted for the checkers to find. They are made around the program, so that nothing planted is in it.

use crate::engine::{Place, World};
use crate::scenario::PlantedBug;

/// Plants a bug.
pub(crate) fn plant(world: &World, bug: PlantedBug) {
    match bug {
        PlantedBug::IgnoredRefusal => {
            for switch in 0..world.switch_count() {
                world.rewrite(Place::Switch(switch), Place::Node(0), consent);
            }
        }
        PlantedBug::MissedHangups => {
            for switch in 0..world.switch_count() {
                for node in 0..world.node_count() {
                    world.rewrite(Place::Switch(switch), Place::Node(node), live_on);
                }
            }
        }
        PlantedBug::IgnoredSync => world.ignore_syncs(),
    }
}

/// Makes a refusal of the gate a consent, of the same length, so that the frame around it stays right.
fn consent(bytes: &[u8]) -> Option<Vec<u8>> {
    replace_all(
        bytes,
        &[("-ERR key already exists", "+OK  key already exists"), ("-ERR Not found", "+OK  Not found")],
    )
}

/// Gives the events of a call's end names that nobody knows.
fn live_on(bytes: &[u8]) -> Option<Vec<u8>> {
    replace_all(
        bytes,
        &[
            ("Event-Name: CHANNEL_HANGUP", "Event-Name: CHANNEL_HANGON"),
            ("Event-Name: CHANNEL_DESTROY", "Event-Name: CHANNEL_ENJOYED"),
        ],
    )
}

/// The bytes with every old text replaced by a new one of the same length; `None` where there is none.
fn replace_all(bytes: &[u8], replacements: &[(&str, &str)]) -> Option<Vec<u8>> {
    let mut rewritten = None;
    for (old, new) in replacements {
        let mut from = 0;
        while let Some(found) = bytes[from..].windows(old.len()).position(|window| window == old.as_bytes()) {
            let at = from + found;
            let copy = rewritten.get_or_insert_with(|| bytes.to_vec());
            copy[at..at + new.len()].copy_from_slice(new.as_bytes());
            from = at + old.len();
        }
    }
    rewritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_becomes_a_consent() {
        assert_eq!(consent(b"+OK\n"), None);
        assert_eq!(consent(b"x-ERR Not found\n").unwrap(), b"x+OK  Not found\n");
        let twice = b"-ERR Not found\n-ERR Not found\n";
        assert_eq!(consent(twice).unwrap(), b"+OK  Not found\n+OK  Not found\n");
        assert!(live_on(b"Event-Name: CHANNEL_HANGUP_COMPLETE").is_some_and(|bytes| bytes.len() == 35));
    }
}
