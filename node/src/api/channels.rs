//! `/v2/channels`: seeing, commanding and starting calls.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use fipple_protocol::peer::{ChannelCommand, OriginateCommand};
use serde::Serialize;

use super::ApiState;
use super::body::Data;
use super::envelope::{Failure, ListingNotes, Success};
use super::idempotency::Key;
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
    /// The switch's own words; empty where nothing was done now.
    result: String,
    /// Whether nothing was done now, because it had run already under the same key.
    repeated: bool,
}

/// `POST /v2/channels/{uuid}`
pub(super) async fn command(
    State(state): State<Arc<ApiState>>,
    Segment(uuid): Segment,
    Key(key): Key,
    Data(command): Data<ChannelCommand>,
) -> Result<Success, Failure> {
    let commanded = state.calls.command_once(&uuid, command, key.as_ref()).await?;
    Success::ok(&Commanded { uuid: &uuid, result: commanded.result, repeated: commanded.repeated })
}

/// A call that was started.
#[derive(Serialize)]
struct Originated {
    /// Its A leg.
    uuid: String,
    /// Whether nothing was done now, because it had been started already under the same key. It may still ring.
    repeated: bool,
}

/// `POST /v2/channels`
pub(super) async fn originate(
    State(state): State<Arc<ApiState>>,
    Key(key): Key,
    Data(command): Data<OriginateCommand>,
) -> Result<Success, Failure> {
    let started = state.calls.originate_once(command, key.as_ref()).await?;
    let status = if started.repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok(Success::ok(&Originated { uuid: started.uuid, repeated: started.repeated })?.status(status))
}
