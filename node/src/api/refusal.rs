//! What each [`Refusal`] is in HTTP.

use axum::http::StatusCode;
use fipple_protocol::peer::Refusal;

use super::envelope::Failure;
use crate::limits::API_RETRY_AFTER_SECONDS;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let said = refusal.to_string();
        match refusal {
            Refusal::UnknownChannel { .. } => Self::new(
                StatusCode::NOT_FOUND,
                "unknown_channel",
                format!("{said}, or it has ended. GET /v2/channels lists those that there are."),
            ),
            Refusal::UnknownSwitch { .. } => Self::new(
                StatusCode::NOT_FOUND,
                "unknown_switch",
                format!("{said}. GET /v2/cluster/switches lists those that there are."),
            ),
            Refusal::SwitchUnavailable { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "switch_unavailable",
                format!("{said}. Try again; GET /v2/cluster/switches shows how the switch is."),
            )
            .retry_after(API_RETRY_AFTER_SECONDS),
            Refusal::SwitchRefused { .. } => Self::new(
                StatusCode::CONFLICT,
                "refused_by_switch",
                format!("{said}. These are its own words; nothing was done."),
            ),
            Refusal::NotOwner { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "owner_moved",
                format!("The call was changing hands: {said}. Try again."),
            )
            .retry_after(API_RETRY_AFTER_SECONDS),
            Refusal::Fenced { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "fenced",
                format!("The call has changed hands, and nothing was done: {said}. Try again."),
            )
            .retry_after(API_RETRY_AFTER_SECONDS),
            // A command that ran before is answered as a success where its key was given.
            Refusal::Repeated { .. } => {
                Self::new(StatusCode::CONFLICT, "repeated", format!("{said}. Nothing was done."))
            }
            Refusal::KeyReused { .. } => Self::new(
                StatusCode::CONFLICT,
                "key_reused",
                format!("{said}, and nothing was done. Give each command a key of its own."),
            ),
            Refusal::InvalidArgument { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_argument", format!("{said}."))
            }
            Refusal::Overloaded { .. } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "overloaded",
                format!("{said}. Try again, more slowly."),
            )
            .retry_after(API_RETRY_AFTER_SECONDS),
            Refusal::TimedOut { .. } => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timed_out",
                format!(
                    "{said}. It may have been done nevertheless: look at the channel before you repeat it. What has an \
                     Idempotency-Key can be repeated as it is."
                ),
            ),
            Refusal::Unreachable { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "node_unreachable",
                format!("{said}. Try again; GET /v2/cluster/members shows how the nodes are."),
            )
            .retry_after(API_RETRY_AFTER_SECONDS),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use fipple_protocol::NodeId;

    use super::*;

    /// One of each kind, with its status and its word.
    pub(crate) fn refusals() -> Vec<(Refusal, u16, &'static str)> {
        let detail = || "why".to_owned();
        vec![
            (Refusal::UnknownChannel { channel: detail() }, 404, "unknown_channel"),
            (Refusal::UnknownSwitch { switch: detail() }, 404, "unknown_switch"),
            (Refusal::SwitchUnavailable { switch: detail(), detail: detail() }, 503, "switch_unavailable"),
            (Refusal::SwitchRefused { reply: detail() }, 409, "refused_by_switch"),
            (Refusal::NotOwner { owner: None }, 503, "owner_moved"),
            (Refusal::Fenced { call: detail(), epoch: 3, current: 4 }, 503, "fenced"),
            (Refusal::Repeated { id: 7 }, 409, "repeated"),
            (Refusal::KeyReused { id: 7 }, 409, "key_reused"),
            (Refusal::InvalidArgument { detail: detail() }, 400, "invalid_argument"),
            (Refusal::Overloaded { detail: detail() }, 429, "overloaded"),
            (Refusal::TimedOut { detail: detail() }, 504, "timed_out"),
            (
                Refusal::Unreachable { node: NodeId::from_bytes([7; 16]), detail: detail() },
                503,
                "node_unreachable",
            ),
        ]
    }

    #[test]
    fn every_refusal_has_a_status_and_a_word_of_its_own() {
        for (refusal, status, code) in refusals() {
            let failure = Failure::from(refusal);
            assert_eq!((failure.status.as_u16(), failure.code), (status, code));
            assert_eq!(failure.retry_after_seconds.is_some(), status == 503 || status == 429, "{code}");
        }
    }
}
