//! Steps run in their order, and steps and commands in the epoch that the call is in: whoever lost the call is not heard any
//! more. A step that its call's taker saw running may come to its end in the epoch before; nothing else is allowed.

use std::collections::BTreeMap;

use fipple_emulator::Switch;
use fipple_emulator::journal::Entry;
use fipple_protocol::call::parse_step_uuid;

use super::{Checker, Finding, Rest, Verdict};
use crate::engine::{Place, Seen};

#[derive(Default)]
pub(super) struct EpochsRise {
    /// The furthest step of each call that ran with no script around it, with its epoch.
    unfenced: BTreeMap<(usize, String), (u64, u32)>,
}

impl EpochsRise {
    /// A step that no script checks says by its own name what it is.
    fn ran_unfenced(&mut self, seen: &Seen<'_>, uuid: &str, step: u32, epoch: u64) -> Verdict {
        let furthest = self.unfenced.entry((seen.switch, uuid.to_owned())).or_default();
        let (last_epoch, last_step) = *furthest;
        *furthest = (*furthest).max((epoch, step));
        if epoch >= last_epoch && (last_step..=last_step + 1).contains(&step) {
            return Ok(());
        }
        Err(Finding::new(format!(
            "step {step} of epoch {epoch} on call {uuid} of {}, after step {last_step} of epoch {last_epoch}",
            Place::Switch(seen.switch)
        )))
    }
}

impl Checker for EpochsRise {
    fn invariant(&self) -> &'static str {
        "epochs and steps rise"
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        match entry {
            // What else happened at the same moment, others have seen by then.
            Entry::StepTold { uuid, .. } | Entry::EpochSet { uuid, .. } => {
                check(seen.state, seen.switch, uuid)
            }
            Entry::CommandRan { uuid, run } if run.command.starts_with("uuid_") => {
                check(seen.state, seen.switch, uuid)
            }
            Entry::Started { uuid, application, application_uuid, .. }
                if !["lua", "execute_extension"].contains(&application.as_str()) =>
            {
                match parse_step_uuid(uuid, application_uuid) {
                    Some((step, epoch)) => self.ran_unfenced(seen, uuid, step, epoch),
                    None => Ok(()),
                }
            }
            Entry::Ended { uuid } => {
                self.unfenced.remove(&(seen.switch, uuid.to_string()));
                check(seen.state, seen.switch, uuid)
            }
            Entry::FlowBegan { uuid } | Entry::Created { uuid, .. } => {
                self.unfenced.remove(&(seen.switch, uuid.to_string()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn at_rest(&mut self, rest: &Rest<'_>) -> Verdict {
        for number in 0..rest.world.switch_count() {
            let Some(switch) = rest.world.switch(number) else { continue };
            switch.ledger().calls().try_for_each(|call| check(switch, number, &call.uuid))?;
        }
        Ok(())
    }
}

/// Looks at all that the switch has taken down of a call's steps and commands.
fn check(switch: &Switch, number: usize, call: &str) -> Verdict {
    let violations = switch.ledger().fence(call).map(|fence| fence.violations()).unwrap_or_default();
    match violations.last() {
        Some(what) => Err(Finding::new(format!("call {call} of {}: {what}", Place::Switch(number)))),
        None => Ok(()),
    }
}
