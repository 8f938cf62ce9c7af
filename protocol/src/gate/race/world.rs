//! A switch, nodes, and the wires between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::faults::Fault;
use crate::NodeId;
use crate::gate::{Cluster, Effect, Gate, GateMessage, Input, Intent, Standing};
use crate::limits::GATE_ANSWER_MS;

pub(super) const NODES_MAX: usize = 5;

/// How long a node waits for a reply before it gives the connection up, in milliseconds, as the node's own limits say.
pub(super) const REPLY_TIMEOUT_MS: u64 = 5_000;

/// What a node does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mistake {
    #[default]
    None,
    /// It takes its question for asked without asking.
    AsksNobody,
    /// It does not hear answers.
    IgnoresAnswers,
    /// While it is attached, it reads its own name from the switch.
    BelievesItHolds,
    /// It takes the gate whatever the switch says.
    TakesRefusalForConsent,
}

/// How often things have happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Anybody has attached or detached.
    pub(super) changes: u64,
    /// A question was asked.
    pub(super) asked: u64,
    /// A holder that was thought to be gone has answered.
    pub(super) believed: u64,
    /// The gate was taken from another node.
    pub(super) usurped: u64,
    /// A node has read that it lost the gate.
    pub(super) lost: u64,
    /// A node that could not read the gate has stopped.
    pub(super) unread: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.changes += other.changes;
        self.asked += other.asked;
        self.believed += other.believed;
        self.usurped += other.usurped;
        self.lost += other.lost;
        self.unread += other.unread;
    }
}

/// What a world is made of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    pub(super) mistake: Mistake,
    /// How many clusters there are; as the seed draws if this is 0.
    pub(super) clusters: u64,
}

pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) chance: u64,
    pub(super) mistake: Mistake,
    pub(super) delay_max_ms: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    pub(super) entries: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) wires: Vec<Wire>,
    /// Which of the switch's lives this is.
    pub(super) core: u32,
    /// What the gate's key of this life holds.
    pub(super) gate: Option<NodeId>,
    pub(super) cut: [[bool; NODES_MAX]; NODES_MAX],
    pub(super) tally: Tally,
    pub(super) problem: Option<String>,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) cluster: u64,
    pub(super) up: bool,
    pub(super) intent: Intent,
    pub(super) still: bool,
    pub(super) off_switch: bool,
    pub(super) gate: Option<Gate>,
    pub(super) wire: usize,
    /// When the command that is on its way was sent.
    pub(super) sent_at_ms: Option<u64>,
    /// What waits for a node that stands still.
    pub(super) inbox: VecDeque<(usize, Input)>,
    /// What a cut keeps from this node or from the switch.
    pub(super) stuck: VecDeque<Event>,
    pub(super) queued_timer_ms: Option<u64>,
    pub(super) views: [Standing; NODES_MAX],
    /// Since when the switch has not named this node; none while it does.
    pub(super) unnamed_since_ms: Option<u64>,
    /// Since when it has been attached, moving and connected.
    pub(super) well_since_ms: u64,
    pub(super) question: Option<GateMessage>,
    pub(super) answer: Option<GateMessage>,
}

/// A connection to one life of the switch.
pub(super) struct Wire {
    pub(super) node: usize,
    pub(super) core: u32,
    pub(super) open: bool,
    /// Bytes do not overtake each other.
    pub(super) to_switch_ms: u64,
    pub(super) to_node_ms: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    AtSwitch(usize, Effect),
    AtNode(usize, Input),
    Timer(usize),
    TimedOut(usize, u64),
    Connect(usize),
    View(usize),
    Fault(Fault),
}

struct Entry {
    at_ms: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

/// What the members tell one node.
pub(super) struct View<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) node: usize,
}

impl Cluster for View<'_> {
    fn intent(&self) -> Intent {
        self.nodes[self.node].intent
    }

    fn standing(&self, node: NodeId) -> Standing {
        self.nodes[self.node].views[index_of(node)]
    }

    fn goes_first(&self) -> bool {
        let views = &self.nodes[self.node].views;
        (0..self.node).all(|other| views[other] != Standing::Alive)
    }

    fn has_successor(&self) -> bool {
        let views = &self.nodes[self.node].views;
        (0..self.nodes.len()).any(|other| other != self.node && views[other] == Standing::Alive)
    }
}

pub(super) fn index_of(node: NodeId) -> usize {
    usize::from(node.as_bytes()[0]) - 1
}

impl World {
    pub(super) fn new(seed: u64, setup: Setup) -> Self {
        let mut world = Self {
            now_ms: 0,
            chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            mistake: setup.mistake,
            delay_max_ms: 0,
            queue: BinaryHeap::new(),
            entries: 0,
            nodes: Vec::new(),
            wires: Vec::new(),
            core: 0,
            gate: None,
            cut: Default::default(),
            tally: Tally::default(),
            problem: None,
        };
        world.delay_max_ms = [3, 40, GATE_ANSWER_MS / 6][world.draw(3) as usize];
        let count = 2 + world.draw(NODES_MAX as u64 - 1) as usize;
        let clusters = if setup.clusters > 0 { setup.clusters } else { 1 + world.draw(4) / 3 };
        for node in 0..count {
            world.nodes.push(Node {
                id: NodeId::from_bytes([node as u8 + 1; 16]),
                cluster: node as u64 % clusters,
                up: false,
                intent: Intent::Serve,
                still: false,
                off_switch: false,
                gate: None,
                wire: usize::MAX,
                sent_at_ms: None,
                inbox: VecDeque::new(),
                stuck: VecDeque::new(),
                queued_timer_ms: None,
                views: [Standing::Unknown; NODES_MAX],
                unnamed_since_ms: Some(0),
                well_since_ms: 0,
                question: None,
                answer: None,
            });
        }
        for node in 0..count {
            world.befall(Fault::Start(node));
        }
        world
    }

    // --- What tests ask ---

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn id(&self, node: usize) -> NodeId {
        self.nodes[node].id
    }

    pub(super) fn means_to(&self, node: usize) -> Intent {
        self.nodes[node].intent
    }

    pub(super) fn holder(&self) -> Option<usize> {
        self.gate.map(index_of)
    }

    pub(super) fn delay_max_ms(&self) -> u64 {
        self.delay_max_ms
    }

    /// How long the members take to notice something.
    pub(super) fn notice_max_ms(&self) -> u64 {
        2_000
    }

    pub(super) fn first_of_the_living(&self) -> usize {
        self.nodes.iter().position(|node| node.up).unwrap_or_default()
    }

    pub(super) fn kill(&mut self, node: usize) {
        self.befall(Fault::Kill(node));
    }

    pub(super) fn stand_still(&mut self, node: usize, until_ms: u64) {
        self.befall(Fault::Still(node, until_ms));
    }

    /// Whether one node is attached, and it is the one that the switch names.
    pub(super) fn is_settled(&self) -> Result<(), String> {
        let attached: Vec<_> = (0..self.count()).filter(|node| self.is_attached(*node)).collect();
        if attached.len() == 1 && self.holder() == Some(attached[0]) {
            return Ok(());
        }
        Err(format!("at {} ms the gate is {:?}'s, and attached are {attached:?}", self.now_ms, self.holder()))
    }

    pub(super) fn is_attached(&self, node: usize) -> bool {
        let gate = self.nodes[node].gate.as_ref();
        gate.and_then(Gate::may_command_until_ms).is_some_and(|until_ms| self.now_ms < until_ms)
    }

    /// A number below `bound` (Steele, Lea and Flood's SplitMix).
    pub(super) fn draw(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn delay(&mut self) -> u64 {
        1 + self.draw(self.delay_max_ms)
    }

    // --- Time ---

    pub(super) fn push(&mut self, at_ms: u64, event: Event) {
        self.entries += 1;
        self.queue.push(Reverse(Entry { at_ms, number: self.entries, event }));
    }

    pub(super) fn forget_faults(&mut self) {
        self.queue.retain(|Reverse(entry)| !matches!(entry.event, Event::Fault(_)));
    }

    pub(super) fn run_until(&mut self, end_ms: u64) -> Result<(), String> {
        while self.queue.peek().is_some_and(|Reverse(entry)| entry.at_ms <= end_ms) {
            let Some(Reverse(Entry { at_ms, event, .. })) = self.queue.pop() else { break };
            self.now_ms = at_ms;
            self.happen(event);
            if let Some(problem) = self.problem.take() {
                return Err(format!("at {at_ms} ms {problem}"));
            }
        }
        self.now_ms = end_ms;
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::AtSwitch(wire, _) | Event::AtNode(wire, _)
                if self.nodes[self.wires[wire].node].off_switch =>
            {
                let node = self.wires[wire].node;
                self.nodes[node].stuck.push_back(event);
            }
            Event::AtSwitch(wire, command) => self.at_switch(wire, command),
            Event::AtNode(wire, input) => self.at_node(wire, input),
            Event::Timer(node) => {
                self.nodes[node].queued_timer_ms = None;
                if self.nodes[node].still {
                    return;
                }
                let due = self.nodes[node].gate.as_ref().and_then(Gate::timer_ms);
                if due.is_some_and(|due_ms| due_ms <= self.now_ms) {
                    self.input(node, Input::Timer);
                }
                self.queue_timer(node);
            }
            Event::TimedOut(wire, sent_at_ms) => {
                let node = &self.nodes[self.wires[wire].node];
                if node.wire == wire && node.sent_at_ms == Some(sent_at_ms) && !node.still {
                    self.input(self.wires[wire].node, Input::ConnectionLost);
                }
            }
            Event::Connect(node) => self.connect(node),
            Event::View(node) => self.look_around(node),
            Event::Fault(fault) => self.befall(fault),
        }
    }

    pub(super) fn queue_timer(&mut self, node: usize) {
        let Some(due_ms) = self.nodes[node].gate.as_ref().and_then(Gate::timer_ms) else { return };
        let due_ms = due_ms.max(self.now_ms);
        if self.nodes[node].queued_timer_ms.is_none_or(|queued_ms| due_ms < queued_ms) {
            self.nodes[node].queued_timer_ms = Some(due_ms);
            self.push(due_ms, Event::Timer(node));
        }
    }
}
