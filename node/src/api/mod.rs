//! REST, on every node.
//!
//! `server` takes connections, `envelope` gives every answer its form, `authentication` asks for the admin
//! key in front of `/v2`; the other files hold the handlers, a file a subject.

mod authentication;
mod body;
mod calls;
mod channels;
mod cluster;
mod envelope;
mod health;
mod idempotency;
mod metrics;
mod openapi;
mod path;
mod published;
mod refusal;
mod server;
mod stalled;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use fipple_protocol::NodeId;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::watch;

pub(crate) use authentication::AdminKey;
pub use authentication::{TOKEN_HEADER, ensure_admin_key, read_admin_key};
use envelope::{Failure, Success, UnansweredNode};
pub(crate) use idempotency::IDEMPOTENCY_KEY;
use metrics::ApiMetrics;
pub use published::PublishedApi;
pub(crate) use server::Listening;
use server::Server;
pub use tls::TlsMaterial;

use crate::calls::Calls;
use crate::cluster::Cluster;
use crate::documents::Documents;
use crate::net::Host;

/// Every route: method, path, what it is for.
const ROUTES: [(&str, &str, &str); 13] = [
    ("GET", "/v2", "this list"),
    ("GET", "/v2/openapi.json", "the same in OpenAPI 3.1, for programs"),
    ("GET", "/v2/cluster/members", "the nodes of the cluster"),
    ("GET", "/v2/cluster/switches", "the switches, and which node is attached to which"),
    ("POST", "/v2/cluster/switches/{name}/api", "run any API command of a switch"),
    ("GET", "/v2/channels", "all channels of all switches"),
    ("POST", "/v2/channels", "start a call"),
    ("GET", "/v2/channels/{uuid}", "one channel"),
    (
        "POST",
        "/v2/channels/{uuid}",
        "command a channel: answer, hangup, park, play, transfer, bridge, set, ...",
    ),
    (
        "GET",
        "/v2/calls/{uuid}/trace",
        "what the nodes remember of a call: owners, epochs, steps, commands, events",
    ),
    ("GET", "/health", "liveness; no key needed"),
    ("GET", "/ready", "readiness; no key needed"),
    ("GET", "/metrics", "counters for Prometheus; no key needed"),
];

/// What the handlers work with.
struct ApiState {
    host: Host,
    cluster: Cluster,
    calls: Calls,
    documents: Documents,
    admin_key: AdminKey,
    registry: Registry,
    metrics: Arc<ApiMetrics>,
    leaving: watch::Receiver<bool>,
}

impl ApiState {
    /// Whether the node has begun to leave.
    fn leaving(&self) -> bool {
        *self.leaving.borrow()
    }

    /// Nodes that did not answer, with their names.
    fn named(&self, nodes: &[NodeId]) -> Vec<UnansweredNode> {
        let members = self.cluster.members().borrow().clone();
        let name = |id| members.all.get(id).map(|member| member.name.clone());
        nodes.iter().map(|id| UnansweredNode { id: id.to_string(), name: name(id) }).collect()
    }
}

/// What an [`Api`] is made of.
pub(crate) struct ApiParts {
    /// The machine.
    pub(crate) host: Host,
    /// The node's cluster.
    pub(crate) cluster: Cluster,
    /// The node's calls.
    pub(crate) calls: Calls,
    /// The node's documents.
    pub(crate) documents: Documents,
    /// What REST asks for.
    pub(crate) admin_key: AdminKey,
    /// All metrics of the node but the API's own.
    pub(crate) registry: Registry,
    /// Turns true when the node begins to leave.
    pub(crate) leaving: watch::Receiver<bool>,
}

/// The REST server of one node.
pub(crate) struct Api {
    server: Server,
}

impl Api {
    /// Starts answering where `listening` listens.
    pub(crate) fn start(listening: Listening, parts: ApiParts) -> Self {
        let ApiParts { host, cluster, calls, documents, admin_key, mut registry, leaving } = parts;
        let metrics = Arc::new(ApiMetrics::new());
        metrics.register(&mut registry);
        let state = Arc::new(ApiState {
            host,
            cluster,
            calls,
            documents,
            admin_key,
            registry,
            metrics: metrics.clone(),
            leaving,
        });
        Self { server: listening.serve(router(state), metrics) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Takes no more connections, and waits a moment for the answers that are under way.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

fn router(state: Arc<ApiState>) -> Router {
    let keyed = Router::new()
        .route("/v2", get(index))
        .route("/v2/openapi.json", get(openapi::document))
        .route("/v2/cluster/members", get(cluster::members))
        .route("/v2/cluster/switches", get(cluster::switches))
        .route("/v2/cluster/switches/{name}/api", post(cluster::switch_api))
        .route("/v2/channels", get(channels::list).post(channels::originate))
        .route("/v2/channels/{uuid}", get(channels::find).post(channels::command))
        .route("/v2/calls/{uuid}/trace", get(calls::trace))
        .route_layer(from_fn_with_state(state.clone(), authentication::require));
    Router::new()
        .merge(keyed)
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state.clone(), envelope::wrap))
        .with_state(state)
}

/// `GET /v2`
async fn index(State(_state): State<Arc<ApiState>>) -> Result<Success, Failure> {
    #[derive(Serialize)]
    struct Route {
        method: &'static str,
        path: &'static str,
        purpose: &'static str,
    }
    Success::ok(&ROUTES.map(|(method, path, purpose)| Route { method, path, purpose }))
}

async fn unknown_path(request: Request) -> Failure {
    let message = format!("There is nothing at {}. GET /v2 lists what there is.", request.uri().path());
    Failure::new(StatusCode::NOT_FOUND, "unknown_path", message)
}

async fn wrong_method(request: Request) -> Failure {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{path} does not take {method}. GET /v2 lists what there is.");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}
