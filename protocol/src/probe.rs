//! Who is alive: the members watch each other, by the rules of SWIM.
//!
//! Every member is watched by a few others, chosen by rendezvous hashing so that all agree without a word. A
//! watcher that gets no answers asks others to try, and only if they fail too does it tell everybody that the
//! member is down. The accused may refute that with a higher incarnation, and whoever has just heard from it
//! does not believe it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::NodeId;
use crate::limits::{
    PROBE_DOWN_INTERVAL_MS, PROBE_GOSSIP_DELAY_MS, PROBE_HELPERS, PROBE_INTERVAL_MS, PROBE_MISSES,
    PROBE_RECENT_MS, PROBE_RELAYS, PROBE_ROLL_CALL_MS, PROBE_RUMOUR_REPEATS, PROBE_SUSPICION_MS,
    PROBE_UNHEARD_MS, PROBE_WATCHERS,
};
use crate::ownership::{Candidate, ranking};
use crate::peer::ProbeMessage;

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed. To be given every 100 ms or so.
    Tick,
    /// A member was heard of, or has a new incarnation: by what it signed itself.
    Joined {
        /// The member.
        node: NodeId,
        /// Its incarnation, which every start and every refutation raises.
        incarnation: u64,
    },
    /// The node is no member any longer.
    Forgotten(NodeId),
    /// A probe arrived.
    Received {
        /// From whom, which its connection proves.
        from: NodeId,
        /// The probe.
        message: ProbeMessage,
    },
    /// Anything else arrived from that node.
    Heard(NodeId),
    /// The node itself said that it stops.
    Stopped(NodeId),
    /// What gossip, the slow witness, thinks of a member. To be given every second or so.
    Gossip {
        /// The member.
        node: NodeId,
        /// Whether its heartbeat still moves.
        live: bool,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a probe. It may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// The probe.
        message: ProbeMessage,
    },
    /// A member's verdict is another one now.
    Changed {
        /// The member.
        node: NodeId,
        /// The new verdict.
        verdict: Verdict,
    },
    /// This node had to raise its own incarnation, which is to be made known.
    Refuted {
        /// The new one.
        incarnation: u64,
    },
}

/// What is thought of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was heard of, and nobody has heard itself yet.
    Unheard,
    /// It is alive.
    Alive,
    /// It is down.
    Down,
}

/// The machine. All times are milliseconds of any steady clock.
#[derive(Debug)]
pub struct Prober {
    local: NodeId,
    incarnation: u64,
    members: BTreeMap<NodeId, Member>,
    /// Those that this node watches. None after the members changed.
    watched: Option<BTreeSet<NodeId>>,
    /// Until when this node watches everybody, having found somebody down: many may have gone at once, or it is
    /// this node that was cut off.
    roll_call_ends_at_ms: Option<u64>,
    /// What is still to be repeated to everybody, by whom it concerns.
    rumours: BTreeMap<NodeId, Rumour>,
    /// Pings on behalf of others, by their nonce.
    relays: BTreeMap<u32, Relay>,
    next_nonce: u32,
}

#[derive(Debug)]
struct Member {
    incarnation: u64,
    verdict: Verdict,
    verdict_since_ms: u64,
    heard_at_ms: Option<u64>,
    /// When it is to be pinged next, if it is watched.
    ping_at_ms: u64,
    /// Pings sent since it was heard.
    unanswered: u32,
    suspicion: Option<Suspicion>,
}

#[derive(Debug)]
struct Suspicion {
    nonce: u32,
    ends_at_ms: u64,
    ask_at_ms: u64,
    /// How many were asked so far.
    asked: usize,
}

#[derive(Debug)]
struct Rumour {
    message: ProbeMessage,
    left: u32,
    next_at_ms: u64,
}

#[derive(Debug)]
struct Relay {
    target: NodeId,
    asker: NodeId,
    nonce: u32,
    ends_at_ms: u64,
}

impl Prober {
    /// A node without other members. Its incarnation has to be higher than those of its earlier lives.
    pub fn new(local: NodeId, incarnation: u64) -> Self {
        Self {
            local,
            incarnation,
            members: BTreeMap::new(),
            watched: None,
            roll_call_ends_at_ms: None,
            rumours: BTreeMap::new(),
            relays: BTreeMap::new(),
            next_nonce: 0,
        }
    }

    /// What is thought of a member; none if it is not known.
    pub fn verdict(&self, node: NodeId) -> Option<Verdict> {
        self.members.get(&node).map(|member| member.verdict)
    }

    /// Takes an input and says what follows from it.
    pub fn handle(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Tick => self.tick(now_ms, &mut effects),
            Input::Joined { node, incarnation } => self.joined(now_ms, node, incarnation, &mut effects),
            Input::Forgotten(node) => {
                self.members.remove(&node);
                self.rumours.remove(&node);
                self.watched = None;
            }
            Input::Received { from, message } => self.received(now_ms, from, message, &mut effects),
            Input::Heard(node) => self.heard(now_ms, node, &mut effects),
            Input::Stopped(node) => self.stopped(now_ms, node, &mut effects),
            Input::Gossip { node, live } => self.gossip(now_ms, node, live, &mut effects),
        }
        effects
    }

    // --- Members ---

    fn joined(&mut self, now_ms: u64, node: NodeId, incarnation: u64, effects: &mut Vec<Effect>) {
        if node == self.local {
            return;
        }
        if let Some(member) = self.members.get(&node) {
            // A new life, or a refutation that gossip brought.
            if incarnation > member.incarnation {
                self.alive(now_ms, node, incarnation, effects);
            }
            return;
        }
        self.members.insert(node, Member::new(incarnation, now_ms));
        self.watched = None;
        let message = ProbeMessage::Alive { target: self.local, incarnation: self.incarnation };
        effects.push(Effect::Send { to: node, message });
        self.ping(node, effects);
    }

    /// Notes that a member was heard. One that was down is alive again, and is told what was said of it, so that
    /// it refutes that everywhere.
    fn heard(&mut self, now_ms: u64, node: NodeId, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&node) else { return };
        member.heard_at_ms = Some(now_ms);
        member.unanswered = 0;
        member.suspicion = None;
        if member.verdict == Verdict::Down {
            let message = ProbeMessage::Down { target: node, incarnation: member.incarnation };
            effects.push(Effect::Send { to: node, message });
        }
        self.judge(now_ms, node, Verdict::Alive, effects);
    }

    /// Accepts that a member says of itself, through whomever, that it lives.
    fn alive(&mut self, now_ms: u64, node: NodeId, incarnation: u64, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&node) else { return };
        member.incarnation = incarnation;
        member.unanswered = 0;
        member.suspicion = None;
        self.judge(now_ms, node, Verdict::Alive, effects);
    }

    /// Everybody has heard it from the member itself; its watchers repeat it for those who were not connected.
    fn stopped(&mut self, now_ms: u64, node: NodeId, effects: &mut Vec<Effect>) {
        match &self.watched {
            Some(watched) if !watched.contains(&node) => self.judge(now_ms, node, Verdict::Down, effects),
            _ => self.down(now_ms, node, effects),
        }
    }

    /// Finds that a member is down, and tells everybody, the accused too.
    fn down(&mut self, now_ms: u64, node: NodeId, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get(&node) else { return };
        let message = ProbeMessage::Down { target: node, incarnation: member.incarnation };
        self.judge(now_ms, node, Verdict::Down, effects);
        self.spread(now_ms, node, message, effects);
    }

    fn judge(&mut self, now_ms: u64, node: NodeId, verdict: Verdict, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&node) else { return };
        if member.verdict == verdict {
            return;
        }
        member.verdict = verdict;
        member.verdict_since_ms = now_ms;
        member.suspicion = None;
        member.unanswered = 0;
        self.watched = None;
        // What was said of it is not true any longer.
        self.rumours.remove(&node);
        effects.push(Effect::Changed { node, verdict });
    }

    /// Gossip is slow, and so only believed about what has lasted for longer than it takes to notice.
    fn gossip(&mut self, now_ms: u64, node: NodeId, live: bool, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get(&node) else { return };
        let old = |since_ms: u64| now_ms.saturating_sub(since_ms) >= PROBE_GOSSIP_DELAY_MS;
        match member.verdict {
            Verdict::Unheard if live => self.judge(now_ms, node, Verdict::Alive, effects),
            Verdict::Down if live && old(member.verdict_since_ms) => {
                self.judge(now_ms, node, Verdict::Alive, effects);
            }
            Verdict::Alive if !live && old(member.verdict_since_ms) && member.heard_at_ms.is_none_or(old) => {
                self.judge(now_ms, node, Verdict::Down, effects);
            }
            _ => {}
        }
    }

    // --- Messages ---

    fn received(&mut self, now_ms: u64, from: NodeId, message: ProbeMessage, effects: &mut Vec<Effect>) {
        self.heard(now_ms, from, effects);
        match message {
            ProbeMessage::Ping { nonce } => {
                effects.push(Effect::Send { to: from, message: ProbeMessage::Ack { nonce } });
            }
            ProbeMessage::Ack { nonce } => {
                if let Some(relay) = self.relays.get(&nonce).filter(|relay| relay.target == from) {
                    let message = ProbeMessage::AckFor { target: relay.target, nonce: relay.nonce };
                    effects.push(Effect::Send { to: relay.asker, message });
                    self.relays.remove(&nonce);
                }
            }
            ProbeMessage::PingFor { target, nonce } => self.relay(now_ms, from, target, nonce, effects),
            ProbeMessage::AckFor { target, nonce } => {
                let suspicion = self.members.get(&target).and_then(|member| member.suspicion.as_ref());
                if suspicion.is_some_and(|suspicion| suspicion.nonce == nonce) {
                    self.heard(now_ms, target, effects);
                }
            }
            ProbeMessage::Down { target, incarnation } => {
                self.accused(now_ms, from, target, incarnation, effects)
            }
            ProbeMessage::Alive { target, incarnation } => {
                let known = self.members.get(&target);
                if known.is_some_and(|member| incarnation > member.incarnation) {
                    self.alive(now_ms, target, incarnation, effects);
                }
            }
        }
    }

    fn relay(&mut self, now_ms: u64, asker: NodeId, target: NodeId, nonce: u32, effects: &mut Vec<Effect>) {
        if !self.members.contains_key(&target) || self.relays.len() >= PROBE_RELAYS {
            return;
        }
        let own_nonce = self.ping(target, effects);
        let ends_at_ms = now_ms + PROBE_SUSPICION_MS;
        self.relays.insert(own_nonce, Relay { target, asker, nonce, ends_at_ms });
    }

    /// Hears `from` say that a member is down.
    fn accused(
        &mut self,
        now_ms: u64,
        from: NodeId,
        target: NodeId,
        incarnation: u64,
        effects: &mut Vec<Effect>,
    ) {
        if target == self.local {
            return self.refute(now_ms, from, incarnation, effects);
        }
        let Some(member) = self.members.get_mut(&target) else { return };
        let heard_just_now =
            member.heard_at_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < PROBE_RECENT_MS);
        if incarnation < member.incarnation || heard_just_now {
            return;
        }
        member.incarnation = incarnation;
        self.judge(now_ms, target, Verdict::Down, effects);
    }

    /// Tells everybody that this node lives; or only the accuser, if the others were told already.
    fn refute(&mut self, now_ms: u64, accuser: NodeId, incarnation: u64, effects: &mut Vec<Effect>) {
        let told_already = incarnation < self.incarnation;
        if !told_already {
            self.incarnation = incarnation.saturating_add(1);
            effects.push(Effect::Refuted { incarnation: self.incarnation });
        }
        let message = ProbeMessage::Alive { target: self.local, incarnation: self.incarnation };
        if told_already {
            effects.push(Effect::Send { to: accuser, message });
        } else {
            self.spread(now_ms, self.local, message, effects);
        }
    }

    /// Tells everybody, now and a few times more.
    fn spread(&mut self, now_ms: u64, about: NodeId, message: ProbeMessage, effects: &mut Vec<Effect>) {
        self.send_to_all(&message, effects);
        let rumour =
            Rumour { message, left: PROBE_RUMOUR_REPEATS - 1, next_at_ms: now_ms + PROBE_INTERVAL_MS };
        self.rumours.insert(about, rumour);
    }

    fn send_to_all(&self, message: &ProbeMessage, effects: &mut Vec<Effect>) {
        let to_all = self.members.keys().map(|node| Effect::Send { to: *node, message: message.clone() });
        effects.extend(to_all);
    }

    // --- Time ---

    fn tick(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        self.relays.retain(|_, relay| now_ms < relay.ends_at_ms);
        self.repeat_rumours(now_ms, effects);
        if self.roll_call_ends_at_ms.is_some_and(|ends_at_ms| now_ms >= ends_at_ms) {
            self.roll_call_ends_at_ms = None;
            self.watched = None;
        }
        let watched = self.watched.take().unwrap_or_else(|| self.choose_watched());
        for node in &watched {
            self.watch(now_ms, *node, effects);
        }
        // Unless a verdict changed meanwhile, in which case they are chosen anew.
        let verdict_changed = effects.iter().any(|effect| matches!(effect, Effect::Changed { .. }));
        self.watched = (!verdict_changed).then_some(watched);
        self.give_up_unheard(now_ms, effects);
    }

    fn repeat_rumours(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let mut rumours = std::mem::take(&mut self.rumours);
        for rumour in rumours.values_mut().filter(|rumour| now_ms >= rumour.next_at_ms) {
            self.send_to_all(&rumour.message, effects);
            rumour.left -= 1;
            rumour.next_at_ms = now_ms + PROBE_INTERVAL_MS;
        }
        rumours.retain(|_, rumour| rumour.left > 0);
        self.rumours = rumours;
    }

    /// Every member, alive or not, is watched by those alive that rank highest for it.
    fn choose_watched(&self) -> BTreeSet<NodeId> {
        if self.roll_call_ends_at_ms.is_some() {
            return self.members.keys().copied().collect();
        }
        let alive = self.members.iter().filter(|(_, member)| member.verdict == Verdict::Alive);
        let alive: Vec<_> = alive.map(|(node, _)| *node).chain([self.local]).collect();
        let is_watched = |target: &&NodeId| {
            let others = alive.iter().filter(|node| node != target);
            let candidates = others.map(|node| Candidate { node: *node, weight: 1, in_zone: true });
            ranking(target.as_bytes(), candidates).iter().take(PROBE_WATCHERS).any(|node| *node == self.local)
        };
        self.members.keys().filter(is_watched).copied().collect()
    }

    fn watch(&mut self, now_ms: u64, node: NodeId, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(&node) else { return };
        let suspected_for_too_long = member.suspicion.as_ref().is_some_and(|one| now_ms >= one.ends_at_ms);
        if suspected_for_too_long {
            self.roll_call_ends_at_ms = Some(now_ms + PROBE_ROLL_CALL_MS);
            return self.down(now_ms, node, effects);
        }
        if now_ms >= member.ping_at_ms {
            let alive = member.verdict == Verdict::Alive;
            member.ping_at_ms = now_ms + if alive { PROBE_INTERVAL_MS } else { PROBE_DOWN_INTERVAL_MS };
            if alive && member.unanswered >= PROBE_MISSES && member.suspicion.is_none() {
                let nonce = self.next_nonce;
                self.next_nonce = nonce.wrapping_add(1);
                member.suspicion = Some(Suspicion {
                    nonce,
                    ends_at_ms: now_ms + PROBE_SUSPICION_MS,
                    ask_at_ms: now_ms,
                    asked: 0,
                });
            }
            member.unanswered += 1;
            self.ping(node, effects);
        }
        self.ask_others(now_ms, node, effects);
    }

    /// Asks two others about a suspect at first, and two more when half of the time is over.
    fn ask_others(&mut self, now_ms: u64, node: NodeId, effects: &mut Vec<Effect>) {
        let alive =
            self.members.iter().filter(|(other, member)| **other != node && member.verdict == Verdict::Alive);
        let alive: Vec<_> = alive.map(|(other, _)| *other).collect();
        let Some(suspicion) = self.members.get_mut(&node).and_then(|member| member.suspicion.as_mut()) else {
            return;
        };
        if now_ms < suspicion.ask_at_ms {
            return;
        }
        let candidates = alive.iter().map(|node| Candidate { node: *node, weight: 1, in_zone: true });
        let ranked = ranking(node.as_bytes(), candidates);
        let message = ProbeMessage::PingFor { target: node, nonce: suspicion.nonce };
        for helper in ranked.iter().cycle().skip(suspicion.asked).take(PROBE_HELPERS.min(ranked.len())) {
            effects.push(Effect::Send { to: *helper, message: message.clone() });
        }
        suspicion.asked += PROBE_HELPERS;
        suspicion.ask_at_ms = now_ms + PROBE_SUSPICION_MS / 2;
    }

    fn give_up_unheard(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let is_overdue = |member: &Member| {
            member.verdict == Verdict::Unheard && now_ms >= member.verdict_since_ms + PROBE_UNHEARD_MS
        };
        let overdue = self.members.iter().filter(|(_, member)| is_overdue(member));
        for node in overdue.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.judge(now_ms, node, Verdict::Down, effects);
        }
    }

    fn ping(&mut self, node: NodeId, effects: &mut Vec<Effect>) -> u32 {
        let nonce = self.next_nonce;
        self.next_nonce = nonce.wrapping_add(1);
        effects.push(Effect::Send { to: node, message: ProbeMessage::Ping { nonce } });
        nonce
    }
}

impl Member {
    fn new(incarnation: u64, now_ms: u64) -> Self {
        Self {
            incarnation,
            verdict: Verdict::Unheard,
            verdict_since_ms: now_ms,
            heard_at_ms: None,
            ping_at_ms: now_ms,
            unanswered: 0,
            suspicion: None,
        }
    }
}
