//! What happened around some recordings without being told in their events, by what their answers show.

use std::time::Duration;

use fipple_emulator::far_end::{Act, Step};
use fipple_emulator::{ConnectionId, InboundCall};

use super::cues::Cue;

/// Calls that came in: the recording, when, the channel's uuid and the number that was dialled.
const CALLS: &[(&str, u64, &str, &str)] = &[
    ("l_state_rebuild/state_queries", 133_000, "d7cc45c5-2427-4575-8c47-45c98bed76bf", "9024"),
    ("l_state_rebuild/state_queries", 132_000, "c3fc4f72-53dc-414e-b2b5-20d3e07420b6", "9001"),
    ("l_state_rebuild/state_queries", 153_000, "482aea49-60aa-48e2-b08e-500cc2831167", "9009"),
];

/// Callers who had come and gone before: the recording, how many, and the number that they had dialled. The conference
/// of one recording counts on from the members of another.
const GONE: &[(&str, usize, &str)] = &[("g_custom_events/conference_json", 3, "9004")];

/// Channels of earlier recordings that still stood parked.
const PARKED: &[(&str, &str)] = &[
    ("d_sendmsg/execute_while_dialplan_app", "4586ba63-60de-46b1-9d2b-baaba69bb0e9"),
    ("d_sendmsg/execute_while_dialplan_app", "b515b75f-0b2f-45ed-bce2-37d619291e92"),
];

/// Who parks them: a controller that was not recorded.
const STAGEHAND: ConnectionId = ConnectionId(1_000);

/// The header that every INVITE of the lab carried.
const LAB_HEADER: (&str, &str) = ("sip_h_X-Lab-Header", "a b=c;d\"e\"");

/// The cues that a recording does not tell itself, with their times after its beginning.
pub(crate) fn untold(recording: &str) -> Vec<(u64, Cue)> {
    let mut cues = Vec::new();
    for (_, count, number) in GONE.iter().filter(|(name, ..)| *name == recording) {
        for caller in 0..*count {
            let script = vec![Step::new(Duration::ZERO, Act::HangsUp)];
            let call = InboundCall { script, ..caller_of(number) };
            cues.push((0, Cue::Call { uuid: format!("gone-{caller}"), call }));
        }
    }
    for (_, uuid) in PARKED.iter().filter(|(name, _)| *name == recording) {
        if cues.is_empty() {
            cues.push((0, Cue::Connect(STAGEHAND)));
            cues.push((0, Cue::Write(STAGEHAND, b"auth ClueCon\n\n".to_vec())));
        }
        let command = format!("api originate {{origination_uuid={uuid}}}null/lab &park()\n\n");
        cues.push((0, Cue::Write(STAGEHAND, command.into_bytes())));
    }
    for (_, at, uuid, number) in CALLS.iter().filter(|(name, ..)| *name == recording) {
        // The ACK comes a moment after the answer, when the call already waits for what comes.
        let script = vec![Step::new(Duration::from_millis(5), Act::Acknowledges)];
        let call = InboundCall { script, ..caller_of(number) };
        cues.push((*at, Cue::Call { uuid: (*uuid).to_owned(), call }));
    }
    cues
}

fn caller_of(number: &str) -> InboundCall {
    // What comes back to the switch itself comes from a switch.
    let user_agent = if number == "9009" { "FS-lab-1" } else { "" };
    InboundCall {
        caller_id_name: "Žofie Test".into(),
        variables: vec![(LAB_HEADER.0.into(), LAB_HEADER.1.into())],
        user_agent: user_agent.into(),
        ..InboundCall::new("sipp", number)
    }
}
