//! The variables that a channel gets when it reports: times, durations, and counts of a silent RTP session.

use crate::channel::{Channel, Endpoint};
use crate::sip;
use crate::time::Date;

/// Sets what CHANNEL_HANGUP_COMPLETE adds to the variables, in the order of the transcripts.
pub(crate) fn add_report(channel: &mut Channel, wall_micros: u64) {
    let Some(hangup) = channel.hangup else { return };
    let Some(profile) = channel.profile.clone() else { return };
    let times = &profile.times;
    let answered = times.answered > 0;
    let holds = channel.holds.iter().map(|(since, until)| {
        let until = if *until == 0 { wall_micros } else { *until };
        format!("{{{since},{until}}}")
    });
    let holds = holds.collect::<Vec<_>>().join(",");
    let variables = &mut channel.variables;
    variables.set("hangup_cause", hangup.cause.name());
    variables.set("hangup_cause_q850", hangup.cause.q850().to_string());
    variables.set("digits_dialed", "none");
    let mut stamp = |name: &str, micros: u64| {
        if micros > 0 {
            variables.set(&format!("{name}_stamp"), Date::from_unix_micros(micros).local());
        }
    };
    stamp("start", times.channel_created);
    stamp("profile_start", times.profile_created);
    stamp("answer", times.answered);
    stamp("bridge", times.bridged);
    stamp("hold", times.last_hold);
    if !holds.is_empty() {
        variables.set("hold_events", format!("{{{holds}}}"));
    }
    let mut stamp = |name: &str, micros: u64| {
        if micros > 0 {
            variables.set(&format!("{name}_stamp"), Date::from_unix_micros(micros).local());
        }
    };
    stamp("progress", times.progress);
    stamp("progress_media", times.progress_media);
    stamp("end", wall_micros);
    for (name, micros) in [
        ("start", times.channel_created),
        ("profile_start", times.profile_created),
        ("answer", times.answered),
        ("bridge", times.bridged),
        ("last_hold", times.last_hold),
    ] {
        set_moment(channel, name, micros);
    }
    for (name, divisor) in
        [("hold_accum_seconds", 1_000_000), ("hold_accum_usec", 1), ("hold_accum_ms", 1_000)]
    {
        channel.variables.set(name, (times.hold_accum / divisor).to_string());
    }
    let moments = [
        ("resurrect", times.resurrected),
        ("progress", times.progress),
        ("progress_media", times.progress_media),
        ("end", wall_micros),
    ];
    for (name, micros) in moments {
        set_moment(channel, name, micros);
    }
    if let Some(last) = channel.last_application.clone() {
        channel.variables.set("last_app", last.application);
        channel.variables.set("last_arg", last.argument);
    }
    let caller = format!("\"{}\" <{}>", profile.caller_id_name, profile.caller_id_number);
    channel.variables.set("caller_id", caller);
    let since = |micros: u64, base: u64| if micros > 0 { micros.saturating_sub(base) } else { 0 };
    let bill = since(wall_micros, times.answered.max(1)) * u64::from(answered);
    let flow = since(wall_micros, times.profile_created) * u64::from(answered);
    set_durations(
        channel,
        [
            ("duration", since(wall_micros, times.channel_created)),
            ("bill", bill),
            ("progress", since(times.progress, times.channel_created)),
            ("answer", since(times.answered, times.channel_created)),
            ("wait", since(times.bridged, times.channel_created)),
            ("progress_media", since(times.progress_media, times.channel_created)),
            ("flow_bill", flow),
        ],
    );
    if channel.endpoint == Endpoint::Loopback {
        channel.variables.set("is_loopback", "1");
    }
    if channel.endpoint == Endpoint::Sofia {
        if channel.variables.get("sip_hangup_disposition").is_none() {
            sip::ended_by_switch(&mut channel.variables, answered, channel.outbound);
        }
        // Sound may have flowed before an answer, or without one.
        let began = if times.progress_media > 0 { times.progress_media } else { times.answered };
        if began > 0 {
            add_rtp_counts(channel, wall_micros.saturating_sub(began));
        }
    }
}

fn set_moment(channel: &mut Channel, name: &str, micros: u64) {
    channel.variables.set(&format!("{name}_epoch"), (micros / 1_000_000).to_string());
    channel.variables.set(&format!("{name}_uepoch"), micros.to_string());
}

/// Durations in seconds, milliseconds and microseconds, a block of each.
fn set_durations(channel: &mut Channel, durations: [(&str, u64); 7]) {
    for (unit, divisor) in [("sec", 1_000_000), ("msec", 1_000), ("usec", 1)] {
        for (name, micros) in durations {
            let name = match (name, unit) {
                ("duration", "sec") => "duration".to_owned(),
                ("duration", "msec") => "mduration".to_owned(),
                ("duration", "usec") => "uduration".to_owned(),
                _ => format!("{name}{unit}"),
            };
            // FreeSWITCH counts whole seconds between the seconds of the two moments; rounding up comes closest.
            let value = if divisor == 1_000_000 { micros.div_ceil(divisor) } else { micros / divisor };
            channel.variables.set(&name, value.to_string());
        }
    }
}

/// Twenty milliseconds a packet, none of them received: the callers are silent.
fn add_rtp_counts(channel: &mut Channel, media_micros: u64) {
    const ZEROS_IN: [&str; 4] = ["raw_bytes", "media_bytes", "packet_count", "media_packet_count"];
    const COUNTS_IN: [&str; 5] = [
        "jitter_packet_count",
        "dtmf_packet_count",
        "cng_packet_count",
        "flush_packet_count",
        "largest_jb_size",
    ];
    const RATES_IN: [&str; 5] = [
        "jitter_min_variance",
        "jitter_max_variance",
        "jitter_loss_rate",
        "jitter_burst_rate",
        "mean_interval",
    ];
    const ZEROS_OUT: [&str; 7] = [
        "raw_bytes",
        "media_bytes",
        "packet_count",
        "media_packet_count",
        "skip_packet_count",
        "dtmf_packet_count",
        "cng_packet_count",
    ];
    let variables = &mut channel.variables;
    let mut set = |name: String, value: &str| variables.set(&name, value);
    ZEROS_IN.iter().for_each(|name| set(format!("rtp_audio_in_{name}"), "0"));
    set("rtp_audio_in_skip_packet_count".into(), &(media_micros / 20_000).to_string());
    COUNTS_IN.iter().for_each(|name| set(format!("rtp_audio_in_{name}"), "0"));
    RATES_IN.iter().for_each(|name| set(format!("rtp_audio_in_{name}"), "0.00"));
    set("rtp_audio_in_flaw_total".into(), "0");
    set("rtp_audio_in_quality_percentage".into(), "100.00");
    set("rtp_audio_in_mos".into(), "4.50");
    ZEROS_OUT.iter().for_each(|name| set(format!("rtp_audio_out_{name}"), "0"));
    set("rtp_audio_rtcp_packet_count".into(), "0");
    set("rtp_audio_rtcp_octet_count".into(), "0");
}
