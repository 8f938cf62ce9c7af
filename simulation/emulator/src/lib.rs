//! An emulated FreeSWITCH: its Event Socket, its calls and its habits, without audio and without SIP.
//!
//! [`Switch`] is the whole of it: a state machine into which bytes and the time go and out of which bytes come, on
//! one thread, with all its chance from one seed. [`server`] carries it on a tokio runtime and over any streams.
//! What it does was taken from transcripts of FreeSWITCH 1.11.3-dev; where it knowingly differs, the place says so.
//!
//! A controller's dial strings choose what becomes of a call: see [`config::Destination::well_known`]. What the person or
//! the machine at the other end of a leg does is a list of steps: see [`far_end`].

mod api;
mod applications;
mod attempt;
mod bus;
mod carrier;
mod channel;
mod commands;
mod conference;
mod connection;
mod custom;
mod database;
mod dial;
mod dial_string;
mod dialled;
mod disorder;
mod event;
mod expansion;
mod fire;
mod freeze;
mod hash;
mod hold;
mod life;
mod lifecycle;
mod logging;
mod loopback;
mod lua;
mod outbox;
mod pattern;
mod permissions;
mod profile;
mod report;
mod schedule;
mod scope;
mod sendmsg;
mod separate;
mod session;
mod sip;
mod subscription;
mod switch;
mod thread;
mod variables;

pub mod cause;
pub mod config;
pub mod dialplan;
pub mod error;
pub mod far_end;
pub mod fence;
pub mod journal;
pub mod ledger;
pub mod limits;
#[cfg(feature = "measure")]
pub mod measure;
pub mod random;
pub mod registrar;
pub mod server;
pub mod time;
pub mod traffic;
pub mod xml_dialplan;

pub use cause::Cause;
pub use channel::Uuid;
pub use config::{Config, InboundCall};
pub use disorder::Disorder;
pub use error::Error;
pub use ledger::Ledger;
pub use server::{Connecting, Connector, Stream, SwitchHandle, Watcher, serve, serve_with};
pub use switch::{ConnectId, ConnectionId, Counts, Input, Output, Switch};
pub use time::Time;
pub use xml_dialplan::XmlDialplan;
