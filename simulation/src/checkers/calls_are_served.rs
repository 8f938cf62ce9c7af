//! A call goes through its flow, step by step, each step once and none left out, to its end: whatever happens to nodes and
//! links meanwhile, and however late.
//!
//! Left out are calls of which nobody can ask that: the caller has hung up, the switch has died under the call, or the call
//! was sent to the operator's fallback, which another checker allows only if nobody could control it for long enough.

use std::collections::BTreeSet;

use fipple_emulator::Time;
use fipple_emulator::journal::Entry;
use fipple_emulator::ledger::{CallRecord, HungUpBy};
use fipple_protocol::call::{parse_step_application, parse_step_uuid};

use super::{Checker, Finding, Rest, Verdict};
use crate::engine::{Place, Seen};
use crate::flows::{FALLBACK_REACHED, steps_by_number};

#[derive(Default)]
pub(super) struct CallsAreServed {
    /// Calls that were on a switch when it died. Some come back, and have forgotten how far they were.
    crashed: BTreeSet<(usize, String)>,
}

/// How long after the last fault every switch has a node, all nodes have met, and takeovers are over.
const SETTLED_US: u64 = 30_000_000;

/// How long a flow of the workload takes at most, and some more.
const FLOW_US: u64 = 20_000_000;

impl Checker for CallsAreServed {
    fn invariant(&self) -> &'static str {
        "calls are served"
    }

    fn happened(&mut self, seen: &Seen<'_>, entry: &Entry) -> Verdict {
        if let Entry::HungUp { uuid, cause: "CRASH", .. } = entry {
            self.crashed.insert((seen.switch, uuid.to_string()));
        }
        Ok(())
    }

    fn at_rest(&mut self, rest: &Rest<'_>) -> Verdict {
        let now = rest.world.now();
        let flows = steps_by_number();
        for number in 0..rest.world.switch_count() {
            let Some(switch) = rest.world.switch(number) else { continue };
            let Some(started) = rest.world.switch_started(number) else { continue };
            for call in switch.ledger().calls().filter(|call| !call.outbound) {
                let Some(flow) = flows.get(&call.destination) else { continue };
                // A switch's own time counts from its start.
                let created = Time(started.0 + call.created.0);
                let had_time = now.micros_since(created.max(rest.quiet_since)) >= SETTLED_US + FLOW_US;
                let is_over = call.ended.is_some() || had_time;
                if is_over && !self.is_excused(number, call) {
                    check(flow, call).map_err(|what| {
                        Finding::new(format!("call {} on {}: {what}", call.uuid, Place::Switch(number)))
                    })?;
                }
            }
        }
        Ok(())
    }
}

impl CallsAreServed {
    fn is_excused(&self, switch: usize, call: &CallRecord) -> bool {
        let gave_up = call.hung_up_by == Some(HungUpBy::Remote);
        let fell_back = call.executions.iter().any(|execution| execution.argument == FALLBACK_REACHED);
        gave_up || fell_back || self.crashed.contains(&(switch, call.uuid.to_string()))
    }
}

/// Compares what ran with the flow. A call that came back to its extension began its flow anew.
fn check(flow: &[String], call: &CallRecord) -> Result<(), String> {
    let steps: Vec<(u32, &str)> = call
        .executions
        .iter()
        .filter_map(|execution| {
            let name = execution.application_uuid.as_str();
            let application = execution.application.as_str();
            let carried = ["lua", "execute_extension"].contains(&application);
            let unfenced = || parse_step_uuid(&call.uuid, name).filter(|_| !carried).map(|(step, _)| step);
            Some((parse_step_application(&call.uuid, name).or_else(unfenced)?, application))
        })
        .collect();
    let last_flow = steps.iter().rposition(|(step, _)| *step == 1).unwrap_or_default();
    let ran = &steps[last_flow..];
    let expected: Vec<(u32, &str)> = (1..).zip(flow.iter().map(String::as_str)).collect();
    if ran == expected {
        return Ok(());
    }
    let end = if call.ended.is_some() { format!("it ended: {}", call.cause) } else { "it lives".to_owned() };
    Err(format!("{ran:?} ran of {expected:?}, and {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fipple_emulator::ledger::Execution;

    fn call(ran: &[(&str, &str)]) -> CallRecord {
        let executions = ran.iter().map(|(application, name)| Execution {
            application: (*application).to_owned(),
            argument: String::new(),
            application_uuid: (*name).to_owned(),
            started: Time(0),
            ended: None,
            connection: None,
        });
        CallRecord {
            uuid: "u".into(),
            outbound: false,
            caller: String::new(),
            destination: String::new(),
            created: Time(0),
            answered: None,
            executions: executions.collect(),
            executions_dropped: 0,
            ended: None,
            cause: "",
            hung_up_by: None,
        }
    }

    #[test]
    fn each_step_runs_once_and_none_is_left_out() {
        let flow = ["answer", "playback", "hangup"].map(str::to_owned);
        let all = [("lua", "u-1-4"), ("answer", "u-1"), ("park", ""), ("playback", "u-2"), ("hangup", "u-3")];
        assert_eq!(check(&flow, &call(&all)), Ok(()));
        let unfenced = [("answer", "u-1-4"), ("playback", "u-2-4"), ("hangup", "u-3-5")];
        assert_eq!(check(&flow, &call(&unfenced)), Ok(()));
        let back = [&[("answer", "u-1"), ("playback", "u-2")], &all[1..]].concat();
        assert_eq!(check(&flow, &call(&back)), Ok(()));
        for wrong in [&all[..4], &[all[1], all[4]], &[all[1], all[3], all[3], all[4]], &[]] {
            assert!(check(&flow, &call(wrong)).is_err(), "{wrong:?}");
        }
    }
}
