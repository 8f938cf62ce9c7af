//! The calls that this node owns, and their flows.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::call::{CallEffect, CallInput, CallMachine, Flow, StepOutcome};
use fipple_protocol::peer::{
    CallEvent, CallEventKind, CallSnapshot, ChannelInfo, Refusal, Request, Response,
};
use tokio::time::{Instant, interval};

use super::attached::accepted;
use super::attendance::{Attendance, Turn};
use super::peers::Peers;
use super::route::attached_node;
use super::trace::{Trace, What};
use crate::limits::{
    FLOW_TIMER_MS, OWNED_ASK_BURST, OWNED_MAX_CALLS, OWNED_QUIET_MS, OWNED_UNATTENDED_MS,
    STEP_REQUEST_TIMEOUT_MS,
};
use crate::metrics::Gauge;

/// Every call that this node owns.
pub(crate) struct OwnedCalls {
    calls: Mutex<BTreeMap<String, OwnedCall>>,
    flows: BTreeMap<String, Arc<Flow>>,
    peers: Arc<dyn Peers>,
    /// The beginning of the machines' time.
    started: Instant,
    count: Gauge,
    trace: Arc<Trace>,
    attendance: Mutex<Attendance>,
    #[cfg(feature = "planted")]
    adoptions: Option<crate::planted::FinalAdoptions>,
}

struct OwnedCall {
    switch: String,
    /// The node that appointed this one.
    attached: NodeId,
    machine: CallMachine,
    heard_at_ms: u64,
    /// When the switch last said, through whoever is attached, that the call lives.
    seen_at_ms: u64,
    /// What was last known of its channel, without the texts that stand elsewhere: for when nobody can be asked.
    info: Box<ChannelInfo>,
    /// When it was last asked after because it was missing when its switch was back.
    asked_at_ms: u64,
}

impl OwnedCalls {
    pub(crate) fn new(
        flows: BTreeMap<String, Arc<Flow>>,
        peers: Arc<dyn Peers>,
        started: Instant,
        count: Gauge,
        trace: Arc<Trace>,
    ) -> Self {
        Self {
            calls: Mutex::default(),
            flows,
            peers,
            started,
            count,
            trace,
            attendance: Mutex::default(),
            #[cfg(feature = "planted")]
            adoptions: None,
        }
    }

    /// Plants a bug.
    #[cfg(feature = "planted")]
    pub(crate) fn plant(&mut self, planted: Option<crate::planted::Planted>) {
        use crate::planted::Planted::FinalAdoption;
        self.adoptions = planted.filter(|bug| *bug == FinalAdoption).map(|_| Default::default());
    }

    /// Where commands for a call go that this node owns: its switch, and the node attached to it.
    pub(crate) fn way_to(&self, call: &str) -> Option<(String, NodeId)> {
        self.calls().get(call).map(|owned| (owned.switch.clone(), owned.attached))
    }

    /// The epoch under which this node owns a call.
    fn epoch(&self, call: &str) -> Option<u64> {
        self.calls().get(call).map(|owned| owned.machine.epoch())
    }

    /// How many calls there are.
    pub(crate) fn len(&self) -> usize {
        self.calls().len()
    }

    /// Takes a call over, or goes on with one that this node owns already.
    ///
    /// # Errors
    /// If this node has too many calls, or has been appointed for this one under a higher epoch.
    pub(crate) fn appoint(self: &Arc<Self>, from: NodeId, snapshot: &CallSnapshot) -> Result<(), Refusal> {
        #[cfg(feature = "planted")]
        self.adoptions.iter().for_each(|adoptions| adoptions.take(snapshot));
        let call = &snapshot.channel.uuid;
        let now_ms = self.now_ms();
        let effect = {
            let mut calls = self.calls();
            let room = calls.len() < OWNED_MAX_CALLS;
            match calls.get_mut(call) {
                Some(owned) if owned.machine.epoch() > snapshot.channel.epoch => {
                    return Err(Refusal::NotOwner { owner: Some(self.peers.local()) });
                }
                Some(owned) if owned.machine.epoch() < snapshot.channel.epoch => {
                    // Whatever this node was about to do belongs to the epoch before; what counts stands in the channel.
                    owned.attached = from;
                    owned.heard_at_ms = now_ms;
                    let (machine, effect) = CallMachine::new(now_ms, snapshot, self.flow(snapshot));
                    owned.machine = machine;
                    effect
                }
                Some(owned) => {
                    owned.attached = from;
                    if snapshot.channel.flow.as_deref() == Some(Flow::PARK) {
                        owned.handle(call, now_ms, CallInput::TakenByHand);
                    }
                    owned.handle(call, now_ms, CallInput::Appointed(snapshot))
                }
                None if room => {
                    let (machine, effect) = CallMachine::new(now_ms, snapshot, self.flow(snapshot));
                    let switch = snapshot.channel.switch.clone();
                    calls.insert(
                        call.clone(),
                        OwnedCall {
                            switch,
                            attached: from,
                            machine,
                            heard_at_ms: now_ms,
                            seen_at_ms: now_ms,
                            info: Box::default(),
                            asked_at_ms: 0,
                        },
                    );
                    effect
                }
                None => {
                    return Err(Refusal::Overloaded {
                        detail: format!("this node owns {OWNED_MAX_CALLS} calls"),
                    });
                }
            }
        };
        self.see(call, &snapshot.channel);
        self.count.set(self.len() as u64);
        let adopted = snapshot.running.unwrap_or_default();
        self.trace.note(call, What::Owns { appointed_by: from, epoch: snapshot.channel.epoch, adopted });
        self.follow(call, effect);
        Ok(())
    }

    /// Remembers how a call's channel stands.
    fn see(&self, call: &str, info: &ChannelInfo) {
        let now_ms = self.now_ms();
        if let Some(owned) = self.calls().get_mut(call) {
            owned.seen_at_ms = now_ms;
            *owned.info = remembered(info);
        }
    }

    /// What is remembered of calls after this one whose switches nobody is attached to, in the order of their uuids.
    pub(crate) fn unreachable(&self, after: &str, limit: usize) -> Vec<ChannelInfo> {
        let attendance = self.attendance();
        let rest = (std::ops::Bound::Excluded(after.to_owned()), std::ops::Bound::Unbounded);
        let calls = self.calls();
        let unattended =
            calls.range::<String, _>(rest).filter(|(_, owned)| attendance.is_unattended(&owned.switch));
        let local = self.peers.local();
        unattended.take(limit).map(|(call, owned)| owned.recalled(call, local)).collect()
    }

    /// Takes something that happened to a call; nothing if the call is not this node's.
    pub(crate) fn input(self: &Arc<Self>, call: &str, input: CallInput<'_>) {
        let effect = match self.calls().get_mut(call) {
            Some(owned) => owned.handle(call, self.now_ms(), input),
            None => return,
        };
        self.follow(call, effect);
    }

    /// Takes an event.
    pub(crate) fn event(self: &Arc<Self>, event: &CallEvent) {
        #[cfg(feature = "planted")]
        if self.adoptions.as_ref().is_some_and(|adoptions| adoptions.passes_over(event)) {
            return;
        }
        let now_ms = self.now_ms();
        if event.call == event.channel
            && let Some(owned) = self.calls().get_mut(&event.call)
        {
            owned.seen_at_ms = now_ms;
            owned.note(&event.kind);
        }
        self.input(&event.call, CallInput::Event(event));
    }

    /// Wakes the calls whose time has come, and asks after those that have been quiet for long. Never ends.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        let mut tick = interval(Duration::from_millis(FLOW_TIMER_MS));
        loop {
            tick.tick().await;
            self.look_after_switches();
            let now_ms = self.now_ms();
            let mut effects = Vec::new();
            let attendance = self.attendance();
            let mut to_ask = OWNED_ASK_BURST;
            for (call, owned) in self.calls().iter_mut() {
                let ask_before_ms = attendance.ask_if_seen_before_ms(&owned.switch, now_ms);
                let is_missing = ask_before_ms
                    .is_some_and(|before_ms| owned.seen_at_ms.max(owned.asked_at_ms) < before_ms);
                if is_missing && to_ask > 0 {
                    to_ask -= 1;
                    owned.asked_at_ms = now_ms;
                    effects.push((call.clone(), Some(CallEffect::AskSnapshot)));
                } else if owned.machine.timer_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                    effects.push((call.clone(), owned.handle(call, now_ms, CallInput::Timer)));
                } else if owned.heard_at_ms + OWNED_QUIET_MS <= now_ms {
                    owned.heard_at_ms = now_ms;
                    effects.push((call.clone(), Some(CallEffect::AskSnapshot)));
                }
            }
            drop(attendance);
            for (call, effect) in effects {
                self.follow(&call, effect);
            }
        }
    }

    /// Asks after all calls: those that others own by now are forgotten.
    pub(crate) fn ask_after_all(self: &Arc<Self>) {
        let calls: Vec<_> = self.calls().keys().cloned().collect();
        for call in calls {
            self.follow(&call, Some(CallEffect::AskSnapshot));
        }
    }

    fn follow(self: &Arc<Self>, call: &str, effect: Option<CallEffect>) {
        match effect {
            None => {}
            Some(CallEffect::Forget) => {
                self.calls().remove(call);
                self.count.set(self.len() as u64);
            }
            Some(effect) => {
                tokio::spawn(self.clone().carry_out(call.to_owned(), effect));
            }
        }
    }

    /// Carries a request to the attached node and its answer back to the machine.
    async fn carry_out(self: Arc<Self>, call: String, effect: CallEffect) {
        let Some((switch, appointed_by)) = self.way_to(&call) else { return };
        let attached = attached_node(&self.peers.members().borrow(), &switch).unwrap_or(appointed_by);
        let deadline = Duration::from_millis(STEP_REQUEST_TIMEOUT_MS);
        match effect {
            CallEffect::RunStep { epoch, step, application, argument } => {
                let request =
                    Request::RunStep { switch, call: call.clone(), epoch, step, application, argument };
                let answer = accepted(self.peers.request(attached, request, deadline).await);
                if let Err(refusal) = &answer {
                    self.trace.note(&call, What::of_step(epoch, step, &Err(refusal.clone())));
                }
                if matches!(answer, Err(Refusal::UnknownChannel { .. })) {
                    self.note_gone(&call);
                }
                let outcome = outcome_of(&call, step, answer);
                self.input(&call, CallInput::Step { epoch, step, outcome });
            }
            CallEffect::AskSnapshot => {
                let request = Request::Snapshot { switch, call: call.clone() };
                let response = self.peers.request(attached, request, deadline).await;
                #[cfg(feature = "planted")]
                if self.adoptions.as_ref().is_some_and(|adoptions| adoptions.disbelieves(&response)) {
                    return;
                }
                match response {
                    Response::Snapshot(Some(snapshot))
                        if snapshot.channel.owner != Some(self.peers.local()) =>
                    {
                        self.lose(&call, snapshot.channel.epoch);
                    }
                    // It was raised, and the appointment did not arrive.
                    Response::Snapshot(Some(snapshot))
                        if self.epoch(&call).is_some_and(|epoch| epoch < snapshot.channel.epoch) =>
                    {
                        if let Err(refusal) = self.appoint(attached, &snapshot) {
                            tracing::debug!(call, "the call cannot be gone on with: {refusal}");
                        }
                    }
                    Response::Snapshot(snapshot) => {
                        match &snapshot {
                            Some(snapshot) => self.see(&call, &snapshot.channel),
                            None => self.note_gone(&call),
                        }
                        self.input(&call, CallInput::Snapshot(snapshot.as_ref()));
                    }
                    response => tracing::debug!(call, "no snapshot: {response:?}"),
                }
            }
            CallEffect::Forget => {}
        }
    }

    /// Looks whether anybody is attached to the switches of the calls. Where nobody is, the calls are kept.
    fn look_after_switches(self: &Arc<Self>) {
        let mut switches = BTreeSet::new();
        // A name a switch, and not one a call at every tick.
        for owned in self.calls().values() {
            if !switches.contains(&owned.switch) {
                switches.insert(owned.switch.clone());
            }
        }
        let turns = {
            let members = self.peers.members().borrow().clone();
            self.attendance().observe(self.now_ms(), &members, &switches)
        };
        for (switch, turn) in turns {
            match turn {
                Turn::Unattended => {
                    tracing::warn!(switch, "no node is attached to the switch; its calls are kept")
                }
                Turn::Attended { restarted } => {
                    tracing::info!(switch, restarted, "a node is attached to the switch of owned calls");
                }
                Turn::GivenUp => self.give_up(&switch),
            }
        }
    }

    /// Forgets all calls of a switch that nobody has reached for long.
    fn give_up(self: &Arc<Self>, switch: &str) {
        let calls = self.calls();
        let given_up = calls.iter().filter(|(_, owned)| owned.switch == switch);
        let given_up: Vec<_> = given_up.map(|(call, _)| call.clone()).collect();
        drop(calls);
        let seconds = OWNED_UNATTENDED_MS / 1_000;
        tracing::warn!(
            switch,
            calls = given_up.len(),
            "no node has reached the switch for {seconds} s: its calls are given up, whether they live or not"
        );
        for call in given_up {
            let text = format!("given up: no node has reached the switch for {seconds} s");
            self.trace.note(&call, What::Gate { text: text.into() });
            self.follow(&call, Some(CallEffect::Forget));
        }
    }

    /// Notes that a call is gone, of whose end no event has told.
    fn note_gone(&self, call: &str) {
        let attendance = self.attendance();
        let Some((switch, seen_at_ms)) =
            self.calls().get(call).map(|owned| (owned.switch.clone(), owned.seen_at_ms))
        else {
            return;
        };
        let cause = attendance.cause(&switch, seen_at_ms);
        tracing::info!(call, switch, cause, "the call has ended unheard");
        self.trace.note(call, What::HungUp { cause: cause.into() });
    }

    /// Forgets a call that another node owns under this epoch, unless it has come back since under a higher one.
    fn lose(self: &Arc<Self>, call: &str, epoch: u64) {
        let is_lost = self.calls().get(call).is_some_and(|owned| owned.machine.epoch() <= epoch);
        if is_lost {
            self.trace.note(call, What::Lost { epoch });
            self.follow(call, Some(CallEffect::Forget));
        }
    }

    /// The flow that a call asks for. A call with a flow that this node does not know waits for commands: nobody
    /// knows what it expects, and commands can still save it.
    fn flow(&self, snapshot: &CallSnapshot) -> Arc<Flow> {
        let name = snapshot.channel.flow.as_deref().unwrap_or(Flow::WELCOME);
        let known = self.flows.get(name).or_else(|| {
            tracing::error!(
                call = snapshot.channel.uuid,
                flow = name,
                "the flow is not configured here; the call waits"
            );
            self.flows.get(Flow::PARK)
        });
        known.cloned().unwrap_or_else(|| Arc::new(Flow { name: name.to_owned(), steps: Vec::new() }))
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<String, OwnedCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be locked before the calls.
    fn attendance(&self) -> MutexGuard<'_, Attendance> {
        self.attendance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl OwnedCall {
    fn handle(&mut self, call: &str, now_ms: u64, input: CallInput<'_>) -> Option<CallEffect> {
        self.heard_at_ms = now_ms;
        let machine = &mut self.machine;
        match isolate(call, || machine.handle(now_ms, input)) {
            Some(effect) => effect,
            // Without its flow the call can still be commanded.
            None => machine.handle(now_ms, CallInput::TakenByHand),
        }
    }

    /// What an event changes of what is remembered.
    fn note(&mut self, kind: &CallEventKind) {
        let info = &mut self.info;
        match kind {
            CallEventKind::Answered => "active".clone_into(&mut info.state),
            CallEventKind::Bridged { other } => {
                info.bridged_to = Some(other.clone());
                info.parked = false;
            }
            CallEventKind::Unbridged => info.bridged_to = None,
            CallEventKind::Parked => info.parked = true,
            CallEventKind::Executing { application, .. } => info.application = Some(application.clone()),
            CallEventKind::Executed { .. } => info.application = None,
            CallEventKind::Dtmf { .. }
            | CallEventKind::HungUp { .. }
            | CallEventKind::Gap
            | CallEventKind::Step { .. } => {}
        }
    }

    /// The call as it was when its switch was last reached.
    fn recalled(&self, call: &str, owner: NodeId) -> ChannelInfo {
        let info = &*self.info;
        ChannelInfo {
            uuid: call.to_owned(),
            switch: self.switch.clone(),
            call: if info.call.is_empty() { call.to_owned() } else { info.call.clone() },
            owner: Some(owner),
            state: ChannelInfo::UNREACHABLE.to_owned(),
            done: self.machine.done(),
            epoch: self.machine.epoch(),
            ..info.clone()
        }
    }
}

/// A channel without what its owner keeps elsewhere: a node may own some ten thousand.
fn remembered(info: &ChannelInfo) -> ChannelInfo {
    let call = if info.call == info.uuid { String::new() } else { info.call.clone() };
    ChannelInfo { uuid: String::new(), switch: String::new(), call, ..info.clone() }
}

/// A panic ends the flow of one call, never the node.
fn isolate<T>(call: &str, work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        tracing::error!(call, "the flow of the call panicked and is given up");
    }
    result.ok()
}

fn outcome_of(call: &str, step: u32, answer: Result<Response, Refusal>) -> StepOutcome {
    let Err(refusal) = answer else { return StepOutcome::Accepted };
    tracing::debug!(call, step, "the step was not accepted: {refusal}");
    match refusal {
        Refusal::NotOwner { .. } | Refusal::UnknownChannel { .. } => StepOutcome::Lost,
        // Which epoch and owner the call has now, a snapshot tells.
        Refusal::TimedOut { .. } | Refusal::Fenced { .. } => StepOutcome::Unknown,
        Refusal::InvalidArgument { .. }
        | Refusal::SwitchRefused { .. }
        | Refusal::Repeated { .. }
        | Refusal::KeyReused { .. } => {
            tracing::error!(call, step, "the flow of the call ends, and the call waits: {refusal}");
            StepOutcome::Refused
        }
        Refusal::UnknownSwitch { .. }
        | Refusal::SwitchUnavailable { .. }
        | Refusal::Overloaded { .. }
        | Refusal::Unreachable { .. } => StepOutcome::NotSent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_one_flow_only() {
        assert_eq!(isolate("a", || 1), Some(1));
        assert_eq!(isolate::<u32>("a", || panic!("a flow went wrong")), None);
    }
}
