//! Counts what happens to listeners, in plain atomics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use crate::naming::Latency;

/// The counters of [`super::Listeners`] and of the transports that send its messages.
#[derive(Debug, Default)]
pub struct ListenMetrics {
    /// The number of changes that were told: by a message that was given to a transport, or by the answer to a long poll.
    pub notified: AtomicU64,
    /// The number of messages that the client acknowledged.
    pub acked: AtomicU64,
    /// The number of messages that were not acknowledged in time.
    pub failed: AtomicU64,
    latency: Latency,
}

impl ListenMetrics {
    /// Creates the counters and registers them: `config_notified`, `config_notify_acked`, `config_notify_failed` and
    /// `config_notify_seconds`.
    pub fn register(registry: &mut Registry) -> Arc<ListenMetrics> {
        let metrics = Arc::new(ListenMetrics::default());
        registry.register_collector(Box::new(ListenCollector(metrics.clone())));
        metrics
    }

    /// Counts a change that is told to a listener. `took` is the time since the change.
    pub fn observe(&self, took: Option<Duration>) {
        self.notified.fetch_add(1, Ordering::Relaxed);
        if let Some(took) = took {
            self.latency.observe(took);
        }
    }
}

#[derive(Debug)]
struct ListenCollector(Arc<ListenMetrics>);

impl Collector for ListenCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let metrics = &self.0;
        for (name, help, value) in [
            ("config_notified", "Changes told to listeners", &metrics.notified),
            ("config_notify_acked", "Notifications that the client acknowledged", &metrics.acked),
            ("config_notify_failed", "Notifications not acknowledged in time", &metrics.failed),
        ] {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let help = "Time from the applied change of a configuration to its notification";
        metrics.latency.encode(encoder.encode_descriptor(
            "config_notify_seconds",
            help,
            None,
            MetricType::Histogram,
        )?)
    }
}
