//! Every bound of this crate, each with its reason.

/// Datagrams that wait at one simulated UDP socket. A system's socket holds about 200 KB, some 150 full
/// datagrams; what comes beyond is lost, as it is there.
pub(crate) const UDP_QUEUE_DATAGRAMS: usize = 256;

/// Bytes under way in one direction of a simulated TCP connection: Linux' default send buffer and receive
/// window together are of this order. A writer waits beyond.
pub(crate) const TCP_WINDOW_BYTES: usize = 256 * 1024;

/// Connections that wait to be accepted at one listener, as the system's own `somaxconn`.
pub(crate) const TCP_BACKLOG_CONNECTIONS: usize = 128;
