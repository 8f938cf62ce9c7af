//! What a node on a simulated machine is given: the other side of [`fipple::net`].

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use fipple::net::{Clock, Host, Random, StoreJob, StoreThread};
use fipple_determinism::Stream;

use crate::clock;
use crate::disk::MemoryDisk;
use crate::network::{Fabric, HostId, HostNetwork};

/// What stays of a machine when it is switched off: its disk, and its stream of chance.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) disk: MemoryDisk,
    random: Arc<Mutex<Stream>>,
}

impl Machine {
    pub(crate) fn new(random: Stream) -> Self {
        Self { disk: MemoryDisk::default(), random: Arc::new(Mutex::new(random)) }
    }

    /// What a node sees of the machine.
    pub(crate) fn host(&self, fabric: &Fabric, id: HostId) -> Host {
        Host {
            network: Arc::new(HostNetwork { fabric: fabric.clone(), host: id }),
            clock: Arc::new(SimulatedClock),
            random: Arc::new(SeededRandom(self.random.clone())),
            disk: Arc::new(self.disk.clone()),
            store_thread: Arc::new(Inline),
            planted: None,
        }
    }
}

/// The time of day of the machine that is running.
struct SimulatedClock;

impl Clock for SimulatedClock {
    fn unix_ms(&self) -> u64 {
        u64::try_from(clock::unix().as_millis()).unwrap_or(u64::MAX)
    }
}

struct SeededRandom(Arc<Mutex<Stream>>);

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        Ok(())
    }
}

/// Runs store jobs at once: a simulated disk makes nobody wait.
struct Inline;

impl StoreThread for Inline {
    fn run(&self, job: StoreJob) -> Result<(), StoreJob> {
        job();
        Ok(())
    }
}
