//! Whether a call was controlled to its end: by the switch's own ledger, not by what any node says.

use std::time::Duration;

use fipple_emulator::ledger::{CallRecord, Execution};

/// Why a call that has ended was not controlled to its end, or nothing.
pub(super) fn fault(record: &CallRecord) -> Option<String> {
    if record.answered.is_none() {
        return Some("it was never answered".into());
    }
    if !controlled(record, "playback").any(|execution| execution.ended.is_some()) {
        return Some("nothing was played to its end".into());
    }
    if controlled(record, "hangup").next().is_none() {
        return Some(format!("no controller hung it up: {:?} did, with {}", record.hung_up_by, record.cause));
    }
    (record.cause != "NORMAL_CLEARING").then(|| format!("it ended with {}", record.cause))
}

/// How often a step was run again that had been run already.
pub(super) fn repeated_steps(record: &CallRecord) -> usize {
    ["answer", "playback", "hangup"]
        .iter()
        .map(|step| controlled(record, step).count().saturating_sub(1))
        .sum()
}

/// From the moment when the call waited for a controller to the moment when it was answered.
pub(super) fn time_to_answer(record: &CallRecord) -> Option<Duration> {
    let parked = record.executions.iter().find(|execution| execution.application == "park")?;
    Some(Duration::from_micros(record.answered?.micros_since(parked.started)))
}

/// The runs of an application that a controller asked for, and not the dialplan.
fn controlled<'a>(record: &'a CallRecord, application: &'a str) -> impl Iterator<Item = &'a Execution> {
    let by_controller = move |run: &&Execution| run.connection.is_some() && run.application == application;
    record.executions.iter().filter(by_controller)
}
