//! What every answer looks like.
//!
//! Handlers return a [`Success`] or a [`Failure`]; both travel through axum as an extension of an empty
//! response, and [`wrap`], the outermost layer, turns them into JSON. So the request's id is known in one
//! place, and what axum itself answers (no route, wrong method) gets the same envelope.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tracing::Instrument;

use super::ApiState;
use crate::limits::API_REQUEST_ID_MAX_BYTES;
use crate::net::Random;

/// The header in which a request's id comes and goes.
const REQUEST_ID: &str = "x-request-id";

/// An answer to a request that was carried out.
#[derive(Clone, Debug)]
pub(super) struct Success {
    status: StatusCode,
    data: Box<RawValue>,
    listing: Option<ListingNotes>,
}

/// What a reader of a listing has to know before trusting it to be whole.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ListingNotes {
    /// Nodes whose part is missing.
    pub(super) unanswered: Vec<UnansweredNode>,
    /// Whether there is more than a listing may hold.
    pub(super) truncated: bool,
}

/// A node that did not answer in time.
#[derive(Clone, Debug, Serialize)]
pub(super) struct UnansweredNode {
    pub(super) id: String,
    pub(super) name: Option<String>,
}

impl Success {
    /// 200 with `data`.
    pub(super) fn ok(data: &impl Serialize) -> Result<Self, Failure> {
        let data = to_raw_value(data).map_err(|error| {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("no JSON for it: {error}"))
        })?;
        Ok(Self { status: StatusCode::OK, data, listing: None })
    }

    /// With another status than 200.
    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// For listings that may lack something.
    pub(super) fn listing(self, notes: ListingNotes) -> Self {
        Self { listing: Some(notes), ..self }
    }
}

/// An answer to a request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// A word for programs.
    pub(super) code: &'static str,
    /// A sentence for people: what is wrong and what to do.
    pub(super) message: String,
    /// When it is worth trying again.
    pub(super) retry_after_seconds: Option<u32>,
}

impl Failure {
    /// A failure that trying again does not cure.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_seconds: None }
    }

    /// One that may be over in so many seconds.
    pub(super) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }
}

impl IntoResponse for Success {
    fn into_response(self) -> Response {
        as_extension(Outcome::Success(self))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        as_extension(Outcome::Failure(self))
    }
}

#[derive(Clone)]
enum Outcome {
    Success(Success),
    Failure(Failure),
}

fn as_extension(outcome: Outcome) -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(outcome);
    response
}

/// The JSON of an answer.
#[derive(Serialize)]
struct Envelope<'a> {
    data: &'a RawValue,
    request_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    listing: Option<&'a ListingNotes>,
}

/// The outermost layer: gives the request its id, puts the answer into its envelope, counts and logs it.
pub(super) async fn wrap(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let started_at = tokio::time::Instant::now();
    let id = request_id(request.headers(), &*state.host.random);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", id);
    let mut response = next.run(request).instrument(span).await;
    let mut failure = None;
    if let Some(outcome) = response.extensions_mut().remove::<Outcome>() {
        let headers = std::mem::take(response.headers_mut());
        if let Outcome::Failure(reason) = &outcome {
            failure = Some(reason.code);
        }
        response = render(&outcome, &id);
        // What axum set, such as the methods that a path allows.
        response
            .headers_mut()
            .extend(headers.into_iter().filter(|(name, _)| name.as_ref() == Some(&header::ALLOW)));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status();
    state.metrics.observe(status, started_at.elapsed());
    if status.is_server_error() {
        tracing::warn!(id, %method, path, status = status.as_u16(), failure, "request failed");
    } else {
        tracing::debug!(id, %method, path, status = status.as_u16(), failure, "request");
    }
    response
}

fn render(outcome: &Outcome, id: &str) -> Response {
    let (status, envelope, retry_after) = match outcome {
        Outcome::Success(success) => {
            let envelope = Envelope {
                data: &success.data,
                request_id: id,
                status: "success",
                message: None,
                error: None,
                listing: success.listing.as_ref(),
            };
            (success.status, envelope, None)
        }
        Outcome::Failure(failure) => {
            let envelope = Envelope {
                data: RawValue::NULL,
                request_id: id,
                status: "error",
                message: Some(&failure.message),
                error: Some(failure.code),
                listing: None,
            };
            (failure.status, envelope, failure.retry_after_seconds)
        }
    };
    // Strings, a map with text keys and JSON that is JSON already: there is nothing that could not be written.
    let body = serde_json::to_vec(&envelope).unwrap_or_default();
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The id that the client gave, if it is fit for a log, or a new one.
fn request_id(headers: &HeaderMap, random: &dyn Random) -> String {
    let fit = |id: &&str| {
        !id.is_empty()
            && id.len() <= API_REQUEST_ID_MAX_BYTES
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if let Some(id) = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(fit) {
        return id.to_owned();
    }
    let mut bytes = [0; 16];
    // An id is no secret: without randomness all requests share one, and that is no reason to refuse them.
    let _without_randomness = random.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Counting;

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
            bytes.iter_mut().zip(0..).for_each(|(byte, value)| *byte = value);
            Ok(())
        }
    }

    #[test]
    fn only_ids_that_are_fit_for_a_log_are_taken() {
        let id_for = |sent: &str| {
            let value = HeaderValue::from_bytes(sent.as_bytes()).unwrap();
            request_id(
                &HeaderMap::from_iter([(header::HeaderName::from_static(REQUEST_ID), value)]),
                &Counting,
            )
        };
        assert_eq!(id_for("4bf92f35-77b3.4d_a6"), "4bf92f35-77b3.4d_a6");
        for unfit in ["", "a b", "a\tb", "\"", "\u{e9}", &"x".repeat(API_REQUEST_ID_MAX_BYTES + 1)] {
            assert_eq!(id_for(unfit), "000102030405060708090a0b0c0d0e0f", "{unfit:?}");
        }
    }
}
