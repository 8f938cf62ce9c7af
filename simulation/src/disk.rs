//! A disk in memory, which loses what was not synced when the power fails.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fipple::net::Disk;
use fipple_determinism::Stream;
use redb::StorageBackend;

/// A data directory in memory. Clones are the same disk, so a node that is started again finds its files.
#[derive(Clone)]
pub(crate) struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    storages: Arc<Mutex<BTreeMap<String, Arc<Mutex<Content>>>>>,
    ignores_syncs: Arc<AtomicBool>,
    /// How many programs have had the disk. What one of them has open is closed when it is killed.
    life: Arc<AtomicUsize>,
    /// How many more operations there will be before the power fails; `usize::MAX` for no such thing to come.
    operations_left: Arc<AtomicUsize>,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self {
            files: Arc::default(),
            storages: Arc::default(),
            ignores_syncs: Arc::default(),
            life: Arc::default(),
            operations_left: Arc::new(AtomicUsize::new(usize::MAX)),
        }
    }
}

impl MemoryDisk {
    /// From now on the disk does so many writes and syncs, and then none: the power is failing.
    pub(crate) fn fail_after(&self, operations: usize) {
        self.operations_left.store(operations, Ordering::Relaxed);
    }

    /// The program that had the disk is gone, and what it still does with its files is nothing.
    pub(crate) fn end_life(&self) {
        self.life.fetch_add(1, Ordering::Relaxed);
        self.operations_left.store(usize::MAX, Ordering::Relaxed);
    }

    /// From now on it only says that it has synced, as some cheap disks do.
    pub(crate) fn ignore_syncs(&self) {
        self.ignores_syncs.store(true, Ordering::Relaxed);
    }

    /// The power fails: of what was written and not synced, each write is there, is not there, or is there in part.
    pub(crate) fn lose_power(&self, chance: &mut Stream) {
        for content in lock(&self.storages).values() {
            lock(content).lose_power(chance);
        }
    }
}

impl Disk for MemoryDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(lock(&self.files).get(name).cloned())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        take_operation(&self.operations_left)?;
        lock(&self.files).insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn open_storage(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let content = lock(&self.storages).entry(name.to_owned()).or_default().clone();
        let opened_in = self.life.load(Ordering::Relaxed);
        Ok(Box::new(MemoryFile { content, disk: self.clone(), opened_in }))
    }
}

/// A database's file, as one program has it open.
struct MemoryFile {
    content: Arc<Mutex<Content>>,
    disk: MemoryDisk,
    opened_in: usize,
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryFile")
    }
}

impl MemoryFile {
    /// The content, for a write or a sync.
    fn change(&self) -> io::Result<MutexGuard<'_, Content>> {
        if self.disk.life.load(Ordering::Relaxed) != self.opened_in {
            return Err(io::Error::other("the program that opened the file is gone"));
        }
        take_operation(&self.disk.operations_left)?;
        Ok(lock(&self.content))
    }
}

/// Counts an operation of a disk whose power is failing.
fn take_operation(left: &AtomicUsize) -> io::Result<()> {
    let counted = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
        usize::MAX => Some(usize::MAX),
        left => left.checked_sub(1),
    });
    counted.map(|_| ()).map_err(|_| io::Error::other("the power has failed"))
}

#[derive(Debug, Default)]
struct Content {
    /// What programs see.
    current: Vec<u8>,
    /// What is on the platters.
    synced: Vec<u8>,
    /// The difference, in the order in which it was made.
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Content {
    fn change(&mut self, change: Change) -> io::Result<()> {
        apply(&mut self.current, &change)?;
        self.unsynced.push(change);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.unsynced.drain(..).try_for_each(|change| apply(&mut self.synced, &change))
    }

    fn lose_power(&mut self, chance: &mut Stream) {
        for change in self.unsynced.drain(..) {
            let survives = match (change, chance.in_range(0..=2)) {
                (_, 0) => continue,
                // A disk writes whole sectors, but not all of a write's at once.
                (Change::Write(offset, mut bytes), 1) => {
                    let sectors = bytes.len().div_ceil(SECTOR_BYTES) as u64;
                    bytes.truncate(chance.in_range(0..=sectors) as usize * SECTOR_BYTES);
                    Change::Write(offset, bytes)
                }
                (change, _) => change,
            };
            // A write beyond an end whose growth was lost is lost with it.
            let _ = apply(&mut self.synced, &survives);
        }
        self.current.clone_from(&self.synced);
    }
}

/// What a disk writes as a whole or not at all.
const SECTOR_BYTES: usize = 512;

fn apply(bytes: &mut Vec<u8>, change: &Change) -> io::Result<()> {
    match change {
        Change::Length(len) => bytes.resize(*len, 0),
        Change::Write(offset, data) => {
            let place = bytes.get_mut(*offset..*offset + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            place.copy_from_slice(data);
        }
    }
    Ok(())
}

impl StorageBackend for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.content).current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = lock(&self.content);
        let range = range(offset, out.len())?;
        out.copy_from_slice(content.current.get(range).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?.change(Change::Length(range(len, 0)?.start))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = self.change()?;
        if self.disk.ignores_syncs.load(Ordering::Relaxed) { Ok(()) } else { content.sync() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = range(offset, data.len())?.start;
        self.change()?.change(Change::Write(start, data.to_vec()))
    }
}

fn range(offset: u64, len: usize) -> io::Result<Range<usize>> {
    let start = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let end = start.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(start..end)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_is_sure_to_survive_a_power_failure() {
        let (mut kept, mut lost, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let disk = MemoryDisk::default();
            let file = disk.open_storage("documents.redb").unwrap();
            file.set_len(2_048).unwrap();
            file.write(0, b"old").unwrap();
            file.sync_data().unwrap();
            file.write(512, &[7; 1_024]).unwrap();
            disk.lose_power(&mut Stream::new(seed, "disk"));
            let mut bytes = [0; 2_048];
            disk.open_storage("documents.redb").unwrap().read(0, &mut bytes).unwrap();
            assert_eq!(&bytes[..3], b"old");
            match bytes.iter().filter(|byte| **byte == 7).count() {
                0 => lost += 1,
                512 => torn += 1,
                1_024 => kept += 1,
                other => panic!("{other} bytes are no sectors"),
            }
        }
        assert!(kept > 20 && lost > 20 && torn > 5, "{kept} {lost} {torn}");
    }

    #[test]
    fn a_program_that_is_gone_and_a_disk_without_power_change_nothing() {
        let disk = MemoryDisk::default();
        let open = || disk.open_storage("documents.redb").unwrap();
        let first = open();
        first.set_len(4).unwrap();
        disk.end_life();
        assert!(first.write(0, b"late").is_err() && first.sync_data().is_err());
        let second = open();
        disk.fail_after(1);
        assert!(second.write(0, b"last").is_ok() && second.sync_data().is_err());
        disk.end_life();
        let mut bytes = [0; 4];
        open().read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"last", "what a killed program has written stays");
    }
}
