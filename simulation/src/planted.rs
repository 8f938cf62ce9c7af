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
    }
}

/// Makes a refusal of the gate a consent, of the same length, so that the frame around it stays right.
fn consent(bytes: &[u8]) -> Option<Vec<u8>> {
    const REFUSALS: [(&[u8], &[u8]); 2] =
        [(b"-ERR key already exists", b"+OK  key already exists"), (b"-ERR Not found", b"+OK  Not found")];
    let mut rewritten = None;
    for (refusal, instead) in REFUSALS {
        let place = bytes.windows(refusal.len()).position(|window| window == refusal);
        if let Some(at) = place {
            let copy = rewritten.get_or_insert_with(|| bytes.to_vec());
            copy[at..at + instead.len()].copy_from_slice(instead);
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
    }
}
