//! Machines that exist only in memory, on which real nodes run.
//!
//! A [`Fabric`] is a network; a [`Machine`] on it has an address, a disk and a seed, and yields the
//! [`fipple::net::Host`] on which a node starts without knowing the difference. All time is tokio's, which a
//! test pauses: it then jumps from one deadline to the next, and ten minutes pass in a second.

mod datagram;
mod disk;
mod fabric;
mod limits;
mod machine;
mod pipe;

pub use disk::MemoryDisk;
pub use fabric::Fabric;
pub use machine::Machine;
