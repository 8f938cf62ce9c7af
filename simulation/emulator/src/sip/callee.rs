//! The variables of a leg that the switch has dialled.

use super::{
    ALLOWED, HOST, REMOTE_PORT, SWITCH_PORT, local_media, media_port, media_started, offered,
    session_description, set_address, set_all,
};
use crate::random::Random;
use crate::variables::Variables;

/// Variables of a dialled leg at its CHANNEL_CREATE, after those of the dial string.
pub(crate) fn dialled(
    variables: &mut Variables,
    name: &str,
    destination: &str,
    for_bridge: bool,
    random: &mut Random,
) {
    let port = media_port(random);
    let version = random.in_range(&(1 << 20..=1 << 31));
    let uri = name.rsplit('/').next().unwrap_or(destination);
    set_all(variables, &[("rtp_use_codec_string", "PCMU,PCMA")]);
    local_media(variables, &port.to_string());
    variables.set("audio_media_flow", "sendrecv");
    if for_bridge {
        variables.set("video_media_flow", "disabled");
    }
    set_all(
        variables,
        &[
            ("rtp_local_sdp_str", &session_description("FreeSWITCH", version, port, "a=sendrecv\r\n")),
            ("sip_outgoing_contact_uri", &format!("<sip:mod_sofia@{HOST}:{SWITCH_PORT}>")),
            ("sip_req_uri", uri),
            ("sip_to_host", uri.split_once('@').map_or(HOST, |(_, host)| host)),
            ("sip_from_host", HOST),
            ("sofia_profile_name", "external"),
            ("recovery_profile_name", "external"),
            ("sofia_profile_url", &format!("sip:mod_sofia@{HOST}:{SWITCH_PORT}")),
        ],
    );
}

/// The dialled side's first reply, whatever it says.
fn reply_received(variables: &mut Variables) {
    set_all(
        variables,
        &[
            ("sip_local_network_addr", HOST),
            ("sip_reply_host", HOST),
            ("sip_reply_port", REMOTE_PORT),
            ("sip_network_ip", HOST),
            ("sip_network_port", REMOTE_PORT),
        ],
    );
}

/// The dialled side rings: its first reply.
pub(crate) fn replied(
    variables: &mut Variables,
    (name, caller): (&str, &str),
    (destination, agent): (&str, &str),
    random: &mut Random,
) {
    let (from_tag, to_tag) = (random.tag(), random.tag());
    let via = format!("SIP/2.0/UDP {HOST}:{SWITCH_PORT};rport;branch=z9hG4bK{}", random.tag());
    let to_uri = format!("{destination}@{HOST}:{REMOTE_PORT}");
    reply_received(variables);
    set_all(
        variables,
        &[
            ("sip_user_agent", agent),
            ("sip_allow", if agent.is_empty() { "" } else { ALLOWED }),
            ("sip_recover_contact", &format!("<sip:{HOST}:{REMOTE_PORT};transport=UDP>")),
            ("sip_full_via", &via),
            ("sip_recover_via", &via),
            ("sip_from_display", name),
            ("sip_full_from", &format!("<sip:{caller}@{HOST}>;tag={from_tag}")),
            ("sip_full_to", &format!("<sip:{to_uri}>;tag={to_tag}")),
            ("sip_from_user", caller),
            ("sip_from_uri", &format!("{caller}@{HOST}")),
            ("sip_from_host", HOST),
        ],
    );
    set_address(variables, "to", destination, REMOTE_PORT, &to_uri);
    variables.set("sip_contact_params", "transport=UDP");
    set_address(variables, "contact", destination, REMOTE_PORT, &to_uri);
    let cseq = random.in_range(&(1 << 20..=1 << 27)).to_string();
    let call_id = random.uuid();
    set_all(
        variables,
        &[
            ("sip_to_tag", &to_tag),
            ("sip_from_tag", &from_tag),
            ("sip_cseq", &cseq),
            ("sip_call_id", &call_id),
        ],
    );
}

/// The dialled side sends sound before its answer: its media description.
pub(crate) fn described(variables: &mut Variables, random: &mut Random) {
    answered_outbound(variables, random);
}

/// The dialled side has answered.
pub(crate) fn answered_outbound(variables: &mut Variables, random: &mut Random) {
    offered(variables, random);
    variables.set("dtmf_type", "rfc2833");
    let port = variables.get("local_media_port").unwrap_or_default().to_owned();
    local_media(variables, &port);
    media_started(variables, random);
}

/// The dialled side refuses with this status, perhaps as its first reply.
pub(crate) fn refused(
    variables: &mut Variables,
    (status, phrase): (u16, &str),
    q850: u16,
    random: &mut Random,
) {
    if variables.get("sip_reply_host").is_none() {
        variables.set("sip_call_id", random.uuid());
        reply_received(variables);
    }
    let status = status.to_string();
    set_all(
        variables,
        &[
            ("sip_hangup_disposition", "recv_refuse"),
            ("sip_invite_failure_status", &status),
            ("sip_invite_failure_phrase", phrase),
            ("sip_term_status", &status),
            ("proto_specific_hangup_cause", &format!("sip:{status}")),
            ("sip_term_cause", &q850.to_string()),
        ],
    );
}
