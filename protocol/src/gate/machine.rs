//! One node's side of a gate: see [`super`] for the rules.

use super::{Cluster, Effect, GateMessage, Holder, Input, Intent, Reply, Standing, Why};
use crate::NodeId;
use crate::limits::{
    GATE_ANSWER_MS, GATE_CHECK_MS, GATE_ECHO_MS, GATE_PATIENCE_MS, GATE_QUESTIONS_MAX, GATE_RETRY_MS,
    GATE_UNREAD_MS,
};

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;

/// The gate of one run of a switch, over one connection to it, as one node sees it.
#[derive(Debug)]
pub struct Gate {
    node: NodeId,
    /// The nonce of the last question.
    nonce: u64,
    stage: Stage,
    under_way: Option<UnderWay>,
    /// When to read the gate next.
    read_at_ms: u64,
    /// The reading that is on its way may be older than what was heard meanwhile.
    read_again: bool,
    /// No command is sent before this.
    resume_at_ms: u64,
    /// Who held the gate when it was last read.
    seen: Option<Holder>,
    vacancy: Option<Vacancy>,
    /// A holder has answered: nobody is asked before this.
    ask_again_at_ms: u64,
    /// Nonces of questions for this node that wait until it has read the gate.
    questions: Vec<u64>,
    /// The last nonce that was answered: a question is heard on every connection.
    answered: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not attached.
    Standby,
    /// A holder that is thought to be gone has been asked.
    Asking(Question),
    /// The gate is being taken.
    Taking { from: Option<NodeId> },
    /// Attached. The switch named this node at some time after this.
    Attached { held_at_ms: u64 },
    /// Not attached any more, and the gate is to be freed.
    LettingGo { for_good: bool },
    /// Nothing is left to do.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    holder: NodeId,
    nonce: u64,
    /// By when this node has to have heard itself.
    echo_by_ms: u64,
    /// When silence becomes the answer: some time after this node heard its own question.
    silent_at_ms: Option<u64>,
}

/// The command that the switch has not answered yet.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    sent_at_ms: u64,
}

/// A gate that may be taken.
#[derive(Clone, Copy, Debug)]
struct Vacancy {
    holder: Holder,
    since_ms: u64,
}

impl Gate {
    /// A gate of which nothing is known. The nonce is a random number, so that no answer to an earlier question fits.
    pub fn new(node: NodeId, now_ms: u64, nonce: u64) -> Self {
        Self {
            node,
            nonce,
            stage: Stage::Standby,
            under_way: None,
            read_at_ms: now_ms,
            read_again: false,
            resume_at_ms: now_ms,
            seen: None,
            vacancy: None,
            ask_again_at_ms: now_ms,
            questions: Vec::new(),
            answered: None,
        }
    }

    /// When [`Input::Timer`] is due, on the clock of [`Gate::handle`]; none if nothing but an input is waited for.
    pub fn timer_ms(&self) -> Option<u64> {
        let next_ms = match self.stage {
            _ if self.under_way.is_some() => None,
            Stage::Standby | Stage::Attached { .. } => Some(self.read_at_ms),
            Stage::Asking(question) => Some(question.silent_at_ms.unwrap_or(question.echo_by_ms)),
            Stage::Taking { .. } | Stage::LettingGo { .. } => Some(self.resume_at_ms),
            Stage::Ended => None,
        };
        let next_ms = next_ms.map(|next_ms| next_ms.max(self.resume_at_ms));
        next_ms.into_iter().chain(self.may_command_until_ms()).min()
    }

    /// Until when this node may command the switch, as far as it knows now; none if it is not attached.
    pub fn may_command_until_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::Attached { held_at_ms } => Some(held_at_ms + GATE_UNREAD_MS),
            _ => None,
        }
    }

    /// Takes an input at a time, in milliseconds of any clock that never runs backwards, and says what follows from it,
    /// to be done in this order.
    pub fn handle(&mut self, now_ms: u64, cluster: &impl Cluster, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.stage == Stage::Ended {
            return effects;
        }
        self.stop_if_unread(now_ms, &mut effects);
        match input {
            Input::Timer => {}
            Input::ClusterChanged => self.look_at_vacancy(now_ms, cluster),
            Input::Reply(reply) => self.replied(now_ms, cluster, reply, &mut effects),
            Input::NotSent => {
                self.under_way = None;
                self.resume_at_ms = now_ms + GATE_RETRY_MS;
            }
            Input::Heard(message) => self.heard(now_ms, message, &mut effects),
            Input::GiveUp => {
                if self.detach(Why::GaveUp, &mut effects) {
                    self.stage = Stage::LettingGo { for_good: true };
                }
            }
            Input::ConnectionLost => {
                self.detach(Why::ConnectionLost, &mut effects);
                self.end(&mut effects);
                return effects;
            }
        }
        self.let_go_if_unwanted(cluster, &mut effects);
        self.go_on(now_ms, cluster, &mut effects);
        effects
    }

    // --- What the switch answers ---

    fn replied(&mut self, now_ms: u64, cluster: &impl Cluster, reply: Reply, effects: &mut Vec<Effect>) {
        let Some(UnderWay { sent_at_ms }) = self.under_way.take() else { return };
        match (reply, self.stage) {
            (Reply::Read(holder), stage) => {
                self.seen = Some(holder);
                match stage {
                    Stage::Attached { .. } if holder == Holder::Us => {
                        self.stage = Stage::Attached { held_at_ms: sent_at_ms };
                        self.read_at_ms = sent_at_ms + GATE_CHECK_MS;
                    }
                    Stage::Attached { .. } => {
                        self.detach(Why::Lost(holder), effects);
                        self.consider(now_ms, sent_at_ms, cluster, holder, effects);
                    }
                    Stage::Asking(question) if holder == Holder::Other(question.holder) => {
                        self.silence_confirmed(now_ms, sent_at_ms, cluster, question, effects);
                    }
                    Stage::LettingGo { .. } => {}
                    _ => self.consider(now_ms, sent_at_ms, cluster, holder, effects),
                }
                if std::mem::take(&mut self.read_again) {
                    self.read_at_ms = now_ms;
                }
            }
            (Reply::Took(true), _) => self.took(now_ms, sent_at_ms, cluster, effects),
            (Reply::Freed(_), Stage::LettingGo { for_good }) => {
                self.seen = None;
                if for_good || cluster.intent() == Intent::Stop {
                    return self.end(effects);
                }
                self.stand_by(now_ms + GATE_CHECK_MS);
            }
            // `go_on` takes it now.
            (Reply::Freed(true), Stage::Taking { .. }) if wants(cluster) => {}
            // Somebody was faster, or this node is not wanted any more.
            (Reply::Freed(_) | Reply::Took(false), Stage::Taking { .. }) => self.stand_by(now_ms),
            (Reply::Freed(_) | Reply::Took(false) | Reply::Asked, _) => {}
        }
    }

    fn took(&mut self, now_ms: u64, sent_at_ms: u64, cluster: &impl Cluster, effects: &mut Vec<Effect>) {
        let from = if let Stage::Taking { from } = self.stage { from } else { None };
        self.seen = Some(Holder::Us);
        effects.push(Effect::Taken(from));
        self.consider(now_ms, sent_at_ms, cluster, Holder::Us, effects);
    }

    /// Decides, not being attached, by what a reading that was sent at that time has said.
    fn consider(
        &mut self,
        now_ms: u64,
        sent_at_ms: u64,
        cluster: &impl Cluster,
        holder: Holder,
        effects: &mut Vec<Effect>,
    ) {
        self.stand_by(now_ms + GATE_CHECK_MS);
        match holder {
            Holder::Us if !wants(cluster) => self.stage = Stage::LettingGo { for_good: false },
            Holder::Us if now_ms < sent_at_ms + GATE_UNREAD_MS => {
                self.attach(sent_at_ms, effects);
            }
            Holder::Us => self.read_at_ms = now_ms,
            Holder::Stranger => {}
            Holder::Nobody | Holder::Other(_) => {
                self.questions.clear();
                match self.claimable_at_ms(now_ms, cluster, holder) {
                    Some(at_ms) if at_ms <= now_ms => self.claim(now_ms, holder, effects),
                    Some(at_ms) => self.read_at_ms = self.read_at_ms.min(at_ms),
                    None => {}
                }
            }
        }
    }

    fn attach(&mut self, held_at_ms: u64, effects: &mut Vec<Effect>) {
        self.stage = Stage::Attached { held_at_ms };
        self.read_at_ms = held_at_ms + GATE_CHECK_MS;
        self.vacancy = None;
        // Always: a loser may have been freed by a node that died before it took the gate, and a challenger may have
        // asked after this node before it was back.
        effects.push(Effect::Say(GateMessage::Held { holder: self.node }));
        effects.push(Effect::Attach);
        for nonce in std::mem::take(&mut self.questions) {
            self.answer(nonce, effects);
        }
    }

    // --- Taking it ---

    /// From when on this node may try to take the gate from that holder; none if it has to leave it alone.
    fn claimable_at_ms(&mut self, now_ms: u64, cluster: &impl Cluster, holder: Holder) -> Option<u64> {
        let patience_ms = match holder {
            _ if !wants(cluster) => None,
            Holder::Nobody => Some(0),
            Holder::Other(node) => match cluster.standing(node) {
                Standing::Dead => Some(0),
                // What it says of itself may be old, and it may be about to return.
                Standing::OutOfReach => Some(GATE_CHECK_MS),
                Standing::Unknown => Some(GATE_PATIENCE_MS),
                Standing::Alive => None,
            },
            Holder::Us | Holder::Stranger => None,
        };
        let Some(patience_ms) = patience_ms else {
            self.vacancy = None;
            return None;
        };
        let vacancy = self.vacancy.filter(|vacancy| vacancy.holder == holder);
        let vacancy = vacancy.unwrap_or(Vacancy { holder, since_ms: now_ms });
        self.vacancy = Some(vacancy);
        let behind_ms = if cluster.goes_first() { 0 } else { GATE_PATIENCE_MS };
        let at_ms = vacancy.since_ms + patience_ms + behind_ms;
        Some(if holder == Holder::Nobody { at_ms } else { at_ms.max(self.ask_again_at_ms) })
    }

    /// Reads the gate earlier if the cluster now says that it may be taken.
    fn look_at_vacancy(&mut self, now_ms: u64, cluster: &impl Cluster) {
        if self.stage == Stage::Standby
            && let Some(holder) = self.seen
            && let Some(at_ms) = self.claimable_at_ms(now_ms, cluster, holder)
        {
            self.read_at_ms = self.read_at_ms.min(at_ms.max(now_ms));
        }
    }

    fn claim(&mut self, now_ms: u64, holder: Holder, effects: &mut Vec<Effect>) {
        match holder {
            Holder::Other(node) => self.ask(now_ms, node, effects),
            _ => {
                self.stage = Stage::Taking { from: None };
                self.send(now_ms, Effect::Take, effects);
            }
        }
    }

    fn ask(&mut self, now_ms: u64, holder: NodeId, effects: &mut Vec<Effect>) {
        self.nonce = self.nonce.wrapping_add(1);
        let nonce = self.nonce;
        let echo_by_ms = now_ms + GATE_ECHO_MS;
        self.stage = Stage::Asking(Question { holder, nonce, echo_by_ms, silent_at_ms: None });
        self.send(now_ms, Effect::Ask(GateMessage::Question { holder, nonce }), effects);
    }

    /// The holder has not answered, and a reading that was sent after its time was up still names it.
    fn silence_confirmed(
        &mut self,
        now_ms: u64,
        sent_at_ms: u64,
        cluster: &impl Cluster,
        question: Question,
        effects: &mut Vec<Effect>,
    ) {
        let holder = Holder::Other(question.holder);
        if self.claimable_at_ms(now_ms, cluster, holder).is_none() {
            self.consider(now_ms, sent_at_ms, cluster, holder, effects);
        } else if now_ms - sent_at_ms > GATE_ANSWER_MS {
            // This node or the switch stood still meanwhile, and the holder may have come back.
            self.ask(now_ms, question.holder, effects);
        } else {
            self.stage = Stage::Taking { from: Some(question.holder) };
            self.send(now_ms, Effect::Free(question.holder), effects);
        }
    }

    // --- What is heard over the switch ---

    fn heard(&mut self, now_ms: u64, message: GateMessage, effects: &mut Vec<Effect>) {
        match (message, &mut self.stage) {
            (GateMessage::Question { holder, nonce }, Stage::Attached { .. }) if holder == self.node => {
                self.answer(nonce, effects);
            }
            (GateMessage::Question { holder, nonce }, _) if holder == self.node => {
                if self.questions.len() < GATE_QUESTIONS_MAX && !self.questions.contains(&nonce) {
                    self.questions.push(nonce);
                }
                self.read_soon(now_ms);
            }
            (GateMessage::Question { nonce, .. }, Stage::Asking(question)) if nonce == question.nonce => {
                question.silent_at_ms.get_or_insert(now_ms + GATE_ANSWER_MS);
            }
            (GateMessage::Answer { holder, nonce }, Stage::Asking(question))
                if (holder, nonce) == (question.holder, question.nonce) =>
            {
                self.believe(now_ms, holder, effects);
            }
            // It has just come back, and has not heard the question.
            (GateMessage::Held { holder }, Stage::Asking(question)) if holder == question.holder => {
                self.believe(now_ms, holder, effects);
            }
            (GateMessage::Held { holder }, Stage::Attached { .. }) if holder != self.node => {
                self.read_soon(now_ms);
            }
            _ => {}
        }
    }

    fn believe(&mut self, now_ms: u64, holder: NodeId, effects: &mut Vec<Effect>) {
        self.ask_again_at_ms = now_ms + GATE_CHECK_MS;
        self.vacancy = None;
        self.stand_by(now_ms + GATE_CHECK_MS);
        effects.push(Effect::Believe(holder));
    }

    fn answer(&mut self, nonce: u64, effects: &mut Vec<Effect>) {
        if self.answered != Some(nonce) {
            self.answered = Some(nonce);
            effects.push(Effect::Say(GateMessage::Answer { holder: self.node, nonce }));
        }
    }

    fn read_soon(&mut self, now_ms: u64) {
        self.read_at_ms = now_ms;
        self.read_again = self.under_way.is_some();
    }

    // --- Stopping ---

    fn stop_if_unread(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.may_command_until_ms().is_some_and(|until_ms| until_ms <= now_ms) {
            self.detach(Why::Unread, effects);
            self.stand_by(now_ms);
        }
    }

    fn let_go_if_unwanted(&mut self, cluster: &impl Cluster, effects: &mut Vec<Effect>) {
        let for_good = cluster.intent() == Intent::Stop;
        match self.stage {
            Stage::Attached { .. } if !wants(cluster) => {
                self.detach(Why::LetGo, effects);
                self.stage = Stage::LettingGo { for_good };
            }
            Stage::Standby if for_good && self.seen == Some(Holder::Us) => {
                self.stage = Stage::LettingGo { for_good };
            }
            // What is on its way may still give the gate to this node.
            Stage::Asking(_) if !wants(cluster) => self.stage = Stage::Standby,
            Stage::Standby if for_good && self.under_way.is_none() => self.end(effects),
            _ => {}
        }
    }

    /// Whether this node was attached, and is not any more.
    fn detach(&mut self, why: Why, effects: &mut Vec<Effect>) -> bool {
        let was_attached = matches!(self.stage, Stage::Attached { .. });
        if was_attached {
            self.stage = Stage::Standby;
            effects.push(Effect::Detach(why));
        }
        was_attached
    }

    fn stand_by(&mut self, read_at_ms: u64) {
        self.stage = Stage::Standby;
        self.read_at_ms = read_at_ms;
    }

    fn end(&mut self, effects: &mut Vec<Effect>) {
        self.stage = Stage::Ended;
        effects.push(Effect::End);
    }

    // --- Going on ---

    /// Sends the next command if it is time.
    fn go_on(&mut self, now_ms: u64, cluster: &impl Cluster, effects: &mut Vec<Effect>) {
        if self.under_way.is_some() || now_ms < self.resume_at_ms {
            return;
        }
        match self.stage {
            Stage::Standby | Stage::Attached { .. } if self.read_at_ms <= now_ms => {
                self.send(now_ms, Effect::Read, effects);
            }
            Stage::Asking(Question { silent_at_ms: Some(at_ms), .. }) if at_ms <= now_ms => {
                self.send(now_ms, Effect::Read, effects);
            }
            // It does not hear itself, and so would not hear the answer.
            Stage::Asking(Question { silent_at_ms: None, echo_by_ms, .. }) if echo_by_ms <= now_ms => {
                self.stand_by(now_ms + GATE_CHECK_MS);
            }
            Stage::Taking { .. } if wants(cluster) => self.send(now_ms, Effect::Take, effects),
            Stage::Taking { .. } => self.stand_by(now_ms),
            Stage::LettingGo { .. } => self.send(now_ms, Effect::Release, effects),
            _ => {}
        }
    }

    fn send(&mut self, now_ms: u64, command: Effect, effects: &mut Vec<Effect>) {
        self.under_way = Some(UnderWay { sent_at_ms: now_ms });
        effects.push(command);
    }
}

/// Whether a node that means this is to serve the switch.
fn wants(cluster: &impl Cluster) -> bool {
    match cluster.intent() {
        Intent::Serve => true,
        Intent::Leave => !cluster.has_successor(),
        Intent::Stop => false,
    }
}
