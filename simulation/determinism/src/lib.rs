//! Decides, for one thread, what libc says of randomness and time.
//!
//! A seed gives one run only if every source of chance and of time follows from it, those inside libraries too: hash
//! maps, TLS, QUIC and temporary names ask libc. So this crate defines `getrandom`, `getentropy`, `syscall` (through
//! which ring asks) and `clock_gettime` itself. Until a thread calls [`decide`], and on all other threads, they hand
//! every call on to libc.
//!
//! **Merely linking this crate changes a binary.** Nothing that is shipped may depend on it, not even in tests:
//! `.ci/run` asserts that the symbols of `fipple` hold none of these names.

#[cfg(target_os = "linux")]
mod overrides;
mod stream;

use std::cell::Cell;
use std::time::Duration;

pub use stream::Stream;

/// Whether this platform's libc can be stood in for. Elsewhere simulations run, but a seed gives more than one run.
pub const SUPPORTED: bool = cfg!(target_os = "linux");

/// What a thread that simulates tells those who ask libc.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The time of day, since 1970.
    pub unix: fn() -> Duration,
    /// The monotonic clock.
    pub monotonic: fn() -> Duration,
}

thread_local! {
    static CLOCKS: Cell<Option<Clocks>> = const { Cell::new(None) };
    static STREAM: Cell<Option<Stream>> = const { Cell::new(None) };
}

/// From now on this thread's clocks are `clocks`, and its randomness comes from `stream`.
pub fn decide(clocks: Clocks, stream: Stream) {
    CLOCKS.set(Some(clocks));
    STREAM.set(Some(stream));
}

/// This thread's clocks and randomness are libc's again.
pub fn release() {
    CLOCKS.set(None);
    STREAM.set(None);
}

/// Processor time that this thread has taken, which no simulation decides; zero where the platform does not tell.
pub fn thread_processor_time() -> Duration {
    #[cfg(target_os = "linux")]
    let time = overrides::thread_processor_time();
    #[cfg(not(target_os = "linux"))]
    let time = Duration::ZERO;
    time
}

/// Puts another stream in the place of this thread's, which is returned: each simulated machine draws from its own, so
/// that one more draw on one machine changes nothing on the others.
pub fn exchange(stream: Stream) -> Option<Stream> {
    STREAM.replace(Some(stream))
}
