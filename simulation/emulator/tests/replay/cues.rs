//! What happened around the switch while a recording was made, as far as the recording tells it: who called, and what
//! callers and phones did. The controller's own bytes are cues too.

use std::time::Duration;

use fipple_emulator::far_end::{Act, Step};
use fipple_emulator::registrar::Phone;
use fipple_emulator::{ConnectionId, InboundCall};

use super::frame::Event;
use super::recording::Recording;
use super::scenario::Scenario;
use super::untold::untold;

/// How long the real switch may take for what happens in one moment in the emulated one.
const AT_ONCE_MICROS: u64 = 5_000;

/// Controllers that went away without `exit`, and when, by the notes that were taken.
const DROPPED: &[(&str, u64)] = &[("f_outbound/async_tcp_drop", 301_897)];

/// Something that happens to the switch from outside. Channels are named as in the recording.
#[derive(Debug, Clone)]
pub(crate) enum Cue {
    Connect(ConnectionId),
    /// From an address that may not connect.
    Refuse(ConnectionId),
    /// The controller is gone without a word.
    Close(ConnectionId),
    Write(ConnectionId, Vec<u8>),
    /// A call comes in, and its caller does what the call's script says.
    Call {
        uuid: String,
        call: InboundCall,
    },
    /// Somebody who was dialled hangs up.
    CalleeHangup {
        uuid: String,
    },
    Register {
        phone: Phone,
    },
    Unregister {
        phone: Phone,
    },
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
        cues.extend(untold(&recording.name).into_iter().map(|(at, cue)| (began + at, cue)));
        if recording.name == "p_shutdown_acl/acl_rude_rejection" {
            cues.push((*began, Cue::Refuse(id)));
        } else if !recording.is_outbound() {
            cues.push((*began, Cue::Connect(id)));
        }
        let dropped = DROPPED.iter().find(|(name, _)| *name == recording.name);
        cues.extend(dropped.map(|(_, at)| (began + at, Cue::Close(id))));
        let written = recording.written.iter();
        cues.extend(written.map(|(at, bytes)| (began + at, Cue::Write(id, bytes.clone()))));
        // Several connections tell of the same callers.
        let own = surroundings(recording).into_iter().chain(registrations(recording));
        let own = own.filter(|(_, cue)| !known.contains(&key(cue)));
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
        Cue::Connect(id) | Cue::Refuse(id) | Cue::Close(id) | Cue::Write(id, _) => format!("{id:?}"),
        Cue::Call { uuid, .. } => format!("call {uuid}"),
        Cue::CalleeHangup { uuid } => format!("hang-up {uuid}"),
        Cue::Register { phone } => format!("register {}", phone.call_id),
        Cue::Unregister { phone } => format!("unregister {}", phone.call_id),
    }
}

/// The phones that registered, as far as one recording tells of them.
fn registrations(recording: &Recording) -> Vec<(u64, Cue)> {
    let phone_of = |event: &Event, knows_password| Phone {
        ip: event.get("network-ip").to_owned(),
        port: event.get("network-port").parse().unwrap_or_default(),
        user_agent: event.get("user-agent").to_owned(),
        expires: Duration::from_secs(event.get("expires").parse().unwrap_or_default()),
        knows_password,
        call_id: event.get("call-id").to_owned(),
        ..Phone::new(event.get("from-user"), event.get("from-host"))
    };
    let cues = recording.events().filter_map(|(at, event)| {
        let cue = match event.get("Event-Subclass") {
            "sofia::register" => Cue::Register { phone: phone_of(event, true) },
            "sofia::unregister" => Cue::Unregister { phone: phone_of(event, true) },
            "sofia::register_attempt" if event.get("auth-result") == "FORBIDDEN" => {
                Cue::Register { phone: phone_of(event, false) }
            }
            _ => return None,
        };
        Some((at, cue))
    });
    cues.collect()
}

/// What people and phones at the other ends of one recording's SIP channels did.
fn surroundings(recording: &Recording) -> Vec<(u64, Cue)> {
    let mut cues = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (at, event) in recording.events() {
        let uuid = event.uuid();
        if !event.get("Channel-Name").starts_with("sofia/") || seen.contains(&uuid) {
            continue;
        }
        seen.push(uuid);
        let events: Vec<(u64, &Event)> =
            recording.events().filter(|(_, other)| other.uuid() == uuid).collect();
        if event.get("Call-Direction") == "inbound" {
            let call = InboundCall { script: script_of(at, &events), ..call_of(&events) };
            cues.push((at, Cue::Call { uuid: uuid.to_owned(), call }));
        } else {
            let hangup = hung_up_at(&events);
            cues.extend(hangup.map(|at| (at, Cue::CalleeHangup { uuid: uuid.to_owned() })));
        }
    }
    cues
}

/// What a caller did after the call came in at `began`.
fn script_of(began: u64, events: &[(u64, &Event)]) -> Vec<Step> {
    let mut acts: Vec<(u64, Act)> =
        events.iter().filter_map(|(at, event)| Some((*at, act_of(event)?))).collect();
    acts.extend(acknowledgement_of(events));
    acts.extend(transfer_of(events));
    acts.extend(hung_up_at(events).map(|at| (at, Act::HangsUp)));
    acts.sort_by_key(|(at, _)| *at);
    let mut before = began;
    let steps = acts.into_iter().map(|(at, act)| {
        let after = at.saturating_sub(before);
        before += after;
        Step::new(Duration::from_micros(after), act)
    });
    steps.collect()
}

/// What a caller did that the switch told by this event.
fn act_of(event: &Event) -> Option<Act> {
    match event.name() {
        "DTMF" if event.get("DTMF-Source") == "RTP" => Some(Act::Presses(event.get("DTMF-Digit").to_owned())),
        "RECV_INFO" => {
            let digit = event.body.lines().find_map(|line| line.strip_prefix("Signal="));
            digit.map(|digit| Act::PressesByInfo(digit.trim().to_owned()))
        }
        "CHANNEL_HOLD" => Some(Act::Holds),
        "CHANNEL_UNHOLD" => Some(Act::Resumes),
        _ => None,
    }
}

/// The ACK came some time before the first event that knows its sequence number.
fn acknowledgement_of(events: &[(u64, &Event)]) -> Option<(u64, Act)> {
    let tells = |event: &Event| !event.get("variable_uuid").is_empty();
    let answers = |event: &Event| event.name() == "CHANNEL_ANSWER" || event.get("Application") == "answer";
    let answered = events.iter().position(|(_, event)| answers(event))?;
    let knows = |event: &Event| !event.get("variable_sip_cseq").is_empty();
    let known = events[answered..].iter().position(|(_, event)| knows(event))?;
    let before = events[answered..answered + known].iter().rfind(|(_, event)| tells(event))?.0;
    let at = events[answered + known].0;
    // What happens at once in the emulated switch takes the real one some milliseconds.
    (at - before > AT_ONCE_MICROS).then_some((before + AT_ONCE_MICROS, Act::Acknowledges))
}

/// A REFER shows in the variables that it sets.
fn transfer_of(events: &[(u64, &Event)]) -> Option<(u64, Act)> {
    let number = |event: &Event| {
        let destination = event.get("variable_transfer_destination").strip_prefix("blind:")?;
        Some(Act::Transfers(destination.to_owned()))
    };
    events.iter().find_map(|(at, event)| Some((*at, number(event)?)))
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
    call.user_agent =
        with_variables.map(|(_, event)| event.get("variable_sip_user_agent")).unwrap_or_default().into();
    for (name, value) in with_variables.map(|(_, event)| event.headers.as_slice()).unwrap_or_default() {
        if let Some(name) = name.strip_prefix("variable_").filter(|name| name.starts_with("sip_h_")) {
            call.variables.push((name.to_owned(), value.clone()));
        }
    }
    call
}

/// When the other side ended the call. It did if the switch received a BYE or a CANCEL; or, where too few events were
/// recorded to tell that, if it ended as calls do and no application ended it.
fn hung_up_at(events: &[(u64, &Event)]) -> Option<u64> {
    let said = |name: &str| events.iter().map(|(_, event)| event.get(name)).find(|value| !value.is_empty());
    let by_other_side = match said("variable_sip_hangup_disposition") {
        Some(disposition) => ["recv_bye", "recv_cancel"].contains(&disposition),
        None => {
            let ended_itself = events.iter().any(|(_, event)| event.get("Application") == "hangup");
            said("Hangup-Cause") == Some("NORMAL_CLEARING") && !ended_itself
        }
    };
    let ended = events.iter().find(|(_, event)| !event.get("Hangup-Cause").is_empty());
    ended.filter(|_| by_other_side).map(|(at, _)| *at)
}
