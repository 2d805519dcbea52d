//! What the use cases work on: the registry, the two cores behind their ports, and the clock and the counters of the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use dyad_config::{Catalog, Contents};
use dyad_naming::Registry;
use dyad_naming::Switches;
use dyad_naming::ports::{Ephemeral, Members};
use dyad_state::ports::{Knowledge, Linearize, Propose};
use dyad_types::Places;
use dyad_types::budget::Budget;
use dyad_types::check::METADATA_MAX;
use dyad_types::limits::{INSTANCES_MAX, INSTANCES_PER_SERVICE_MAX, PAGE_MAX, SERVICES_MAX};
use prometheus_client::registry::Registry as MetricsRegistry;

use crate::clients::Clients;
use crate::config::{ConfigMetrics, Turns};
use crate::fault::Fault;
use dyad_push::config::Listeners;
use dyad_push::naming::Push;
use dyad_types::Clock;

/// Everything that a use case may use. The server makes one value and shares it; there is no other state in this crate.
pub struct App {
    /// The registry, from which queries are answered, and by which the lifetime of a service is decided.
    pub registry: Arc<Registry>,
    /// The AP core.
    pub ephemeral: Arc<dyn Ephemeral>,
    /// The CP core.
    pub propose: Arc<dyn Propose>,
    /// For reads that must see every acknowledged write: they wait for it first.
    pub linearize: Arc<dyn Linearize>,
    pub members: Arc<dyn Members>,
    /// The configurations, as they were applied on this member.
    pub configs: Arc<Catalog>,
    /// The contents that are not in `configs`.
    pub contents: Arc<dyn Contents>,
    /// The subscriptions of this member.
    pub push: Arc<Push>,
    /// The listeners of configurations on this member.
    pub listeners: Arc<Listeners>,
    /// The clients of the gRPC port.
    pub clients: Arc<dyn Clients>,
    /// The present switches. The code that applies the CP log stores them here.
    pub switches: Arc<ArcSwap<Switches>>,
    pub clock: Arc<dyn Clock>,
    /// The source of instance ids of the generator `snowflake`.
    pub ids: IdSource,
    pub bounds: Bounds,
    /// What may be in flight.
    pub budget: Arc<Budget>,
    /// What clients hold by number.
    pub places: Arc<Places>,
    pub config_metrics: Arc<ConfigMetrics>,
    /// The turns of heavy requests.
    pub turns: Turns,
    /// What `GET /metrics` shows.
    pub prometheus: Arc<MetricsRegistry>,
}

impl App {
    /// Can what is not in the configurations of this member be called absent? A member that lost its disk has none.
    ///
    /// # Errors
    /// This member has never had the state of its cluster.
    pub fn has_state(&self) -> Result<(), Fault> {
        match self.linearize.knowledge() {
            Knowledge::Known => Ok(()),
            Knowledge::NoCluster | Knowledge::Joining => Err(Fault::NoState),
            Knowledge::Removed => Err(Fault::Removed),
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("registry", &self.registry.counts()).finish_non_exhaustive()
    }
}

/// The limits of the registry that the use cases keep. Each of them is a setting. They can only be lower than the
/// limits of the cores, which are the defaults. Whatever would exceed a limit is refused with 429,
/// unless the field says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most instances in the whole registry. Default 1,000,000.
    pub instances: usize,
    /// Most services in the whole registry. Default 100,000.
    pub services: usize,
    /// Most instances of one service. Default 10,000.
    pub per_service: usize,
    /// Most characters of the metadata of an instance; more is refused with 400. Default 1,024.
    pub metadata: usize,
    /// Most entries on one page of a listing; a larger page is cut. Default 10,000.
    pub page: usize,
    /// Whether the quotas of configurations are enforced (`isCapacityLimitCheck`). Default false.
    pub config_quotas: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            instances: INSTANCES_MAX,
            services: SERVICES_MAX,
            per_service: INSTANCES_PER_SERVICE_MAX,
            metadata: METADATA_MAX,
            page: PAGE_MAX,
            config_quotas: false,
        }
    }
}

/// Milliseconds from the Unix epoch to the epoch of snowflake ids, 2020-11-20 (that of Nacos's `SnowFlakeIdGenerator`
/// matters to nobody: only order and uniqueness do).
const ID_EPOCH_MS: u64 = 1_605_830_400_000;
const SEQUENCE_BITS: u32 = 12;
const WORKER_BITS: u32 = 10;

/// Makes snowflake ids: 41 bits of milliseconds, 10 bits of the worker and 12 bits of a sequence. The ids of one worker
/// are unique whatever the wall clock does, because the counter never goes back.
#[derive(Debug)]
pub struct IdSource {
    worker: u64,
    /// The milliseconds and the sequence of the last id.
    last: AtomicU64,
}

impl IdSource {
    /// Makes a source. `seed` is anything that distinguishes this member from others, such as its id; ten bits of its
    /// hash are used.
    pub fn new(seed: u64) -> IdSource {
        let worker = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - WORKER_BITS);
        IdSource { worker, last: AtomicU64::new(0) }
    }

    pub fn next(&self, wall_ms: u64) -> u64 {
        let floor = wall_ms.saturating_sub(ID_EPOCH_MS) << SEQUENCE_BITS;
        let step = |last: u64| (last + 1).max(floor);
        let before =
            match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(step(last))) {
                Ok(before) | Err(before) => before,
            };
        let id = step(before);
        let sequence = id & ((1 << SEQUENCE_BITS) - 1);
        ((id >> SEQUENCE_BITS) << (WORKER_BITS + SEQUENCE_BITS)) | (self.worker << SEQUENCE_BITS) | sequence
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_rise_even_when_the_clock_goes_back() {
        let ids = IdSource::new(7);
        let clock = (0..10_000u64).map(|n| ID_EPOCH_MS + 1_000 - n % 900);
        let drawn: Vec<u64> = clock.map(|ms| ids.next(ms)).collect();
        assert!(drawn.is_sorted());
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), drawn.len());
    }
}
