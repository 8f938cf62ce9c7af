//! What travels: between nodes, and between a node and a switch.
//!
//! Everything here is pure. Bytes and the current time go in, messages and effects come out; sockets, clocks,
//! disks and randomness belong to the crate `fipple`, which carries them to and fro.

pub mod call;
pub mod esl;
pub mod gate;
pub mod limits;
pub mod ownership;
pub mod peer;
pub mod probe;

mod node_id;

pub use node_id::{InvalidNodeId, NodeId};
