//! What befalls the nodes and the switch.

use super::world::{Event, REPLY_TIMEOUT_MS, World};
use crate::gate::{GateMessage, Input, Intent};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A node dies, and is started again under the same id after a while.
    Kill,
    /// A node stands still for a while.
    Still,
    /// Two nodes do not reach each other for a while.
    CutNodes,
    /// A node does not reach the switch for a while.
    CutSwitch,
    /// A connection to the switch breaks.
    DropConnection,
    /// A node leaves, then stops.
    Leave,
    /// A node cannot do what an attached node has to.
    GiveUp,
    /// The switch is started anew, with another `Core-UUID`.
    RestartSwitch,
    /// A client of the switch makes events that say what is not so.
    Forge,
}

/// What happens to whom.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Kill(usize),
    Start(usize),
    Still(usize, u64),
    Wake(usize),
    CutNodes(usize, usize),
    HealNodes(usize, usize),
    CutSwitch(usize),
    HealSwitch(usize),
    DropConnection(usize),
    Intent(usize, Intent),
    GiveUp(usize),
    RestartSwitch,
    Forge(GateMessage),
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Kill,
        Self::Still,
        Self::CutNodes,
        Self::CutSwitch,
        Self::DropConnection,
        Self::Leave,
        Self::GiveUp,
        Self::RestartSwitch,
        Self::Forge,
    ];
}

impl World {
    /// Draws faults that begin before `end_ms`.
    pub(super) fn plan_faults(&mut self, kinds: &[Kind], end_ms: u64) {
        for _ in 0..2 + self.draw(5) {
            let kind = kinds[self.draw(kinds.len() as u64) as usize];
            let at_ms = self.draw(end_ms);
            // Most faults are short, and some outlast everything that anybody waits for.
            let longest_ms = [300, 2_000, 8_000, 20_000][self.draw(4) as usize];
            let until_ms = at_ms + 1 + self.draw(longest_ms);
            let count = self.count() as u64;
            // The first is mostly the one that holds the gate.
            let node = self.draw(2 * count).saturating_sub(count) as usize;
            let other = (node + 1 + self.draw(count - 1) as usize) % self.count();
            let plan: [Option<(u64, Fault)>; 3] = match kind {
                Kind::Kill => [Some((at_ms, Fault::Kill(node))), Some((until_ms, Fault::Start(node))), None],
                Kind::Still => [Some((at_ms, Fault::Still(node, until_ms))), None, None],
                Kind::CutNodes => [
                    Some((at_ms, Fault::CutNodes(node, other))),
                    Some((until_ms, Fault::HealNodes(node, other))),
                    None,
                ],
                Kind::CutSwitch => {
                    [Some((at_ms, Fault::CutSwitch(node))), Some((until_ms, Fault::HealSwitch(node))), None]
                }
                Kind::DropConnection => [Some((at_ms, Fault::DropConnection(node))), None, None],
                Kind::Leave => [
                    Some((at_ms, Fault::Intent(node, Intent::Leave))),
                    Some((until_ms, Fault::Intent(node, Intent::Stop))),
                    Some((until_ms + 3_000, Fault::Start(node))),
                ],
                Kind::GiveUp => [Some((at_ms, Fault::GiveUp(node))), None, None],
                Kind::RestartSwitch => [Some((at_ms, Fault::RestartSwitch)), None, None],
                Kind::Forge => {
                    let holder = self.id(other);
                    let nonce = self.draw(5);
                    let message = match self.draw(3) {
                        0 => GateMessage::Question { holder, nonce },
                        1 => GateMessage::Answer { holder, nonce },
                        _ => GateMessage::Held { holder },
                    };
                    [Some((at_ms, Fault::Forge(message))), None, None]
                }
            };
            for (at_ms, fault) in plan.into_iter().flatten() {
                self.push(at_ms, Event::Fault(fault));
            }
        }
    }

    /// Ends all faults; what was planned and has not begun does not happen.
    pub(super) fn heal(&mut self) {
        self.forget_faults();
        for node in 0..self.count() {
            for other in 0..self.count() {
                self.befall(Fault::HealNodes(node, other));
            }
            self.befall(Fault::Wake(node));
            self.befall(Fault::HealSwitch(node));
            if self.means_to(node) == Intent::Serve {
                self.befall(Fault::Start(node));
            } else {
                // It is started again, whether it has stopped by then or not.
                self.befall(Fault::Kill(node));
                self.befall(Fault::Start(node));
            }
        }
    }

    pub(super) fn befall(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(node) => {
                let wire = self.nodes[node].wire;
                self.hang_up(wire);
                self.nodes[node].gate = None;
                self.nodes[node].up = false;
            }
            Fault::Start(node) => {
                if !self.nodes[node].up {
                    self.nodes[node].up = true;
                    self.nodes[node].intent = Intent::Serve;
                    let at_ms = self.now_ms + self.delay();
                    self.push(at_ms, Event::Connect(node));
                }
            }
            Fault::Still(node, until_ms) => {
                self.nodes[node].still = true;
                self.push(until_ms, Event::Fault(Fault::Wake(node)));
            }
            Fault::Wake(node) => self.wake(node),
            Fault::CutNodes(one, other) | Fault::HealNodes(one, other) => {
                let cut = matches!(fault, Fault::CutNodes(..));
                (self.cut[one][other], self.cut[other][one]) = (cut, cut);
            }
            Fault::CutSwitch(node) => {
                self.nodes[node].off_switch = true;
                if let (wire, Some(sent_at_ms)) = (self.nodes[node].wire, self.nodes[node].sent_at_ms) {
                    self.push(sent_at_ms + REPLY_TIMEOUT_MS, Event::TimedOut(wire, sent_at_ms));
                }
            }
            Fault::HealSwitch(node) => self.heal_switch(node),
            Fault::DropConnection(node) => {
                let wire = self.nodes[node].wire;
                self.break_wire(wire);
            }
            Fault::Intent(node, intent) => {
                self.nodes[node].intent = intent;
                if !self.nodes[node].still {
                    self.input(node, Input::ClusterChanged);
                }
            }
            Fault::GiveUp(node) => {
                if !self.nodes[node].still {
                    self.input(node, Input::GiveUp);
                }
            }
            Fault::RestartSwitch => {
                for wire in 0..self.wires.len() {
                    self.break_wire(wire);
                }
                self.core += 1;
                self.name(None);
            }
            Fault::Forge(message) => self.broadcast(message),
        }
        self.truth_changed();
    }

    fn break_wire(&mut self, wire: usize) {
        if self.wires.get(wire).is_some_and(|wire| wire.open) {
            self.send_to_node(wire, Input::ConnectionLost);
            self.wires[wire].open = false;
        }
    }

    fn heal_switch(&mut self, index: usize) {
        if !std::mem::replace(&mut self.nodes[index].off_switch, false) {
            return;
        }
        self.nodes[index].well_since_ms = self.now_ms;
        for event in std::mem::take(&mut self.nodes[index].stuck) {
            self.push(self.now_ms, event);
        }
    }

    /// What waited for the node comes in its order; its own timers may come before.
    fn wake(&mut self, index: usize) {
        if !std::mem::replace(&mut self.nodes[index].still, false) {
            return;
        }
        self.nodes[index].well_since_ms = self.now_ms;
        if self.is_attached(index) {
            self.check(index);
        }
        if self.draw(2) == 0 {
            self.input(index, Input::Timer);
        }
        if self.nodes[index].sent_at_ms.is_some_and(|at_ms| at_ms + REPLY_TIMEOUT_MS <= self.now_ms)
            && self.draw(2) == 0
        {
            self.input(index, Input::ConnectionLost);
        }
        for (wire, input) in std::mem::take(&mut self.nodes[index].inbox) {
            self.at_node(wire, input);
        }
        self.queue_timer(index);
    }
}
