//! The Event Socket: how FreeSWITCH and a controller talk.
//!
//! [`Decoder`] turns what a switch sends into [`Frame`]s, lazily and without allocating; a frame that carries an
//! [`Event`] gives it out in one form, whether it came as plain text, JSON or XML. [`Command`] writes what a
//! controller sends. [`request`] and [`encode`] are the other side, for whoever plays the switch.
//!
//! Three rules keep a caller, who chooses much of what stands in an event, from writing events of his own: a body
//! is found by its length and never by its content, a value is decoded only after the lines are split, and the
//! last of several headers of one name counts ([`Headers`] says why).

pub mod encode;
pub mod names;
pub mod raw_text;
pub mod request;

mod command;
mod command_writer;
mod decoder;
mod error;
mod event;
mod frame;
mod headers;
mod json;
mod value;
mod xml;

pub use command::{Command, Execute, LogLevel, Secret};
pub use decoder::Decoder;
pub use encode::EventFormat;
pub use error::Error;
pub use event::Event;
pub use frame::{Frame, FrameKind};
pub use headers::Headers;
pub use value::{Elements, Value};
