//! Waiting for what must happen.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. No test asserts a time; this only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries until `attempt` yields something.
///
/// # Panics
/// With the last complaint, when patience is at its end.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(complaint) if start.elapsed() > PATIENCE => panic!("{what}: {complaint}"),
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
}
