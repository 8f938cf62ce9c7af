//! The shapes that trouble takes in the swarm: which machines are concerned, and which faults come together.

use fipple_determinism::Stream;

use super::{Fault, TimedFault};
use crate::engine::Place;
use crate::network::LinkQuality;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    NodeDies,
    NodeLosesPower,
    NodeIsDrained,
    NodeStandsStill,
    /// So long that the lease of whoever it was runs out.
    NodeStandsStillForLong,
    /// Two nodes, often those that own and attach, or all.
    NodesDieTogether,
    SwitchEnds,
    AnyMachinesApart,
    /// Some nodes from the others, and all of them reach the switches.
    NodesFromNodes,
    /// A node and a switch, from everything else.
    NodeAloneWithSwitch,
    Halves,
    OneWay,
    BadLink,
    WrongClock,
    /// A node is drained while the network is apart.
    DrainedWhileApart,
}

impl Shape {
    /// All shapes.
    pub(super) const ALL: [Self; 15] = [
        Self::NodeDies,
        Self::NodeLosesPower,
        Self::NodeIsDrained,
        Self::NodeStandsStill,
        Self::NodeStandsStillForLong,
        Self::NodesDieTogether,
        Self::SwitchEnds,
        Self::AnyMachinesApart,
        Self::NodesFromNodes,
        Self::NodeAloneWithSwitch,
        Self::Halves,
        Self::OneWay,
        Self::BadLink,
        Self::WrongClock,
        Self::DrainedWhileApart,
    ];

    /// How many of a million seeds have this shape.
    pub(super) fn per_million(self) -> u32 {
        match self {
            Self::NodeStandsStillForLong => 60_000,
            _ => 250_000,
        }
    }

    /// How long it lasts at least and at most, in milliseconds.
    pub(super) fn lasts_ms(self) -> std::ops::RangeInclusive<u64> {
        match self {
            Self::NodeStandsStillForLong => 32_000..=42_000,
            // A node that cannot speak to its switch is followed by another after some twelve seconds.
            Self::OneWay => 200..=22_000,
            _ => 200..=15_000,
        }
    }
}

/// The machines of a scenario.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machines {
    pub(super) nodes: usize,
    pub(super) switches: usize,
}

impl Machines {
    fn node(self, draw: &mut Stream) -> Place {
        Place::Node(draw.in_range(0..=self.nodes as u64 - 1) as usize)
    }

    fn switch(self, draw: &mut Stream) -> Place {
        Place::Switch(draw.in_range(0..=self.switches as u64 - 1) as usize)
    }

    fn shuffled_nodes(self, draw: &mut Stream) -> Vec<Place> {
        let mut nodes: Vec<Place> = (0..self.nodes).map(Place::Node).collect();
        draw.shuffle(&mut nodes);
        nodes
    }

    /// Some machines, but never all nodes: with nobody left on one side there is nothing to see.
    fn some(self, draw: &mut Stream) -> Vec<Place> {
        let mut some = self.shuffled_nodes(draw);
        some.truncate(draw.in_range(1..=(self.nodes as u64 - 1).max(1)) as usize);
        some.extend((0..self.switches).map(Place::Switch).filter(|_| draw.happens(300_000)));
        some.sort_unstable();
        some
    }

    /// Half of the nodes, with half of the switches.
    fn half(self, draw: &mut Stream) -> Vec<Place> {
        let mut half = self.shuffled_nodes(draw);
        half.truncate((self.nodes / 2).max(1));
        let first = usize::from(draw.happens(500_000));
        half.extend((first..self.switches).step_by(2).map(Place::Switch));
        half.sort_unstable();
        half
    }
}

/// The faults of a shape that begins at a moment and lasts so long.
pub(super) fn faults(
    shape: Shape,
    draw: &mut Stream,
    machines: Machines,
    at_ms: u64,
    for_ms: u64,
) -> Vec<TimedFault> {
    let place = machines.node(draw);
    let fault = match shape {
        Shape::NodeDies => Fault::Kill { place },
        Shape::NodeLosesPower => Fault::PowerOff { place },
        Shape::NodeIsDrained => Fault::Stop { place },
        Shape::NodeStandsStill | Shape::NodeStandsStillForLong => Fault::Pause { place },
        Shape::NodesDieTogether => {
            let mut nodes = machines.shuffled_nodes(draw);
            if draw.happens(700_000) {
                nodes.truncate(2);
            }
            let dies = |place| TimedFault {
                at_ms,
                for_ms: for_ms / 2 + draw.in_range(0..=for_ms / 2),
                fault: Fault::Kill { place },
            };
            return nodes.into_iter().map(dies).collect();
        }
        Shape::SwitchEnds => {
            let place = machines.switch(draw);
            match draw.in_range(0..=3) {
                0 => Fault::Kill { place },
                1 => Fault::PowerOff { place },
                _ => Fault::Crash { place, recover: draw.happens(700_000) },
            }
        }
        Shape::AnyMachinesApart => Fault::Partition { away: machines.some(draw) },
        Shape::NodesFromNodes => {
            let mut some = machines.shuffled_nodes(draw);
            let others = some.split_off(draw.in_range(1..=(machines.nodes as u64 - 1).max(1)) as usize);
            if others.is_empty() { Fault::Pause { place } } else { Fault::Split { some, others } }
        }
        Shape::NodeAloneWithSwitch => Fault::Partition { away: vec![place, machines.switch(draw)] },
        Shape::Halves => Fault::Partition { away: machines.half(draw) },
        Shape::OneWay => {
            let (from, to) = two(draw, machines, place);
            Fault::CutOneWay { from, to }
        }
        Shape::BadLink => {
            let (between, and) = two(draw, machines, place);
            Fault::BadLink { between, and, quality: bad(draw) }
        }
        Shape::WrongClock => Fault::WrongClock { place, offset_ms: wrong(draw) },
        Shape::DrainedWhileApart => {
            let apart = Fault::Partition { away: machines.some(draw) };
            let later_ms = draw.in_range(0..=for_ms / 2);
            let drained = TimedFault {
                at_ms: at_ms + later_ms,
                for_ms: for_ms - later_ms,
                fault: Fault::Stop { place },
            };
            return vec![TimedFault { at_ms, for_ms, fault: apart }, drained];
        }
    };
    vec![TimedFault { at_ms, for_ms, fault }]
}

/// A node and another node or a switch, the one or the other first.
fn two(draw: &mut Stream, machines: Machines, node: Place) -> (Place, Place) {
    let other = match machines.node(draw) {
        other if other != node && draw.happens(500_000) => other,
        _ => machines.switch(draw),
    };
    if draw.happens(500_000) { (node, other) } else { (other, node) }
}

fn bad(draw: &mut Stream) -> LinkQuality {
    let latency_min_ms = draw.in_range(20..=100);
    LinkQuality {
        latency_min_ms,
        latency_max_ms: latency_min_ms + draw.in_range(0..=300),
        loss_ppm: draw.in_range(10_000..=300_000) as u32,
        duplication_ppm: draw.in_range(0..=50_000) as u32,
    }
}

/// Minutes ahead or behind; certificates are valid from an hour before they were issued.
fn wrong(draw: &mut Stream) -> i64 {
    draw.in_range(0..=3_000_000) as i64 - 1_500_000
}
