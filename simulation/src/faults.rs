//! Breaking things, and mending them. What several faults have broken is mended when the last of them is over.

use std::collections::BTreeMap;

use crate::engine::{Place, World};
use crate::error::Error;
use crate::network::LinkQuality;
use crate::scenario::{Fault, Scenario};

/// What is broken.
pub(crate) struct Faults {
    /// How many faults keep a machine's process from running.
    down: BTreeMap<Place, u32>,
    /// How many faults keep it from doing anything.
    still: BTreeMap<Place, u32>,
    /// The faults that make a link bad, the last one last.
    bad: BTreeMap<(Place, Place), Vec<LinkQuality>>,
    /// How far nodes' clocks are off by themselves, in milliseconds.
    offsets_ms: BTreeMap<usize, i64>,
}

impl Faults {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let offsets_ms = scenario.clocks.iter().map(|clock| (clock.node - 1, clock.offset_ms)).collect();
        Self { down: BTreeMap::new(), still: BTreeMap::new(), bad: BTreeMap::new(), offsets_ms }
    }

    /// Breaks something.
    pub(crate) fn begin(&mut self, world: &mut World, fault: &Fault) {
        match fault {
            Fault::Kill { place } => {
                add(&mut self.down, *place);
                match place {
                    Place::Node(node) => world.kill_node(*node),
                    Place::Switch(switch) => world.kill_switch(*switch),
                    Place::Client => {}
                }
            }
            Fault::Crash { place, .. } => {
                add(&mut self.down, *place);
                if let Place::Switch(switch) = place {
                    world.crash_switch(*switch);
                }
            }
            Fault::PowerOff { place } => {
                add(&mut self.down, *place);
                match place {
                    Place::Node(node) => world.power_off_node(*node),
                    Place::Switch(switch) => world.power_off_switch(*switch),
                    Place::Client => {}
                }
            }
            Fault::Stop { place } => {
                add(&mut self.down, *place);
                on_node(*place, |node| world.stop_node(node));
            }
            Fault::Pause { place } => {
                add(&mut self.still, *place);
                on_node(*place, |node| world.pause_node(node));
            }
            Fault::WrongClock { place, offset_ms } => {
                on_node(*place, |node| world.set_clock_offset_ms(node, self.own_offset_ms(node) + offset_ms));
            }
            Fault::Partition { away } => partition(world, away, true),
            Fault::Split { some, others } => split(world, some, others, true),
            Fault::CutOneWay { from, to } => world.set_cut(*from, *to, true),
            Fault::BadLink { between, and, quality } => {
                self.bad.entry((*between, *and)).or_default().push(*quality);
                set_link(world, *between, *and, Some(*quality));
            }
        }
    }

    /// Mends it.
    ///
    /// # Errors
    /// [`Error::Runtime`].
    pub(crate) fn end(&mut self, world: &mut World, fault: &Fault) -> Result<(), Error> {
        match fault {
            Fault::Kill { place } | Fault::PowerOff { place } | Fault::Stop { place } => {
                if remove(&mut self.down, *place) {
                    return start(world, *place);
                }
            }
            Fault::Crash { place, recover } => {
                if let Place::Switch(switch) = place
                    && remove(&mut self.down, *place)
                {
                    world.restart_switch(*switch, *recover);
                }
            }
            Fault::Pause { place } => {
                if remove(&mut self.still, *place) {
                    on_node(*place, |node| world.resume_node(node));
                }
            }
            Fault::WrongClock { place, .. } => {
                on_node(*place, |node| world.set_clock_offset_ms(node, self.own_offset_ms(node)));
            }
            Fault::Partition { away } => partition(world, away, false),
            Fault::Split { some, others } => split(world, some, others, false),
            Fault::CutOneWay { from, to } => world.set_cut(*from, *to, false),
            Fault::BadLink { between, and, quality } => {
                let left = self.bad.entry((*between, *and)).or_default();
                if let Some(over) = left.iter().position(|bad| bad == quality) {
                    left.remove(over);
                }
                set_link(world, *between, *and, left.last().copied());
            }
        }
        Ok(())
    }

    fn own_offset_ms(&self, node: usize) -> i64 {
        self.offsets_ms.get(&node).copied().unwrap_or_default()
    }
}

/// Starts a machine's process. One that was asked to stop and has not by now is killed, as systemd does.
fn start(world: &mut World, place: Place) -> Result<(), Error> {
    match place {
        Place::Node(node) => {
            world.kill_node(node);
            return world.start_node(node);
        }
        Place::Switch(switch) => world.start_switch(switch),
        Place::Client => {}
    }
    Ok(())
}

/// A scenario's check lets these faults happen to nodes only.
fn on_node(place: Place, act: impl FnOnce(usize)) {
    if let Place::Node(node) = place {
        act(node);
    }
}

fn add(counts: &mut BTreeMap<Place, u32>, place: Place) {
    *counts.entry(place).or_default() += 1;
}

/// Takes one away; whether none is left.
fn remove(counts: &mut BTreeMap<Place, u32>, place: Place) -> bool {
    let count = counts.entry(place).or_default();
    *count = count.saturating_sub(1);
    *count == 0
}

fn partition(world: &mut World, away: &[Place], cut: bool) {
    let nodes = (0..world.node_count()).map(Place::Node);
    let switches = (0..world.switch_count()).map(Place::Switch);
    let all = nodes.chain(switches).chain([Place::Client]);
    let others: Vec<Place> = all.filter(|place| !away.contains(place)).collect();
    split(world, away, &others, cut);
}

fn split(world: &mut World, some: &[Place], others: &[Place], cut: bool) {
    for here in some {
        for there in others {
            world.set_cut(*here, *there, cut);
            world.set_cut(*there, *here, cut);
        }
    }
}

fn set_link(world: &mut World, one: Place, other: Place, quality: Option<LinkQuality>) {
    world.set_link(one, other, quality);
    world.set_link(other, one, quality);
}
