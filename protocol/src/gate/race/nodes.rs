//! The nodes, and what their members tell them.

use super::world::{Event, Mistake, REPLY_TIMEOUT_MS, View, Wire, World, index_of};
use crate::gate::{Effect, Gate, GateMessage, Holder, Input, Intent, Reply, Standing, Why};
use crate::limits::{GATE_ANSWER_MS, GATE_UNREAD_MS};

impl World {
    pub(super) fn at_node(&mut self, wire: usize, input: Input) {
        let index = self.wires[wire].node;
        if self.nodes[index].wire != wire {
            return;
        }
        if self.nodes[index].still {
            self.nodes[index].inbox.push_back((wire, input));
            return;
        }
        let input = match (self.mistake, input) {
            (Mistake::IgnoresAnswers, Input::Heard(GateMessage::Answer { .. })) => {
                self.nodes[index].answer = self.nodes[index].question;
                return;
            }
            (Mistake::BelievesItHolds, Input::Reply(Reply::Read(_))) if self.is_attached(index) => {
                Input::Reply(Reply::Read(Holder::Us))
            }
            (Mistake::TakesRefusalForConsent, Input::Reply(Reply::Took(_))) => {
                Input::Reply(Reply::Took(true))
            }
            (_, input) => input,
        };
        if matches!(input, Input::Reply(_)) {
            self.nodes[index].sent_at_ms = None;
        }
        if let Input::Heard(GateMessage::Answer { holder, nonce }) = input {
            let question = GateMessage::Question { holder, nonce };
            self.nodes[index].answer = Some(question);
        }
        let told = matches!(input, Input::Reply(Reply::Read(holder)) if holder != Holder::Us);
        self.input(index, input);
        if told && self.is_attached(index) {
            self.fail(format!("node {index} has read that it does not hold the gate, and may command"));
        }
    }

    /// Gives an input to a gate and carries out what it asks for.
    pub(super) fn input(&mut self, index: usize, input: Input) {
        let Some(mut gate) = self.nodes[index].gate.take() else { return };
        let effects = gate.handle(self.now_ms, &View { nodes: &self.nodes, node: index }, input);
        self.nodes[index].gate = Some(gate);
        for effect in effects {
            self.carry_out(index, effect);
        }
        self.check(index);
        self.queue_timer(index);
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Attach => {
                self.tally.changes += 1;
                self.nodes[index].well_since_ms = self.now_ms;
                self.truth_changed();
            }
            Effect::Detach(why) => {
                self.tally.changes += 1;
                self.tally.lost += u64::from(matches!(why, Why::Lost(_)));
                self.tally.unread += u64::from(why == Why::Unread);
            }
            Effect::Believe(_) => self.tally.believed += 1,
            Effect::Taken(from) => self.tally.usurped += u64::from(from.is_some()),
            Effect::End => self.ended(index),
            command => {
                match command {
                    Effect::Free(holder) => self.check_usurpation(index, index_of(holder)),
                    Effect::Ask(question) => {
                        self.tally.asked += 1;
                        self.nodes[index].question = Some(question);
                    }
                    _ => {}
                }
                if !matches!(command, Effect::Say(_)) {
                    self.nodes[index].sent_at_ms = Some(self.now_ms);
                }
                self.send_to_switch(index, command);
            }
        }
    }

    fn send_to_switch(&mut self, index: usize, command: Effect) {
        let wire = self.nodes[index].wire;
        if let Effect::Ask(question) = command
            && self.mistake == Mistake::AsksNobody
        {
            self.send_to_node(wire, Input::Reply(Reply::Asked));
            return self.send_to_node(wire, Input::Heard(question));
        }
        let at_ms = (self.now_ms + self.delay()).max(self.wires[wire].to_switch_ms);
        self.wires[wire].to_switch_ms = at_ms;
        if self.nodes[index].off_switch || !self.wires[wire].open {
            self.push(self.now_ms + REPLY_TIMEOUT_MS, Event::TimedOut(wire, self.now_ms));
        }
        self.push(at_ms, Event::AtSwitch(wire, command));
    }

    pub(super) fn connect(&mut self, index: usize) {
        let node = &self.nodes[index];
        if !node.up || node.gate.is_some() {
            return;
        }
        if node.still || node.off_switch {
            return self.push(self.now_ms + 500, Event::Connect(index));
        }
        let wire = self.wires.len();
        let now_ms = self.now_ms;
        self.wires.push(Wire {
            node: index,
            core: self.core,
            open: true,
            to_switch_ms: now_ms,
            to_node_ms: now_ms,
        });
        let nonce = self.draw(u64::MAX);
        let node = &mut self.nodes[index];
        (node.wire, node.sent_at_ms) = (wire, None);
        node.gate = Some(Gate::new(node.id, now_ms, nonce));
        node.inbox.clear();
        self.queue_timer(index);
        self.truth_changed();
    }

    fn ended(&mut self, index: usize) {
        let wire = self.nodes[index].wire;
        self.hang_up(wire);
        let node = &mut self.nodes[index];
        node.gate = None;
        node.up &= node.intent != Intent::Stop;
        let at_ms = self.now_ms + 125 + self.draw(500);
        self.push(at_ms, Event::Connect(index));
        self.truth_changed();
    }

    /// The switch notices after a while that a connection has ended; what is on its way there may still arrive.
    pub(super) fn hang_up(&mut self, wire: usize) {
        if self.draw(2) == 0
            && let Some(wire) = self.wires.get_mut(wire)
        {
            wire.open = false;
        }
    }

    // --- Members ---

    /// Something is different, which the members notice sooner or later.
    pub(super) fn truth_changed(&mut self) {
        for node in 0..self.nodes.len() {
            let at_ms = self.now_ms + 300 + self.draw(self.notice_max_ms() - 300);
            self.push(at_ms, Event::View(node));
        }
    }

    pub(super) fn look_around(&mut self, index: usize) {
        for other in 0..self.nodes.len() {
            let (node, seen) = (&self.nodes[index], &self.nodes[other]);
            let standing = if node.cluster != seen.cluster {
                Standing::Unknown
            } else if !seen.up || seen.still || self.cut[index][other] {
                Standing::Dead
            } else if seen.gate.is_none() || seen.intent != Intent::Serve {
                Standing::OutOfReach
            } else {
                Standing::Alive
            };
            self.nodes[index].views[other] = standing;
        }
        if !self.nodes[index].still {
            self.input(index, Input::ClusterChanged);
        }
    }

    // --- What must hold ---

    pub(super) fn fail(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    pub(super) fn check(&mut self, index: usize) {
        let node = &self.nodes[index];
        let Some(until_ms) = node.gate.as_ref().and_then(Gate::may_command_until_ms) else { return };
        if let Some(since_ms) = node.unnamed_since_ms
            && until_ms > since_ms + GATE_UNREAD_MS
        {
            self.fail(format!(
                "node {index} may command until {until_ms} ms, and the switch has not named it since {since_ms} ms"
            ));
        }
    }

    fn check_usurpation(&mut self, by: usize, holder: usize) {
        let challenger = &self.nodes[by];
        if challenger.question.is_some() && challenger.answer == challenger.question {
            self.fail(format!("node {by} usurps {holder}, which has answered"));
        }
        let node = &self.nodes[holder];
        let connected =
            node.gate.is_some() && self.wires[node.wire].open && self.wires[node.wire].core == self.core;
        let is_well = node.up && !node.still && !node.off_switch && connected && self.is_attached(holder);
        let long_enough_ms = GATE_ANSWER_MS + 4 * self.delay_max_ms;
        if is_well && self.gate == Some(node.id) && node.well_since_ms + long_enough_ms <= self.now_ms {
            self.fail(format!("node {by} usurps {holder}, which was well since {} ms", node.well_since_ms));
        }
    }
}
