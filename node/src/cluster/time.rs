//! The time of day as certificates see it: never earlier than it can be.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;

use crate::Error;
use crate::limits::{CLOCK_BEHIND_MS, EARLIEST_UNIX_MS};
use crate::net::{Clock, Host};

/// Holds the latest time at which a node of this data directory was started, in Unix milliseconds.
const STARTED_FILE: &str = "started";

/// The machine's clock, held above what is certainly past. A router without a battery boots in 1970, where no
/// certificate is valid yet.
#[derive(Clone)]
pub(super) struct Time {
    clock: Arc<dyn Clock>,
    earliest_ms: u64,
}

impl Time {
    /// The time of a host on which no node has run yet.
    pub(super) fn of(host: &Host) -> Self {
        Self { clock: host.clock.clone(), earliest_ms: EARLIEST_UNIX_MS }
    }

    /// Marks the start of a node: its start's time, later than that of every earlier start whatever the clock
    /// says (it is the node's incarnation, by which others tell its lives apart), and the time from then on.
    pub(super) fn start(host: &Host) -> Result<(u64, Self), Error> {
        let bytes = host.disk.read(STARTED_FILE).map_err(Error::io(format!("read {STARTED_FILE}")))?;
        // A damaged file only costs what it protects from; refusing to start would cost the node.
        let last: u64 = bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or_default();
        let now = Self::of(host).unix_ms();
        if last > now.saturating_add(CLOCK_BEHIND_MS) {
            tracing::warn!(
                "the clock is {} hours behind this node's last start and will not be believed before it has passed \
                 that; other nodes refuse certificates of another week. If the last start was in the future, stop the \
                 node, remove {STARTED_FILE} from the data directory and start it again",
                (last - now) / 3_600_000
            );
        }
        let started_ms = now.max(last.saturating_add(1));
        let written = host.disk.replace(STARTED_FILE, format!("{started_ms}\n").as_bytes());
        written.map_err(Error::io(format!("write {STARTED_FILE}")))?;
        Ok((started_ms, Self { clock: host.clock.clone(), earliest_ms: started_ms }))
    }

    /// Milliseconds since 1970.
    pub(super) fn unix_ms(&self) -> u64 {
        self.clock.unix_ms().max(self.earliest_ms)
    }

    fn since_1970(&self) -> Duration {
        Duration::from_millis(self.unix_ms())
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Time({} ms)", self.unix_ms())
    }
}

impl rustls::time_provider::TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.since_1970()))
    }
}

impl quinn::TimeSource for Time {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.since_1970()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::TestDirectory;

    struct Fixed(u64);
    impl Clock for Fixed {
        fn unix_ms(&self) -> u64 {
            self.0
        }
    }

    #[tokio::test]
    async fn every_start_is_later_than_the_last_whatever_the_clock_says() {
        let directory = TestDirectory::new("time");
        let mut host = directory.host();
        host.clock = Arc::new(Fixed(EARLIEST_UNIX_MS + 5_000));
        let (first, time) = Time::start(&host).unwrap();
        assert_eq!((first, time.unix_ms()), (EARLIEST_UNIX_MS + 5_000, EARLIEST_UNIX_MS + 5_000));
        host.clock = Arc::new(Fixed(0));
        assert_eq!(Time::of(&host).unix_ms(), EARLIEST_UNIX_MS);
        let (second, time) = Time::start(&host).unwrap();
        assert_eq!((second, time.unix_ms()), (first + 1, first + 1));
    }
}
