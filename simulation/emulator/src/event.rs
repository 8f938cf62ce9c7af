//! Events: their names, where FreeSWITCH fires them, and one event on its way to the listeners.

use std::borrow::Cow;

use fipple_protocol::esl::encode::EventSource;

/// An event's name out of [`NAMES`].
pub(crate) type EventName = &'static str;

/// Every event name that `event` accepts (FreeSWITCH 1.11, switch_event.c); `ALL` and `CUSTOM` are handled apart.
const NAMES: &[EventName] = &[
    "CLONE",
    "CHANNEL_CREATE",
    "CHANNEL_DESTROY",
    "CHANNEL_STATE",
    "CHANNEL_CALLSTATE",
    "CHANNEL_ANSWER",
    "CHANNEL_HANGUP",
    "CHANNEL_HANGUP_COMPLETE",
    "CHANNEL_EXECUTE",
    "CHANNEL_EXECUTE_COMPLETE",
    "CHANNEL_HOLD",
    "CHANNEL_UNHOLD",
    "CHANNEL_BRIDGE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_PROGRESS",
    "CHANNEL_PROGRESS_MEDIA",
    "CHANNEL_OUTGOING",
    "CHANNEL_PARK",
    "CHANNEL_UNPARK",
    "CHANNEL_APPLICATION",
    "CHANNEL_ORIGINATE",
    "CHANNEL_UUID",
    "API",
    "LOG",
    "INBOUND_CHAN",
    "OUTBOUND_CHAN",
    "STARTUP",
    "SHUTDOWN",
    "PUBLISH",
    "UNPUBLISH",
    "TALK",
    "NOTALK",
    "SESSION_CRASH",
    "MODULE_LOAD",
    "MODULE_UNLOAD",
    "DTMF",
    "MESSAGE",
    "PRESENCE_IN",
    "NOTIFY_IN",
    "PRESENCE_OUT",
    "PRESENCE_PROBE",
    "MESSAGE_WAITING",
    "MESSAGE_QUERY",
    "ROSTER",
    "CODEC",
    "BACKGROUND_JOB",
    "DETECTED_SPEECH",
    "DETECTED_TONE",
    "PRIVATE_COMMAND",
    "HEARTBEAT",
    "TRAP",
    "ADD_SCHEDULE",
    "DEL_SCHEDULE",
    "EXE_SCHEDULE",
    "RE_SCHEDULE",
    "RELOADXML",
    "NOTIFY",
    "PHONE_FEATURE",
    "PHONE_FEATURE_SUBSCRIBE",
    "SEND_MESSAGE",
    "RECV_MESSAGE",
    "REQUEST_PARAMS",
    "CHANNEL_DATA",
    "GENERAL",
    "COMMAND",
    "SESSION_HEARTBEAT",
    "CLIENT_DISCONNECTED",
    "SERVER_DISCONNECTED",
    "SEND_INFO",
    "RECV_INFO",
    "RECV_RTCP_MESSAGE",
    "SEND_RTCP_MESSAGE",
    "CALL_SECURE",
    "NAT",
    "RECORD_START",
    "RECORD_STOP",
    "PLAYBACK_START",
    "PLAYBACK_STOP",
    "CALL_UPDATE",
    "FAILURE",
    "SOCKET_DATA",
    "MEDIA_BUG_START",
    "MEDIA_BUG_STOP",
    "CONFERENCE_DATA_QUERY",
    "CONFERENCE_DATA",
    "CALL_SETUP_REQ",
    "CALL_SETUP_RESULT",
    "CALL_DETAIL",
    "DEVICE_STATE",
    "TEXT",
    "SHUTDOWN_REQUESTED",
    "UNHOLD",
];

/// The table's name for what a controller wrote, whatever its case.
pub(crate) fn known_name(text: &str) -> Option<EventName> {
    NAMES.iter().find(|name| name.eq_ignore_ascii_case(text)).copied()
}

/// All names but `CUSTOM`.
pub(crate) fn all_names() -> impl Iterator<Item = EventName> {
    NAMES.iter().copied()
}

/// File, function and line that fire an event, as the transcripts show them.
pub(crate) fn origin(name: EventName) -> (&'static str, &'static str, &'static str) {
    match name {
        "CHANNEL_STATE" => ("switch_channel.c", "switch_channel_perform_set_running_state", "2409"),
        "CHANNEL_CALLSTATE" => ("switch_channel.c", "switch_channel_perform_set_callstate", "302"),
        "CHANNEL_ANSWER" => ("switch_channel.c", "switch_channel_perform_mark_answered", "3848"),
        "CHANNEL_PROGRESS" => ("switch_channel.c", "switch_channel_perform_mark_ring_ready_value", "3507"),
        "CHANNEL_PROGRESS_MEDIA" => ("switch_channel.c", "switch_channel_perform_mark_pre_answered", "3654"),
        "CHANNEL_HANGUP" => ("switch_channel.c", "switch_channel_perform_hangup", "3447"),
        "CALL_UPDATE" => ("switch_channel.c", "switch_channel_flip_cid", "3279"),
        "DTMF" => ("switch_channel.c", "switch_channel_dequeue_dtmf", "678"),
        "CHANNEL_CREATE" => ("switch_core_state_machine.c", "switch_core_session_run", "626"),
        "CHANNEL_ORIGINATE" => ("switch_core_state_machine.c", "switch_core_session_run", "632"),
        "CHANNEL_HANGUP_COMPLETE" => {
            ("switch_core_state_machine.c", "switch_core_session_reporting_state", "943")
        }
        "CHANNEL_EXECUTE" => ("switch_core_session.c", "switch_core_session_exec", "2949"),
        "CHANNEL_EXECUTE_COMPLETE" => ("switch_core_session.c", "switch_core_session_exec", "2972"),
        "CHANNEL_DESTROY" => ("switch_core_session.c", "switch_core_session_perform_destroy", "1588"),
        "CHANNEL_OUTGOING" => ("switch_core_session.c", "switch_core_session_outgoing_channel", "768"),
        "CHANNEL_UUID" => ("switch_core_session.c", "switch_core_session_set_uuid", "2056"),
        "CHANNEL_PARK" => ("switch_ivr.c", "switch_ivr_park", "1002"),
        "CHANNEL_UNPARK" => ("switch_ivr.c", "switch_ivr_park", "1213"),
        "PRIVATE_COMMAND" => ("switch_ivr.c", "switch_ivr_parse_next_event", "804"),
        "CHANNEL_BRIDGE" => ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", "1689"),
        "CHANNEL_UNBRIDGE" => ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", "1879"),
        "PLAYBACK_START" => ("switch_ivr_play_say.c", "switch_ivr_play_file", "1649"),
        "PLAYBACK_STOP" => ("switch_ivr_play_say.c", "switch_ivr_play_file", "2023"),
        "RECORD_START" => ("switch_ivr_async.c", "record_callback", "1294"),
        "RECORD_STOP" => ("switch_ivr_async.c", "send_record_stop_event", "1196"),
        "CODEC" => ("switch_core_codec.c", "switch_core_session_set_write_codec", "471"),
        "API" => ("switch_loadable_module.c", "switch_api_execute", "3140"),
        "BACKGROUND_JOB" => ("mod_event_socket.c", "api_exec", "1580"),
        "HEARTBEAT" => ("switch_core.c", "send_heartbeat", "95"),
        "RE_SCHEDULE" => ("switch_scheduler.c", "switch_scheduler_execute", "73"),
        "EXE_SCHEDULE" => ("switch_scheduler.c", "switch_scheduler_execute", "55"),
        "ADD_SCHEDULE" => ("switch_scheduler.c", "switch_scheduler_add_task_ex", "266"),
        "DEL_SCHEDULE" => ("switch_scheduler.c", "task_thread_loop", "151"),
        "CHANNEL_DATA" => ("mod_commands.c", "uuid_dump_function", "6495"),
        "CUSTOM" => ("mod_event_socket.c", "parse_command", "2283"),
        _ => ("switch_event.c", "switch_event_fire_detailed", "1"),
    }
}

/// One event with its headers in order. It borrows what it can from the channel that it tells about.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) name: EventName,
    /// The subclass of a CUSTOM event.
    pub(crate) subclass: Option<String>,
    headers: Vec<(Cow<'a, str>, Value<'a>)>,
    pub(crate) body: Option<String>,
}

/// A header's value. Most numbers are moments, which are told in every event and seldom looked at.
#[derive(Debug)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(u64),
}

impl Value<'_> {
    /// The value as text; a number is written into `digits`.
    fn text<'t>(&'t self, digits: &'t mut Digits) -> &'t str {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => digits.write(*number),
        }
    }
}

/// Room for the digits of a number.
struct Digits([u8; 20]);

impl Digits {
    const NONE: Self = Self([b'0'; 20]);

    fn write(&mut self, mut number: u64) -> &str {
        let mut start = self.0.len();
        loop {
            start -= 1;
            self.0[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        // Digits are ASCII.
        std::str::from_utf8(&self.0[start..]).unwrap_or_default()
    }
}

impl<'a> Event<'a> {
    pub(crate) fn new(name: EventName) -> Self {
        Self { name, subclass: None, headers: Vec::with_capacity(160), body: None }
    }

    /// Adds a header; FreeSWITCH leaves out those without a value.
    pub(crate) fn add(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        if !value.is_empty() {
            self.headers.push((name.into(), Value::Text(value)));
        }
    }

    /// Adds a header whose value is a number.
    pub(crate) fn add_number(&mut self, name: &'static str, value: u64) {
        self.headers.push((name.into(), Value::Number(value)));
    }

    /// Adds a header as a client wrote it: `Name[0]` names an element of `Name`, and an array without elements is
    /// left out (transcript h_encoding_misc/sendevent_values_plain).
    pub(crate) fn add_composed(&mut self, name: &str, value: String) {
        let indexed = name.strip_suffix(']').and_then(|name| name.split_once('['));
        let name = indexed.map_or(name, |(name, _)| name);
        if value != "ARRAY::" {
            self.add(name.to_owned(), value);
        }
    }

    /// The first header of this name, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(match value {
            Value::Text(text) => Cow::Borrowed(text),
            Value::Number(number) => Cow::Owned(number.to_string()),
        })
    }

    /// About how many bytes it takes to write it.
    pub(crate) fn size_hint(&self) -> usize {
        const AROUND_VALUE: usize = 8;
        let headers = self.headers.iter().map(|(name, value)| {
            let value = match value {
                Value::Text(text) => text.len(),
                Value::Number(_) => 16,
            };
            name.len() + value + AROUND_VALUE
        });
        headers.sum::<usize>() + self.body.as_ref().map_or(0, String::len) + 128
    }
}

impl EventSource for Event<'_> {
    fn visit_headers(&self, visit: &mut dyn FnMut(&str, &str)) {
        let mut digits = Digits::NONE;
        self.headers.iter().for_each(|(name, value)| visit(name, value.text(&mut digits)));
    }

    fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }
}
