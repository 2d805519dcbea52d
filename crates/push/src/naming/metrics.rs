//! Counts pushes, in plain atomics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

/// Upper bounds of the latency buckets, in milliseconds.
const BUCKETS_MS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000];

/// The counters of [`super::Push`] and of the transports that send its messages.
#[derive(Debug, Default)]
pub struct PushMetrics {
    /// The number of pushes that were given to a transport.
    pub sent: AtomicU64,
    /// The number of pushes that the client acknowledged.
    pub acked: AtomicU64,
    /// The number of pushes that were not acknowledged in time.
    pub failed: AtomicU64,
    /// The number of changes that were pushed together with an earlier change.
    pub coalesced: AtomicU64,
    latency: Latency,
}

/// A histogram of latencies from below a millisecond to above a second.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    total_us: AtomicU64,
}

impl Latency {
    pub fn observe(&self, took: Duration) {
        let ms = took.as_millis() as u64;
        let bucket = BUCKETS_MS.iter().position(|&bound| ms < bound).unwrap_or(BUCKETS_MS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    pub fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = BUCKETS_MS.iter().map(|&ms| ms as f64 / 1e3).chain([f64::MAX]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        let sum = self.total_us.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl PushMetrics {
    /// Creates the counters and registers them: `push_sent`, `push_acked`, `push_failed`, `push_coalesced` and `push_seconds`.
    pub fn register(registry: &mut Registry) -> Arc<PushMetrics> {
        let metrics = Arc::new(PushMetrics::default());
        registry.register_collector(Box::new(PushCollector(metrics.clone())));
        metrics
    }

    /// Counts a push that is given to its transport. `took` is the time since the change that led to it.
    pub fn observe(&self, took: Option<Duration>) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if let Some(took) = took {
            self.latency.observe(took);
        }
    }
}

#[derive(Debug)]
struct PushCollector(Arc<PushMetrics>);

impl Collector for PushCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metrics = &self.0;
        for (name, help, value) in [
            ("push_sent", "Pushes given to a transport", &metrics.sent),
            ("push_acked", "Pushes that the client acknowledged", &metrics.acked),
            ("push_failed", "Pushes that were not acknowledged in time", &metrics.failed),
            ("push_coalesced", "Changes that were pushed together with an earlier one", &metrics.coalesced),
        ] {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        metrics.latency.encode(encoder.encode_descriptor(
            "push_seconds",
            "Time from a change to a push given to its transport",
            None,
            MetricType::Histogram,
        )?)
    }
}
