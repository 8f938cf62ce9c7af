//! Reading what a path names.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::envelope::Failure;

/// The one segment of the path that is a name, with its percent signs resolved.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(error) => {
                let message = format!("{}. Percent signs have to stand for UTF-8.", error.body_text());
                Err(Failure::new(StatusCode::BAD_REQUEST, "invalid_path", message))
            }
        }
    }
}
