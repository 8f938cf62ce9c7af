//! What can go wrong for whoever drives the switch. What a controller does wrong is answered on the wire instead.

use thiserror::Error;

/// An error of the emulated switch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// There is no such channel (any more); nothing was changed.
    #[error("no channel {uuid} exists on this switch")]
    NoSuchChannel {
        /// The uuid that was asked for.
        uuid: String,
    },
    /// All sessions are in use; no call was created.
    #[error("the switch refuses a call: all {limit} sessions are in use")]
    TooManySessions {
        /// The number of sessions.
        limit: usize,
    },
    /// A file of the XML dialplan is not well-formed, or beyond the part that is understood; nothing more of it was
    /// taken.
    #[error("the XML dialplan cannot be read: {reason}")]
    Dialplan {
        /// What is wrong.
        reason: String,
    },
    /// No further phone can register; nothing was changed.
    #[error("the switch refuses a registration: it holds {limit} already")]
    TooManyRegistrations {
        /// The number of registrations.
        limit: usize,
    },
    /// The switch is shut down, shutting down or paused; no call was created.
    #[error("the switch takes no calls now")]
    NotTakingCalls,
    /// A slow reader has frozen the switch, and it answers no calls; none was created.
    #[error("the switch is frozen by a controller that does not read")]
    Frozen,
    /// The task that served the switch has ended; the switch and its calls are gone.
    #[error("the emulated switch has stopped")]
    Stopped,
}
