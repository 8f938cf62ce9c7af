//! `/v2/calls`: what became of calls.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use fipple_protocol::peer::Refusal;

use super::ApiState;
use super::envelope::{Failure, ListingNotes, Success};
use super::path::Segment;

/// `GET /v2/calls/{uuid}/trace`
pub(super) async fn trace(
    State(state): State<Arc<ApiState>>,
    Segment(uuid): Segment,
) -> Result<Success, Failure> {
    let trace = state.calls.trace(&uuid).await.map_err(|refusal| match refusal {
        Refusal::UnknownChannel { .. } => Failure::new(
            StatusCode::NOT_FOUND,
            "unknown_call",
            format!("No node remembers a call {uuid}. The oldest is forgotten first; GET /v2/channels lists those that live."),
        ),
        refusal => refusal.into(),
    })?;
    let notes = ListingNotes { unanswered: state.named(&trace.unanswered), truncated: trace.truncated };
    Ok(Success::ok(&trace.entries)?.listing(notes))
}
