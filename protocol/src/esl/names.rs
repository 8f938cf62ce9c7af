//! The names of the headers that a call controller reads, as FreeSWITCH spells them.

/// Which event it is. A client can forge it: read it with [`Event::name`](super::Event::name).
pub const EVENT_NAME: &str = "Event-Name";
/// Which `CUSTOM` event it is, such as `sofia::register`.
pub const EVENT_SUBCLASS: &str = "Event-Subclass";
/// The number of an event in its switch. Neither unique nor in the order of the wire.
pub const EVENT_SEQUENCE: &str = "Event-Sequence";
/// When the event was created, in microseconds since 1970.
pub const EVENT_DATE_TIMESTAMP: &str = "Event-Date-Timestamp";
/// The running instance of the switch: a restart changes it.
pub const CORE_UUID: &str = "Core-UUID";
/// The channel that an event is about.
pub const UNIQUE_ID: &str = "Unique-ID";
/// The uuid that a channel had before `CHANNEL_UUID`.
pub const OLD_UNIQUE_ID: &str = "Old-Unique-ID";
/// The other leg's channel.
pub const OTHER_LEG_UNIQUE_ID: &str = "Other-Leg-Unique-ID";
/// The call that a channel belongs to: its A leg.
pub const CHANNEL_CALL_UUID: &str = "Channel-Call-UUID";
/// The channel's name, such as `sofia/internal/1000@host`.
pub const CHANNEL_NAME: &str = "Channel-Name";
/// `CS_NEW` to `CS_DESTROY`.
pub const CHANNEL_STATE: &str = "Channel-State";
/// `DOWN`, `RINGING`, `ACTIVE`, ...
pub const CHANNEL_CALL_STATE: &str = "Channel-Call-State";
/// `ringing`, `early`, `answered` or `hangup`.
pub const ANSWER_STATE: &str = "Answer-State";
/// `inbound` or `outbound`, seen from the switch.
pub const CALL_DIRECTION: &str = "Call-Direction";
/// The number that the caller shows.
pub const CALLER_CALLER_ID_NUMBER: &str = "Caller-Caller-ID-Number";
/// The name that the caller shows.
pub const CALLER_CALLER_ID_NAME: &str = "Caller-Caller-ID-Name";
/// What was dialled.
pub const CALLER_DESTINATION_NUMBER: &str = "Caller-Destination-Number";
/// The dialplan context in which the call arrived.
pub const CALLER_CONTEXT: &str = "Caller-Context";
/// Why a channel ended, such as `NORMAL_CLEARING`. Stands twice, with one value, in `CHANNEL_HANGUP_COMPLETE`.
pub const HANGUP_CAUSE: &str = "Hangup-Cause";
/// The dialplan application that runs or has run.
pub const APPLICATION: &str = "Application";
/// Its argument.
pub const APPLICATION_DATA: &str = "Application-Data";
/// What it answered, where it answers something.
pub const APPLICATION_RESPONSE: &str = "Application-Response";
/// The `Event-UUID` of the `sendmsg` that started it.
pub const APPLICATION_UUID: &str = "Application-UUID";
/// Names one `sendmsg`; comes back as [`APPLICATION_UUID`].
pub const EVENT_UUID: &str = "Event-UUID";
/// Names one `bgapi`; comes back in its reply and in `BACKGROUND_JOB`.
pub const JOB_UUID: &str = "Job-UUID";
/// The command line of a client's `sendevent` or `sendmsg` that an event was made of.
pub const COMMAND: &str = "Command";
/// One key that was pressed.
pub const DTMF_DIGIT: &str = "DTMF-Digit";
/// What a `command/reply` answers.
pub const REPLY_TEXT: &str = "Reply-Text";
/// What kind of frame it is.
pub const CONTENT_TYPE: &str = "Content-Type";
/// How many bytes of body follow.
pub const CONTENT_LENGTH: &str = "Content-Length";
/// In a disconnect notice: `disconnect`, or `linger` while events still come.
pub const CONTENT_DISPOSITION: &str = "Content-Disposition";
/// What a channel's variables begin with in an event: `variable_sip_call_id`.
pub const VARIABLE_PREFIX: &str = "variable_";
