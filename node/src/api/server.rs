//! Takes HTTP connections: a bounded number, each in a task of its own, each bounded in time and size.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tracing::Instrument;

use super::metrics::ApiMetrics;
use super::stalled::Stalled;
use super::tls::{TlsMaterial, acceptor};
use crate::Error;
use crate::limits::{
    API_ACCEPT_RETRY, API_CONNECTIONS_MAX, API_CROWDED_HEADER_READ_TIMEOUT, API_HEADER_MAX_BYTES,
    API_HEADER_READ_TIMEOUT, API_STOP_TIMEOUT, API_TLS_HANDSHAKE_TIMEOUT, API_WRITE_STALL_TIMEOUT,
};
use crate::net::{BoxStream, Listener, Network, Stream};

/// A socket that is listened on, and not served yet: the node's other rooms have to know its address first.
pub(crate) struct Listening {
    listener: Box<dyn Listener>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listening {
    /// Listens on `address`, for TLS if there is material for it.
    pub(crate) async fn bind(
        network: &dyn Network,
        address: SocketAddr,
        tls: Option<&TlsMaterial>,
    ) -> Result<Self, Error> {
        let tls = tls.map(acceptor).transpose()?;
        let what = format!("serve REST on {address} (change it with --api)");
        let listener = network.listen_tcp(address).await.map_err(Error::io(&what))?;
        let address = listener.local_address().map_err(Error::io(&what))?;
        Ok(Self { listener, address, tls })
    }

    /// Where it listens, with the port that the system chose if 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` there.
    pub(super) fn serve(self, router: Router, metrics: Arc<ApiMetrics>) -> Server {
        let Self { listener, address, tls } = self;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, Connection { router, tls, stopped }, metrics));
        Server { address, stop, task }
    }
}

/// A socket and the task that serves it.
pub(super) struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, lets requests that are under way finish, and after [`API_STOP_TIMEOUT`] drops them.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        // The task ends by itself; if it panicked there is nothing left to stop.
        let _ended = self.task.await;
    }
}

async fn serve(mut listener: Box<dyn Listener>, connection: Connection, metrics: Arc<ApiMetrics>) {
    let mut stopped = connection.stopped.clone();
    let mut connections = JoinSet::new();
    loop {
        metrics.connections.set(connections.len() as u64);
        tokio::select! {
            biased;
            () = stop_asked(&mut stopped) => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < API_CONNECTIONS_MAX => match accepted {
                Ok((stream, peer)) => {
                    let span = tracing::info_span!("api", %peer);
                    let patience = header_patience(connections.len());
                    connections.spawn(connection.clone().run(stream, patience).instrument(span));
                }
                Err(error) => {
                    // Out of file descriptors, as a rule: others are about to be closed.
                    tracing::warn!(%error, "cannot take a REST connection");
                    tokio::time::sleep(API_ACCEPT_RETRY).await;
                }
            },
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(API_STOP_TIMEOUT, all_ended).await.is_err() {
        tracing::warn!("REST requests were still under way when the node stopped");
    }
}

/// How long a new connection may take over its headers. Those who say nothing must not keep others out for long, so
/// patience is short once half of the places are taken.
fn header_patience(connections: usize) -> Duration {
    if connections < API_CONNECTIONS_MAX / 2 {
        API_HEADER_READ_TIMEOUT
    } else {
        API_CROWDED_HEADER_READ_TIMEOUT
    }
}

async fn stop_asked(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server was dropped, which stops it as well.
    let _dropped = stopped.wait_for(|stopped| *stopped).await;
}

/// What every connection needs.
#[derive(Clone)]
struct Connection {
    router: Router,
    tls: Option<TlsAcceptor>,
    stopped: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: BoxStream, patience: Duration) {
        let ended = match self.tls.clone() {
            None => self.http(stream, patience).await,
            Some(tls) => match tokio::time::timeout(API_TLS_HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.http(stream, patience).await,
                Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
                Err(_elapsed) => return tracing::debug!("TLS handshake took too long"),
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "REST connection broke off");
        }
    }

    async fn http(mut self, stream: impl Stream + 'static, patience: Duration) -> hyper::Result<()> {
        let io = TokioIo::new(Stalled::new(stream, API_WRITE_STALL_TIMEOUT));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_header_size(API_HEADER_MAX_BYTES)
            .serve_connection(io, TowerToHyperService::new(self.router));
        tokio::pin!(serving);
        tokio::select! {
            biased;
            ended = &mut serving => return ended,
            () = stop_asked(&mut self.stopped) => {}
        }
        serving.as_mut().graceful_shutdown();
        serving.await
    }
}
