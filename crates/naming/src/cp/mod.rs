//! The CP state: persistent instances, service records, overrides, switches, origin retirement and the configurations. Replicated by the
//! raft log: the same commands and stamps give the same state, byte for byte, on every member.

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

/// A log or snapshot record that does not decode, or is of a version this build does not know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub String);

/// Bounds that `apply` keeps. Part of the state machine and so no setting: all members must hold the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    /// Persistent instances altogether.
    instances: usize,
    /// Services with anything in the CP state.
    services: usize,
    /// Persistent instances, and overrides, of one service.
    per_service: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { instances: INSTANCES_MAX, services: SERVICES_MAX, per_service: INSTANCES_PER_SERVICE_MAX }
    }
}

/// The whole replicated state. Clones are O(1): a snapshot is built from a clone while apply goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpState {
    /// Milliseconds since the epoch: the highest stamp applied.
    now_ms: u64,
    cluster_id: Option<u128>,
    services: OrdMap<ServiceKey, Arc<CpService>>,
    /// Persistent instances in all services: the sum that the limit is checked against.
    instances: usize,
    switches: Arc<Switches>,
    /// For each member its highest retired incarnation.
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

    /// Milliseconds since the epoch: the highest stamp applied so far. Never goes back.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The cluster's identity, once [`CpCommand::Found`] was applied.
    pub fn cluster_id(&self) -> Option<u128> {
        self.cluster_id
    }

    /// What the CP side holds of one service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<CpService>> {
        self.services.get(key)
    }

    /// All services with anything in the CP state, by key.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<CpService>)> {
        self.services.iter()
    }

    /// Persistent instances in all services.
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

    /// For each member the highest retired incarnation.
    pub fn retired(&self) -> impl Iterator<Item = Origin> {
        self.retired.iter().map(|(&member, &incarnation)| Origin { member, incarnation })
    }
}

#[cfg(test)]
mod tests;
