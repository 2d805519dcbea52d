//! Counts what clients of this member wrote, in plain atomics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dyad_config::{Change, ConfigReply, ItemOutcome};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

/// Counters of the acknowledged writes of configurations that this member received.
#[derive(Debug, Default)]
pub struct ConfigMetrics {
    /// The number of published releases, including gray releases, imports and rollbacks.
    pub published: AtomicU64,
    /// The number of removed releases.
    pub removed: AtomicU64,
}

impl ConfigMetrics {
    /// Creates the counters and registers them: `config_published` and `config_removed`.
    pub fn register(registry: &mut Registry) -> Arc<ConfigMetrics> {
        let metrics = Arc::new(ConfigMetrics::default());
        registry.register_collector(Box::new(ConfigCollector(metrics.clone())));
        metrics
    }

    /// Counts what a change of this kind did.
    pub(super) fn observe(&self, kind: Kind, reply: &ConfigReply) {
        use ItemOutcome::{Created, Removed, Updated};
        let done = match reply {
            ConfigReply::Done { .. } => 1,
            ConfigReply::Report(items) => {
                items.iter().filter(|item| matches!(item, Created | Updated | Removed)).count() as u64
            }
            _ => 0,
        };
        match kind {
            Kind::Publish => drop(self.published.fetch_add(done, Ordering::Relaxed)),
            Kind::Remove => drop(self.removed.fetch_add(done, Ordering::Relaxed)),
            Kind::Other => {}
        }
    }
}

/// What a change is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    Remove,
    /// Namespaces, limits, retention.
    Other,
}

impl Kind {
    pub(super) fn of(change: &Change) -> Kind {
        match change {
            Change::Publish(_) | Change::PublishGray(_) | Change::Import(_) | Change::Rollback { .. } => {
                Kind::Publish
            }
            Change::Remove { .. } | Change::RemoveBatch { .. } => Kind::Remove,
            _ => Kind::Other,
        }
    }
}

#[derive(Debug)]
struct ConfigCollector(Arc<ConfigMetrics>);

impl Collector for ConfigCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in [
            ("config_published", "Releases that clients of this member published", &self.0.published),
            ("config_removed", "Releases that clients of this member removed", &self.0.removed),
        ] {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}
