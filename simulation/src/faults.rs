//! Breaking things, and mending them.

use crate::engine::{Place, World};
use crate::error::Error;
use crate::network::LinkQuality;
use crate::scenario::Fault;

/// Breaks something.
pub(crate) fn begin(world: &mut World, fault: &Fault) {
    match fault {
        Fault::Kill { place: Place::Node(node) } => world.kill_node(*node),
        Fault::Kill { place: Place::Switch(switch) } => world.kill_switch(*switch),
        Fault::PowerOff { place: Place::Node(node) } => world.power_off_node(*node),
        Fault::PowerOff { place: Place::Switch(switch) } => world.power_off_switch(*switch),
        Fault::Stop { place: Place::Node(node) } => world.stop_node(*node),
        Fault::Pause { place: Place::Node(node) } => world.pause_node(*node),
        Fault::WrongClock { place: Place::Node(node), offset_ms } => {
            world.set_clock_offset_ms(*node, *offset_ms);
        }
        // The scenario's check lets none of these through.
        Fault::Kill { .. }
        | Fault::PowerOff { .. }
        | Fault::Stop { .. }
        | Fault::Pause { .. }
        | Fault::WrongClock { .. } => {}
        Fault::Partition { away } => partition(world, away, true),
        Fault::CutOneWay { from, to } => world.set_cut(*from, *to, true),
        Fault::BadLink { between, and, quality } => set_link(world, *between, *and, Some(*quality)),
    }
}

/// Mends it.
///
/// # Errors
/// [`Error::Runtime`].
pub(crate) fn end(world: &mut World, fault: &Fault) -> Result<(), Error> {
    match fault {
        Fault::Stop { place: Place::Node(node) } => {
            // It has either stopped by itself by now, or is killed, as systemd does.
            world.kill_node(*node);
            return world.start_node(*node);
        }
        Fault::Kill { place: Place::Node(node) } | Fault::PowerOff { place: Place::Node(node) } => {
            return world.start_node(*node);
        }
        Fault::Kill { place: Place::Switch(switch) } | Fault::PowerOff { place: Place::Switch(switch) } => {
            world.start_switch(*switch);
        }
        Fault::Pause { place: Place::Node(node) } => world.resume_node(*node),
        Fault::WrongClock { place: Place::Node(node), .. } => world.set_clock_offset_ms(*node, 0),
        Fault::Kill { .. }
        | Fault::PowerOff { .. }
        | Fault::Stop { .. }
        | Fault::Pause { .. }
        | Fault::WrongClock { .. } => {}
        Fault::Partition { away } => partition(world, away, false),
        Fault::CutOneWay { from, to } => world.set_cut(*from, *to, false),
        Fault::BadLink { between, and, .. } => set_link(world, *between, *and, None),
    }
    Ok(())
}

fn partition(world: &mut World, away: &[Place], cut: bool) {
    let nodes = (0..world.node_count()).map(Place::Node);
    let switches = (0..world.switch_count()).map(Place::Switch);
    let all: Vec<Place> = nodes.chain(switches).chain([Place::Client]).collect();
    for here in away {
        for there in all.iter().filter(|place| !away.contains(place)) {
            world.set_cut(*here, *there, cut);
            world.set_cut(*there, *here, cut);
        }
    }
}

fn set_link(world: &mut World, one: Place, other: Place, quality: Option<LinkQuality>) {
    world.set_link(one, other, quality);
    world.set_link(other, one, quality);
}
