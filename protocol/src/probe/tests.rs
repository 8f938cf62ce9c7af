//! Members in one process, and a network between them that loses messages.

use super::*;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// Milliseconds that a message takes.
const LATENCY_MS: u64 = 20;

/// Members in one process, and a network between them that loses messages.
struct Simulation {
    now_ms: u64,
    nodes: BTreeMap<NodeId, Prober>,
    /// By time and order: to, from, message.
    under_way: BTreeMap<(u64, u64), (NodeId, NodeId, ProbeMessage)>,
    sent: u64,
    lost_percent: u64,
    /// From, to.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Who found whom to be what, and when.
    verdicts: Vec<(u64, NodeId, NodeId, Verdict)>,
}

fn id(n: u8) -> NodeId {
    NodeId::from_bytes(xxh3_128(&[n]).to_le_bytes())
}

impl Simulation {
    fn new(count: u8, lost_percent: u64) -> Self {
        let nodes = (0..count).map(|n| (id(n), Prober::new(id(n), 100))).collect();
        let (under_way, cut) = (BTreeMap::new(), BTreeSet::new());
        let mut simulation =
            Self { now_ms: 0, nodes, under_way, sent: 0, lost_percent, cut, verdicts: Vec::new() };
        for node in 0..count {
            for other in 0..count {
                simulation.input(id(node), Input::Joined { node: id(other), incarnation: 100 });
                simulation.input(id(node), Input::Heard(id(other)));
            }
        }
        simulation.run(1_000);
        simulation.verdicts.clear();
        simulation
    }

    fn input(&mut self, node: NodeId, input: Input) {
        let Some(prober) = self.nodes.get_mut(&node) else { return };
        for effect in prober.handle(self.now_ms, input) {
            match effect {
                Effect::Send { to, message } => self.send(node, to, message),
                Effect::Changed { node: about, verdict } => {
                    self.verdicts.push((self.now_ms, node, about, verdict));
                }
                Effect::Refuted { .. } => {}
            }
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: ProbeMessage) {
        self.sent += 1;
        let lost = xxh3_64_with_seed(&self.sent.to_le_bytes(), 7) % 100 < self.lost_percent;
        if !lost && !self.cut.contains(&(from, to)) {
            self.under_way.insert((self.now_ms + LATENCY_MS, self.sent), (to, from, message));
        }
    }

    fn run(&mut self, duration_ms: u64) {
        let end_ms = self.now_ms + duration_ms;
        while self.now_ms < end_ms {
            self.now_ms += 10;
            while let Some(first) = self.under_way.first_entry().filter(|first| first.key().0 <= self.now_ms)
            {
                let (to, from, message) = first.remove();
                self.input(to, Input::Received { from, message });
            }
            for (nth, node) in self.nodes.keys().copied().enumerate().collect::<Vec<_>>() {
                if self.now_ms % 100 == nth as u64 % 10 * 10 {
                    self.input(node, Input::Tick);
                }
            }
        }
    }

    fn all_agree(&self, about: NodeId, verdict: Verdict) -> bool {
        let others = self.nodes.iter().filter(|(node, _)| **node != about);
        others.into_iter().all(|(_, prober)| prober.verdict(about) == Some(verdict))
    }
}

#[test]
fn a_death_is_known_everywhere_within_two_seconds() {
    for (count, lost_percent) in [(2, 0), (3, 0), (10, 0), (10, 5), (40, 5)] {
        let mut simulation = Simulation::new(count, lost_percent);
        let dead = id(1);
        simulation.nodes.remove(&dead);
        simulation.run(2_000);
        assert!(simulation.all_agree(dead, Verdict::Down), "{count} nodes, {lost_percent}% lost");
        let accused: BTreeSet<_> = simulation.verdicts.iter().map(|(_, _, about, _)| *about).collect();
        assert_eq!(accused, BTreeSet::from([dead]), "{count} nodes, {lost_percent}% lost");
    }
}

#[test]
fn a_node_that_is_cut_off_knows_within_five_seconds_that_it_is_alone() {
    let mut simulation = Simulation::new(30, 0);
    for other in (1..30).map(id) {
        simulation.cut.extend([(id(0), other), (other, id(0))]);
    }
    simulation.run(5_000);
    let alone = &simulation.nodes[&id(0)];
    assert!(alone.members.values().all(|member| member.verdict == Verdict::Down));
    assert!((1..30).map(id).all(|node| simulation.nodes[&id(1)].verdict(node) != Some(Verdict::Down)));
}

#[test]
fn loss_kills_nobody_in_ten_minutes() {
    let mut simulation = Simulation::new(10, 5);
    simulation.run(600_000);
    assert_eq!(simulation.verdicts, []);
}

#[test]
fn a_link_that_is_cut_one_way_or_both_kills_nobody() {
    let mut simulation = Simulation::new(6, 0);
    simulation.cut.insert((id(0), id(1)));
    simulation.cut.extend([(id(2), id(3)), (id(3), id(2))]);
    simulation.run(60_000);
    assert_eq!(simulation.verdicts, []);
}

#[test]
fn every_member_is_watched_by_three() {
    let simulation = Simulation::new(20, 0);
    let mut watchers = BTreeMap::new();
    for prober in simulation.nodes.values() {
        prober.watched.iter().flatten().for_each(|node| *watchers.entry(*node).or_insert(0) += 1);
    }
    assert_eq!(watchers.len(), 20);
    assert!(watchers.values().all(|count| *count == PROBE_WATCHERS), "{watchers:?}");
}

#[test]
fn the_accused_refutes_and_everybody_believes_it() {
    let mut simulation = Simulation::new(8, 0);
    let (liar, accused) = (id(2), id(5));
    // Nobody else has heard from the accused of late, or they would not believe it.
    for other in (0..8).map(id).filter(|other| *other != accused) {
        let prober = simulation.nodes.get_mut(&other).unwrap();
        prober.members.get_mut(&accused).unwrap().heard_at_ms = None;
    }
    for other in (0..8).map(id) {
        let message = ProbeMessage::Down { target: accused, incarnation: 100 };
        simulation.send(liar, other, message);
    }
    simulation.run(1_000);
    let believed = simulation.verdicts.iter().filter(|(.., verdict)| *verdict == Verdict::Down).count();
    assert!(believed > 0, "nobody believed the accusation, so nothing was refuted");
    assert!(simulation.all_agree(accused, Verdict::Alive));
    assert!(simulation.nodes[&accused].incarnation > 100);
}

#[test]
fn who_has_just_heard_a_member_does_not_believe_that_it_is_down() {
    let mut prober = Prober::new(id(0), 1);
    for node in [id(1), id(2)] {
        prober.handle(0, Input::Joined { node, incarnation: 1 });
        prober.handle(0, Input::Heard(node));
    }
    let accusation =
        Input::Received { from: id(1), message: ProbeMessage::Down { target: id(2), incarnation: 1 } };
    prober.handle(PROBE_RECENT_MS - 1, accusation.clone());
    assert_eq!(prober.verdict(id(2)), Some(Verdict::Alive));
    prober.handle(PROBE_RECENT_MS, accusation);
    assert_eq!(prober.verdict(id(2)), Some(Verdict::Down));
}

#[test]
fn a_partition_heals_without_a_word_from_gossip() {
    let mut simulation = Simulation::new(9, 0);
    let cut_off = id(4);
    for other in (0..9).map(id) {
        simulation.cut.extend([(cut_off, other), (other, cut_off)]);
    }
    simulation.run(10_000);
    assert!(simulation.all_agree(cut_off, Verdict::Down));
    simulation.cut.clear();
    simulation.run(3_000);
    for node in (0..9).map(id) {
        assert!(simulation.all_agree(node, Verdict::Alive), "{node}");
    }
}

#[test]
fn a_new_life_counts_at_once_and_an_old_one_never() {
    let mut prober = Prober::new(id(0), 1);
    prober.handle(0, Input::Joined { node: id(1), incarnation: 50 });
    prober.handle(0, Input::Heard(id(1)));
    prober.handle(10, Input::Stopped(id(1)));
    assert_eq!(prober.verdict(id(1)), Some(Verdict::Down));
    prober.handle(20, Input::Joined { node: id(1), incarnation: 50 });
    assert_eq!(prober.verdict(id(1)), Some(Verdict::Down));
    prober.handle(30, Input::Joined { node: id(1), incarnation: 51 });
    assert_eq!(prober.verdict(id(1)), Some(Verdict::Alive));
    let late = ProbeMessage::Down { target: id(1), incarnation: 50 };
    prober.handle(9_000, Input::Received { from: id(2), message: late });
    assert_eq!(prober.verdict(id(1)), Some(Verdict::Alive), "that was its earlier life");
}

#[test]
fn who_is_only_heard_of_is_down_after_a_while() {
    let mut prober = Prober::new(id(0), 1);
    prober.handle(0, Input::Joined { node: id(1), incarnation: 1 });
    prober.handle(PROBE_UNHEARD_MS - 1, Input::Tick);
    assert_eq!(prober.verdict(id(1)), Some(Verdict::Unheard));
    prober.handle(PROBE_UNHEARD_MS, Input::Tick);
    assert_eq!(prober.verdict(id(1)), Some(Verdict::Down));
}

#[test]
fn gossip_is_believed_only_about_what_lasts() {
    let mut prober = Prober::new(id(0), 1);
    let gossip = |live| Input::Gossip { node: id(1), live };
    prober.handle(0, Input::Joined { node: id(1), incarnation: 1 });
    prober.handle(0, gossip(true));
    assert_eq!(prober.verdict(id(1)), Some(Verdict::Alive));
    prober.handle(PROBE_GOSSIP_DELAY_MS - 1, gossip(false));
    assert_eq!(prober.verdict(id(1)), Some(Verdict::Alive));
    prober.handle(PROBE_GOSSIP_DELAY_MS, gossip(false));
    assert_eq!(prober.verdict(id(1)), Some(Verdict::Down));
}
