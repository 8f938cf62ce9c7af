//! A leg's caller profile: who calls whom, and when what happened.

use crate::event::Event;

/// When things happened to a leg, in microseconds since 1970; 0 for not (yet).
#[derive(Debug, Clone, Default)]
pub(crate) struct Times {
    pub(crate) profile_created: u64,
    pub(crate) channel_created: u64,
    pub(crate) answered: u64,
    pub(crate) progress: u64,
    pub(crate) progress_media: u64,
    pub(crate) hangup: u64,
    pub(crate) transferred: u64,
    pub(crate) bridged: u64,
    /// When it came back after the switch had died.
    pub(crate) resurrected: u64,
    /// When it was put on hold last.
    pub(crate) last_hold: u64,
    /// How long it was on hold altogether, in microseconds.
    pub(crate) hold_accum: u64,
}

/// The `Caller-*` headers of a leg, and the `Other-Leg-*` headers of its partner. Empty fields are left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile {
    pub(crate) direction: &'static str,
    pub(crate) logical_direction: &'static str,
    pub(crate) username: String,
    pub(crate) dialplan: String,
    pub(crate) caller_id_name: String,
    pub(crate) caller_id_number: String,
    pub(crate) original_caller_id_name: String,
    pub(crate) original_caller_id_number: String,
    pub(crate) callee_id_name: String,
    pub(crate) callee_id_number: String,
    pub(crate) network_address: String,
    pub(crate) ani: String,
    pub(crate) destination_number: String,
    pub(crate) unique_id: String,
    pub(crate) source: &'static str,
    pub(crate) transfer_source: String,
    pub(crate) context: String,
    pub(crate) rdnis: String,
    pub(crate) channel_name: String,
    pub(crate) index: u32,
    pub(crate) times: Times,
}

impl Profile {
    /// Adds the profile's headers, each beginning with `prefix` (`Caller-` or `Other-Leg-`).
    pub(crate) fn add_to<'a>(&'a self, event: &mut Event<'a>, prefix: &'static str) {
        let mut add = |name: &str, value: &'a str| event.add(format!("{prefix}{name}"), value);
        add("Direction", self.direction);
        add("Logical-Direction", self.logical_direction);
        add("Username", &self.username);
        add("Dialplan", &self.dialplan);
        add("Caller-ID-Name", &self.caller_id_name);
        add("Caller-ID-Number", &self.caller_id_number);
        add("Orig-Caller-ID-Name", &self.original_caller_id_name);
        add("Orig-Caller-ID-Number", &self.original_caller_id_number);
        add("Callee-ID-Name", &self.callee_id_name);
        add("Callee-ID-Number", &self.callee_id_number);
        add("Network-Addr", &self.network_address);
        add("ANI", &self.ani);
        add("Destination-Number", &self.destination_number);
        add("Unique-ID", &self.unique_id);
        add("Source", self.source);
        add("Transfer-Source", &self.transfer_source);
        add("Context", &self.context);
        add("RDNIS", &self.rdnis);
        add("Channel-Name", &self.channel_name);
        self.add_times(event, prefix);
        let mut add = |name: &str, value: &'static str| event.add(format!("{prefix}{name}"), value);
        add("Screen-Bit", "true");
        add("Privacy-Hide-Name", "false");
        add("Privacy-Hide-Number", "false");
    }

    fn add_times(&self, event: &mut Event<'_>, prefix: &'static str) {
        let mut add = |name: &str, value: u64| event.add(format!("{prefix}{name}"), value.to_string());
        if prefix != "Other-Leg-" {
            add("Profile-Index", self.index.into());
        }
        let times = &self.times;
        add("Profile-Created-Time", times.profile_created);
        add("Channel-Created-Time", times.channel_created);
        add("Channel-Answered-Time", times.answered);
        add("Channel-Progress-Time", times.progress);
        add("Channel-Progress-Media-Time", times.progress_media);
        add("Channel-Hangup-Time", times.hangup);
        add("Channel-Transfer-Time", times.transferred);
        add("Channel-Resurrect-Time", times.resurrected);
        add("Channel-Bridged-Time", times.bridged);
        add("Channel-Last-Hold", times.last_hold);
        add("Channel-Hold-Accum", times.hold_accum);
    }
}
