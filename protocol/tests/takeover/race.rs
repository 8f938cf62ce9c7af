//! Nodes, what is on its way between them and the switch, and what goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use fipple_protocol::call::{CallEffect, CallInput, CallMachine, Flow, Step, StepOutcome};
use fipple_protocol::peer::{CallEvent, CallEventKind, CallSnapshot, ChannelInfo, StepResult};

use crate::chance::Chance;
use crate::switch::{Channel, Thread, Verdict};

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    EpochNotChecked,
    NumberNotChecked,
    NotMarked,
    SnapshotBeforeEpoch,
    AdoptionFinal,
}

/// The steps of the flow.
const STEPS: u32 = 5;

/// The nodes, of which any can be attached and any can own.
const NODES: usize = 4;

/// Until when things go wrong, in milliseconds.
const DISTURBED_MS: u64 = 20_000;

/// By when the flow has to be over, in milliseconds.
const END_MS: u64 = 400_000;

/// Something that is on its way, or due.
#[derive(Clone, Debug)]
enum Due {
    /// The channel's thread comes to its next moment.
    Thread,
    /// A node takes over: as the attached node it raises the epoch for a new owner.
    TakeOver { attached: usize },
    /// The raise reaches the switch.
    Raise { attached: usize, owner: usize, epoch: u64, read_before: Option<Look> },
    /// The switch is read for a node that was appointed.
    Read { attached: usize, owner: usize, epoch: u64 },
    /// The appointment reaches the owner.
    Appoint { attached: usize, owner: usize, look: Look },
    /// A step reaches the attached node.
    Relay { owner: usize, attached: usize, epoch: u64, step: u32 },
    /// A step reaches the switch.
    Send { owner: usize, epoch: u64, step: u32 },
    /// The answer to a step reaches the owner.
    Answer { owner: usize, epoch: u64, step: u32, outcome: StepOutcome },
    /// The owner's question reaches the switch.
    Ask { owner: usize },
    /// The answer to it reaches the owner.
    Tell { owner: usize, snapshot: CallSnapshot },
    /// What a step said of itself reaches the node that owns the call.
    Verdict { owner: usize, verdict: Verdict },
    /// A node may have to be woken.
    Wake { node: usize },
    /// A node dies and forgets everything.
    Die { node: usize },
    /// A node stands still for so long.
    Pause { node: usize, for_ms: u64 },
}

/// What was read of the channel for a new epoch.
#[derive(Clone, Debug)]
struct Look {
    snapshot: CallSnapshot,
    /// The step that was marked as running, with its epoch.
    running: Option<(u32, u64)>,
    /// How many steps had begun.
    begun: usize,
}

struct Node {
    machine: Option<CallMachine>,
    /// The node that appointed it.
    attached: usize,
    paused_until_ms: u64,
}

struct Race {
    chance: Chance,
    now_ms: u64,
    due: BTreeMap<(u64, u64), Due>,
    planned: u64,
    channel: Channel,
    nodes: Vec<Node>,
    /// The node that holds the gate.
    attached: usize,
    mistake: Mistake,
    /// The looks under which owners were appointed.
    looks: Vec<Look>,
    /// When the last message from each node to the switch, or to another node, arrives: streams keep their order.
    streams: BTreeMap<(usize, usize), u64>,
}

/// Plays a seed.
pub(crate) fn race(seed: u64, mistake: Mistake) -> Result<(), String> {
    let node = || Node { machine: None, attached: 0, paused_until_ms: 0 };
    let mut race = Race {
        chance: Chance::new(seed),
        now_ms: 0,
        due: BTreeMap::new(),
        planned: 0,
        channel: Channel::new(mistake),
        nodes: (0..NODES).map(|_| node()).collect(),
        attached: 0,
        mistake,
        looks: Vec::new(),
        streams: BTreeMap::new(),
    };
    race.plan(0, Due::TakeOver { attached: 0 });
    race.plan_faults();
    race.play()
}

fn flow() -> Arc<Flow> {
    let step = |number| Step { application: format!("application-{number}"), argument: String::new() };
    Arc::new(Flow { name: "test".into(), steps: (1..=STEPS).map(step).collect() })
}

impl Race {
    fn plan(&mut self, in_ms: u64, due: Due) {
        self.planned += 1;
        self.due.insert((self.now_ms + in_ms, self.planned), due);
    }

    fn plan_faults(&mut self) {
        for _ in 0..self.chance.below(8) {
            let at_ms = self.chance.below(DISTURBED_MS);
            let node = self.chance.below(NODES as u64) as usize;
            let fault = match self.chance.below(4) {
                0 => Due::Die { node },
                1 => Due::Pause { node, for_ms: 1 + self.chance.below(8_000) },
                _ => Due::TakeOver { attached: node },
            };
            self.plan(at_ms, fault);
        }
        // Somebody looks after the call in the end, whoever has died.
        self.plan(DISTURBED_MS + 8_000, Due::TakeOver { attached: 0 });
    }

    /// Most messages are quick, and some are not.
    fn delay_ms(&mut self) -> u64 {
        if self.chance.percent(10) { self.chance.below(3_000) } else { self.chance.below(4) }
    }

    /// Sends something on a stream, behind what was sent there before. The switch is the place [`NODES`].
    fn send(&mut self, from: usize, to: usize, due: Due) {
        let at_ms = self.now_ms + self.delay_ms();
        let last_ms = self.streams.entry((from, to)).or_default();
        *last_ms = at_ms.max(*last_ms);
        let in_ms = *last_ms - self.now_ms;
        self.plan(in_ms, due);
    }

    fn play(&mut self) -> Result<(), String> {
        while let Some(((at_ms, _), due)) = self.due.pop_first() {
            self.now_ms = at_ms;
            if at_ms > END_MS {
                break;
            }
            self.happen(due);
            self.check().map_err(|problem| format!("at {at_ms} ms {problem}"))?;
            if self.channel.done == STEPS {
                return Ok(());
            }
        }
        Err(format!("the flow stands still after {:?}", self.channel.begun))
    }

    fn check(&self) -> Result<(), String> {
        let begun = &self.channel.begun;
        if begun.iter().zip(1..).any(|((step, _), expected)| *step != expected) {
            return Err(format!("the steps that began are {begun:?}"));
        }
        // What an earlier owner has queued ends with the epoch, but for what its successor saw running.
        for Look { snapshot, running, begun: before } in &self.looks {
            let epoch = snapshot.channel.epoch;
            let unseen = begun[*before..].iter().find(|begun| begun.1 < epoch && Some(**begun) != *running);
            if let Some(unseen) = unseen {
                return Err(format!("{unseen:?} began unseen by the owner of epoch {epoch}"));
            }
        }
        Ok(())
    }

    fn happen(&mut self, due: Due) {
        // Who stands still does what it was about to do when it goes on: nothing tells it that it is late.
        if let Some(node) = acts(&due)
            && self.nodes[node].paused_until_ms > self.now_ms
        {
            let in_ms = self.nodes[node].paused_until_ms - self.now_ms;
            return self.plan(in_ms, due);
        }
        match due {
            Due::Thread => self.thread(),
            Due::TakeOver { attached } => self.take_over(attached),
            Due::Raise { attached, owner, epoch, read_before } => {
                if self.channel.take(epoch, owner) {
                    match read_before {
                        Some(look) => self.send(attached, owner, Due::Appoint { attached, owner, look }),
                        None => self.send(attached, NODES, Due::Read { attached, owner, epoch }),
                    }
                }
            }
            Due::Read { attached, owner, epoch } => {
                let look = self.look(epoch);
                self.send(attached, owner, Due::Appoint { attached, owner, look });
            }
            Due::Appoint { attached, owner, look } => self.appoint(attached, owner, look),
            Due::Relay { owner, attached, epoch, step } => {
                // A node that has lost the gate does not know it: it passes on what it is asked to.
                self.send(attached, NODES, Due::Send { owner, epoch, step });
            }
            Due::Send { owner, epoch, step } => self.send_step(owner, epoch, step),
            Due::Answer { owner, epoch, step, outcome } => {
                self.input(owner, CallInput::Step { epoch, step, outcome });
            }
            Due::Ask { owner } => {
                let snapshot = self.snapshot();
                self.send(NODES, owner, Due::Tell { owner, snapshot });
            }
            Due::Tell { owner, snapshot } => self.tell(owner, &snapshot),
            Due::Verdict { owner, verdict } => self.verdict(owner, verdict),
            Due::Wake { node } => self.wake(node),
            Due::Die { node } => self.die(node),
            Due::Pause { node, for_ms } => self.nodes[node].paused_until_ms = self.now_ms + for_ms,
        }
    }

    fn thread(&mut self) {
        let (verdict, next) = self.channel.go_on();
        match next {
            Thread::Waits => {}
            // A thread may lose its processor at any line.
            Thread::GoesOn => {
                let in_ms = self.delay_ms();
                self.plan(in_ms, Due::Thread);
            }
            Thread::Runs => {
                let in_ms = self.chance.below(4_000);
                self.plan(in_ms, Due::Thread);
            }
        }
        // Events are lost where a connection breaks.
        if let Some(verdict) = verdict
            && !self.chance.percent(10)
        {
            let owner = self.channel.owner;
            self.send(NODES, owner, Due::Verdict { owner, verdict });
        }
    }

    /// The recipe: first the epoch, then the look.
    fn take_over(&mut self, attached: usize) {
        self.attached = attached;
        let owner = self.chance.below(NODES as u64) as usize;
        let epoch = self.channel.epoch + 1;
        let read_before = (self.mistake == Mistake::SnapshotBeforeEpoch).then(|| self.look(epoch));
        self.send(attached, NODES, Due::Raise { attached, owner, epoch, read_before });
    }

    fn snapshot(&self) -> CallSnapshot {
        let channel = &self.channel;
        let info = ChannelInfo {
            uuid: "call".to_owned(),
            call: "call".to_owned(),
            epoch: channel.epoch,
            done: channel.done,
            ..ChannelInfo::default()
        };
        let running = channel.running.map(|(step, _)| step).filter(|step| *step == channel.done + 1);
        CallSnapshot { channel: info, running, fenced: true }
    }

    /// A look at the channel for an owner under this epoch: the attached node appoints under the one that it has given,
    /// whatever another has done since.
    fn look(&self, epoch: u64) -> Look {
        let mut snapshot = self.snapshot();
        snapshot.channel.epoch = epoch;
        Look { snapshot, running: self.channel.running, begun: self.channel.begun.len() }
    }

    fn appoint(&mut self, attached: usize, owner: usize, look: Look) {
        let snapshot = &look.snapshot;
        let node = &mut self.nodes[owner];
        if node.machine.as_ref().is_some_and(|machine| machine.epoch() >= snapshot.channel.epoch) {
            return;
        }
        let (machine, effect) = CallMachine::new(self.now_ms, snapshot, flow());
        node.machine = Some(machine);
        node.attached = attached;
        self.looks.push(look);
        self.follow(owner, effect);
    }

    fn send_step(&mut self, owner: usize, epoch: u64, step: u32) {
        let outcome = if self.channel.unstarted() >= 2 {
            StepOutcome::NotSent
        } else {
            if self.channel.send(step, epoch) {
                self.plan(0, Due::Thread);
            }
            if self.chance.percent(10) { StepOutcome::Unknown } else { StepOutcome::Accepted }
        };
        if !self.chance.percent(5) {
            self.send(NODES, owner, Due::Answer { owner, epoch, step, outcome });
        }
    }

    /// An owner that learns that another one owns the call forgets it.
    fn tell(&mut self, owner: usize, snapshot: &CallSnapshot) {
        let node = &mut self.nodes[owner];
        if snapshot.channel.epoch == self.channel.epoch
            && self.channel.owner != owner
            && node.machine.as_ref().is_some_and(|machine| machine.epoch() <= snapshot.channel.epoch)
        {
            node.machine = None;
            return;
        }
        self.input(owner, CallInput::Snapshot(Some(snapshot)));
    }

    fn verdict(&mut self, owner: usize, verdict: Verdict) {
        let Verdict { step, epoch, result, done } = verdict;
        if self.mistake == Mistake::AdoptionFinal && result == StepResult::Stale {
            return;
        }
        let kind = CallEventKind::Step { step, epoch, result, done };
        let (switch, call) = ("switch".to_owned(), "call".to_owned());
        let event = CallEvent { switch, call: call.clone(), channel: call, kind };
        self.input(owner, CallInput::Event(&event));
    }

    fn die(&mut self, node: usize) {
        self.nodes[node].machine = None;
        // Those of its messages that have left arrive, and those that have not never will.
        self.due.retain(|_, due| acts(due) != Some(node) || matches!(due, Due::TakeOver { .. }));
        if self.attached == node || self.channel.owner == node {
            // Somebody notices.
            let attached = self.chance.below(NODES as u64) as usize;
            let in_ms = 1_000 + self.chance.below(2_000);
            self.plan(in_ms, Due::TakeOver { attached });
        }
    }

    fn wake(&mut self, node: usize) {
        let Some(due_ms) = self.nodes[node].machine.as_ref().and_then(CallMachine::timer_ms) else { return };
        if due_ms <= self.now_ms {
            self.input(node, CallInput::Timer);
        }
    }

    fn input(&mut self, owner: usize, input: CallInput<'_>) {
        let Some(machine) = &mut self.nodes[owner].machine else { return };
        let effect = machine.handle(self.now_ms, input);
        self.follow(owner, effect);
    }

    fn follow(&mut self, owner: usize, effect: Option<CallEffect>) {
        let attached = self.nodes[owner].attached;
        match effect {
            Some(CallEffect::RunStep { epoch, step, .. }) => {
                self.send(owner, attached, Due::Relay { owner, attached, epoch, step });
            }
            // Whoever takes an adopted step's end for certain does not ask after it.
            Some(CallEffect::AskSnapshot) if self.mistake == Mistake::AdoptionFinal => {}
            Some(CallEffect::AskSnapshot) => self.send(owner, NODES, Due::Ask { owner }),
            Some(CallEffect::Forget) => self.nodes[owner].machine = None,
            None => {}
        }
        if let Some(due_ms) = self.nodes[owner].machine.as_ref().and_then(CallMachine::timer_ms) {
            self.plan(due_ms.saturating_sub(self.now_ms), Due::Wake { node: owner });
        }
    }
}

/// Which node has to be there and awake for it.
fn acts(due: &Due) -> Option<usize> {
    match due {
        Due::TakeOver { attached } | Due::Relay { attached, .. } => Some(*attached),
        Due::Appoint { owner, .. }
        | Due::Answer { owner, .. }
        | Due::Tell { owner, .. }
        | Due::Verdict { owner, .. } => Some(*owner),
        Due::Wake { node } => Some(*node),
        // What has left for the switch arrives.
        Due::Thread
        | Due::Raise { .. }
        | Due::Read { .. }
        | Due::Send { .. }
        | Due::Ask { .. }
        | Due::Die { .. }
        | Due::Pause { .. } => None,
    }
}
