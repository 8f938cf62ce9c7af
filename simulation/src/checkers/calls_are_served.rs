//! A call that comes in when all is quiet goes through its flow, step by step, to its end.

use std::collections::BTreeMap;

use fipple_emulator::Time;
use fipple_emulator::ledger::{CallRecord, HungUpBy};
use fipple_protocol::call::{parse_step_application, parse_step_uuid};

use super::{Checker, Finding, Rest, Verdict};
use crate::engine::Place;
use crate::run::flow_steps;

pub(super) struct CallsAreServed;

/// How long after the last fault every switch has a node, all nodes have met, and takeovers are over.
const SETTLED_US: u64 = 30_000_000;

/// How long a flow of the workload takes at most, and some more.
const FLOW_US: u64 = 15_000_000;

impl Checker for CallsAreServed {
    fn invariant(&self) -> &'static str {
        "calls are served"
    }

    fn at_rest(&mut self, rest: &Rest<'_>) -> Verdict {
        let now = rest.world.now();
        let flows = flow_steps();
        for number in 0..rest.world.switch_count() {
            let Some(switch) = rest.world.switch(number) else { continue };
            let Some(started) = rest.world.switch_started(number) else { continue };
            for call in switch.ledger().calls().filter(|call| !call.outbound) {
                // A switch's own time counts from its start.
                let created = Time(started.0 + call.created.0);
                let due = created.micros_since(rest.quiet_since) >= SETTLED_US
                    && now.micros_since(created) >= FLOW_US;
                let gave_up = call.hung_up_by == Some(HungUpBy::Remote)
                    && call.ended.is_some_and(|ended| ended.micros_since(call.created) < FLOW_US);
                if due && !gave_up {
                    check(&flows, call).map_err(|what| {
                        Finding::new(format!("call {} on {}: {what}", call.uuid, Place::Switch(number)))
                    })?;
                }
            }
        }
        Ok(())
    }
}

fn check(flows: &BTreeMap<String, Vec<String>>, call: &CallRecord) -> Result<(), String> {
    let Some(flow) = flows.get(&call.destination) else { return Ok(()) };
    let steps = call.executions.iter().filter(|execution| {
        let uuid = &execution.application_uuid;
        // A fenced step is a script, and the application that it runs bears the step's name.
        let is_fenced = parse_step_application(&call.uuid, uuid).is_some();
        is_fenced || (execution.application != "lua" && parse_step_uuid(&call.uuid, uuid).is_some())
    });
    let ran: Vec<&str> = steps.map(|execution| execution.application.as_str()).collect();
    let expected: Vec<&str> = flow.iter().map(String::as_str).collect();
    if ran == expected { Ok(()) } else { Err(format!("{ran:?} ran of {expected:?}, {}", call.cause)) }
}
