//! A client as somebody would write it in an afternoon: one connection a request, and JSON.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Talks to one node's REST.
#[derive(Clone)]
pub struct Client {
    /// Where the node listens.
    pub address: SocketAddr,
    /// Its admin key; empty for none.
    pub token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body's JSON, or its text as a JSON string.
    pub body: Value,
}

impl Client {
    /// `GET path`. An error tells that no answer came.
    pub fn get(&self, path: &str) -> Result<Answer, String> {
        self.send("GET", path, "")
    }

    /// `POST path` with `{"data": data}`.
    pub fn post(&self, path: &str, data: Value) -> Result<Answer, String> {
        self.send("POST", path, &serde_json::json!({ "data": data }).to_string())
    }

    /// Any request.
    pub fn send(&self, method: &str, path: &str, body: &str) -> Result<Answer, String> {
        let answer =
            self.exchange(method, path, body).map_err(|error| format!("{method} {path}: {error}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer has no end of its header")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        Ok(Answer { status: status.ok_or("the answer has no status")?, body })
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let Self { address, token } = self;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nX-Auth-Token: {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
