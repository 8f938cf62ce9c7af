//! The switch: a hash, events, and connections to it.

use super::world::{Event, World};
use crate::NodeId;
use crate::gate::{Effect, GateMessage, Holder, Input, Reply};

impl World {
    pub(super) fn at_switch(&mut self, wire: usize, command: Effect) {
        if !self.wires[wire].open || self.wires[wire].core != self.core {
            return;
        }
        let id = self.nodes[self.wires[wire].node].id;
        let reply = match command {
            Effect::Read => Reply::Read(match self.gate {
                None => Holder::Nobody,
                Some(node) if node == id => Holder::Us,
                Some(node) => Holder::Other(node),
            }),
            Effect::Free(node) => Reply::Freed(self.free(node)),
            Effect::Release => Reply::Freed(self.free(id)),
            Effect::Take => {
                let free = self.gate.is_none();
                if free {
                    self.name(Some(id));
                }
                Reply::Took(free)
            }
            Effect::Ask(message) => {
                self.broadcast(message);
                Reply::Asked
            }
            Effect::Say(message) => return self.broadcast(message),
            _ => return,
        };
        self.send_to_node(wire, Input::Reply(reply));
    }

    fn free(&mut self, node: NodeId) -> bool {
        let matches = self.gate == Some(node);
        if matches {
            self.name(None);
        }
        matches
    }

    pub(super) fn name(&mut self, holder: Option<NodeId>) {
        self.gate = holder;
        for node in &mut self.nodes {
            if holder == Some(node.id) {
                node.unnamed_since_ms = None;
            } else {
                node.unnamed_since_ms.get_or_insert(self.now_ms);
            }
        }
    }

    pub(super) fn broadcast(&mut self, message: GateMessage) {
        for node in 0..self.nodes.len() {
            let wire = self.nodes[node].wire;
            if self.wires.get(wire).is_some_and(|wire| wire.open && wire.core == self.core) {
                self.send_to_node(wire, Input::Heard(message));
            }
        }
    }

    pub(super) fn send_to_node(&mut self, wire: usize, input: Input) {
        let at_ms = (self.now_ms + self.delay()).max(self.wires[wire].to_node_ms);
        self.wires[wire].to_node_ms = at_ms;
        self.push(at_ms, Event::AtNode(wire, input));
    }
}
