//! The variables that sofia sets on its legs, in the order of the transcripts (b_formats_call_life). There is no
//! SIP: ports, tags and media descriptions are plausible and follow from the leg's uuid and the random source.

mod callee;

pub(crate) use callee::{answered_outbound, described, dialled, refused, replied};

use crate::config::InboundCall;
use crate::random::Random;
use crate::variables::Variables;

const HOST: &str = "127.0.0.1";
const SWITCH_PORT: &str = "5080";
const REMOTE_PORT: &str = "6060";

/// What a phone says that it understands.
const ALLOWED: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY";

/// Sets several variables in their order.
fn set_all(variables: &mut Variables, entries: &[(&str, &str)]) {
    for (name, value) in entries {
        variables.set(name, *value);
    }
}

fn session_description(owner: &str, version: u64, port: u64, direction: &str) -> String {
    format!(
        "v=0\r\no={owner} {version} {} IN IP4 {HOST}\r\ns={}\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n{direction}",
        version + 1,
        if owner == "FreeSWITCH" { owner } else { "-" },
    )
}

fn media_port(random: &mut Random) -> u64 {
    random.in_range(&(8_192..=16_383)) * 2
}

fn local_media(variables: &mut Variables, port: &str) {
    set_all(
        variables,
        &[("local_media_ip", HOST), ("local_media_port", port), ("advertised_media_ip", HOST)],
    );
}

/// What an INVITE of `call` leaves behind, up to CHANNEL_CREATE.
pub(crate) fn invited(
    variables: &mut Variables,
    call: &InboundCall,
    uuid: &str,
    session: u64,
    wall_micros: u64,
    random: &mut Random,
) {
    let (user, number) = (call.caller_id_number.as_str(), call.destination_number.as_str());
    let from_uri = caller_address(call);
    let contact_uri = format!("{user}@{HOST}:{REMOTE_PORT}");
    let to_uri = format!("{number}@{HOST}:{SWITCH_PORT}");
    let tag = random.tag();
    // Of what a phone says a bare tester says nothing, and the other way round.
    let agent = call.user_agent.as_str();
    let of_phone = |value| if agent.is_empty() { "" } else { value };
    let of_tester = |value| if agent.is_empty() { value } else { "" };
    let identity = format!("{};party=calling;screen=yes;privacy=off", full_from(call, &from_uri, ""));
    set_all(
        variables,
        &[
            ("direction", "inbound"),
            ("uuid", uuid),
            ("call_uuid", uuid),
            ("session_id", &session.to_string()),
            ("sip_from_user", user),
            ("sip_from_port", of_tester(REMOTE_PORT)),
            ("sip_from_uri", &from_uri),
            ("sip_from_host", HOST),
            ("video_media_flow", "disabled"),
            ("text_media_flow", "disabled"),
            ("channel_name", &format!("sofia/external/{from_uri}")),
            ("sip_call_id", &format!("{session}-{}@{HOST}", random.in_range(&(10_000..=99_999)))),
            ("sip_local_network_addr", HOST),
            ("sip_network_ip", HOST),
            ("sip_network_port", REMOTE_PORT),
            ("sip_invite_stamp", &wall_micros.to_string()),
            ("sip_received_ip", HOST),
            ("sip_received_port", REMOTE_PORT),
            ("sip_via_protocol", "udp"),
            ("sip_from_user_stripped", user.trim_start_matches('+')),
            ("sip_from_tag", &tag),
            ("sofia_profile_name", "external"),
            ("sofia_profile_url", &format!("sip:mod_sofia@{HOST}:{SWITCH_PORT}")),
            ("recovery_profile_name", "external"),
            ("sip_Remote-Party-ID", of_phone(&identity)),
            ("sip_cid_type", of_phone("rpid")),
            ("sip_full_via", &via(random)),
            ("sip_from_display", &call.caller_id_name),
            ("sip_full_from", &full_from(call, &from_uri, &tag)),
            ("sip_full_to", &format!("<sip:{to_uri}>")),
            ("sip_allow", of_phone(ALLOWED)),
        ],
    );
    for part in ["req", "to"] {
        set_address(variables, part, number, SWITCH_PORT, &to_uri);
    }
    set_address(variables, "contact", user, REMOTE_PORT, &contact_uri);
    set_all(
        variables,
        &[
            ("sip_subject", of_tester("call")),
            ("sip_user_agent", agent),
            ("sip_via_host", HOST),
            ("sip_via_port", REMOTE_PORT),
            ("sip_via_rport", of_phone(REMOTE_PORT)),
            ("max_forwards", "70"),
        ],
    );
    for (name, value) in &call.variables {
        variables.set(name, value.as_str());
    }
    offered(variables, random);
    set_all(variables, &[("dtmf_type", "rfc2833"), ("endpoint_disposition", "RECEIVED")]);
}

/// The address in the `From` of a call. A bare tester puts its port there.
pub(crate) fn caller_address(call: &InboundCall) -> String {
    let port = if call.user_agent.is_empty() { format!(":{REMOTE_PORT}") } else { String::new() };
    format!("{}@{HOST}{port}", call.caller_id_number)
}

fn via(random: &mut Random) -> String {
    format!("SIP/2.0/UDP {HOST}:{REMOTE_PORT};branch=z9hG4bK-{}", random.tag())
}

fn full_from(call: &InboundCall, from_uri: &str, tag: &str) -> String {
    let tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    if call.caller_id_name.is_empty() {
        format!("<sip:{from_uri}>{tag}")
    } else {
        format!("\"{}\" <sip:{from_uri}>{tag}", call.caller_id_name)
    }
}

fn set_address(variables: &mut Variables, part: &str, user: &str, port: &str, uri: &str) {
    for (field, value) in [("user", user), ("port", port), ("uri", uri), ("host", HOST)] {
        variables.set(&format!("sip_{part}_{field}"), value);
    }
}

/// The other side's media description, and the codec that follows from it.
fn offered(variables: &mut Variables, random: &mut Random) {
    let port = media_port(random);
    let description = session_description("user1", random.in_range(&(1 << 20..=1 << 30)), port, "");
    set_all(
        variables,
        &[
            ("switch_r_sdp", &description),
            ("ep_codec_string", "CORE_PCM_MODULE.PCMU@8000h@20i@64000b"),
            ("rtp_use_codec_string", "PCMU,PCMA"),
            ("remote_video_media_flow", "inactive"),
            ("remote_text_media_flow", "inactive"),
            ("remote_audio_media_flow", "sendrecv"),
        ],
    );
    if variables.get("audio_media_flow").is_none() {
        variables.set("audio_media_flow", "sendrecv");
    }
    set_all(variables, &[("remote_media_ip", HOST), ("remote_media_port", &port.to_string())]);
    negotiated(variables);
}

fn negotiated(variables: &mut Variables) {
    set_all(
        variables,
        &[
            ("rtp_audio_recv_pt", "0"),
            ("rtp_use_codec_name", "PCMU"),
            ("rtp_use_codec_rate", "8000"),
            ("rtp_use_codec_ptime", "20"),
            ("rtp_use_codec_channels", "1"),
            ("rtp_last_audio_codec_string", "PCMU@8000h@20i@1c"),
            ("read_codec", "PCMU"),
            ("original_read_codec", "PCMU"),
            ("read_rate", "8000"),
            ("original_read_rate", "8000"),
            ("write_codec", "PCMU"),
            ("write_rate", "8000"),
        ],
    );
}

/// RTP has begun.
fn media_started(variables: &mut Variables, random: &mut Random) {
    let remote_port = variables.get("remote_media_port").unwrap_or("0").to_owned();
    set_all(
        variables,
        &[
            ("rtp_use_timer_name", "soft"),
            ("rtp_use_pt", "0"),
            ("rtp_use_ssrc", &random.in_range(&(1 << 24..=u64::from(u32::MAX))).to_string()),
            ("rtp_2833_send_payload", "101"),
            ("rtp_2833_recv_payload", "101"),
            ("remote_media_ip", HOST),
            ("remote_media_port", &remote_port),
        ],
    );
}

/// An incoming call is answered: the switch's own media description.
pub(crate) fn answered_inbound(variables: &mut Variables, random: &mut Random) {
    let port = media_port(random);
    let version = random.in_range(&(1 << 20..=1 << 31));
    variables.set("rtp_local_sdp_str", session_description("FreeSWITCH", version, port, "a=sendrecv\r\n"));
    local_media(variables, &port.to_string());
    media_started(variables, random);
}

/// An incoming call rings or has early media: from the first reply on the dialog has a tag.
pub(crate) fn early_reply(variables: &mut Variables, random: &mut Random) {
    if variables.get("sip_to_tag").is_none() {
        variables.set("sip_to_tag", random.tag());
    }
}

/// An incoming call that had early media is answered.
pub(crate) fn answered_after_media(variables: &mut Variables, _: &mut Random) {
    let description = variables.get("rtp_local_sdp_str").unwrap_or_default().to_owned();
    variables.set("rtp_local_sdp_str", description);
}

/// The caller has acknowledged the answer.
pub(crate) fn acknowledged(variables: &mut Variables, random: &mut Random) {
    let tag = variables.get("sip_to_tag").map_or_else(|| random.tag(), str::to_owned);
    variables.set("sip_to_tag", tag.as_str());
    refresh_dialog(variables, &tag, random);
}

/// Sets again what every further request of a dialog sets.
fn refresh_dialog(variables: &mut Variables, to_tag: &str, random: &mut Random) {
    let full_to = variables.get("sip_full_to").unwrap_or_default();
    let full_to = full_to.split(';').next().unwrap_or_default().to_owned();
    variables.set("sip_to_tag", to_tag);
    set_again(variables, &["sip_from_tag"]);
    variables.set("sip_cseq", "1");
    set_again(variables, &["sip_call_id"]);
    variables.set("sip_full_via", via(random));
    set_again(variables, &["sip_from_display", "sip_full_from"]);
    variables.set("sip_full_to", format!("{full_to};tag={to_tag}"));
}

/// The other side ends the call: BYE if it was answered; a caller who gives up before sends CANCEL.
pub(crate) fn ended_by_remote(variables: &mut Variables, answered: bool, random: &mut Random) {
    if !answered {
        set_all(
            variables,
            &[
                ("sip_hangup_disposition", "recv_cancel"),
                ("sip_invite_failure_status", "487"),
                ("sip_invite_failure_phrase", "CANCEL"),
                ("sip_term_status", "487"),
                ("proto_specific_hangup_cause", "sip:487"),
                ("sip_term_cause", "487"),
            ],
        );
        return;
    }
    if variables.get("sip_to_tag").is_none() {
        acknowledged(variables, random);
    }
    set_all(
        variables,
        &[
            ("sip_reason", "Q.850;cause=16;text=\"bye\""),
            ("sip_term_status", "200"),
            ("proto_specific_hangup_cause", "sip:200"),
            ("sip_term_cause", "16"),
        ],
    );
}

/// What is set only after CHANNEL_HANGUP when the other side has said BYE.
pub(crate) fn said_bye(variables: &mut Variables) {
    set_again(variables, &["sip_user_agent"]);
    variables.set("sip_hangup_disposition", "recv_bye");
}

/// The other side changes which way sound flows: its word and the switch's (transcript
/// b_formats_call_life/hold_unhold_plain).
pub(crate) fn reinvited(variables: &mut Variables, (theirs, ours): (&str, &str)) {
    set_again(
        variables,
        &[
            "switch_r_sdp",
            "ep_codec_string",
            "rtp_use_codec_string",
            "remote_video_media_flow",
            "remote_text_media_flow",
        ],
    );
    set_all(variables, &[("remote_audio_media_flow", theirs), ("audio_media_flow", ours)]);
}

/// The new flow of sound is agreed upon.
pub(crate) fn reinvite_acknowledged(variables: &mut Variables, random: &mut Random) {
    set_again(
        variables,
        &[
            "remote_media_ip",
            "remote_media_port",
            "rtp_audio_recv_pt",
            "dtmf_type",
            "rtp_2833_send_payload",
            "rtp_2833_recv_payload",
            "rtp_local_sdp_str",
        ],
    );
    let tag = variables.get("sip_to_tag").map_or_else(|| random.tag(), str::to_owned);
    refresh_dialog(variables, &tag, random);
}

/// Sets variables to the values that they have.
fn set_again(variables: &mut Variables, names: &[&str]) {
    for name in names {
        let value = variables.get(name).unwrap_or_default().to_owned();
        variables.set(name, value);
    }
}

/// What a bridged leg knows of the other one's media.
pub(crate) fn bridged(variables: &mut Variables, other_description: &str) {
    set_all(variables, &[("switch_m_sdp", other_description), ("video_media_flow", "inactive")]);
    set_all(variables, &[("text_media_flow", "inactive"), ("audio_media_flow", "sendrecv")]);
}

/// How the switch ends a leg that it ends itself.
pub(crate) fn ended_by_switch(variables: &mut Variables, answered: bool, outbound: bool) {
    let disposition = match (answered, outbound) {
        (true, _) => "send_bye",
        (false, true) => "send_cancel",
        (false, false) => "send_refuse",
    };
    variables.set("sip_hangup_disposition", disposition);
}
