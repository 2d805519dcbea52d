//! The CP state: persistent instances, service records, overrides, switches, retired origins and the configurations.
//! The raft log replicates it: the same commands and stamps give the same state on every member, byte for byte.

mod apply;
mod codec;
mod command;
mod records;
mod service;
mod snapshot;

use std::sync::Arc;

use dyad_config::ConfigState;
use dyad_types::limits::{INSTANCES_MAX, INSTANCES_PER_SERVICE_MAX, SERVICES_MAX};
use dyad_types::{MemberId, Origin, ServiceKey};
use imbl::OrdMap;

use crate::switches::Switches;

pub use command::{
    CpChanges, CpCommand, CpReply, EXPIRE_BATCH_MAX, ExpiredOverride, ExpiredService, HEALTH_BATCH_MAX,
    HealthChange, Limit, OverrideChange,
};
pub use dyad_types::Stamp;
pub use service::{CpService, Override, OverrideKey, Selector, ServiceRecord, StoredOverride, StoredRecord};

/// A record of the log or of a snapshot cannot be decoded, or has a version that this build does not know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub String);

/// Limits that `apply` keeps. They are part of the state machine and therefore not settings: all members must have the
/// same limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    /// Most persistent instances in all.
    instances: usize,
    /// Most services with anything in the CP state.
    services: usize,
    /// Most persistent instances of one service, and most overrides of one service.
    per_service: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { instances: INSTANCES_MAX, services: SERVICES_MAX, per_service: INSTANCES_PER_SERVICE_MAX }
    }
}

/// The whole replicated state. Clones are O(1), so a snapshot is made from a clone while further entries are applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpState {
    /// The highest time of all stamps that were applied, in milliseconds since the epoch.
    now_ms: u64,
    cluster_id: Option<u128>,
    services: OrdMap<ServiceKey, Arc<CpService>>,
    /// The number of persistent instances in all services, which is compared with the limit.
    instances: usize,
    switches: Arc<Switches>,
    /// The highest retired incarnation of each member.
    retired: OrdMap<MemberId, u64>,
    config: ConfigState,
    limits: Limits,
}

impl CpState {
    /// An empty state with limits that a test can reach.
    #[cfg(test)]
    fn with_limits(limits: Limits) -> CpState {
        CpState { limits, ..CpState::default() }
    }

    /// The highest time of all stamps that were applied so far, in milliseconds since the epoch. It never goes back.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The identity of the cluster. `None` until [`CpCommand::Found`] was applied.
    pub fn cluster_id(&self) -> Option<u128> {
        self.cluster_id
    }

    /// What the CP state knows of one service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<CpService>> {
        self.services.get(key)
    }

    /// All services with anything in the CP state, by key.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<CpService>)> {
        self.services.iter()
    }

    /// The number of persistent instances in all services.
    pub fn instance_count(&self) -> usize {
        self.instances
    }

    /// The configurations, namespaces and capacities.
    pub fn config(&self) -> &ConfigState {
        &self.config
    }

    pub fn switches(&self) -> &Arc<Switches> {
        &self.switches
    }

    /// The highest retired incarnation of each member.
    pub fn retired(&self) -> impl Iterator<Item = Origin> {
        self.retired.iter().map(|(&member, &incarnation)| Origin { member, incarnation })
    }
}

#[cfg(test)]
mod tests;
