//! The functions of libc that this crate stands in for.

use std::cell::Cell;
use std::ffi::CStr;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use libc::{c_int, c_long, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};

use crate::{CLOCKS, STREAM};

thread_local! {
    /// A clock of the simulation is being read. Whatever that asks of libc is answered by libc.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// libc's own function of a name, looked up once.
struct Original {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Original {
    const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Its address. A libc without it is not one that Rust runs on, and there is no way to go on.
    fn address(&self) -> *mut c_void {
        let known = self.address.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        // SAFETY: `name` ends in a zero byte, and RTLD_NEXT names the objects behind this one.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if found.is_null() {
            std::process::abort();
        }
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

static GETRANDOM: Original = Original::new(c"getrandom");
static SYSCALL: Original = Original::new(c"syscall");
static CLOCK_GETTIME: Original = Original::new(c"clock_gettime");

type Getrandom = unsafe extern "C" fn(*mut c_void, size_t, c_uint) -> ssize_t;
type Syscall = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;
type ClockGettime = unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int;

/// Processor time that this thread has taken.
pub(crate) fn thread_processor_time() -> Duration {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` can be written to.
    unsafe { clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Fills the buffer from the thread's stream; false where it has none.
///
/// # Safety
/// `buffer` must be valid for writes of `len` bytes.
unsafe fn fill(buffer: *mut c_void, len: size_t) -> bool {
    let Some(mut stream) = STREAM.take() else { return false };
    // SAFETY: the caller's promise.
    stream.fill(unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len) });
    STREAM.set(Some(stream));
    true
}

/// `getrandom(2)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, len: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: whoever calls it promises that the buffer holds `len` bytes.
    if unsafe { fill(buffer, len) } {
        return len as ssize_t;
    }
    // SAFETY: libc's function of this name has this type.
    let original = unsafe { mem::transmute::<*mut c_void, Getrandom>(GETRANDOM.address()) };
    // SAFETY: the caller's promise.
    unsafe { original(buffer, len, flags) }
}

/// `getentropy(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut c_void, len: size_t) -> c_int {
    // The most that it gives at once, by its manual.
    const MAX_BYTES: size_t = 256;
    // SAFETY: the caller's promise.
    if len <= MAX_BYTES && unsafe { getrandom(buffer, len, 0) } == len as ssize_t { 0 } else { -1 }
}

/// `syscall(2)`, through which ring asks for randomness.
///
/// # Safety
/// As libc's. Declared with all six arguments instead of variable ones: on the platforms that Rust supports both are
/// passed in the same registers.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // SAFETY: SYS_getrandom's first two arguments are a buffer and its length.
    if number == libc::SYS_getrandom && unsafe { fill(a as *mut c_void, b as size_t) } {
        return b;
    }
    // SAFETY: libc's function of this name can be called with six arguments.
    let original = unsafe { mem::transmute::<*mut c_void, Syscall>(SYSCALL.address()) };
    // SAFETY: the caller's promise.
    unsafe { original(number, a, b, c, d, e, f) }
}

/// `clock_gettime(2)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    if let Some(now) = simulated(clock) {
        let tv_sec = now.as_secs() as libc::time_t;
        // SAFETY: whoever calls it promises that `time` can be written to.
        unsafe { time.write(timespec { tv_sec, tv_nsec: now.subsec_nanos() as c_long }) };
        return 0;
    }
    // SAFETY: libc's function of this name has this type.
    let original = unsafe { mem::transmute::<*mut c_void, ClockGettime>(CLOCK_GETTIME.address()) };
    // SAFETY: the caller's promise.
    unsafe { original(clock, time) }
}

/// What the thread's simulation says of a clock; `None` where libc is to answer.
fn simulated(clock: clockid_t) -> Option<Duration> {
    let clocks = CLOCKS.get().filter(|_| !READING.get())?;
    let read = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => clocks.unix,
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME => clocks.monotonic,
        // The processor time of a thread or process is real: benchmarks read it.
        _ => return None,
    };
    READING.set(true);
    let now = read();
    READING.set(false);
    Some(now)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it is how libc is asked")]
mod tests {
    use std::hash::{BuildHasher, RandomState};
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    use crate::{Clocks, Stream, decide, exchange, release};
    use std::time::Duration;

    /// What a fresh thread draws: hash maps seed themselves once a thread.
    fn drawn(seed: u64) -> (u64, Duration, Duration) {
        let draw = move || {
            let clocks =
                Clocks { unix: || Duration::from_secs(1_800_000_000), monotonic: || Duration::from_secs(7) };
            decide(clocks, Stream::new(seed, "test"));
            let hash = RandomState::new().hash_one(1);
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let elapsed = Instant::now().elapsed();
            release();
            (hash, unix, elapsed)
        };
        std::thread::spawn(draw).join().unwrap_or_default()
    }

    #[test]
    fn a_threads_randomness_and_clocks_are_decided() {
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1).0, drawn(2).0);
        let (_, unix, elapsed) = drawn(1);
        assert_eq!((unix, elapsed), (Duration::from_secs(1_800_000_000), Duration::ZERO));
    }

    #[test]
    fn other_threads_ask_libc() {
        let stream = Stream::new(1, "test");
        let clocks = Clocks { unix: || Duration::ZERO, monotonic: || Duration::ZERO };
        decide(clocks, stream.clone());
        assert_eq!(exchange(Stream::new(2, "test")), Some(stream));
        let year = std::thread::spawn(|| SystemTime::now().duration_since(UNIX_EPOCH)).join();
        release();
        assert!(year.is_ok_and(|since| since.is_ok_and(|since| since > Duration::from_secs(1_700_000_000))));
    }
}
