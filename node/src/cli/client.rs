//! Talks to a node's REST with the admin key of its data directory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use axum::body::Bytes;
use fipple_protocol::peer::IdempotencyKey;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::timeout;

use super::pinned;
use crate::Error;
use crate::api::{IDEMPOTENCY_KEY, PublishedApi, TOKEN_HEADER, read_admin_key};
use crate::limits::{CLIENT_ANSWER_MAX_BYTES, CLIENT_ANSWER_TIMEOUT, CLIENT_CONNECT_TIMEOUT};
use crate::net::{BoxStream, Host};

/// A way to a running node.
pub struct Client {
    host: Host,
    directory: String,
    api: PublishedApi,
    admin_key: String,
    timeout: Duration,
}

/// A node's answer.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, whole.
    pub body: Bytes,
}

impl Client {
    /// The node of this data directory.
    ///
    /// # Errors
    /// If there is no node in it, or it has never run.
    pub fn open(data_directory: &Path) -> Result<Self, Error> {
        let directory = data_directory.display().to_string();
        if !data_directory.exists() {
            return Err(Error::NotInitialised { directory });
        }
        let host = Host::system(data_directory).map_err(Error::io(format!("open {directory}")))?;
        let Some(admin_key) = read_admin_key(&host)? else { return Err(Error::NotInitialised { directory }) };
        match PublishedApi::read(&host)? {
            Some(api) => Ok(Self { host, directory, api, admin_key, timeout: CLIENT_ANSWER_TIMEOUT }),
            None => Err(Error::NotRunning { directory, detail: String::new() }),
        }
    }

    /// Waits at most so long for an answer.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// `data` of the answer to a GET.
    ///
    /// # Errors
    /// If the node cannot be reached or answers with an error.
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        Ok(self.get_envelope(path).await?["data"].take())
    }

    /// The whole answer to a GET, with what a listing says beside its `data`.
    ///
    /// # Errors
    /// If the node cannot be reached or answers with an error.
    pub async fn get_envelope(&self, path: &str) -> Result<Value, Error> {
        envelope(&self.request(Method::GET, path, Bytes::new()).await?)
    }

    /// `data` of the answer to a POST of `data`.
    ///
    /// # Errors
    /// If the node cannot be reached or answers with an error.
    pub async fn post(&self, path: &str, data: Value) -> Result<Value, Error> {
        self.post_once(path, data, None).await
    }

    /// `data` of the answer to a POST of `data`, which is carried out once for a key however often it is sent.
    ///
    /// # Errors
    /// If the node cannot be reached or answers with an error.
    pub async fn post_once(
        &self,
        path: &str,
        data: Value,
        key: Option<&IdempotencyKey>,
    ) -> Result<Value, Error> {
        let body = serde_json::json!({ "data": data }).to_string();
        let reply = self.send(Method::POST, path, Bytes::from(body), key).await?;
        Ok(envelope(&reply)?["data"].take())
    }

    /// Any request, with any answer.
    ///
    /// # Errors
    /// If the node cannot be reached or does not answer in time.
    pub async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, Error> {
        self.send(method, path, body, None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        key: Option<&IdempotencyKey>,
    ) -> Result<Reply, Error> {
        let address = reachable(self.api.address);
        let not_running = |why: String| Error::NotRunning {
            directory: self.directory.clone(),
            detail: format!(" (it is not at {address}: {why})"),
        };
        let connecting = timeout(CLIENT_CONNECT_TIMEOUT, self.connect(address));
        let stream = match connecting.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(not_running(error.to_string())),
            Err(_elapsed) => return Err(not_running("no answer".into())),
        };
        match timeout(self.timeout, self.exchange(stream, method, path, body, key)).await {
            Ok(answer) => answer.map_err(|error| not_running(error.to_string())),
            Err(_elapsed) => Err(Error::Answer {
                status: 504,
                message: format!("the node at {address} did not answer in {} s", self.timeout.as_secs()),
            }),
        }
    }

    async fn connect(&self, address: SocketAddr) -> std::io::Result<BoxStream> {
        let stream = self.host.network.connect_tcp(address).await?;
        match &self.api.certificate_pem {
            None => Ok(stream),
            Some(certificate) => pinned::connect(stream, certificate, address.ip()).await,
        }
    }

    async fn exchange(
        &self,
        stream: BoxStream,
        method: Method,
        path: &str,
        body: Bytes,
        key: Option<&IdempotencyKey>,
    ) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder();
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key.to_string());
        }
        let request = request
            .method(method)
            .uri(path)
            .header(HOST, self.api.address.to_string())
            .header(TOKEN_HEADER, &self.admin_key)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body =
                Limited::new(response.into_body(), CLIENT_ANSWER_MAX_BYTES).collect().await?.to_bytes();
            Ok(Reply { status, body })
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            reply = &mut exchange => reply,
            // The connection may end with the answer already read into it.
            _ended = connection => exchange.await,
        }
    }
}

/// An answer's JSON, or its message as an error.
fn envelope(reply: &Reply) -> Result<Value, Error> {
    let status = reply.status;
    let envelope: Value = serde_json::from_slice(&reply.body)
        .map_err(|_| Error::Answer { status, message: "the answer is not from a fipple node".into() })?;
    if (200..300).contains(&status) {
        return Ok(envelope);
    }
    let message = envelope["message"].as_str().unwrap_or("the node gave no reason").to_owned();
    Err(Error::Answer { status, message })
}

/// A node that listens everywhere is reached on the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// `text` as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_one_segment() {
        assert_eq!(segment("a/../b c?"), "a%2F..%2Fb%20c%3F");
    }

    #[test]
    fn errors_carry_the_nodes_own_words() {
        let reply = |status, body: &'static str| Reply { status, body: Bytes::from_static(body.as_bytes()) };
        assert_eq!(envelope(&reply(200, r#"{"data":[1]}"#)).unwrap(), serde_json::json!({ "data": [1] }));
        let said = envelope(&reply(404, r#"{"data":null,"message":"no channel x"}"#)).unwrap_err();
        assert_eq!(said.to_string(), "no channel x (404)");
        assert!(matches!(envelope(&reply(200, "<html>")), Err(Error::Answer { status: 200, .. })));
    }
}
