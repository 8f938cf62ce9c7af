//! The default swarm: scenarios that a seed draws.

use fipple_determinism::Stream;

use super::shapes::{Machines, Shape, faults};
use super::{ClockSetting, Fault, Scenario, TimedFault, Workload};
use crate::engine::Place;
use crate::network::LinkQuality;

/// A scenario of this seed. Each seed leaves out most shapes of trouble, so that some seeds have much of one shape and those
/// that hide each other are seen apart.
pub(super) fn swarm(seed: u64, nodes: Option<usize>, switches: Option<usize>) -> Scenario {
    let mut draw = Stream::new(seed, "faults");
    let drawn = (draw.in_range(2..=5) as usize, *draw.choose(&[1, 2, 2, 2, 3]).unwrap_or(&2));
    let (nodes, switches) = (nodes.unwrap_or(drawn.0), switches.unwrap_or(drawn.1));
    let disturbed_s = draw.in_range(30..=60);
    let latency_min_ms = *draw.choose(&[2, 5, 10]).unwrap_or(&5);
    let network = LinkQuality {
        latency_min_ms,
        latency_max_ms: latency_min_ms + draw.in_range(0..=20),
        loss_ppm: *draw.choose(&[0, 0, 1_000, 10_000]).unwrap_or(&0),
        duplication_ppm: *draw.choose(&[0, 0, 1_000]).unwrap_or(&0),
    };
    let disorder_ppm = *draw.choose(&[60, 60, 5_000]).unwrap_or(&60);
    let mut workload = Workload {
        calls_per_100_s: draw.in_range(30..=200),
        patience_s: PATIENCE_S,
        commands_per_call: draw.in_range(0..=4),
        writes_per_100_s: draw.in_range(0..=50),
        listings_per_100_s: draw.in_range(0..=50),
    };
    let clocks = (1..=nodes).filter_map(|node| clock(&mut draw, node)).collect();
    let script_pause_ms = *draw.choose(&[0, 0, 1, 3]).unwrap_or(&0);
    let shapes: Vec<Shape> =
        Shape::ALL.into_iter().filter(|shape| draw.happens(shape.per_million())).collect();
    // One that stands still for so long does not fit into less.
    let disturbed_s = if shapes.contains(&Shape::NodeStandsStillForLong) { 60 } else { disturbed_s };
    let mut troubles = Vec::new();
    let mut at_ms = 8_000;
    while let Some(shape) = draw.choose(&shapes).copied() {
        at_ms += draw.in_range(500..=12_000);
        let for_ms = draw.in_range(shape.lasts_ms());
        if at_ms + for_ms > disturbed_s * 1_000 {
            break;
        }
        troubles.extend(faults(shape, &mut draw, Machines { nodes, switches }, at_ms, for_ms));
        // Often the next one comes when this one is over.
        if draw.happens(700_000) {
            at_ms += for_ms;
        }
    }
    let mut disturbed_s = disturbed_s;
    let mut rare = Stream::new(seed, "blackout");
    if rare.happens(BLACKOUT_PPM) {
        workload.patience_s = BLACKOUT_PATIENCE_S;
        let begins_ms = disturbed_s * 1_000;
        let blackout = blackout(&mut rare, nodes, switches);
        disturbed_s += BLACKOUT_S;
        troubles.extend(blackout.into_iter().map(|fault| {
            let late_ms = rare.in_range(0..=1_500);
            TimedFault { at_ms: begins_ms + late_ms, for_ms: BLACKOUT_S * 1_000 - late_ms, fault }
        }));
    }
    Scenario {
        seed: Some(seed),
        nodes,
        switches,
        disturbed_s,
        quiet_s: QUIET_S,
        planted: None,
        network,
        disorder_ppm,
        script_pause_ms,
        workload,
        clocks,
        faults: troubles,
    }
}

/// How long a swarm's run goes on after its faults: twice as long as anything may take to heal, the slowest being a TCP
/// connection that waits to send again after a partition of 15 s.
const QUIET_S: u64 = 60;

/// How long callers wait, in seconds.
const PATIENCE_S: u64 = 40;

/// How many of a million seeds end with no node that controls any switch. It comes from a stream of its own, so that it
/// changes nothing in the others.
const BLACKOUT_PPM: u32 = 80_000;

/// How long that takes, in seconds: longer than it may take until all callers have reached the fallback.
const BLACKOUT_S: u64 = 60;

/// How long callers wait then, in seconds: most of them until it is over.
const BLACKOUT_PATIENCE_S: u64 = 180;

/// What takes all nodes away from all switches: they die, or nothing reaches the switches any more.
fn blackout(draw: &mut Stream, nodes: usize, switches: usize) -> Vec<Fault> {
    if draw.happens(300_000) {
        return vec![Fault::Partition { away: (0..switches).map(Place::Switch).collect() }];
    }
    let nodes = (0..nodes).map(Place::Node);
    nodes
        .map(|place| if draw.happens(300_000) { Fault::PowerOff { place } } else { Fault::Kill { place } })
        .collect()
}

fn clock(draw: &mut Stream, node: usize) -> Option<ClockSetting> {
    draw.happens(300_000).then(|| ClockSetting {
        node,
        offset_ms: draw.in_range(0..=4_000) as i64 - 2_000,
        // Quartz is within 100 ppm.
        drift_ppm: draw.in_range(0..=200) as i32 - 100,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn two_hundred_seeds_have_every_kind_of_fault_and_end_all_of_them() {
        let mut kinds = BTreeSet::new();
        for seed in 0..200 {
            let scenario = swarm(seed, None, None);
            assert_eq!(swarm(seed, None, None), scenario);
            for timed in &scenario.faults {
                assert!(timed.at_ms + timed.for_ms <= scenario.disturbed_s * 1_000);
                kinds.insert(format!("{:?}", timed.fault).split(' ').next().unwrap().to_owned());
            }
        }
        let expected = [
            "BadLink",
            "Crash",
            "CutOneWay",
            "Kill",
            "Partition",
            "Pause",
            "PowerOff",
            "Split",
            "Stop",
            "WrongClock",
        ];
        assert_eq!(kinds, expected.map(str::to_owned).into());
    }
}
