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

/// What the names of a profile's headers begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// In the answer to `connect`.
    Channel,
    /// The channel's own.
    Caller,
    /// Its partner's.
    OtherLeg,
}

/// A name with its prefix: an event has some fifty of them, too many to put each together anew.
macro_rules! name {
    ($prefix:ident, $name:literal) => {
        match $prefix {
            Prefix::Channel => concat!("Channel-", $name),
            Prefix::Caller => concat!("Caller-", $name),
            Prefix::OtherLeg => concat!("Other-Leg-", $name),
        }
    };
}

impl Profile {
    /// Adds the profile's headers.
    pub(crate) fn add_to<'a>(&'a self, event: &mut Event<'a>, prefix: Prefix) {
        let mut add = |name: &'static str, value: &'a str| event.add(name, value);
        add(name!(prefix, "Direction"), self.direction);
        add(name!(prefix, "Logical-Direction"), self.logical_direction);
        add(name!(prefix, "Username"), &self.username);
        add(name!(prefix, "Dialplan"), &self.dialplan);
        add(name!(prefix, "Caller-ID-Name"), &self.caller_id_name);
        add(name!(prefix, "Caller-ID-Number"), &self.caller_id_number);
        add(name!(prefix, "Orig-Caller-ID-Name"), &self.original_caller_id_name);
        add(name!(prefix, "Orig-Caller-ID-Number"), &self.original_caller_id_number);
        add(name!(prefix, "Callee-ID-Name"), &self.callee_id_name);
        add(name!(prefix, "Callee-ID-Number"), &self.callee_id_number);
        add(name!(prefix, "Network-Addr"), &self.network_address);
        add(name!(prefix, "ANI"), &self.ani);
        add(name!(prefix, "Destination-Number"), &self.destination_number);
        add(name!(prefix, "Unique-ID"), &self.unique_id);
        add(name!(prefix, "Source"), self.source);
        add(name!(prefix, "Transfer-Source"), &self.transfer_source);
        add(name!(prefix, "Context"), &self.context);
        add(name!(prefix, "RDNIS"), &self.rdnis);
        add(name!(prefix, "Channel-Name"), &self.channel_name);
        self.add_times(event, prefix);
        let mut add = |name: &'static str, value: &'static str| event.add(name, value);
        add(name!(prefix, "Screen-Bit"), "true");
        add(name!(prefix, "Privacy-Hide-Name"), "false");
        add(name!(prefix, "Privacy-Hide-Number"), "false");
    }

    fn add_times(&self, event: &mut Event<'_>, prefix: Prefix) {
        let mut add = |name: &'static str, value: u64| event.add_number(name, value);
        if prefix != Prefix::OtherLeg {
            add(name!(prefix, "Profile-Index"), self.index.into());
        }
        let times = &self.times;
        add(name!(prefix, "Profile-Created-Time"), times.profile_created);
        add(name!(prefix, "Channel-Created-Time"), times.channel_created);
        add(name!(prefix, "Channel-Answered-Time"), times.answered);
        add(name!(prefix, "Channel-Progress-Time"), times.progress);
        add(name!(prefix, "Channel-Progress-Media-Time"), times.progress_media);
        add(name!(prefix, "Channel-Hangup-Time"), times.hangup);
        add(name!(prefix, "Channel-Transfer-Time"), times.transferred);
        add(name!(prefix, "Channel-Resurrect-Time"), times.resurrected);
        add(name!(prefix, "Channel-Bridged-Time"), times.bridged);
        add(name!(prefix, "Channel-Last-Hold"), times.last_hold);
        add(name!(prefix, "Channel-Hold-Accum"), times.hold_accum);
    }
}
