//! The naming part of the replicated state: persistent instances, service records, overrides and switches. The same
//! commands and stamps give the same state on every member, byte for byte.

mod apply;
mod codec;
mod command;
pub mod record;
mod service;
mod snapshot;

use std::sync::Arc;

use dyad_types::ServiceKey;
use dyad_types::limits::{INSTANCES_MAX, INSTANCES_PER_SERVICE_MAX, SERVICES_MAX};
use imbl::OrdMap;

use crate::switches::Switches;

pub use command::{
    EXPIRE_BATCH_MAX, ExpiredOverride, ExpiredService, HEALTH_BATCH_MAX, HealthChange, Limit, NamingChanges,
    NamingCommand, NamingReply, OverrideChange,
};
pub use dyad_types::{BadRecord, Stamp};
pub use service::{CpService, Override, OverrideKey, Selector, ServiceRecord, StoredOverride, StoredRecord};

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

/// The naming part of the replicated state. Clones are O(1), so a snapshot is made from a clone while further entries are
/// applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamingState {
    services: OrdMap<ServiceKey, Arc<CpService>>,
    /// The number of persistent instances in all services, which is compared with the limit.
    instances: usize,
    switches: Arc<Switches>,
    limits: Limits,
}

impl NamingState {
    /// An empty state with limits that a test can reach.
    #[cfg(test)]
    fn with_limits(limits: Limits) -> NamingState {
        NamingState { limits, ..NamingState::default() }
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

    pub fn switches(&self) -> &Arc<Switches> {
        &self.switches
    }
}

#[cfg(test)]
mod tests;
