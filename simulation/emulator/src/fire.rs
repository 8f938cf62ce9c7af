//! Building events and giving them to the bus.

use fipple_protocol::esl::encode;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::{State, carries_variables};
use crate::custom::Contents;
use crate::event::{self, Event, EventName};
use crate::profile::Prefix;
use crate::switch::Switch;
use crate::time::{Date, uptime};

/// How often the switch looks for its own address.
const CHECK_IP: Duration = Duration::from_secs(60);

/// Headers of one event apart from the channel's own.
pub(crate) type Extra<'a> = &'a [(&'a str, &'a str)];

impl Switch {
    /// Fires an event of a channel, with its own headers before and after those of the channel.
    pub(crate) fn fire_channel(&mut self, uuid: &str, name: EventName, before: Extra<'_>, after: Extra<'_>) {
        self.fire_channel_from(uuid, name, event::origin(name).1, before, after);
    }

    /// [`Switch::fire_channel`] for the events that come from different functions of FreeSWITCH.
    pub(crate) fn fire_channel_from(
        &mut self,
        uuid: &str,
        name: EventName,
        function: &'static str,
        before: Extra<'_>,
        after: Extra<'_>,
    ) {
        self.log_event(uuid, name, before);
        let sequence = self.next_sequence();
        self.bus.events_fired += 1;
        if !self.bus.is_wanted(name, None) {
            return;
        }
        let stamp = self.stamp(sequence);
        let Some(channel) = self.channels.get(uuid) else { return };
        let mut event = Event::new(name);
        // A private command is the controller's own event: its headers come first.
        let own_first = name == "PRIVATE_COMMAND";
        if own_first {
            before.iter().for_each(|(key, value)| event.add(*key, *value));
        }
        add_core_headers(&mut event, name, function, &stamp);
        if !own_first {
            before.iter().for_each(|(key, value)| event.add(*key, *value));
        }
        channel.add_headers(&mut event);
        // A switch that stops tells everything (transcript p_shutdown_acl/shutdown_events_plain).
        if carries_variables(name) || self.is_stopping() {
            channel.add_variables(&mut event);
        }
        after.iter().for_each(|(key, value)| event.add(*key, *value));
        let deliveries = self.bus.encode(&event);
        self.dispatch(deliveries);
    }

    /// Fires an event that belongs to no channel; `sequence` if it was numbered earlier.
    pub(crate) fn fire_core(
        &mut self,
        name: EventName,
        sequence: Option<u64>,
        headers: Extra<'_>,
        body: Option<&str>,
    ) {
        let sequence = sequence.unwrap_or_else(|| self.next_sequence());
        self.bus.events_fired += 1;
        if !self.bus.is_wanted(name, None) {
            return;
        }
        let stamp = self.stamp(sequence);
        let mut event = Event::new(name);
        add_core_headers(&mut event, name, event::origin(name).1, &stamp);
        headers.iter().for_each(|(key, value)| event.add(*key, *value));
        event.body = body.filter(|body| !body.is_empty()).map(str::to_owned);
        let deliveries = self.bus.encode(&event);
        self.dispatch(deliveries);
    }

    /// Fires an event that a controller composed. Its own headers come first, then those of the channel if a
    /// `Unique-ID` names a living one, or else those of every event.
    pub(crate) fn fire_composed(&mut self, name: &str, own: Vec<(String, String)>, body: Option<String>) {
        let sequence = self.next_sequence();
        self.bus.events_fired += 1;
        let stamp = self.stamp(sequence);
        let value_of = |wanted: &str| own.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted));
        let name = event::known_name(name).unwrap_or("CUSTOM");
        let subclass = value_of("Event-Subclass").map(|(_, subclass)| subclass.clone()).unwrap_or_default();
        let channel = value_of("Unique-ID").and_then(|(_, uuid)| self.channels.get(uuid.as_str()));
        let mut event = Event::new(name);
        event.subclass = (name == "CUSTOM").then_some(subclass);
        event.body = body;
        for (key, value) in own {
            event.add_composed(&key, value);
        }
        if channel.is_none() {
            add_core_headers(&mut event, name, event::origin("CUSTOM").1, &stamp);
        }
        if let Some(channel) = channel {
            channel.add_headers(&mut event);
            channel.add_variables(&mut event);
        }
        let deliveries = self.bus.encode(&event);
        self.dispatch(deliveries);
    }

    /// Fires an event that a script composed: it has nothing of a channel but what the script puts in.
    pub(crate) fn fire_from_script(
        &mut self,
        name: &str,
        subclass: &str,
        headers: &[(String, String)],
        body: &str,
    ) {
        self.note_step_verdict(subclass, headers);
        let before: Vec<(&str, &str)> =
            headers.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let contents = Contents { before: &before, body: Some(body), ..Contents::default() };
        let origin = ("switch_cpp.cpp", "Event", "315");
        // As mod_lua names it: a subclass makes it CUSTOM, an unknown name MESSAGE.
        if subclass.is_empty() {
            self.fire_with(event::known_name(name).unwrap_or("MESSAGE"), None, origin, contents);
        } else {
            self.fire_custom(subclass, origin, contents);
        }
    }

    /// Sets the running state and tells it.
    pub(crate) fn enter_state(&mut self, uuid: &str, state: State) {
        if let Some(channel) = self.channels.get_mut(uuid) {
            channel.state = state;
            // While a change is pending, events show the number of the state to come.
            if channel.hangup.is_none() || matches!(state, State::Hangup | State::Reporting | State::Destroy)
            {
                channel.next_state = state;
            }
        }
        self.fire_channel(uuid, "CHANNEL_STATE", &[], &[]);
    }

    /// HEARTBEAT and the scheduler's word about it.
    pub(crate) fn heartbeat(&mut self) {
        self.peaks.roll(self.now);
        let uptime_msec = (self.now.micros_since(self.started) / 1000).to_string();
        let channels = self.channels.len().to_string();
        let last = self.peaks.last_second.to_string();
        let most = self.peaks.most_in_a_second.to_string();
        let created = self.counts.channels_created.to_string();
        let peak = self.peaks.sessions.to_string();
        let max = self.config.sessions_max.to_string();
        let headers = [
            ("Event-Info", "System Ready"),
            ("Up-Time", &uptime(self.now.micros_since(self.started))),
            ("FreeSWITCH-Version", crate::api::status::VERSION),
            ("Uptime-msec", &uptime_msec),
            ("Session-Count", &channels),
            ("Max-Sessions", &max),
            ("Session-Per-Sec", "1000"),
            ("Session-Per-Sec-Last", &last),
            ("Session-Per-Sec-Max", &most),
            ("Session-Per-Sec-FiveMin", &most),
            ("Session-Since-Startup", &created),
            ("Session-Peak-Max", &peak),
            ("Session-Peak-FiveMin", &peak),
            ("Idle-CPU", "100.000000"),
        ];
        self.fire_core("HEARTBEAT", None, &headers, None);
        self.reschedule("1", "heartbeat", self.config.heartbeat);
        // The switch looks for its address every minute, on the beat (transcript g_custom_events/sofia_register_json).
        if u128::from(self.now.0) % CHECK_IP.as_micros() < self.config.heartbeat.as_micros() {
            self.reschedule("2", "check_ip", CHECK_IP);
        }
    }

    /// One of the switch's own tasks has run and will run again.
    fn reschedule(&mut self, number: &str, what: &str, every: Duration) {
        let runtime = (self.wall_micros() / 1_000_000 + every.as_secs()).to_string();
        let task =
            [("Task-ID", number), ("Task-Desc", what), ("Task-Group", "core"), ("Task-Runtime", &runtime)];
        self.fire_core("RE_SCHEDULE", None, &task, None);
    }

    pub(crate) fn stamp(&mut self, sequence: u64) -> Stamp {
        let micros = self.wall_micros();
        let second = micros / 1_000_000;
        let fits = |own: &Arc<Second>| own.second == second && own.core_uuid == self.core_uuid;
        let own = self.second.clone().filter(fits).unwrap_or_else(|| {
            let date = Date::from_unix_micros(micros);
            Arc::new(Second {
                second,
                core_uuid: self.core_uuid.clone(),
                hostname: self.config.hostname.clone(),
                switch_name: self.config.switch_name.clone(),
                local: date.local(),
                gmt: date.gmt(),
            })
        });
        self.second = Some(own.clone());
        Stamp { own, micros, sequence }
    }

    /// The event that `uuid_dump` answers with, given to `write`.
    pub(crate) fn with_channel_data<R>(
        &mut self,
        uuid: &str,
        write: impl FnOnce(&Event<'_>) -> R,
    ) -> Option<R> {
        let sequence = self.next_sequence();
        let stamp = self.stamp(sequence);
        let channel = self.channels.get(uuid)?;
        let mut event = Event::new("CHANNEL_DATA");
        add_core_headers(&mut event, "CHANNEL_DATA", event::origin("CHANNEL_DATA").1, &stamp);
        channel.add_headers(&mut event);
        channel.add_variables(&mut event);
        Some(write(&event))
    }
}

impl Switch {
    /// What `connect` answers: no frame, but one block of encoded headers with those of the reply at its end
    /// (transcript f_outbound/sync_full).
    pub(crate) fn connect_block(&mut self, uuid: &str, asynchronous: bool, full: bool) -> Option<Vec<u8>> {
        let sequence = self.next_sequence();
        let stamp = self.stamp(sequence);
        let channel = self.channels.get(uuid)?;
        let mut event = Event::new("CHANNEL_DATA");
        add_core_headers(&mut event, "CHANNEL_DATA", "parse_command", &stamp);
        if let Some(profile) = &channel.profile {
            profile.add_to(&mut event, Prefix::Channel);
        }
        channel.add_headers(&mut event);
        channel.add_variables(&mut event);
        event.add("Content-Type", "command/reply");
        event.add("Reply-Text", "+OK\n");
        event.add("Socket-Mode", if asynchronous { "async" } else { "static" });
        event.add("Control", if full { "full" } else { "single-channel" });
        let mut block = Vec::new();
        encode::write_plain(&mut block, &event);
        Some(block)
    }
}

/// Where and when an event was fired.
pub(crate) struct Stamp {
    own: Arc<Second>,
    micros: u64,
    sequence: u64,
}

/// What all events of one second have in common.
#[derive(Debug)]
pub(crate) struct Second {
    second: u64,
    core_uuid: String,
    hostname: String,
    switch_name: String,
    local: String,
    gmt: String,
}

fn add_core_headers<'a>(event: &mut Event<'a>, name: &'static str, function: &'static str, stamp: &'a Stamp) {
    let (file, _, line) = event::origin(name);
    let line = match (name, function) {
        ("CODEC", "switch_core_session_set_real_read_codec") => "189",
        ("CODEC", "switch_core_session_set_read_codec") => "300",
        ("CALL_UPDATE", "sofia_receive_message") => "2133",
        ("CHANNEL_DATA", "parse_command") => "2029",
        _ => line,
    };
    let file = match function {
        "sofia_receive_message" => "mod_sofia.c",
        "parse_command" => "mod_event_socket.c",
        _ => file,
    };
    add_headers_of(event, name, (file, function, line), stamp);
}

/// Adds the headers of every event; `origin` is the file, function and line that fire it.
pub(crate) fn add_headers_of<'a>(
    event: &mut Event<'a>,
    name: &'static str,
    origin: (&'static str, &'static str, &'static str),
    stamp: &'a Stamp,
) {
    let (file, function, line) = origin;
    let own = &*stamp.own;
    event.add("Event-Name", name);
    event.add("Core-UUID", &*own.core_uuid);
    event.add("FreeSWITCH-Hostname", &*own.hostname);
    event.add("FreeSWITCH-Switchname", &*own.switch_name);
    event.add("FreeSWITCH-IPv4", "192.0.2.2");
    event.add("FreeSWITCH-IPv6", "fd00::2");
    event.add("Event-Date-Local", &*own.local);
    event.add("Event-Date-GMT", &*own.gmt);
    event.add_number("Event-Date-Timestamp", stamp.micros);
    event.add("Event-Calling-File", file);
    event.add("Event-Calling-Function", function);
    event.add("Event-Calling-Line-Number", line);
    event.add_number("Event-Sequence", stamp.sequence);
}
