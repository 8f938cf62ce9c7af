//! Every bound of the emulated switch, each with its reason.

use std::time::Duration;

use fipple_protocol::esl::request::RequestLimits;

/// What a controller's command may weigh. FreeSWITCH refuses a `Content-Length` above 16 MiB (transcript
/// a_inbound_auth/auth_content_length_too_big); for the head 1 MiB holds any sensible `uuid_setvar_multi`.
pub const REQUEST: RequestLimits = RequestLimits { head_bytes: 1 << 20, body_bytes: 16 << 20 };

/// Unread input of one connection while its `api` runs, in bytes: one largest command and some small ones. A
/// controller that pipelines more than that is disconnected.
pub const CONNECTION_INPUT_MAX_BYTES: usize = 18 << 20;

/// Events queued for one listener, and lines of the log beside them (FreeSWITCH's MAX_QUEUE_LEN, freeswitch README
/// "A slow reader"). A listener that falls further behind freezes the switch.
pub const LISTENER_QUEUE_MAX: usize = 100_000;

/// Events that wait to get into the listeners' queues (FreeSWITCH's SWITCH_CORE_QUEUE_LEN); then whoever fires one
/// waits.
pub const DISPATCH_QUEUE_MAX: usize = 100_000;

/// Bytes of one connection that its carrier holds and has not written. A socket has buffers of its own behind it:
/// enough to keep it busy, and little enough that a slow reader is noticed.
pub const UNWRITTEN_MAX_BYTES: usize = 256 << 10;

/// Bytes of a reply's text, as FreeSWITCH's buffer has them (transcript e_filter_subscriptions/getvar_injection).
pub const REPLY_MAX_BYTES: usize = 511;

/// Commands queued for one channel and not yet started (freeswitch takeover README: the 257th is lost and costs the
/// connection).
pub const PRIVATE_QUEUE_MAX: usize = 256;

/// Applications nested in one channel, by executes without event-lock or by `execute_extension`. FreeSWITCH stops
/// the latter at this depth (SWITCH_MAX_STACKS).
pub const APPLICATION_DEPTH_MAX: usize = 32;

/// Applications that one channel runs before another channel has its turn. Without it a dialplan that loops would
/// hold the switch for ever.
pub const APPLICATIONS_PER_TURN_MAX: usize = 64;

/// How long a channel that used up its turn waits.
pub const TURN_PAUSE: Duration = Duration::from_millis(1);

/// Transfers of one channel, FreeSWITCH's default `max_forwards`.
pub const MAX_FORWARDS: i64 = 70;

/// Legs in one dial string. FreeSWITCH's bound (MAX_PEERS) is 128 in a group; hunting through more is no real use.
pub const DIALLED_LEGS_MAX: usize = 128;

/// Steps in the script of one far end: more than any caller does in a call.
pub const FAR_END_STEPS_MAX: usize = 1_024;

/// Phones that are registered at the same time: as many as a large switch serves.
pub const REGISTRATIONS_MAX: usize = 100_000;

/// Global variables that `global_setvar` may add up to.
pub const GLOBALS_MAX: usize = 10_000;

/// Recordings and other taps on the sound of one channel.
pub const TAPS_MAX: usize = 64;

/// Conferences at the same time.
pub const CONFERENCES_MAX: usize = 10_000;

/// Files that one conference plays, and that it records, at the same time.
pub const CONFERENCE_FILES_MAX: usize = 64;

/// Holds of one call of which the times are kept.
pub const HOLDS_MAX: usize = 256;

/// Ended calls that the ledger remembers; about 1 KB each.
pub const LEDGER_ENDED_CALLS_MAX: usize = 20_000;

/// Executed applications that the ledger remembers of one call.
pub const LEDGER_EXECUTIONS_MAX: usize = 512;

/// Entries of the journal that nobody has taken: what happens between two looks at it, by far.
pub const JOURNAL_ENTRIES_MAX: usize = 100_000;

/// Fenced steps of one call that the ledger remembers: runs and what was said of them.
pub const LEDGER_STEPS_MAX: usize = 1_024;

/// Concurrent sessions where the configuration does not say, as the lab's FreeSWITCH was configured.
pub const SESSIONS_MAX: usize = 4_000;

/// An application that took less time than this is not run again, whatever `loops` says: FreeSWITCH does not spin on
/// one that fails at once.
pub(crate) const SHORTEST_LOOP: Duration = Duration::from_millis(500);

/// Times that `loops` may repeat an application in one command. FreeSWITCH has no bound; a checker's run must end.
pub const LOOPS_MAX: i64 = 10_000;

/// Variables of one channel, and bytes of one value. FreeSWITCH has no bound; these hold every real use.
pub const VARIABLES_MAX: usize = 4_096;

/// Bytes of one variable's value: what a command's body can carry is far less in any real use.
pub const VARIABLE_MAX_BYTES: usize = 64 << 10;

/// Instructions of one Lua script: ten times what the watchdog takes for every session. FreeSWITCH has no bound; a checker's run
/// must end.
pub const SCRIPT_INSTRUCTIONS_MAX: u32 = 20_000_000;

/// Memory of one Lua script in bytes, so that it can hold `show channels` of every session.
pub const SCRIPT_MEMORY_MAX_BYTES: usize = 64 << 20;

/// How long a script may sleep altogether. FreeSWITCH has no bound; ours wait half a second for a lock.
pub const SCRIPT_SLEEP_MAX: Duration = Duration::from_secs(60);

/// Scripts that run one inside the other, by the API command `lua` of a script.
pub const SCRIPT_DEPTH_MAX: usize = 8;

/// How deep `${variables}` may hold further ones (FreeSWITCH: 100).
pub const EXPANSION_DEPTH_MAX: usize = 100;

/// Variables that are replaced in one argument. FreeSWITCH has no bound, and two variables that name each other twice
/// keep it busy for ever.
pub const EXPANSIONS_MAX: usize = 10_000;

/// Bytes of what `eval` makes: no use of it comes near.
pub(crate) const EVALUATED_MAX_BYTES: usize = 1 << 20;

/// Bytes of a compiled regular expression, and of the text that one is held against: together they bound its time, to some
/// hundred milliseconds at the worst.
pub(crate) const REGEX_MAX_BYTES: usize = 64 << 10;

/// Keys in the hash table, over all realms: gates, leases, and a lock for each of [`SESSIONS_MAX`] calls, four times.
pub const HASH_KEYS_MAX: usize = 16_384;

/// Bytes of one value in a table (`hash`, `db`, a global variable), and of a scheduled command. FreeSWITCH has no bound; these
/// hold every real use, and with the number of keys they bound the memory that a controller which goes mad can take.
pub(crate) const TABLE_VALUE_MAX_BYTES: usize = 8 << 10;

/// Keys in the database of `db`, over all realms.
pub const DATABASE_KEYS_MAX: usize = 16_384;

/// Resources that `uuid_limit` counts.
pub const LIMITS_MAX: usize = 100_000;

/// The furthest from now that a timer goes off: longer than any call or run, and far from the
/// end of what the clock can count, which a controller can name.
pub const WAIT_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Times that a channel goes on in one moment of the clock, after which it waits [`TURN_PAUSE`]. Two that wake each
/// other would hold the switch at that moment for ever; a queue full of commands is half of it.
pub const TURNS_PER_MOMENT_MAX: usize = 512;

/// Scheduled tasks.
pub const TASKS_MAX: usize = 16_384;

/// Filters, and CUSTOM subclasses, of one connection.
pub const FILTERS_MAX: usize = 10_000;

/// Requests from handles to a served switch that wait for it.
pub const SERVER_REQUESTS_MAX: usize = 1_024;

/// Pieces of input from all connections of a served switch that wait for it; a full queue holds the sockets back.
pub const SERVER_INPUT_MAX: usize = 256;

/// Frames given to a socket at once: at 4 KB each as much as [`UNWRITTEN_MAX_BYTES`] holds.
pub(crate) const FRAMES_PER_WRITE_MAX: usize = 64;

/// Bytes read from a socket at once.
pub const SOCKET_READ_BYTES: usize = 64 << 10;

/// Calls that the traffic source may start in one second.
pub const TRAFFIC_MAX_PER_SECOND: f64 = 10_000.0;
