//! What the API counts.

use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::metrics::{Counter, Gauge};

/// Upper bounds of the time that a request takes, in seconds. A command's way to a switch on the same network
/// is 1 to 10 ms; a second means that somebody waited for a time-out.
const SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0];

/// The API's counters.
pub(super) struct ApiMetrics {
    requests: Counter,
    client_errors: Counter,
    server_errors: Counter,
    seconds: Histogram,
    /// Connections that are open now.
    pub(super) connections: Gauge,
}

impl ApiMetrics {
    /// New counters, all zero.
    pub(super) fn new() -> Self {
        Self {
            requests: Counter::default(),
            client_errors: Counter::default(),
            server_errors: Counter::default(),
            seconds: Histogram::new(SECONDS),
            connections: Gauge::default(),
        }
    }

    /// Puts them where Prometheus finds them. `registry` prefixes the names.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("fipple_api_requests", "Requests answered", self.requests.clone());
        registry.register(
            "fipple_api_client_errors",
            "Requests answered with 4xx",
            self.client_errors.clone(),
        );
        registry.register(
            "fipple_api_server_errors",
            "Requests answered with 5xx",
            self.server_errors.clone(),
        );
        registry.register(
            "fipple_api_request_seconds",
            "Time from a request to its answer",
            self.seconds.clone(),
        );
        registry.register("fipple_api_connections", "Open connections", self.connections.clone());
    }

    /// Counts an answer.
    pub(super) fn observe(&self, status: StatusCode, took: Duration) {
        self.requests.inc();
        self.seconds.observe(took.as_secs_f64());
        if status.is_client_error() {
            self.client_errors.inc();
        } else if status.is_server_error() {
            self.server_errors.inc();
        }
    }
}
