//! The node's admin key, and who may pass with it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::digest::{Digest, SHA256, digest};

use super::ApiState;
use super::envelope::Failure;
use crate::Error;
use crate::net::Host;

/// The file in the data directory that holds the key: 64 hexadecimal digits and a line's end.
const ADMIN_KEY_FILE: &str = "admin.key";

/// The header that carries the key.
pub const TOKEN_HEADER: &str = "x-auth-token";

/// The length of a key in random bytes: nobody guesses 256 bits.
const KEY_BYTES: usize = 32;

/// What is needed to know the admin key when one sees it.
pub(crate) struct AdminKey {
    digest: Digest,
}

impl AdminKey {
    /// Reads the node's key, and makes it where there is none.
    pub(crate) fn load_or_create(host: &Host) -> Result<Self, Error> {
        let text = match read_admin_key(host)? {
            Some(text) => text,
            None => create(host)?,
        };
        Ok(Self { digest: digest(&SHA256, text.as_bytes()) })
    }

    /// Digests are compared and not the keys: who guesses cannot steer a digest byte by byte, so the time that
    /// a comparison takes tells nothing.
    fn matches(&self, token: &[u8]) -> bool {
        digest(&SHA256, token).as_ref() == self.digest.as_ref()
    }
}

/// The node's admin key, or none if the node has not been set up.
///
/// # Errors
/// If the file cannot be read or holds no key.
pub fn read_admin_key(host: &Host) -> Result<Option<String>, Error> {
    let Some(bytes) = host.disk.read(ADMIN_KEY_FILE).map_err(Error::io("read admin.key"))? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let detail =
            format!("it has to hold {} hexadecimal digits; remove it to get a new one", 2 * KEY_BYTES);
        return Err(Error::Damaged { file: ADMIN_KEY_FILE.into(), detail });
    }
    Ok(Some(text))
}

fn create(host: &Host) -> Result<String, Error> {
    let mut bytes = [0; KEY_BYTES];
    host.random.fill(&mut bytes).map_err(Error::io("make an admin key"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    host.disk
        .replace(ADMIN_KEY_FILE, format!("{text}\n").as_bytes())
        .map_err(Error::io("write admin.key"))?;
    Ok(text)
}

/// Makes the node's admin key, unless there is one.
///
/// # Errors
/// If it cannot be read, made or written.
pub fn ensure_admin_key(host: &Host) -> Result<(), Error> {
    AdminKey::load_or_create(host).map(drop)
}

/// The layer in front of everything that needs the key.
pub(super) async fn require(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let token = request.headers().get(TOKEN_HEADER);
    if token.is_some_and(|token| state.admin_key.matches(token.as_bytes())) {
        return next.run(request).await;
    }
    let trouble =
        if token.is_some() { "The key in X-Auth-Token is not this node's" } else { "A key is missing" };
    let message = format!(
        "{trouble}. Send the node's admin key in the header X-Auth-Token; it is in the file {ADMIN_KEY_FILE} in \
         the node's data directory. Every node has its own."
    );
    Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response()
}
