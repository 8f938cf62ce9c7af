//! Every bound of this crate, each with its reason.

// --- Between nodes ---

/// The longest frame on a stream between two nodes, in bytes. The largest answer is that of a switch's API,
/// for which FreeSWITCH itself sets no bound; 16 MiB is what it accepts from a client
/// (`transcripts/a_inbound_auth/auth_content_length_too_big`) and holds `show channels` of 20,000 channels.
pub const PEER_FRAME_MAX_BYTES: usize = 16 * 1024 * 1024;

/// How large a stream's buffer may stay once it is empty, in bytes: a router with a stream of each kind to each of 128
/// peers cannot keep the largest answer of each.
pub const PEER_BUFFER_KEPT_BYTES: usize = 64 * 1024;

/// The longest idempotency key, in bytes: what other services of the field take (Stripe, PayPal).
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

// --- Event Socket, from a switch ---

/// The longest header block of a frame, in bytes. The largest recorded one is the answer to an outbound `connect`,
/// 6,170 bytes (`transcripts/f_outbound`), which carries all variables of a channel; a switch bounds neither their
/// number nor their size. This leaves room for a hundred times that.
pub const ESL_HEADER_BLOCK_MAX_BYTES: usize = 1024 * 1024;

/// The longest body of a frame, in bytes: what FreeSWITCH itself accepts as a client's `Content-Length` before it
/// disconnects (`transcripts/a_inbound_auth/auth_content_length_too_big`). The largest recorded body is 61,939
/// bytes; a `show channels as json` of 4,000 sessions, FreeSWITCH's own default maximum, is under 4 MiB.
pub const ESL_BODY_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The most headers in one block. The largest recorded event has 274; 8,192 keep the index of one under 100 KB.
pub const ESL_HEADERS_MAX: usize = 8_192;

/// What a connection's buffer begins with, in bytes, and shrinks to: sixteen average events, and what one read
/// from a loaded socket brings.
pub const ESL_BUFFER_BYTES: usize = 64 * 1024;

/// The least room that a read is offered, in bytes. Less would cost a system call for every few events.
pub const ESL_READ_MIN_BYTES: usize = 16 * 1024;

/// How large a buffer may stay once it is empty, in bytes: one `show channels` must not occupy its 16 MiB for the
/// rest of the connection's life.
pub const ESL_BUFFER_KEPT_BYTES: usize = 1024 * 1024;

/// The most that a connection's buffer holds, in bytes: the largest frame, and room to read on.
pub const ESL_BUFFER_MAX_BYTES: usize = ESL_HEADER_BLOCK_MAX_BYTES + ESL_BODY_MAX_BYTES + ESL_READ_MIN_BYTES;

// --- Calls ---

/// The most steps of a flow. A flow is walked by people; a thousand is beyond any that a person wrote by hand.
pub const FLOW_MAX_STEPS: usize = 1_000;

/// The longest name of a flow, in bytes: it travels in a channel variable of every call.
pub const FLOW_NAME_MAX_BYTES: usize = 64;

/// The longest step, application and argument, in bytes. FreeSWITCH expands an argument in its own buffers
/// without a bound; 8 KiB hold any dial string and stay far below a control frame.
pub const STEP_MAX_BYTES: usize = 8 * 1024;

/// The most digits that a step collects: what FreeSWITCH's `play_and_get_digits` has room for.
pub const DIGITS_MAX: u32 = 128;

/// How often a step asks for digits at most. Nobody stays for more.
pub const DIGITS_TRIES_MAX: u32 = 100;

/// How long a step waits for a digit at most, in milliseconds: ten minutes, in which somebody finds the letter with the
/// number in it.
pub const DIGITS_TIMEOUT_MAX_MS: u32 = 600_000;

/// The longest recording that a step limits itself to, in seconds: a day, longer than any call.
pub const RECORD_MAX_SECONDS: u32 = 86_400;

/// How long a step lets another party ring at most, in seconds: an hour, longer than anybody waits.
pub const BRIDGE_TIMEOUT_MAX_SECONDS: u32 = 3_600;

/// How long a call's owner waits for the answer to one request before it asks how the call stands, in
/// milliseconds. An answer takes two hops and one command of the switch: milliseconds where nothing is wrong.
pub const STEP_ANSWER_MS: u64 = 2_000;

/// The pause before a step that could not be sent is tried again, in milliseconds: most often the switch is
/// being attached to another node, which takes about a second.
pub const STEP_RETRY_MS: u64 = 500;

/// How long a step may run before its owner first asks whether it still does, in milliseconds. The end of a step
/// comes as an event; this is for the event that was lost.
pub const STEP_POLL_FIRST_MS: u64 = 2_000;

/// The same for a step that an earlier owner sent, in milliseconds: it may have been refused just after it was seen
/// running (`takeover/README.md`, step 5 of the recipe), and the caller would wait.
pub const STEP_ADOPTED_POLL_MS: u64 = 500;

/// How many questions in a row have to find a step neither running nor done before it is sent once more. One may have
/// been answered before the switch had the step; a channel refuses the second of two.
pub const STEP_UNSEEN_POLLS: u32 = 2;

/// The longest pause between two such questions, in milliseconds, doubled up to here: 5,000 calls in long steps
/// then cost the switch 167 short commands a second, where it runs 10,600 (`takeover/README.md`).
pub const STEP_POLL_LONGEST_MS: u64 = 30_000;

// --- Probes ---

/// How many members watch each member. Three see the same death independently, and any one of them may be lost.
pub const PROBE_WATCHERS: usize = 3;

/// The interval between two pings of a watched member, in milliseconds. At three watched members it is 15
/// datagrams a second.
pub const PROBE_INTERVAL_MS: u64 = 200;

/// The interval between two pings of a watched member that is down, in milliseconds.
pub const PROBE_DOWN_INTERVAL_MS: u64 = 1_000;

/// Pings without an answer after which others are asked. At 5% loss each way three in a row are lost once in a
/// thousand times.
pub const PROBE_MISSES: u32 = 3;

/// How many others are asked at a time, and how often within the time they have.
pub const PROBE_HELPERS: usize = 2;

/// How long the accused and the others have to answer, in milliseconds: the whole takes at most 1.4 s, and a
/// round trip through a third node over two continents 0.5 s.
pub const PROBE_SUSPICION_MS: u64 = 600;

/// How long a member that has found another down watches everybody, in milliseconds: twice as long as it takes to
/// find one down.
pub const PROBE_ROLL_CALL_MS: u64 = 2_800;

/// Whoever heard from the accused within this time does not believe the accusation: two intervals of pings.
pub const PROBE_RECENT_MS: u64 = 400;

/// How often an accusation or its refutation is sent to everybody, an interval apart: at 5% loss one member in
/// 8,000 misses all three.
pub const PROBE_RUMOUR_REPEATS: u32 = 3;

/// Pings on behalf of others that may be under way.
pub const PROBE_RELAYS: usize = 64;

/// How long a member that was only heard of may take to be heard itself, in milliseconds; then it is down. A dial
/// takes a second, and gossip three.
pub const PROBE_UNHEARD_MS: u64 = 5_000;

/// How long a verdict stands before gossip, which takes some 10 s to notice a death, may overrule it, in
/// milliseconds.
pub const PROBE_GOSSIP_DELAY_MS: u64 = 15_000;

// --- The gate of a switch ---

/// How often the gate is read, in milliseconds, which also shows that the command connection lives. At a tenth of a
/// millisecond a reading, a switch with ten nodes spends nothing on it.
pub const GATE_CHECK_MS: u64 = 2_000;

/// How long what a reading proved holds, in milliseconds from when it was sent: three checks, so that one that is lost on
/// a bad link costs nothing. A node that lost its gate stops after this time at the latest.
pub const GATE_UNREAD_MS: u64 = 3 * GATE_CHECK_MS;

/// How long a free gate is left to the node that should take it first, in milliseconds; and how long one that is held by a
/// node which nobody has met. The first takes it within two of its checks unless something is wrong with it.
pub const GATE_PATIENCE_MS: u64 = 3 * GATE_CHECK_MS;

/// How long a holder has to answer, in milliseconds. An event is there in 17 to 54 ms (`takeover/README.md`), and as many
/// commands as may wait before the answer take the switch 0.4 s.
pub const GATE_ANSWER_MS: u64 = 1_000;

/// How long a challenger's own question may take to come back to it, in milliseconds: far beyond what it takes at a switch
/// that is well, and an answer would take as long.
pub const GATE_ECHO_MS: u64 = 3 * GATE_ANSWER_MS;

/// The pause after a command that could not be sent because too many waited, in milliseconds: the switch runs all of those
/// in 0.4 s.
pub const GATE_RETRY_MS: u64 = 500;

/// Questions that wait for an answer until the gate was read: one of each other node, where a few reach one switch.
pub const GATE_QUESTIONS_MAX: usize = 8;
