//! `/v2/channels`: seeing, commanding and starting calls.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use fipple_protocol::peer::{ChannelCommand, OriginateCommand};
use serde::Serialize;

use super::ApiState;
use super::body::Data;
use super::envelope::{Failure, ListingNotes, Success};
use super::path::Segment;

/// `GET /v2/channels`
pub(super) async fn list(State(state): State<Arc<ApiState>>) -> Result<Success, Failure> {
    let listing = state.calls.list().await;
    let notes = ListingNotes { unanswered: state.named(&listing.unanswered), truncated: listing.truncated };
    Ok(Success::ok(&listing.channels)?.listing(notes))
}

/// `GET /v2/channels/{uuid}`
pub(super) async fn find(
    State(state): State<Arc<ApiState>>,
    Segment(uuid): Segment,
) -> Result<Success, Failure> {
    Success::ok(&state.calls.find(&uuid).await?)
}

/// What became of a command.
#[derive(Serialize)]
struct Commanded<'a> {
    uuid: &'a str,
    /// The switch's own words.
    result: String,
}

/// `POST /v2/channels/{uuid}`
pub(super) async fn command(
    State(state): State<Arc<ApiState>>,
    Segment(uuid): Segment,
    Data(command): Data<ChannelCommand>,
) -> Result<Success, Failure> {
    let result = state.calls.command(&uuid, command).await?;
    Success::ok(&Commanded { uuid: &uuid, result })
}

/// A call that was started.
#[derive(Serialize)]
struct Originated {
    /// Its A leg.
    uuid: String,
}

/// `POST /v2/channels`
pub(super) async fn originate(
    State(state): State<Arc<ApiState>>,
    Data(command): Data<OriginateCommand>,
) -> Result<Success, Failure> {
    let uuid = state.calls.originate(command).await?;
    Ok(Success::ok(&Originated { uuid })?.status(StatusCode::CREATED))
}
