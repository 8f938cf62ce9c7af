//! The attached FreeSWITCHes.
//!
//! For every configured switch one `supervisor` keeps a connection, a `session`. Of all nodes that can reach a switch one
//! takes its gate and attaches (`serving`): it listens to the switch's events on a second connection, rebuilds the
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
pub(crate) mod identifiers;
mod keys;
mod lease;
mod links;
mod login;
mod loss;
pub(crate) mod metrics;
mod originate;
mod serving;
mod session;
mod snapshot;
mod standing;
pub(crate) mod supervisor;
mod takeover;

pub use config::SwitchConfig;
pub use fallback::Fallback;
pub use fence::Fence;
