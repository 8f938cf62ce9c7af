//! Counters and gauges that Prometheus reads at `GET /metrics`.
//!
//! Every room has a `metrics.rs` of its own with a struct of these types and a `register`; the registry
//! itself is made where the node is put together.

use std::sync::Arc;

use portable_atomic::{AtomicU64, Ordering};
use prometheus_client::metrics::{counter, gauge};

/// A value that only rises.
pub type Counter = counter::Counter<u64, Value>;

/// A value that rises and falls.
pub type Gauge = gauge::Gauge<u64, Value>;

/// 64 bits wide everywhere: prometheus-client's own default shrinks to 32 where the processor has no 64-bit
/// atomics, and a counter of events wraps there within a day.
#[derive(Clone, Debug, Default)]
pub struct Value(Arc<AtomicU64>);

impl counter::Atomic<u64> for Value {
    fn inc(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn inc_by(&self, by: u64) -> u64 {
        self.0.fetch_add(by, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl gauge::Atomic<u64> for Value {
    fn inc(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn inc_by(&self, by: u64) -> u64 {
        self.0.fetch_add(by, Ordering::Relaxed)
    }

    fn dec(&self) -> u64 {
        self.0.fetch_sub(1, Ordering::Relaxed)
    }

    fn dec_by(&self, by: u64) -> u64 {
        self.0.fetch_sub(by, Ordering::Relaxed)
    }

    fn set(&self, value: u64) -> u64 {
        self.0.swap(value, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
