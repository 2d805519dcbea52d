//! Counts requests and their latency by route, in plain atomics, so that counting costs a request no lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::routes::ROUTES;

/// Upper bounds of the latency buckets, in microseconds.
const BUCKETS_US: [u64; 9] = [50, 100, 250, 500, 1_000, 5_000, 25_000, 100_000, 1_000_000];
/// Status classes 2xx to 5xx (1xx and 3xx are never answered).
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The counters of the front end. Each row of the table of routes has a slot, and the requests without a row share one.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    routes: Vec<RouteMetrics>,
    /// The number of open connections.
    pub connections: AtomicU64,
    /// The number of connections that were closed at once because the limit was reached.
    pub refused: AtomicU64,
}

#[derive(Debug, Default)]
struct RouteMetrics {
    classes: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    total_us: AtomicU64,
}

impl HttpMetrics {
    /// Creates the counters and registers them: `http_requests`, `http_request_seconds`, `http_connections` and
    /// `http_connections_refused`.
    pub fn register(registry: &mut Registry) -> Arc<HttpMetrics> {
        let routes = (0..=ROUTES.len()).map(|_| RouteMetrics::default()).collect();
        let metrics = Arc::new(HttpMetrics { routes, ..HttpMetrics::default() });
        registry.register_collector(Box::new(HttpCollector(metrics.clone())));
        metrics
    }

    /// Counts one answer. `route` is the row's index; any other number counts as "no row".
    pub(crate) fn observe(&self, route: usize, status: u16, took: Duration) {
        let Some(slot) = self.routes.get(route).or_else(|| self.routes.last()) else { return };
        let class = usize::from(status / 100).saturating_sub(2).min(CLASSES.len() - 1);
        let us = took.as_micros() as u64;
        let bucket = BUCKETS_US.iter().position(|&bound| us <= bound).unwrap_or(BUCKETS_US.len());
        slot.classes[class].fetch_add(1, Ordering::Relaxed);
        slot.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        slot.total_us.fetch_add(us, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct HttpCollector(Arc<HttpMetrics>);

impl HttpCollector {
    fn rows(&self) -> impl Iterator<Item = ([(&'static str, &'static str); 2], &RouteMetrics)> {
        self.0.routes.iter().enumerate().map(|(at, metrics)| {
            let (method, path) = ROUTES.get(at).map_or(("any", "other"), |r| (r.method.as_str(), r.path));
            ([("method", method), ("path", path)], metrics)
        })
    }
}

impl Collector for HttpCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut requests = encoder.encode_descriptor(
            "http_requests",
            "Answers by route and status class",
            None,
            MetricType::Counter,
        )?;
        for (labels, metrics) in self.rows() {
            for (class, count) in CLASSES.iter().zip(&metrics.classes) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [labels[0], labels[1], ("status", class)];
                    requests.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        let mut latency = encoder.encode_descriptor(
            "http_request_seconds",
            "Time from the request's head to its answer",
            None,
            MetricType::Histogram,
        )?;
        for (labels, metrics) in self.rows() {
            let bounds = BUCKETS_US.iter().map(|&us| us as f64 / 1e6).chain([f64::MAX]);
            let counts = metrics.buckets.iter().map(|b| b.load(Ordering::Relaxed));
            let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
            let count = buckets.iter().map(|(_, n)| n).sum();
            if count > 0 {
                let sum = metrics.total_us.load(Ordering::Relaxed) as f64 / 1e6;
                latency.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        let open = ConstGauge::new(self.0.connections.load(Ordering::Relaxed));
        let help = "Open client connections";
        open.encode(encoder.encode_descriptor("http_connections", help, None, MetricType::Gauge)?)?;
        let refused = ConstCounter::new(self.0.refused.load(Ordering::Relaxed));
        let help = "Connections that found no place";
        refused.encode(encoder.encode_descriptor(
            "http_connections_refused",
            help,
            None,
            MetricType::Counter,
        )?)
    }
}
