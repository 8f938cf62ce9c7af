//! Reading a request's body: `{"data": ...}`, bounded, in time, and with errors that teach.

use std::error::Error as _;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use fipple_protocol::peer::{ChannelCommand, OriginateCommand};
use http_body_util::LengthLimitError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::envelope::Failure;
use crate::limits::{API_BODY_MAX_BYTES, API_BODY_READ_TIMEOUT};

/// Something that can be asked for in a body.
pub(super) trait Ask: DeserializeOwned {
    /// A body that works, for error messages.
    const EXAMPLE: &'static str;
}

impl Ask for ChannelCommand {
    const EXAMPLE: &'static str = r#"{"data":{"action":"play","file":"tone_stream://%(500,0,440)"}}"#;
}

impl Ask for OriginateCommand {
    const EXAMPLE: &'static str = r#"{"data":{"endpoint":"user/1001","flow":"welcome"}}"#;
}

/// Any API command for a switch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchApiCommand {
    /// The command line, as one would type it in `fs_cli`.
    pub(super) command: String,
}

impl Ask for SwitchApiCommand {
    const EXAMPLE: &'static str = r#"{"data":{"command":"sofia status"}}"#;
}

/// What the body's `data` asks for. The media type does not matter: there is nothing but JSON here.
pub(super) struct Data<T>(pub(super) T);

impl<T: Ask, S: Send + Sync> FromRequest<S> for Data<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Failure> {
        let body = read(request).await?;
        parse(&body).map(Self)
    }
}

async fn read(request: Request) -> Result<Bytes, Failure> {
    let reading = to_bytes(request.into_body(), API_BODY_MAX_BYTES);
    match tokio::time::timeout(API_BODY_READ_TIMEOUT, reading).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => {
            Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("The body is longer than the {API_BODY_MAX_BYTES} bytes that a request may have."),
            ))
        }
        Ok(Err(error)) => {
            let message = format!("The body broke off: {error}.");
            Err(Failure::new(StatusCode::BAD_REQUEST, "body_incomplete", message))
        }
        Err(_elapsed) => {
            let seconds = API_BODY_READ_TIMEOUT.as_secs();
            let message = format!("The body was not all there after {seconds} s.");
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message))
        }
    }
}

fn parse<T: Ask>(body: &[u8]) -> Result<T, Failure> {
    /// Unknown fields beside `data` are let through: clients of the field's other servers send some.
    #[derive(Deserialize)]
    struct Body<T> {
        data: T,
    }
    serde_json::from_slice::<Body<T>>(body).map(|body| body.data).map_err(|error| {
        let (code, what) = match error.classify() {
            Category::Data => ("invalid_request", "The body is JSON, but not what is expected here"),
            Category::Syntax | Category::Eof | Category::Io => ("invalid_json", "The body is not JSON"),
        };
        let message = format!("{what}: {error}. An example: {}", T::EXAMPLE);
        Failure::new(StatusCode::BAD_REQUEST, code, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_right() {
        assert!(parse::<ChannelCommand>(ChannelCommand::EXAMPLE.as_bytes()).is_ok());
        assert!(parse::<OriginateCommand>(OriginateCommand::EXAMPLE.as_bytes()).is_ok());
        assert!(parse::<SwitchApiCommand>(SwitchApiCommand::EXAMPLE.as_bytes()).is_ok());
    }

    #[test]
    fn errors_say_where_and_what_would_be_right() {
        let said = |body: &str| parse::<ChannelCommand>(body.as_bytes()).unwrap_err();
        let syntax = said("{\"data\":{\n\"action\" \"play\"}}");
        assert_eq!(syntax.code, "invalid_json");
        assert!(syntax.message.contains("line 2 column 10"), "{}", syntax.message);
        for body in ["", "{\"data\":"] {
            assert_eq!(said(body).code, "invalid_json", "{body}");
        }
        let unknown = said(r#"{"data":{"action":"dance"}}"#);
        assert_eq!(unknown.code, "invalid_request");
        for word in
            ["dance", "answer", "hangup", "park", "play", "transfer", "bridge", "set", "execute", "break"]
        {
            assert!(unknown.message.contains(&format!("`{word}`")), "{}", unknown.message);
        }
        let missing = said(r#"{"data":{"action":"play"}}"#);
        assert!(missing.message.contains("missing field `file`"), "{}", missing.message);
        let surplus = said(r#"{"data":{"action":"play","file":"a","flie":"b"}}"#);
        assert!(surplus.message.contains("`flie`"), "{}", surplus.message);
        let unwrapped = said(r#"{"action":"play","file":"a"}"#);
        assert!(unwrapped.message.contains("missing field `data`"), "{}", unwrapped.message);
    }
}
