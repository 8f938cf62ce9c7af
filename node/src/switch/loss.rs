//! Why a switch cannot be used, or cannot be used any more.

use std::fmt;
use std::io;

use fipple_protocol::peer::Refusal;

use crate::cluster::SwitchTrouble;

/// What a switch says last to a connection before it ends (`transcripts/p_shutdown_acl`).
const LAST_WORDS: &[u8] = b"shut down";

/// Why a connection could not be made, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// What all nodes are told.
    pub(super) trouble: SwitchTrouble,
    /// What went wrong and what to look at, for the operator's log.
    detail: String,
}

impl Loss {
    pub(super) fn new(trouble: SwitchTrouble, detail: impl fmt::Display) -> Self {
        Self { trouble, detail: detail.to_string() }
    }

    pub(super) fn shut_down() -> Self {
        Self::new(SwitchTrouble::ShutDown, "the switch is being shut down")
    }

    /// A connection that ended by what the switch said.
    pub(super) fn of_notice(body: &[u8]) -> Self {
        if body.windows(LAST_WORDS.len()).any(|words| words == LAST_WORDS) {
            return Self::shut_down();
        }
        Self::new(SwitchTrouble::Unusable, "the switch ended the connection")
    }

    /// A connection that stood, and broke.
    pub(super) fn of_connection(error: &io::Error) -> Self {
        let trouble = match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                SwitchTrouble::Silent
            }
            _ => SwitchTrouble::Crashed,
        };
        Self::new(trouble, format_args!("the connection broke: {error}"))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<Refusal> for Loss {
    fn from(refusal: Refusal) -> Self {
        let trouble = match refusal {
            Refusal::TimedOut { .. } => SwitchTrouble::Silent,
            _ => SwitchTrouble::Unusable,
        };
        Self::new(trouble, refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_tell_a_shutdown_from_a_connection_that_was_ended() {
        let notices: [(&[u8], _); 2] = [
            (b"The system is being shut down.\n", SwitchTrouble::ShutDown),
            (
                b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n",
                SwitchTrouble::Unusable,
            ),
        ];
        for (body, trouble) in notices {
            assert_eq!(Loss::of_notice(body).trouble, trouble);
        }
        for (kind, trouble) in [
            (io::ErrorKind::ConnectionReset, SwitchTrouble::Crashed),
            (io::ErrorKind::TimedOut, SwitchTrouble::Silent),
        ] {
            assert_eq!(Loss::of_connection(&kind.into()).trouble, trouble);
        }
    }

    #[test]
    fn how_a_switch_ended_says_more_than_that_it_is_gone() {
        use SwitchTrouble::{Crashed, NotRunning, Refused, ShutDown, Silent};
        assert_eq!(ShutDown.then(NotRunning), ShutDown);
        assert_eq!(Crashed.then(NotRunning), Crashed);
        assert_eq!(Crashed.then(Silent), Silent);
        assert_eq!(Silent.then(NotRunning), NotRunning, "its machine is back");
        assert_eq!(ShutDown.then(Refused), Refused, "it is back");
    }
}
