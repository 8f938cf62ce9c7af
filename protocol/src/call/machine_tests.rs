use proptest::prelude::*;

use super::super::{Step, step_uuid};
use super::*;
use crate::peer::ChannelInfo;

const CALL: &str = "c0ffee-1";

fn flow(steps: u32) -> Arc<Flow> {
    let step = |number| Step { application: format!("application-{number}"), argument: String::new() };
    Arc::new(Flow { name: "test".into(), steps: (1..=steps).map(step).collect() })
}

fn snapshot(epoch: u64, done: u32, running: Option<u32>) -> CallSnapshot {
    let channel = ChannelInfo { uuid: CALL.into(), call: CALL.into(), epoch, done, ..ChannelInfo::default() };
    CallSnapshot { channel, running, fenced: false }
}

fn event(kind: CallEventKind) -> CallEvent {
    CallEvent { switch: "s".into(), call: CALL.into(), channel: CALL.into(), kind }
}

fn executed(step: u32, epoch: u64) -> CallEvent {
    event(CallEventKind::Executed {
        application: format!("application-{step}"),
        application_uuid: Some(step_uuid(CALL, step, epoch)),
        response: "_none_".into(),
    })
}

fn step_of(effect: &Option<CallEffect>) -> Option<u32> {
    match effect {
        Some(CallEffect::RunStep { step, .. }) => Some(*step),
        _ => None,
    }
}

#[test]
fn a_flow_is_walked_step_by_step() {
    let (mut machine, first) = CallMachine::new(0, &snapshot(1, 0, None), flow(2));
    let application = "application-1".to_owned();
    assert_eq!(first, Some(CallEffect::RunStep { epoch: 1, step: 1, application, argument: String::new() }));
    let accepted = CallInput::Step { epoch: 1, step: 1, outcome: StepOutcome::Accepted };
    assert_eq!(machine.handle(1, accepted), None);
    let second = machine.handle(2, CallInput::Event(&executed(1, 1)));
    assert_eq!(step_of(&second), Some(2));
    // The end of a step may be heard before the answer to the request for it.
    assert_eq!(machine.handle(3, CallInput::Event(&executed(2, 1))), None);
    assert_eq!(
        machine.handle(4, CallInput::Step { epoch: 1, step: 2, outcome: StepOutcome::Accepted }),
        None
    );
    assert_eq!((machine.done(), machine.timer_ms()), (2, None), "the flow is over, the call is not");
    let hung_up = event(CallEventKind::HungUp { cause: "NORMAL_CLEARING".into() });
    assert_eq!(machine.handle(5, CallInput::Event(&hung_up)), Some(CallEffect::Forget));
    assert_eq!(machine.handle(6, CallInput::Appointed(&snapshot(2, 0, None))), None);
}

#[test]
fn a_new_owner_goes_on_where_the_old_one_stopped() {
    let (_, next) = CallMachine::new(0, &snapshot(2, 1, None), flow(3));
    assert_eq!(step_of(&next), Some(2));
    let (mut machine, adopted) = CallMachine::new(0, &snapshot(2, 1, Some(2)), flow(3));
    assert_eq!(adopted, None, "step 2 runs already");
    let next = machine.handle(1, CallInput::Event(&executed(2, 1)));
    assert_eq!(step_of(&next), Some(3), "it ends under the epoch that began it");
}

#[test]
fn what_may_have_been_sent_is_asked_for_and_not_sent_again() {
    let (mut machine, _) = CallMachine::new(0, &snapshot(1, 0, None), flow(2));
    let unknown = CallInput::Step { epoch: 1, step: 1, outcome: StepOutcome::Unknown };
    assert_eq!(machine.handle(1, unknown), Some(CallEffect::AskSnapshot));
    assert_eq!(machine.handle(2, CallInput::Snapshot(Some(&snapshot(1, 0, Some(1))))), None);
    assert_eq!(machine.handle(3, CallInput::Appointed(&snapshot(1, 0, None))), None, "the switch has it");
    let at_ms = machine.timer_ms().unwrap();
    assert_eq!(machine.handle(at_ms, CallInput::Timer), Some(CallEffect::AskSnapshot));
    let next = machine.handle(at_ms + 1, CallInput::Snapshot(Some(&snapshot(1, 1, None))));
    assert_eq!(step_of(&next), Some(2), "its end was missed");
    assert_eq!(
        machine.handle(at_ms + 2, CallInput::Step { epoch: 1, step: 2, outcome: StepOutcome::Unknown }),
        Some(CallEffect::AskSnapshot)
    );
    let again = machine.handle(at_ms + 3, CallInput::Snapshot(Some(&snapshot(1, 1, None))));
    assert_eq!(step_of(&again), Some(2), "it had never arrived");
}

#[test]
fn a_step_that_could_not_be_sent_is_tried_again_and_a_refused_one_is_not() {
    let (mut machine, _) = CallMachine::new(0, &snapshot(1, 0, None), flow(1));
    assert_eq!(machine.handle(1, CallInput::Step { epoch: 1, step: 1, outcome: StepOutcome::NotSent }), None);
    assert_eq!(machine.handle(1 + STEP_RETRY_MS - 1, CallInput::Timer), None, "too early");
    assert_eq!(step_of(&machine.handle(1 + STEP_RETRY_MS, CallInput::Timer)), Some(1));
    let refused = CallInput::Step { epoch: 1, step: 1, outcome: StepOutcome::Refused };
    assert_eq!(machine.handle(600, refused), None);
    assert_eq!(machine.timer_ms(), None);
    assert_eq!(machine.handle(601, CallInput::Appointed(&snapshot(2, 0, None))), None);
}

#[test]
fn a_call_that_is_taken_by_hand_gets_no_more_steps() {
    let (mut machine, _) = CallMachine::new(0, &snapshot(1, 0, None), flow(2));
    machine.handle(1, CallInput::TakenByHand);
    assert_eq!(machine.handle(2, CallInput::Event(&executed(1, 1))), None);
    assert_eq!(machine.handle(3, CallInput::Appointed(&snapshot(2, 1, None))), None);
    let lost = CallInput::Step { epoch: 2, step: 1, outcome: StepOutcome::Lost };
    assert_eq!(machine.handle(4, lost), Some(CallEffect::Forget));
}

#[test]
fn a_channel_that_says_that_all_steps_there_can_be_are_done_gets_none() {
    let (mut machine, first) = CallMachine::new(0, &snapshot(1, u32::MAX, None), flow(2));
    assert_eq!(first, None);
    let kind = CallEventKind::Executing {
        application: "answer".into(),
        application_uuid: Some(step_uuid(CALL, 1, 1)),
    };
    assert_eq!(machine.handle(1, CallInput::Event(&event(kind))), None);
    assert_eq!((machine.done(), machine.timer_ms()), (u32::MAX, None));
}

#[test]
fn answers_from_before_the_call_came_back_do_not_end_it() {
    let (mut machine, first) = CallMachine::new(0, &snapshot(1, 0, None), flow(2));
    assert_eq!(step_of(&first), Some(1));
    assert_eq!(machine.handle(1, CallInput::Appointed(&snapshot(3, 0, None))), None, "the answer will tell");
    let lost = CallInput::Step { epoch: 1, step: 1, outcome: StepOutcome::Lost };
    assert_eq!(machine.handle(2, lost), None);
    assert_eq!(machine.handle(3, CallInput::Snapshot(Some(&snapshot(2, 0, None)))), None);
    let again = machine.handle(2 + STEP_RETRY_MS, CallInput::Timer);
    assert!(matches!(again, Some(CallEffect::RunStep { epoch: 3, step: 1, .. })), "{again:?}");
    let lost = CallInput::Step { epoch: 3, step: 1, outcome: StepOutcome::Lost };
    assert_eq!(machine.handle(3_000, lost), Some(CallEffect::Forget));
}

fn fenced(epoch: u64, done: u32, running: Option<u32>) -> CallSnapshot {
    CallSnapshot { fenced: true, ..snapshot(epoch, done, running) }
}

fn says(step: u32, epoch: u64, result: StepResult, done: u32) -> CallEvent {
    event(CallEventKind::Step { step, epoch, result, done })
}

#[test]
fn only_the_word_of_a_fenced_channel_ends_a_step() {
    let (mut machine, _) = CallMachine::new(0, &fenced(1, 0, None), flow(2));
    let accepted = CallInput::Step { epoch: 1, step: 1, outcome: StepOutcome::Accepted };
    machine.handle(1, accepted);
    assert_eq!(machine.handle(2, CallInput::Event(&executed(1, 1))), None, "it may have been refused");
    assert_eq!(machine.handle(3, CallInput::Event(&says(1, 0, StepResult::Stale, 0))), None, "not this one");
    let next = machine.handle(4, CallInput::Event(&says(1, 1, StepResult::Done, 1)));
    assert_eq!(step_of(&next), Some(2));
    let stale = machine.handle(5, CallInput::Event(&says(2, 1, StepResult::Stale, 1)));
    assert_eq!(stale, Some(CallEffect::AskSnapshot), "somebody else owns the call");
}

#[test]
fn an_adoption_is_provisional() {
    let adopt = || CallMachine::new(0, &fenced(2, 1, Some(2)), flow(3));
    let (mut machine, first) = adopt();
    assert_eq!((first, machine.timer_ms()), (None, Some(STEP_ADOPTED_POLL_MS)));
    let again = machine.handle(1, CallInput::Event(&says(2, 1, StepResult::Stale, 1)));
    assert_eq!(step_of(&again), Some(2), "it was refused after it had marked itself");

    let (mut machine, _) = adopt();
    let at_ms = STEP_ADOPTED_POLL_MS;
    assert_eq!(machine.handle(at_ms, CallInput::Timer), Some(CallEffect::AskSnapshot));
    let again = machine.handle(at_ms + 1, CallInput::Snapshot(Some(&fenced(2, 1, None))));
    assert_eq!(step_of(&again), Some(2), "its refusal was not heard");

    let (mut machine, _) = adopt();
    let next = machine.handle(1, CallInput::Event(&says(2, 1, StepResult::Done, 2)));
    assert_eq!(step_of(&next), Some(3), "it ends under the epoch that began it");
}

#[test]
fn a_step_that_waits_in_the_channel_is_sent_again_after_a_while_and_one_that_ran_is_not() {
    let (mut machine, _) = CallMachine::new(0, &fenced(1, 0, None), flow(2));
    machine.handle(1, CallInput::Step { epoch: 1, step: 1, outcome: StepOutcome::Accepted });
    assert_eq!(machine.handle(2, CallInput::Snapshot(Some(&fenced(1, 0, None)))), None, "it may be queued");
    let again = machine.handle(3, CallInput::Snapshot(Some(&fenced(1, 0, None))));
    assert_eq!(step_of(&again), Some(1));
    assert_eq!(machine.handle(4, CallInput::Event(&says(1, 1, StepResult::Duplicate, 0))), None, "it runs");
    let next = machine.handle(5, CallInput::Event(&says(1, 1, StepResult::Duplicate, 1)));
    assert_eq!(step_of(&next), Some(2), "it is done");
}

#[test]
fn a_call_that_is_sent_elsewhere_has_no_flow_until_it_comes_back() {
    let (mut machine, _) = CallMachine::new(0, &fenced(1, 0, Some(1)), flow(2));
    assert_eq!(machine.handle(1, CallInput::Event(&says(1, 1, StepResult::Interrupted, 0))), None);
    assert_eq!((machine.timer_ms(), machine.done()), (None, 0));
    let (mut machine, _) = CallMachine::new(0, &fenced(1, 2, None), flow(3));
    let again = machine.handle(1, CallInput::Appointed(&fenced(2, 0, None)));
    assert!(matches!(again, Some(CallEffect::RunStep { epoch: 2, step: 1, .. })), "{again:?}");
    let late = CallInput::Step { epoch: 1, step: 3, outcome: StepOutcome::Lost };
    assert_eq!(machine.handle(2, late), None, "an answer from before");
}

/// A switch and a network that loses, delays and is appointed anew, as a script of small numbers.
struct World {
    machine: CallMachine,
    now_ms: u64,
    epoch: u64,
    /// Steps in the order in which the switch took them.
    taken: Vec<u32>,
    /// The step that the switch has and has not ended.
    with_switch: Option<u32>,
    done: u32,
}

impl World {
    fn snapshot(&self) -> CallSnapshot {
        snapshot(self.epoch, self.done, self.with_switch)
    }

    /// Carries out an effect; `luck` says what is lost on the way.
    fn carry_out(&mut self, effect: Option<CallEffect>, luck: u8) {
        let next = match effect {
            Some(CallEffect::RunStep { step, .. }) => {
                let arrives = luck % 4 != 1;
                if arrives {
                    assert_eq!(self.with_switch, None, "two steps with the switch");
                    self.taken.push(step);
                    self.with_switch = Some(step);
                }
                let outcome = match luck % 4 {
                    0 => StepOutcome::Accepted,
                    1 => StepOutcome::NotSent,
                    _ => StepOutcome::Unknown,
                };
                self.machine.handle(self.now_ms, CallInput::Step { epoch: 1, step, outcome })
            }
            Some(CallEffect::AskSnapshot) if !luck.is_multiple_of(3) => {
                let snapshot = self.snapshot();
                self.machine.handle(self.now_ms, CallInput::Snapshot(Some(&snapshot)))
            }
            _ => return,
        };
        self.carry_out(next, luck / 2);
    }

    fn step_ends(&mut self, heard: bool) -> Option<CallEffect> {
        let step = self.with_switch.take()?;
        self.done = step;
        if heard {
            self.machine.handle(self.now_ms, CallInput::Event(&executed(step, self.epoch)))
        } else {
            None
        }
    }

    fn timer(&mut self) -> Option<CallEffect> {
        self.now_ms = self.machine.timer_ms()?.max(self.now_ms);
        self.machine.handle(self.now_ms, CallInput::Timer)
    }
}

proptest! {
    /// Whatever is lost: steps run in order, each once, and once the network behaves the flow comes to its end.
    #[test]
    fn no_loss_skips_or_repeats_a_step(script in prop::collection::vec((0_u8..5, any::<u8>()), 0..60)) {
        let steps = 6;
        let (machine, first) = CallMachine::new(0, &snapshot(1, 0, None), flow(steps));
        let mut world = World { machine, now_ms: 0, epoch: 1, taken: Vec::new(), with_switch: None, done: 0 };
        world.carry_out(first, 1);
        for (action, luck) in script {
            let effect = match action {
                0 => world.step_ends(true),
                1 => world.step_ends(false),
                2 => world.timer(),
                3 => {
                    world.epoch += 1;
                    let snapshot = world.snapshot();
                    world.machine.handle(world.now_ms, CallInput::Appointed(&snapshot))
                }
                _ => world.machine.handle(world.now_ms, CallInput::Event(&event(CallEventKind::Gap))),
            };
            world.carry_out(effect, luck);
        }
        for _ in 0..10 * steps {
            let effect = world.timer();
            world.carry_out(effect, 8);
            let effect = world.step_ends(true);
            world.carry_out(effect, 8);
        }
        prop_assert_eq!(world.taken, (1..=steps).collect::<Vec<_>>());
        prop_assert_eq!(world.machine.timer_ms(), None);
    }

    /// Steps that another epoch or nobody asked for, in any order, never make it panic or go back.
    #[test]
    fn events_of_any_kind_only_move_it_forward(script in prop::collection::vec((0_u32..9, 0_u64..4), 0..60)) {
        let (mut machine, _) = CallMachine::new(0, &snapshot(1, 0, None), flow(3));
        for (now_ms, (step, epoch)) in (0_u64..).zip(script) {
            let before = machine.done();
            machine.handle(now_ms, CallInput::Event(&executed(step, epoch)));
            machine.handle(now_ms, CallInput::Snapshot(Some(&snapshot(epoch, step, Some(step)))));
            prop_assert!(machine.done() >= before);
        }
    }
}
