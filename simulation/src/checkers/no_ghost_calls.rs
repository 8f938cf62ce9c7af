//! When all is quiet, nodes list the calls that are, all of them, and none that are not.

use std::collections::BTreeMap;

use fipple_emulator::Time;

use super::{Checker, Finding, Listed, Rest, Verdict};
use crate::engine::Place;

pub(super) struct NoGhostCalls;

/// How long a call may be over, or have begun, and not be known: the way of an event, and of an answer, several times.
const UNKNOWN_US: u64 = 2_000_000;

impl Checker for NoGhostCalls {
    fn invariant(&self) -> &'static str {
        "no ghost calls"
    }

    fn at_rest(&mut self, rest: &Rest<'_>) -> Verdict {
        rest.listings.iter().try_for_each(|(node, listing)| {
            let node = Place::Node(*node);
            let listing =
                listing.as_ref().map_err(|why| Finding::new(format!("{node} lists nothing: {why}")))?;
            check(rest, listing).map_err(|what| Finding::new(format!("{node} {what}")))
        })
    }
}

fn check(rest: &Rest<'_>, listing: &BTreeMap<String, Listed>) -> Result<(), String> {
    let now = rest.world.now();
    for listed in listing.values() {
        let number = listed.switch.strip_prefix("fs").and_then(|number| number.parse::<usize>().ok());
        let switch = number.and_then(|number| rest.world.switch(number.checked_sub(1)?));
        let Some(switch) = switch else { return Err(format!("lists {listed:?} of no such switch")) };
        // Switch time counts from the switch's start.
        let record = switch.ledger().call(&listed.uuid);
        let gone =
            record.is_none_or(|call| call.ended.is_some_and(|ended| own_age_us(switch, ended) > UNKNOWN_US));
        if gone {
            return Err(format!("lists {}, which {} does not have", listed.uuid, listed.switch));
        }
        let owned = listed
            .owner
            .as_ref()
            .is_none_or(|owner| (0..rest.world.node_count()).any(|node| rest.world.node_id(node) == owner));
        if !owned {
            return Err(format!("lists {} with an owner that is no node: {:?}", listed.uuid, listed.owner));
        }
    }
    for number in 0..rest.world.switch_count() {
        let Some(switch) = rest.world.switch(number) else { continue };
        for uuid in switch.living_channels() {
            let young =
                switch.ledger().call(uuid).is_none_or(|call| own_age_us(switch, call.created) <= UNKNOWN_US);
            if !young && !listing.contains_key(&**uuid) {
                return Err(format!("does not list {uuid} of {} at {} us", Place::Switch(number), now.0));
            }
        }
    }
    Ok(())
}

/// How long ago something was, by a switch's own clock.
fn own_age_us(switch: &fipple_emulator::Switch, moment: Time) -> u64 {
    switch.now().micros_since(moment)
}
