//! The attached FreeSWITCHes.
//!
//! For every configured switch one `supervisor` keeps a connection. Of all nodes that can reach a switch one
//! takes its `gate` and attaches: it listens to the switch's events on a second connection, rebuilds the
//! table of its channels (`snapshot`) and carries commands to them (`attachment`, `commands`).

pub(crate) mod attachment;
pub(crate) mod commands;
mod config;
mod connection;
mod fallback;
mod gate;
pub(crate) mod identifiers;
mod lease;
mod login;
mod originate;
mod snapshot;
pub(crate) mod supervisor;

pub use config::SwitchConfig;
pub use fallback::Fallback;
