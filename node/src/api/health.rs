//! What watches a node from outside: liveness, readiness, metrics. None of it needs the admin key: it tells
//! about machines, never about calls, and monitoring should not hold a key that can hang up calls.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ApiState;
use super::envelope::{Failure, Success};
use crate::cluster::{MemberState, SwitchLink};
use crate::limits::API_RETRY_AFTER_SECONDS;

/// `GET /health`: whoever reads this answer has it from a process that lives.
pub(super) async fn health(State(state): State<Arc<ApiState>>) -> Result<Success, Failure> {
    #[derive(Serialize)]
    struct Health {
        node: String,
        version: &'static str,
    }
    Success::ok(&Health { node: state.cluster.local().to_string(), version: env!("CARGO_PKG_VERSION") })
}

/// `GET /ready`: whether work should be sent here.
///
/// A switch that cannot be reached is told, and is no reason to be unready: the node carries commands to the
/// other nodes' switches all the same, and a load balancer that took away every node that misses one switch
/// would turn a small failure into a large one.
pub(super) async fn ready(State(state): State<Arc<ApiState>>) -> Result<Success, Failure> {
    #[derive(Serialize)]
    struct Ready<'a> {
        members_alive: usize,
        switches_unreachable: Vec<&'a str>,
    }
    let members = state.cluster.members().borrow().clone();
    let Some(local) = members.all.get(&state.cluster.local()) else {
        return Err(not_ready("The node is starting: it has no view of the cluster yet."));
    };
    if local.state != MemberState::Alive || state.leaving() {
        return Err(not_ready("The node is leaving the cluster: send new work to another."));
    }
    let unreachable = local.switches.iter().filter(|fact| fact.link == SwitchLink::Unreachable);
    Success::ok(&Ready {
        members_alive: members.all.keys().filter(|id| members.is_alive(**id)).count(),
        switches_unreachable: unreachable.map(|fact| fact.name.as_str()).collect(),
    })
}

fn not_ready(message: &str) -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message).retry_after(API_RETRY_AFTER_SECONDS)
}

/// `GET /metrics`, in the OpenMetrics text format.
pub(super) async fn metrics(State(state): State<Arc<ApiState>>) -> Response {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = prometheus_client::encoding::text::encode(&mut text, &state.registry);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
