//! When all is quiet, nodes list the calls that are, all of them, and none that are not.

use std::collections::BTreeMap;

use fipple_emulator::Time;

use super::{Checker, Finding, Listed, Listing, Rest, Verdict};
use crate::engine::{Place, World};

pub(super) struct NoGhostCalls;

/// How long a call may be over, or have begun, and not be known: the way of an event, and of an answer, several times.
const UNKNOWN_US: u64 = 2_000_000;

impl Checker for NoGhostCalls {
    fn invariant(&self) -> &'static str {
        "no ghost calls"
    }

    fn at_rest(&mut self, rest: &Rest<'_>) -> Verdict {
        rest.listings.iter().try_for_each(|(node, listing)| {
            let found = |what| Finding::new(format!("{} {what}", Place::Node(*node)));
            let channels = listing.channels.as_ref().map_err(|why| found(format!("lists nothing: {why}")))?;
            check_listed(rest, listing.asked, channels).map_err(found)?;
            check_living(rest, listing, channels).map_err(found)
        })
    }
}

/// Whether what is listed is there.
fn check_listed(rest: &Rest<'_>, asked: Time, channels: &BTreeMap<String, Listed>) -> Result<(), String> {
    for listed in channels.values() {
        let number = listed.switch.strip_prefix("fs").and_then(|number| number.parse::<usize>().ok());
        let life = number.and_then(|number| Life::of(rest.world, number.checked_sub(1)?, &listed.uuid));
        if life.is_none_or(|life| life.ended.is_some_and(|ended| asked.micros_since(ended) > UNKNOWN_US)) {
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
    Ok(())
}

/// Whether all that lived from before the question to after the answer is listed.
fn check_living(
    rest: &Rest<'_>,
    listing: &Listing,
    channels: &BTreeMap<String, Listed>,
) -> Result<(), String> {
    for number in 0..rest.world.switch_count() {
        let Some(switch) = rest.world.switch(number) else { continue };
        for call in switch.ledger().calls() {
            let Some(life) = Life::of(rest.world, number, &call.uuid) else { continue };
            let lived = listing.asked.micros_since(life.created) > UNKNOWN_US
                && life.ended.is_none_or(|ended| ended > listing.at);
            if lived && !channels.contains_key(&*call.uuid) {
                return Err(format!("does not list {} of {}", call.uuid, Place::Switch(number)));
            }
        }
    }
    Ok(())
}

/// When a leg lived, in the world's time.
struct Life {
    created: Time,
    ended: Option<Time>,
}

impl Life {
    fn of(world: &World, switch: usize, uuid: &str) -> Option<Self> {
        let record = world.switch(switch)?.ledger().call(uuid)?;
        let started = world.switch_started(switch)?;
        // A switch's own time counts from its start.
        let in_world = |own: Time| Time(started.0 + own.0);
        Some(Self { created: in_world(record.created), ended: record.ended.map(in_world) })
    }
}
