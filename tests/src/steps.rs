//! What became of a call's steps, as the switch itself knows it.

use fipple_emulator::Ledger;
use fipple_emulator::ledger::{CallRecord, Execution};
use fipple_protocol::call::{parse_step_application, parse_step_uuid};

/// Which step of a call an execution is: what carries a fenced step into the channel is none.
pub fn step_of(uuid: &str, application: &str, application_uuid: &str) -> Option<u32> {
    if ["lua", "execute_extension"].contains(&application) {
        return None;
    }
    parse_step_application(uuid, application_uuid)
        .or_else(|| parse_step_uuid(uuid, application_uuid).map(|(step, _)| step))
}

/// The steps of a call that ran, in the order in which they began.
pub fn step_runs(call: &CallRecord) -> impl Iterator<Item = (u32, &Execution)> {
    call.executions.iter().filter_map(|run| {
        step_of(&call.uuid, &run.application, &run.application_uuid).map(|step| (step, run))
    })
}

/// What did not happen to a call as its flow says: each of `applications` once, in order, and then its end with `cause`.
pub fn faults_of(ledger: &Ledger, uuid: &str, applications: &[&str], cause: &str) -> Vec<String> {
    let Some(call) = ledger.call(uuid) else { return vec!["the switch knows no such call".to_owned()] };
    let mut faults = Vec::new();
    let ran: Vec<_> = step_runs(call).map(|(step, run)| (step, run.application.as_str())).collect();
    let expected: Vec<_> = (1..).zip(applications.iter().copied()).collect();
    if ran != expected {
        faults.push(format!("its steps were {ran:?}"));
    }
    if call.ended.is_none() {
        faults.push("it goes on".to_owned());
    } else if call.cause != cause {
        faults.push(format!("it ended with {}", call.cause));
    }
    if let Some(fence) = ledger.fence(uuid) {
        faults.extend(fence.violations());
    }
    faults
}
