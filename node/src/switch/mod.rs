//! The attached FreeSWITCHes.
//!
//! For every configured switch one `supervisor` keeps a connection. Of all nodes that can reach a switch one
//! takes its `gate` and attaches: it listens to the switch's events on a second connection, rebuilds the
//! table of its channels (`snapshot`) and carries commands to them (`attachment`, `commands`), past the `fence` that the
//! switch itself has, which `detection` finds. Who owns a call is written into it by `takeover`.

pub(crate) mod answers;
pub(crate) mod attachment;
pub(crate) mod commands;
mod config;
mod connection;
mod detection;
mod fallback;
pub(crate) mod fence;
mod gate;
pub(crate) mod identifiers;
mod keys;
mod lease;
mod login;
mod originate;
mod snapshot;
pub(crate) mod supervisor;
mod takeover;

pub use config::SwitchConfig;
pub use fallback::Fallback;
pub use fence::Fence;
