//! A fipple node: the library behind the program `fipple`.
//!
//! The rooms, in the order in which data flows through them: [`net`] is the seam to the machine, [`cluster`] the
//! nodes among themselves, [`switch`] the attached FreeSWITCHes, [`calls`] what is done with their calls,
//! [`documents`] the replicated configuration, [`api`] REST, and [`cli`] the command line. [`Node`] puts them
//! together.

pub mod api;
pub mod calls;
pub mod cli;
pub mod cluster;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod documents;
pub mod limits;
pub mod metrics;
pub mod net;
#[cfg(feature = "planted")]
pub mod planted;
pub mod switch;

mod error;
mod node;

pub use error::Error;
pub use node::Node;
