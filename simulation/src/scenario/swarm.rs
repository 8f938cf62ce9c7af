//! The default swarm: scenarios that a seed draws.

use fipple_determinism::Stream;

use super::{ClockSetting, Fault, Scenario, TimedFault, Workload};
use crate::engine::Place;
use crate::network::LinkQuality;

/// A scenario of this seed. Each seed leaves out most kinds of faults, so that some seeds have much of one kind and those
/// that hide each other are seen apart.
pub(super) fn swarm(seed: u64, nodes: Option<usize>, switches: Option<usize>) -> Scenario {
    let mut draw = Stream::new(seed, "faults");
    let drawn = (draw.in_range(3..=5) as usize, draw.in_range(1..=3) as usize);
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
    let kinds: Vec<usize> = (0..KINDS).filter(|_| draw.happens(400_000)).collect();
    let mut faults = Vec::new();
    let mut at_ms = 8_000;
    while let Some(kind) = draw.choose(&kinds).copied() {
        at_ms += draw.in_range(500..=12_000);
        let for_ms = draw.in_range(200..=15_000);
        if at_ms + for_ms > disturbed_s * 1_000 {
            break;
        }
        faults.push(TimedFault { at_ms, for_ms, fault: fault(&mut draw, kind, nodes, switches) });
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
        faults.extend(blackout.into_iter().map(|fault| {
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
        workload,
        clocks,
        faults,
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

/// The kinds of faults that [`fault`] makes.
const KINDS: usize = 9;

fn fault(draw: &mut Stream, kind: usize, nodes: usize, switches: usize) -> Fault {
    let node = Place::Node(draw.in_range(0..=nodes as u64 - 1) as usize);
    let switch = Place::Switch(draw.in_range(0..=switches as u64 - 1) as usize);
    let other = match draw.in_range(0..=nodes as u64 - 1) as usize {
        other if Place::Node(other) == node => switch,
        other => Place::Node(other),
    };
    match kind {
        0 => Fault::Kill { place: node },
        1 => Fault::PowerOff { place: node },
        2 => Fault::Stop { place: node },
        3 => Fault::Pause { place: node },
        4 if draw.happens(500_000) => Fault::Kill { place: switch },
        4 => Fault::PowerOff { place: switch },
        5 => Fault::Partition { away: away(draw, nodes, switches) },
        6 => Fault::CutOneWay { from: node, to: other },
        7 => Fault::BadLink { between: node, and: other, quality: bad(draw) },
        _ => Fault::WrongClock { place: node, offset_ms: wrong(draw) },
    }
}

/// Some machines, but never all nodes: with nobody left on one side there is nothing to see.
fn away(draw: &mut Stream, nodes: usize, switches: usize) -> Vec<Place> {
    let mut all: Vec<Place> = (0..nodes).map(Place::Node).collect();
    draw.shuffle(&mut all);
    all.truncate(draw.in_range(1..=(nodes as u64 - 1).max(1)) as usize);
    all.extend((0..switches).map(Place::Switch).filter(|_| draw.happens(300_000)));
    all.sort_unstable();
    all
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
    fn a_hundred_seeds_have_every_kind_of_fault_and_end_all_of_them() {
        let mut kinds = BTreeSet::new();
        for seed in 0..100 {
            let scenario = swarm(seed, None, None);
            assert_eq!(swarm(seed, None, None), scenario);
            for timed in &scenario.faults {
                assert!(timed.at_ms + timed.for_ms <= scenario.disturbed_s * 1_000);
                kinds.insert(format!("{:?}", timed.fault).split(' ').next().unwrap().to_owned());
            }
        }
        let expected =
            ["BadLink", "CutOneWay", "Kill", "Partition", "Pause", "PowerOff", "Stop", "WrongClock"];
        assert_eq!(kinds, expected.map(str::to_owned).into());
    }
}
