//! A machine from which programs use the nodes' REST, as any client does: over TCP, with HTTP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fipple::net::Network;
use fipple_determinism::Stream;
use fipple_emulator::Time;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::runtime::{ClockError, RuntimeHost};
use crate::clock;
use crate::error::Error;
use crate::limits::{REST_ANSWER_MAX_BYTES, REST_TIMEOUT};
use crate::network::{Fabric, HostId, HostNetwork};

/// A request for a node's REST.
#[derive(Debug, Clone)]
pub struct RestRequest {
    /// `GET`, `POST` and so on.
    pub method: &'static str,
    /// Where.
    pub path: String,
    /// What is sent; nothing for none.
    pub body: Option<String>,
    /// What it is for; the answer bears it too.
    pub purpose: Purpose,
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A command for the call with this uuid.
    Command(String),
    /// A list of all channels.
    List,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct RestAnswer {
    /// When it came.
    pub at: Time,
    /// When the request was sent.
    pub asked: Time,
    /// The node that was asked, by its number.
    pub node: usize,
    /// What it was for.
    pub purpose: Purpose,
    /// Status and body, or why there is none.
    pub outcome: Result<(u16, Bytes), String>,
}

/// The clients' machine.
pub(super) struct ClientHost {
    running: RuntimeHost,
    network: Arc<HostNetwork>,
    answers: Arc<Mutex<VecDeque<RestAnswer>>>,
}

impl ClientHost {
    pub(super) fn start(fabric: &Fabric, id: HostId, seed: u64, now: Time) -> Result<Self, Error> {
        let libc = Stream::new(seed, "client.libc");
        let running = RuntimeHost::start(fabric, id, "client", now, ClockError::default(), libc)?;
        let network = Arc::new(HostNetwork { fabric: fabric.clone(), host: id });
        Ok(Self { running, network, answers: Arc::default() })
    }

    pub(super) fn run(&mut self, until: Time) {
        self.running.run(until);
    }

    /// Sends a request to the REST of a node; what becomes of it comes in [`Self::next_answer`].
    pub(super) fn send(&mut self, node: usize, address: SocketAddr, key: String, request: RestRequest) {
        let (network, answers) = (self.network.clone(), self.answers.clone());
        self.running.enter(|runtime| {
            runtime.spawn(async move {
                let asked = clock::now();
                let purpose = request.purpose.clone();
                let exchange = timeout(REST_TIMEOUT, exchange(&network, address, &key, request));
                let outcome = exchange.await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
                lock(&answers).push_back(RestAnswer { at: clock::now(), asked, node, purpose, outcome });
            })
        });
    }

    pub(super) fn next_answer(&self) -> Option<RestAnswer> {
        lock(&self.answers).pop_front()
    }
}

async fn exchange(
    network: &HostNetwork,
    address: SocketAddr,
    key: &str,
    request: RestRequest,
) -> Result<(u16, Bytes), String> {
    let stream = network.connect_tcp(address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let http = Request::builder()
        .method(request.method)
        .uri(&request.path)
        .header("host", address.to_string())
        .header(fipple::api::TOKEN_HEADER, key)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(request.body.unwrap_or_default())));
    let http = http.map_err(|error| error.to_string())?;
    let answer = sender.send_request(http).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), REST_ANSWER_MAX_BYTES).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    drop(sender);
    // It ends with its sender; what it says then is of no interest.
    let _ = driver.await;
    Ok((status, body))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
