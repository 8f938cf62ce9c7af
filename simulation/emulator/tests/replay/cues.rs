//! What happened around the switch while a recording was made, as far as the recording tells it: who called, who
//! hung up, who pressed keys. The controller's own bytes are cues too.

use fipple_emulator::{ConnectionId, InboundCall};

use super::frame::Event;
use super::recording::Recording;
use super::scenario::Scenario;

/// Something that happens to the switch from outside. Channels are named as in the recording.
#[derive(Debug, Clone)]
pub(crate) enum Cue {
    Connect(ConnectionId),
    Write(ConnectionId, Vec<u8>),
    Call { uuid: String, call: InboundCall },
    CallerHangup { uuid: String },
    CallerDigits { uuid: String, digits: String },
}

/// The number of the scenario's connection.
pub(crate) fn connection_id(index: usize) -> ConnectionId {
    ConnectionId(index as u64 + 1)
}

/// The cues of a scenario in the order of their times, in microseconds since its start.
pub(crate) fn cues_of(scenario: &Scenario<'_>) -> Vec<(u64, Cue)> {
    let mut cues = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for (index, (began, recording)) in scenario.connections.iter().enumerate() {
        let id = connection_id(index);
        if !recording.is_outbound() {
            cues.push((*began, Cue::Connect(id)));
        }
        let written = recording.written.iter();
        cues.extend(written.map(|(at, bytes)| (began + at, Cue::Write(id, bytes.clone()))));
        // Several connections tell of the same callers.
        let own = surroundings(recording).into_iter().filter(|(_, cue)| !known.contains(&key(cue)));
        let own: Vec<_> = own.collect();
        known.extend(own.iter().map(|(_, cue)| key(cue)));
        cues.extend(own.into_iter().map(|(at, cue)| (began + at, cue)));
    }
    cues.sort_by_key(|(at, _)| *at);
    cues
}

/// What makes a cue the same in two recordings.
fn key(cue: &Cue) -> String {
    match cue {
        Cue::Connect(id) | Cue::Write(id, _) => format!("{id:?}"),
        Cue::Call { uuid, .. } => format!("call {uuid}"),
        Cue::CallerHangup { uuid } => format!("hang-up {uuid}"),
        Cue::CallerDigits { uuid, .. } => format!("digits {uuid}"),
    }
}

/// The callers of one recording.
fn surroundings(recording: &Recording) -> Vec<(u64, Cue)> {
    let mut cues = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (at, event) in recording.events() {
        let uuid = event.uuid();
        if !event.get("Channel-Name").starts_with("sofia/") {
            continue;
        }
        if !seen.contains(&uuid) {
            seen.push(uuid);
            let events: Vec<(u64, &Event)> =
                recording.events().filter(|(_, other)| other.uuid() == uuid).collect();
            if event.get("Call-Direction") == "inbound" {
                cues.push((at, Cue::Call { uuid: uuid.to_owned(), call: call_of(&events) }));
            }
            cues.extend(hangup_of(uuid, &events));
        }
        if event.name() == "DTMF" && event.get("DTMF-Source") != "APP" {
            let digits = event.get("DTMF-Digit").to_owned();
            cues.push((at, Cue::CallerDigits { uuid: uuid.to_owned(), digits }));
        }
    }
    cues
}

fn call_of(events: &[(u64, &Event)]) -> InboundCall {
    let described = events.iter().find(|(_, event)| !event.get("Caller-Destination-Number").is_empty());
    let event = described.or(events.first()).unwrap().1;
    let mut call = InboundCall::new(
        event.get("Caller-Caller-ID-Number").to_owned(),
        event.get("Caller-Destination-Number").to_owned(),
    );
    call.caller_id_name = event.get("Caller-Caller-ID-Name").to_owned();
    call.context = event.get("Caller-Context").to_owned();
    let with_variables = events.iter().find(|(_, event)| !event.get("variable_uuid").is_empty());
    for (name, value) in with_variables.map(|(_, event)| event.headers.as_slice()).unwrap_or_default() {
        if let Some(name) = name.strip_prefix("variable_").filter(|name| name.starts_with("sip_h_")) {
            call.variables.push((name.to_owned(), value.clone()));
        }
    }
    call
}

/// The other side ended the call if the switch received a BYE or a CANCEL; or, where too few events were recorded to
/// tell that, if it ended as calls do and no application ended it.
fn hangup_of(uuid: &str, events: &[(u64, &Event)]) -> Option<(u64, Cue)> {
    let said = |name: &str| events.iter().map(|(_, event)| event.get(name)).find(|value| !value.is_empty());
    let by_caller = match said("variable_sip_hangup_disposition") {
        Some(disposition) => ["recv_bye", "recv_cancel"].contains(&disposition),
        None => {
            let ended_itself = events.iter().any(|(_, event)| event.get("Application") == "hangup");
            said("Hangup-Cause") == Some("NORMAL_CLEARING") && !ended_itself
        }
    };
    let ended = events.iter().find(|(_, event)| !event.get("Hangup-Cause").is_empty());
    ended.filter(|_| by_caller).map(|(at, _)| (*at, Cue::CallerHangup { uuid: uuid.to_owned() }))
}
