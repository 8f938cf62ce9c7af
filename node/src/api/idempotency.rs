//! The header by which a request may be sent again without being carried out again.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use fipple_protocol::peer::IdempotencyKey;

use super::envelope::Failure;

/// The header, as its IETF draft (draft-ietf-httpapi-idempotency-key-header) and the services of the field name it.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The key of a request, if it has one.
pub(super) struct Key(pub(super) Option<IdempotencyKey>);

/// Of a request that takes no key: one that comes with it is refused, for its sender would believe in it.
pub(super) struct NoKey;

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(unfit("it stands there more than once"));
        }
        let text = value.to_str().map_err(|_| unfit("1 to 255 visible ASCII characters are needed"))?;
        text.parse().map(|key| Self(Some(key))).map_err(|error| unfit(&format!("{error}")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NoKey {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        if parts.headers.contains_key(IDEMPOTENCY_KEY) {
            return Err(unfit("this request takes none: sent again, it is carried out again"));
        }
        Ok(Self)
    }
}

fn unfit(why: &str) -> Failure {
    let message = format!("The header Idempotency-Key cannot be used: {why}.");
    Failure::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", message)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    async fn key(values: &[&[u8]]) -> Result<Option<IdempotencyKey>, Failure> {
        let mut request = Request::new(());
        for value in values {
            request.headers_mut().append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        let (mut parts, ()) = request.into_parts();
        assert_eq!(NoKey::from_request_parts(&mut parts, &()).await.is_ok(), values.is_empty());
        Key::from_request_parts(&mut parts, &()).await.map(|Key(key)| key)
    }

    #[tokio::test]
    async fn a_key_is_one_word_in_one_header() {
        assert_eq!(key(&[]).await, Ok(None));
        assert_eq!(key(&[b"order-7"]).await, Ok("order-7".parse().ok()));
        for values in
            [&[b"" as &[u8]] as &[&[u8]], &[b"a b"], &[b"a\tb"], &[b"\xe9"], &[&[b'x'; 256]], &[b"a", b"a"]]
        {
            let failure = key(values).await.unwrap_err();
            assert_eq!((failure.status, failure.code), (StatusCode::BAD_REQUEST, "invalid_idempotency_key"));
            assert!(failure.message.contains("Idempotency-Key"), "{}", failure.message);
        }
    }
}
