//! Every bound of this crate, each with its reason.

use std::time::Duration;

/// Datagrams that wait at one simulated UDP socket. A system's socket holds about 200 KB, some 150 full
/// datagrams; what comes beyond is lost, as it is there.
pub(crate) const UDP_QUEUE_DATAGRAMS: usize = 256;

/// Bytes under way in one direction of a simulated TCP connection: Linux' default send buffer and receive
/// window together are of this order. A writer waits beyond.
pub(crate) const TCP_WINDOW_BYTES: usize = 256 * 1024;

/// Bytes that a reader takes before it tells the writer: a quarter of the window, so that telling costs little and the
/// writer never waits for long.
pub(crate) const TCP_WINDOW_UPDATE_BYTES: usize = TCP_WINDOW_BYTES / 4;

/// Connections that wait to be accepted at one listener: Linux' `somaxconn` before it grew.
pub(crate) const TCP_BACKLOG_CONNECTIONS: usize = 128;

/// The pause before a lost segment is sent again; it doubles each time. Linux: TCP_RTO_MIN.
pub(crate) const TCP_RETRANSMIT_MIN: Duration = Duration::from_millis(200);

/// The longest such pause. Linux: TCP_RTO_MAX.
pub(crate) const TCP_RETRANSMIT_MAX: Duration = Duration::from_secs(120);

/// How often a segment is sent again before its connection fails. Linux: tcp_retries2, some 15 minutes.
pub(crate) const TCP_RETRIES_MAX: u32 = 15;

/// The first port given where none is asked for, as RFC 6335 sets dynamic ports apart.
pub(crate) const FIRST_DYNAMIC_PORT: u16 = 49_152;

/// How long a simulated REST client waits for an answer: longer than any command may take in a node.
pub(crate) const REST_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer that a simulated REST client reads: a listing of more channels than a simulation has.
pub(crate) const REST_ANSWER_MAX_BYTES: usize = 16 << 20;

/// Nodes of one simulation: their addresses are 10.0.0.1 and on. A cluster serves up to about 128.
pub const NODES_MAX: usize = 128;

/// Switches of one simulation, at 10.0.1.1 and on.
pub const SWITCHES_MAX: usize = 64;

/// The stack of the simulation's thread: debug builds of deep futures need more than the default 2 MiB.
pub(crate) const STACK_BYTES: usize = 64 << 20;

/// Faults of one scenario: more than a person can follow.
pub(crate) const FAULTS_MAX: usize = 10_000;

/// How long a scenario may be, in simulated seconds: a day, for soak tests.
pub(crate) const SECONDS_MAX: u64 = 86_400;

/// The longest latency of a link, and pause of a script, in milliseconds: a minute is past every time-out.
pub(crate) const LATENCY_MAX_MS: u64 = 60_000;

/// How often something may happen in a hundred simulated seconds: the 300 calls a second that a box has to bear.
pub(crate) const PER_100_S_MAX: u64 = 30_000;

/// Commands for one call.
pub(crate) const COMMANDS_PER_CALL_MAX: u64 = 1_000;

/// How far a clock may be off, in milliseconds: to 1970 and as far the other way.
pub(crate) const CLOCK_OFFSET_MAX_MS: u64 = 1_795_406_400_000;

/// How much too fast or slow a clock may run, in millionths: a tenth, far beyond any quartz.
pub(crate) const DRIFT_MAX_PPM: u64 = 100_000;
