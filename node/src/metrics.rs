//! Counters and gauges that Prometheus reads at `GET /metrics`.
//!
//! Every room has a `metrics.rs` of its own with a struct of these types and a `register`; the registry
//! itself is made where the node is put together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use portable_atomic::{AtomicU64, Ordering};
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric, counter, gauge};

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

/// One metric for each set of labels, shown in the order of the labels. prometheus-client's own family shows them in
/// an order that differs from process to process.
#[derive(Debug)]
pub struct Family<Labels, Metric>(Arc<Mutex<BTreeMap<Labels, Metric>>>);

impl<Labels: Clone + Ord, Metric: Clone + Default> Family<Labels, Metric> {
    /// The metric with these labels, which is made where there is none yet.
    pub fn get_or_create(&self, labels: &Labels) -> Metric {
        let mut metrics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = metrics.get(labels) {
            return metric.clone();
        }
        metrics.entry(labels.clone()).or_default().clone()
    }
}

impl<Labels, Metric> Default for Family<Labels, Metric> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<Labels, Metric> Clone for Family<Labels, Metric> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Labels: EncodeLabelSet, Metric: EncodeMetric + TypedMetric> EncodeMetric for Family<Labels, Metric> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let metrics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.iter().try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(labels)?))
    }

    fn metric_type(&self) -> MetricType {
        Metric::TYPE
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_family_is_shown_in_the_order_of_its_labels() {
        let family = Family::<[(&str, String); 1], Counter>::default();
        let mut registry = Registry::default();
        registry.register("calls", "Calls", family.clone());
        let names: Vec<_> = (0..32_u32).map(|number| format!("{:02}", number * 7 % 32)).collect();
        for name in names {
            family.get_or_create(&[("switch", name)]).inc();
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let shown: Vec<_> = text.lines().filter(|line| line.starts_with("calls_total")).collect();
        assert_eq!((shown.len(), shown[0]), (32, "calls_total{switch=\"00\"} 1"));
        assert!(shown.is_sorted(), "{text}");
    }
}
