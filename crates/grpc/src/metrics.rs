//! Counts requests and their latency by type, in plain atomics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

/// Upper bounds of the latency buckets, in microseconds.
const BUCKETS_US: [u64; 9] = [50, 100, 250, 500, 1_000, 5_000, 25_000, 100_000, 1_000_000];
/// The label of requests that have no row.
const OTHER: &str = "other";
const OUTCOMES: [&str; 2] = ["ok", "error"];

/// The counters of the gRPC port. Each row of the table of requests has a slot, and all other requests share one.
#[derive(Debug, Default)]
pub struct GrpcMetrics {
    rows: Vec<RowMetrics>,
    /// The number of transports that were closed at once because the limit was reached.
    pub refused: AtomicU64,
    /// The number of clients that were closed because they did not answer.
    pub dead: AtomicU64,
    /// The number of times that a client was asked to go to another member (`ConnectResetRequest`).
    pub resets: AtomicU64,
}

#[derive(Debug, Default)]
struct RowMetrics {
    kind: &'static str,
    outcomes: [AtomicU64; OUTCOMES.len()],
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    total_us: AtomicU64,
}

impl GrpcMetrics {
    /// Creates the counters, with a slot for each of the types in `kinds`, and registers them.
    pub(crate) fn register(
        registry: &mut Registry,
        kinds: impl Iterator<Item = &'static str>,
    ) -> Arc<GrpcMetrics> {
        let rows = kinds.chain([OTHER]).map(|kind| RowMetrics { kind, ..RowMetrics::default() }).collect();
        let metrics = Arc::new(GrpcMetrics { rows, ..GrpcMetrics::default() });
        registry.register_collector(Box::new(GrpcCollector(metrics.clone())));
        metrics
    }

    /// Counts one answer. `row` is the row's index; any other number counts as "no row".
    pub(crate) fn observe(&self, row: usize, ok: bool, took: Duration) {
        let Some(slot) = self.rows.get(row).or_else(|| self.rows.last()) else { return };
        let us = took.as_micros() as u64;
        let bucket = BUCKETS_US.iter().position(|&bound| us <= bound).unwrap_or(BUCKETS_US.len());
        slot.outcomes[usize::from(!ok)].fetch_add(1, Ordering::Relaxed);
        slot.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        slot.total_us.fetch_add(us, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct GrpcCollector(Arc<GrpcMetrics>);

impl GrpcCollector {
    fn rows(&self) -> impl Iterator<Item = (&'static str, &RowMetrics)> {
        self.0.rows.iter().map(|metrics| (metrics.kind, metrics))
    }
}

impl Collector for GrpcCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut requests = encoder.encode_descriptor(
            "grpc_requests",
            "Answers on the SDK port by type of the request",
            None,
            MetricType::Counter,
        )?;
        for (kind, metrics) in self.rows() {
            for (outcome, count) in OUTCOMES.iter().zip(&metrics.outcomes) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("type", kind), ("outcome", *outcome)];
                    requests.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        let mut latency = encoder.encode_descriptor(
            "grpc_request_seconds",
            "Time from a whole request to its answer",
            None,
            MetricType::Histogram,
        )?;
        for (kind, metrics) in self.rows() {
            let bounds = BUCKETS_US.iter().map(|&us| us as f64 / 1e6).chain([f64::MAX]);
            let counts = metrics.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
            let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
            let count = buckets.iter().map(|(_, n)| n).sum();
            if count > 0 {
                let sum = metrics.total_us.load(Ordering::Relaxed) as f64 / 1e6;
                let labels = [("type", kind)];
                latency.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        for (name, help, value) in [
            ("grpc_connections_refused", "Transports closed at once, over the limit", &self.0.refused),
            ("grpc_connections_dead", "Clients closed because they did not answer", &self.0.dead),
            (
                "grpc_connections_reset",
                "Times that a client was asked to go to another member",
                &self.0.resets,
            ),
        ] {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}
