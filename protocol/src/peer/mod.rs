//! What one node says to another.
//!
//! Between two nodes there is one QUIC connection with one long-lived stream a [`StreamKind`] in each
//! direction, never a stream a message. A stream starts with its kind in one byte; then frames follow, each a
//! length and a CBOR message (`frame`). Fields are numbered, so that nodes of different versions understand
//! what both of them know.

mod channel;
mod command;
mod frame;
mod key;
mod message;
mod probe_message;
mod trace;

pub use channel::{CallEvent, CallEventKind, CallSnapshot, ChannelInfo, StepResult};
pub use command::{ChannelCommand, OriginateCommand};
pub use frame::{FrameDecoder, FrameError, write_frame};
pub use key::{IdempotencyKey, InvalidIdempotencyKey, fingerprint, is_keyed, unkeyed_id};
pub use message::{ControlMessage, Hello, Refusal, Request, Response, StreamKind};
pub use probe_message::ProbeMessage;
pub use trace::TraceEntry;
