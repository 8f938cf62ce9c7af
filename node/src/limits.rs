//! Every bound of this crate, each with its reason.

use std::time::Duration;

use fipple_protocol::limits as gate;

/// Store jobs that may wait for the disk. A job is a document's write or a page of replication; at the 10 ms
/// that a slow flash disk takes for an fsync this is 2.5 s of work, after which writers are told to come back.
pub const STORE_QUEUE_JOBS: usize = 256;

// --- REST ---

/// REST connections at one time. Each may hold a header and a body; further ones wait in the system's queue.
pub const API_CONNECTIONS_MAX: usize = 256;

/// The longest request line and headers together, in bytes: a key, a path and a browser's cookies fit twice.
pub const API_HEADER_MAX_BYTES: usize = 16 * 1024;

/// The longest body of a request, in bytes. Commands have a few hundred; a long originate string has some KiB.
pub const API_BODY_MAX_BYTES: usize = 1024 * 1024;

/// How long a request's headers may take, and how long a connection may be idle between two requests. Longer
/// than the 15 s at which Prometheus asks by default, so that it keeps its connection.
pub const API_HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The same for a connection that comes when half of [`API_CONNECTIONS_MAX`] are taken: enough for any client that means
/// to ask something, and short for one that only holds the place.
pub const API_CROWDED_HEADER_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request's body may take: 1 MiB over the slowest link that anybody works on (1 Mbit/s).
pub const API_BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may leave an answer unread.
pub const API_WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a TLS handshake may take: two round trips, with packets lost, over a satellite.
pub const API_TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stopping node waits for answers under way. systemd allows 90 s, containers 10.
pub const API_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause after the system refused a connection for want of file descriptors.
pub const API_ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// When a client is asked to come back after something that mends itself: an election or a reconnect.
pub const API_RETRY_AFTER_SECONDS: u32 = 1;

/// The longest request id that is taken from a client, in bytes. A UUID has 36, a W3C trace parent 55.
pub const API_REQUEST_ID_MAX_BYTES: usize = 64;

// --- Cluster: identity and time ---

/// No clock reads earlier than this, 2026-01-01: it is older than any release, and a router that boots in 1970
/// would find every certificate not yet valid.
pub const EARLIEST_UNIX_MS: u64 = 1_767_225_600_000;

/// How far the clock may be behind the node's last start without a warning, in milliseconds: as long as
/// [`CERTIFICATE_BACKDATE`] makes good.
pub const CLOCK_BEHIND_MS: u64 = 3_600_000;

/// How long a node's certificate is valid: long enough for a week in which nothing can be renewed.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// A certificate is renewed after two thirds of its life, which leaves 56 hours to try again.
pub const CERTIFICATE_RENEWAL_BEFORE_END: Duration = Duration::from_secs(56 * 3600);

/// How often the certificate's age is looked at, rather than slept for: on a router the clock jumps by decades.
pub const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// A certificate is valid from so long ago, for peers whose clocks run behind.
pub const CERTIFICATE_BACKDATE: Duration = Duration::from_secs(3600);

/// The longest name of a cluster: it is shown in listings.
pub const CLUSTER_NAME_MAX_BYTES: usize = 64;

// --- Cluster: QUIC ---

/// The UDP payload of our packets, in bytes. IPv6 carries it on every path (1280 less 40 and 8 of headers), and so
/// do PPPoE and WireGuard over IPv4; there is no discovery of anything larger (see `PlainUdpSocket`).
pub const QUIC_PACKET_BYTES: u16 = 1_232;

/// Silence on a connection after which a packet is sent. It keeps the mappings of NAT open, which home routers
/// close after 30 s, and bounds how long two nodes of a large cluster go without contact.
pub const QUIC_KEEP_ALIVE: Duration = Duration::from_millis(7_500);

/// Silence after which a connection is dead: 8 times the longest interval between contacts, so that a loss of
/// several keep-alives in a row costs no handshake. Probes find dead nodes long before.
pub const QUIC_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A handshake takes two round trips; whoever needs longer than this is not there.
pub const QUIC_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a node that stops waits until its peers know.
pub const QUIC_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a node that stops looks whether its peers know: on one network they do within some 100 ms.
pub const QUIC_CLOSE_TICK: Duration = Duration::from_millis(10);

/// The round trip assumed before the first is measured. QUIC repeats a lost first packet after three of these: at
/// its own assumption of 333 ms a lost packet would cost a handshake a whole second.
pub const QUIC_INITIAL_RTT: Duration = Duration::from_millis(100);

/// Bytes a peer may have under way to us on one stream: 100 Mbit/s at 80 ms.
pub const QUIC_STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes a peer may have under way to us in all, and we to it: one full stream never holds up the others.
pub const QUIC_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Bytes of datagrams that wait to be read or sent, per connection: some 50 gossip messages. Older ones are
/// dropped.
pub const QUIC_DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;

/// Streams a peer may have open to us: seven long-lived ones, and gossip too large for a datagram.
pub const QUIC_STREAMS: u32 = 24;

/// Handshakes of strangers that may wait at once. Members dial each once; 128 is the largest cluster.
pub const QUIC_INCOMING: usize = 128;

/// Handshakes of those who dial that are carried out at once, for the same reason. Further packets are ignored, and
/// QUIC repeats them.
pub const QUIC_HANDSHAKES: usize = 128;

/// From so many handshakes on, those who dial first have to prove that their address is theirs.
pub const QUIC_HANDSHAKES_UNVALIDATED: usize = 32;

/// Bytes kept of each waiting handshake: a client's first flight is two packets.
pub const QUIC_INCOMING_BUFFER_BYTES: u64 = 8 * 1024;

// --- Cluster: connections and requests ---

/// Of two connections between two nodes, those made within this time are two that dialled each other at once.
pub const SIMULTANEOUS_DIAL: Duration = Duration::from_secs(2);

/// How long a connection that lost against another stays open, for what is under way on it.
pub const DUPLICATE_LINGER: Duration = Duration::from_secs(1);

/// The pause after the first dial that failed. It doubles with each further one.
pub const DIAL_BACKOFF_MIN: Duration = Duration::from_millis(250);

/// The longest pause between dials, and so how late a healed link is noticed.
pub const DIAL_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Gossip messages that wait for a dial, per address. Newer ones say all that older ones said.
pub const DIAL_QUEUE_MESSAGES: usize = 8;

/// Addresses that are dialled or wait to be dialled again: those of the largest cluster, and seeds.
pub const DIAL_ADDRESSES: usize = 256;

/// Streams over which call events to one peer are spread, so that one lost packet holds up a quarter of the calls.
pub const EVENT_STREAMS: u8 = 4;

/// Frames that wait for the control stream: the requests of a busy second. Beyond, requests are refused.
pub const CONTROL_QUEUE_FRAMES: usize = 1_024;

/// Frames that wait for each stream of call events. A call makes some 20 events in its life; this is what 1,000
/// calls a second over four streams make in about a second.
pub const EVENT_QUEUE_FRAMES: usize = 4_096;

/// Frames that wait for the documents' stream; replication sends the next when one has been acknowledged.
pub const DOCUMENT_QUEUE_FRAMES: usize = 64;

/// Answers that wait for the bulk stream, each of at most a frame (16 MiB).
pub const BULK_QUEUE_FRAMES: usize = 4;

/// Frames that are handed to QUIC at a time.
pub const WRITE_BATCH_FRAMES: usize = 64;

/// Bytes that are read from a stream at a time.
pub const READ_CHUNK_BYTES: usize = 64 * 1024;

/// Answers above this go over the bulk stream, where nothing urgent waits behind them: about 3 ms at 100 Mbit/s.
pub const CONTROL_ANSWER_MAX_BYTES: usize = 32 * 1024;

/// Requests to one peer that may be unanswered. At 1,000 calls a second and 1 ms a request a handful is.
pub const PENDING_REQUESTS: usize = 4_096;

/// Requests of one peer that are carried out at once; beyond, it is told to come back.
pub const REQUESTS_IN_FLIGHT: usize = 1_024;

// --- Cluster: gossip and members ---

/// The default interval between rounds of gossip, in milliseconds. Probes find the dead; gossip may be slow.
pub const GOSSIP_INTERVAL_MS: u64 = 1_000;

/// The longest gossip message: what a UDP packet may hold, which chitchat keeps to.
pub const GOSSIP_MESSAGE_MAX_BYTES: usize = 65_507;

/// Compressed blocks of one gossip message. chitchat puts 16 KiB into each and compresses it, so these are twice what
/// the signed facts of [`MEMBERS`] take; a block expands to 64 KiB at most, and without this bound one message to
/// 200 MiB.
pub const GOSSIP_MESSAGE_MAX_BLOCKS: usize = 64;

/// Gossip messages that wait for chitchat's task. A node hears from about six others an interval.
pub const GOSSIP_QUEUE_MESSAGES: usize = 256;

/// How long a gossip message may take to arrive once it has begun.
pub const GOSSIP_STREAM_TIMEOUT: Duration = Duration::from_secs(5);

/// Suspicion (phi) above which gossip takes a node for dead. At 3 or 4 healthy nodes flap.
pub const GOSSIP_PHI: f64 = 8.0;

/// Facts of one node, in bytes before they are signed. They are copied to every node at every change.
pub const FACTS_MAX_BYTES: usize = 896;

/// The longest of a node's texts: its name, zone, version and addresses.
pub const FACT_TEXT_MAX_BYTES: usize = 128;

/// Facts that are remembered as refused or out of date: those of a few earlier lives of each member.
pub const SETTLED_FACTS: usize = 1_024;

/// How often seeds are asked, and their names resolved, while no member is connected.
pub const SEED_RETRY: Duration = Duration::from_millis(500);

/// How often seeds are asked once members are connected: it joins halves that have forgotten each other.
pub const SEED_INTERVAL: Duration = Duration::from_secs(30);

/// How long a member that went down is listed.
pub const DOWN_MEMBER_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Members that are known, with those that are down: twice the largest cluster.
pub const MEMBERS: usize = 256;

// --- Switches ---

/// How long a switch may take to accept a connection, in milliseconds. Within a region a connection stands in
/// 100 ms; a TCP stack that lost the first packet tries again after 1 s and after 3 s.
pub const SWITCH_CONNECT_TIMEOUT_MS: u64 = 5_000;

/// How long a switch may take from the connection to `+OK accepted`, in milliseconds. It answers at once; one that
/// does not is frozen (`tests/fixtures/freeswitch/README.md`, "A slow reader freezes the switch").
pub const SWITCH_LOGIN_TIMEOUT_MS: u64 = 5_000;

/// The first pause before a switch is tried again, in milliseconds: a reload of mod_event_socket takes less.
pub const SWITCH_RECONNECT_FIRST_MS: u64 = 250;

/// The longest pause before a switch is tried again, in milliseconds, doubled up to here. A switch that returns
/// is in use 10 s later at most, and one that is gone costs six connections a minute a node.
pub const SWITCH_RECONNECT_LONGEST_MS: u64 = 10_000;

/// How long a command may wait for the switch's reply, in milliseconds. `api` commands that fipple sends itself
/// take under 1 ms each (`takeover/README.md`); 5 s mean that the connection is dead or the switch frozen.
pub const SWITCH_REPLY_TIMEOUT_MS: u64 = 5_000;

/// How long a `bgapi` job may run, in milliseconds. The longest that makes sense is an `originate` that rings for
/// minutes or a file conversion that an operator starts; who waits at REST has given up by then.
pub const SWITCH_JOB_TIMEOUT_MS: u64 = 600_000;

/// Commands of one connection that may wait for replies. At 10,600 commands/s (`takeover/README.md`) these are
/// 0.4 s of the switch's work.
pub const SWITCH_PENDING_COMMANDS: usize = 4_096;

/// Background jobs of one connection that may run. FreeSWITCH starts a thread for each.
pub const SWITCH_PENDING_JOBS: usize = 1_024;

/// Bytes of commands that may wait for the socket: full-sized commands for every place in the queue above would
/// be 32 MiB, so a few large ones count like many small ones.
pub const SWITCH_OUTGOING_MAX_BYTES: usize = 4 * 1024 * 1024;

pub use fipple_protocol::limits::{GATE_CHECK_MS, GATE_PATIENCE_MS, GATE_UNREAD_MS};

/// Commands about the gate for which there is room where [`SWITCH_PENDING_COMMANDS`] wait: one reading, and answers to a
/// question of every other node that reaches the switch.
pub const GATE_COMMANDS_RESERVED: usize = 64;

/// What was heard over a switch and waits for the gate's task, which takes microseconds for each: some rounds of questions
/// of every node that reaches the switch. What comes beyond is lost, as hints may be.
pub const GATE_HEARD_MAX: usize = 256;

/// How often the event connection is proved alive, in milliseconds, by subscribing once more to an event that it
/// is subscribed to: that is answered like any command, and unlike an `api` delays no event.
pub const EVENTS_CHECK_MS: u64 = 10_000;

/// How long a node that nobody has heard of yet counts as alive, in milliseconds from this node's start: a gate or
/// a call that names it may be its own. Gossip has met everybody within a few of its rounds of 1 s.
pub const UNKNOWN_NODE_GRACE_MS: u64 = 5_000;

/// How often the table of channels is compared with the switch, in milliseconds. It finds what no event told; a
/// `show channels` of 4,000 channels is 3 MB, so once in half a minute costs 0.1 MB/s.
pub const RECONCILE_INTERVAL_MS: u64 = 30_000;

/// How long `show channels` may lag behind, in milliseconds: 90 to 400 were seen (`tests/fixtures/freeswitch/README.md`, "Commands
/// that bite"). After this time the table is compared once more with what began just before this node attached.
pub const SHOW_CHANNELS_LAG_MS: u64 = 1_000;

/// `uuid_dump`s that are on their way at once while the table is rebuilt: enough to hide a round trip of 10 ms at
/// 10,000 commands/s, and answers of 10 KB each stay within 1 MB.
pub const SNAPSHOT_CONCURRENCY: usize = 64;

/// Channels of one switch that are known at once. FreeSWITCH's own default is 1,000 sessions and large machines
/// carry 10,000; a table of this size takes about 100 MB.
pub const TABLE_MAX_CHANNELS: usize = 65_536;

/// Channels that are remembered after their end, so that an answer which is older than the end does not bring one
/// back: at 300 calls/s of two legs 3 s, where answers take milliseconds.
pub const TABLE_ENDED_CHANNELS: usize = 2_048;

/// The longest text of one header that is kept of a channel, in bytes. Callers choose their names.
pub const CHANNEL_TEXT_MAX_BYTES: usize = 256;

// --- Calls ---

/// Calls that one node owns at most. 5,000 are what a node is built for; a single survivor may inherit a cluster's.
pub const OWNED_MAX_CALLS: usize = 65_536;

/// Appointments that are on their way at once on one switch: 5,000 calls of a dead owner then take 80 rounds of
/// about 2 ms.
pub const APPOINT_CONCURRENCY: usize = 64;

/// Calls that wait for an owner at the same time up to which each is taken by a command of its own, which is quickest for a
/// call that has just come in; more are taken together.
pub const APPOINT_SINGLY_MAX: usize = 8;

/// How long a call is left alone after somebody else has raised its epoch, in milliseconds: until then this node has read
/// the gate twice, and knows whether the calls are still its to appoint.
pub const EPOCH_RAISED_PAUSE_MS: u64 = 2 * GATE_CHECK_MS;

/// How long a node may take to accept a call, in milliseconds, before the next one is asked.
pub const APPOINT_TIMEOUT_MS: u64 = 2_000;

/// The pause after which calls are looked at again that no node would take, in milliseconds.
pub const APPOINT_RETRY_MS: u64 = 1_000;

/// How often owned calls are looked at for timers that are due, in milliseconds.
pub const FLOW_TIMER_MS: u64 = 250;

/// How long a node may take to answer about a step, in milliseconds; the flow asks anew after
/// [`STEP_ANSWER_MS`](fipple_protocol::limits::STEP_ANSWER_MS), so this is shorter.
pub const STEP_REQUEST_TIMEOUT_MS: u64 = 1_500;

/// How long a command for a channel may take in all, in milliseconds: a failure of its owner is noticed within
/// about 1 s, of the attached node within 2 s, and another 5 s pass where both die.
pub const COMMAND_DEADLINE_MS: u64 = 10_000;

/// How long one attempt to carry a command may take, in milliseconds, of which the owner uses
/// [`COMMAND_HOP_MS`] for the way to the switch.
pub const COMMAND_ATTEMPT_MS: u64 = 4_000;

/// How long an owner waits for the attached node, in milliseconds: less than who asked waits for the owner.
pub const COMMAND_HOP_MS: u64 = 3_000;

/// The pause between two attempts, in milliseconds.
pub const COMMAND_RETRY_MS: u64 = 100;

/// Ids of commands that an attached node remembers with their answers. Attempts for one command end after
/// [`COMMAND_DEADLINE_MS`]; at 400 commands/s that is what this holds.
pub const COMMAND_IDS_KEPT: usize = 4_096;

/// How long nodes may take to say whether they know a channel, in milliseconds.
pub const FIND_TIMEOUT_MS: u64 = 1_000;

/// How long nodes may take for one page of a listing, in milliseconds.
pub const LIST_TIMEOUT_MS: u64 = 2_000;

/// Channels on one page of a listing: about 200 KB, which no other answer waits behind for long.
pub const LIST_PAGE_CHANNELS: u32 = 500;

/// Channels of a whole listing: beyond this nobody reads it, and it would take 8 MB of JSON.
pub const LIST_MAX_CHANNELS: usize = 20_000;

/// Channels whose whereabouts are remembered for the next command.
pub const LOCATIONS_KEPT: usize = 16_384;

/// How long an `originate` may ring, in seconds, where the command does not say: FreeSWITCH's own default.
pub const ORIGINATE_TIMEOUT_SECONDS: u32 = 60;

/// How long leaving waits for the calls to be handed over, in milliseconds: as long as one round of appointments
/// for all of them with one retry.
pub const DRAIN_TIMEOUT_MS: u64 = 10_000;

/// How long stopping waits for the gates to be released, in milliseconds. Whoever waits for a node's end sends
/// SIGKILL after some seconds.
pub const SHUTDOWN_TIMEOUT_MS: u64 = 3_000;

/// The longest name of a node, a zone or a switch, in bytes: the longest label of a host name (RFC 1035,
/// section 2.3.4), since names are often made of one.
pub const NAME_MAX_BYTES: usize = 63;

// --- The command line ---

/// How long the command line waits for a connection to the node of its data directory, mostly on loopback.
pub const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits for the answer: a switch lets a call ring for 60 s by default before it says so.
pub const CLIENT_ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// The longest answer it takes, in bytes: a listing of 20,000 channels at 1 KiB each, three times over.
pub const CLIENT_ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// How long gossip remembers a node that it takes for dead. Every start of a node is another one to it, and one
/// that crashes every few seconds must not fill its messages.
pub const GOSSIP_DEAD_MEMORY: Duration = Duration::from_secs(600);

/// How often the prober's clock is looked at: half an interval of pings.
pub const PROBE_TICK: Duration = Duration::from_millis(100);

/// Signals from connections that wait for the members' task: some seconds of probes in the largest cluster.
pub const SIGNAL_QUEUE: usize = 1_024;

// --- The demonstration ---

/// How long the demonstration waits for a node to answer, and for the cluster to be complete: a debug build on a
/// busy machine takes a few seconds.
pub const DEMO_START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it waits for one answer of a node.
pub const DEMO_POLL_TIMEOUT: Duration = Duration::from_secs(3);

/// How long it waits, after the last new call, for all calls to end: a flow takes a second, a takeover a few.
pub const DEMO_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How many durations it keeps for percentiles: half an hour's at five calls a second.
pub const DEMO_SAMPLES_MAX: usize = 10_000;

/// How many faulty calls it describes; further ones are only counted.
pub const DEMO_FAULTS_MAX: usize = 10;

/// How many of a log's last lines it shows.
pub const DEMO_LAST_WORDS_LINES: usize = 15;

/// How long an owned call may be quiet before its owner asks whether it still exists, in milliseconds: 5,000
/// parked calls cost the switch 167 short commands a second.
pub const OWNED_QUIET_MS: u64 = 30_000;

/// How long a node that has just attached may take to tell owners of the calls that it found, in milliseconds; after that
/// they ask after those of which it has not told. 4,000 calls are read and taken over in 3 s.
pub const OWNED_RETURN_MS: u64 = 4_000;

/// How many calls are asked after at a time when a switch is back, four times a second: 5,000 calls take 12 s, at a
/// twentieth of what a switch answers.
pub const OWNED_ASK_BURST: usize = 100;

/// How long an owned call is kept while no node at all is attached to its switch, in milliseconds. Whoever attaches
/// again appoints anew for every call that still lives, so nothing is lost with one that is forgotten; this outlasts
/// the restart of a switch and of the network before it, and a switch that was taken down leaves no calls for ever.
pub const OWNED_UNATTENDED_MS: u64 = 600_000;

// --- Documents ---

/// How often the documents are compared with one living member, each in its turn. Pushes carry nearly everything; what
/// they miss is made good within this times the number of members, at one message of some 30 bytes a round.
pub const REPLICATION_INTERVAL: Duration = Duration::from_secs(5);

/// Members read from the registry at a time: a page of some 10 KB, so that no other job waits behind it for long.
pub const REGISTRY_PAGE_MEMBERS: usize = 100;

/// How long a channel is looked for while no node reaches a switch that may have it, in milliseconds: a connection
/// that was cut is made again sooner.
pub const OUT_OF_REACH_MS: u64 = 2_000;

/// Replication messages that may wait for the store: mostly some hundred bytes each, and 1 MiB at most, so 64 MiB at the
/// very worst. What is dropped beyond is asked for again in the next round.
pub const REPLICATION_QUEUE_MESSAGES: usize = 64;

// --- Trace of calls ---

/// What a node remembers of calls, in entries: about 30 of a short call, so some 1,000 calls that ended lately beside those
/// that live. A power of two, which is what the deque grows to.
pub const TRACE_ENTRIES: usize = 32_768;

/// What a node remembers of calls, in bytes: entries of 56 bytes, their texts, and the names of their calls. Small enough for
/// a router, and for three nodes with 5,000 live calls in 40 MB.
pub const TRACE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// What one call takes in that memory beside its name and its entries, in bytes: a node of the map, and the allocator's part.
pub const TRACE_CALL_BYTES: usize = 96;

/// The latest entries of one call that a node tells at once: 150 KB. Nobody reads more, and a call that is commanded by a
/// program for hours has more.
pub const TRACE_ANSWER_ENTRIES: usize = 1_000;

/// How long nodes may take to tell what they remember of a call, in milliseconds.
pub const TRACE_TIMEOUT_MS: u64 = 1_000;

// --- Leases: calls whose control plane is dead ---

/// How often the attached node renews the leases, in seconds: by so much less a lease may last, and it is one command of a
/// millisecond, whatever the number of calls.
pub const LEASE_RENEWAL_SECONDS: u64 = 1;

/// Nodes whose leases one command renews: FreeSWITCH gives a script at most 128 arguments, and five stand before them.
pub const LEASE_NODES_PER_COMMAND: usize = 120;

/// How old leases may become, in seconds, that the last node to stop leaves behind: its calls are not to wait longer than
/// for a node that is started again, which finds the gate free and its calls' data in the switch, but who upgrades the only
/// node does not mean to send the callers away.
pub const LEASE_LEFT_SECONDS: u64 = 15;

/// How often the switch looks whether a lease has expired, in seconds: what `fipple_watchdog.lua renew` tells its scheduler.
pub const LEASE_WATCHDOG_SECONDS: u64 = 5;

/// What whole seconds, the scheduler that looks every half of one, and the transfer of 1,000 calls in 0.72 s
/// (`takeover/README.md`) take together, in seconds.
pub const LEASE_GRANULARITY_SECONDS: u64 = 2;

/// The longest time for which no node controls a switch although one could, in milliseconds: the connection of the attached
/// node went silent, which it has noticed after [`GATE_UNREAD_MS`]; gossip takes 2 s to say so, the
/// others give it [`GATE_PATIENCE_MS`] to come back and [`GATE_ANSWER_MS`](gate::GATE_ANSWER_MS) to
/// answer over the switch, and 1,000 calls are raised and read in 0.5 s. A death is known after 2 s, and then nobody is
/// waited for.
pub const TAKEOVER_WORST_MS: u64 =
    gate::GATE_UNREAD_MS + 2_000 + gate::GATE_PATIENCE_MS + gate::GATE_ANSWER_MS + 500;

/// How long after the last node's death a waiting caller reaches the fallback at the latest, in seconds, where nobody says
/// otherwise: about as long as people wait in silence.
pub const FALLBACK_SECONDS_DEFAULT: u64 = 40;

/// The least that this can be, in seconds: a lease that was renewed an interval ago outlives the worst takeover twice.
pub const FALLBACK_SECONDS_MIN: u64 = (2 * TAKEOVER_WORST_MS).div_ceil(1_000)
    + 2 * LEASE_RENEWAL_SECONDS
    + LEASE_WATCHDOG_SECONDS
    + LEASE_GRANULARITY_SECONDS;

/// The most, in seconds: an hour in which nobody answers is for ever.
pub const FALLBACK_SECONDS_MAX: u64 = 3_600;

const _: () = assert!(FALLBACK_SECONDS_MIN <= FALLBACK_SECONDS_DEFAULT);

/// The highest epoch of a call. The scripts in the switch count in floating point, which is exact below 2^53.
pub const EPOCH_MAX: u64 = (1 << 53) - 1;

/// Steps and commands that may wait in one channel's own queue. FreeSWITCH holds 256 there and closes the connection that
/// brings one more (`takeover/README.md`); what waits there when its node dies still runs, or is refused, before anything
/// that the next node sends.
pub const COMMANDS_UNSTARTED_MAX: usize = 2;

/// How long something may wait in the queue of a channel that does nothing, in milliseconds. A parked channel begins
/// the next within 20 ms; what is older was thrown away by somebody else's `uuid_break all`.
pub const UNSTARTED_FORGOTTEN_MS: u64 = 5_000;

/// Calls that one command of the fence script takes or raises at most: each is locked for about a millisecond, and the last
/// of them waits for all others.
pub const SCRIPT_CALLS_MAX: usize = 250;

/// How late the first command of a call's new owner may come to count as part of the takeover, in milliseconds: a takeover
/// takes some seconds at worst, and a caller who waits for a person's command says nothing of it.
pub const TAKEOVER_COUNTED_MS: u64 = 60_000;
