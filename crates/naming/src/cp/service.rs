//! What the CP state knows of one service.

use std::sync::Arc;

use dyad_types::instance::clamp_weight;
use dyad_types::{Address, Instance, Metadata};
use imbl::OrdMap;

/// The persistent half of a service. Clones are O(1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpService {
    pub(super) record: Option<StoredRecord>,
    pub(super) instances: OrdMap<Address, Arc<Instance>>,
    pub(super) overrides: OrdMap<OverrideKey, StoredOverride>,
}

impl CpService {
    /// The service record (Nacos's ServiceMetadata). `None` for a service that has had registrations only.
    pub fn record(&self) -> Option<&StoredRecord> {
        self.record.as_ref()
    }

    /// The persistent instances by ip and port. Their `healthy` is the probed health.
    pub fn instances(&self) -> &OrdMap<Address, Arc<Instance>> {
        &self.instances
    }

    pub fn overrides(&self) -> &OrdMap<OverrideKey, StoredOverride> {
        &self.overrides
    }

    pub(super) fn is_empty(&self) -> bool {
        self.record.is_none() && self.instances.is_empty() && self.overrides.is_empty()
    }
}

/// The settings of a service (Nacos's `ServiceMetadata`). The protect threshold acts only if there is a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceRecord {
    /// If the share of healthy instances is at or below this, all instances are shown as healthy. It may exceed 1. Default 0.
    pub protect_threshold: f32,
    pub metadata: Metadata,
    pub selector: Selector,
}

impl ServiceRecord {
    /// The record in a form that may be stored: a threshold that is not a number becomes 0.
    pub(super) fn clamped(mut self) -> ServiceRecord {
        if self.protect_threshold.is_nan() {
            self.protect_threshold = 0.0;
        }
        self
    }
}

/// A selector, as Nacos stores it: `none`, or `label` with an expression for a CMDB (a database of machines).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub kind: Box<str>,
    pub expression: Box<str>,
}

impl Default for Selector {
    fn default() -> Selector {
        Selector { kind: "none".into(), expression: "".into() }
    }
}

/// A service record, and the index of the log entry that wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    pub record: Arc<ServiceRecord>,
    pub revision: u64,
}

/// The key of an override inside a service: `ip:port:cluster` (`InstancePublishInfo.genMetadataId`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OverrideKey {
    pub address: Address,
    pub cluster: Arc<str>,
}

impl OverrideKey {
    pub fn of(instance: &Instance) -> OverrideKey {
        OverrideKey { address: instance.address(), cluster: instance.cluster.clone() }
    }
}

/// Values that an operator set for an instance (Nacos's `InstanceMetadata`). They are shown instead of what the client
/// registered, and stay when the client registers again. A value that is `None` leaves the registered one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Override {
    pub enabled: Option<bool>,
    pub weight: Option<f64>,
    /// These entries replace the entries with the same keys in the instance's metadata.
    pub metadata: Metadata,
}

impl Override {
    pub(super) fn clamped(mut self) -> Override {
        self.weight = self.weight.map(clamp_weight);
        self
    }

    /// The instance with this override applied (`InstanceUtil.updateInstanceMetadata`).
    pub fn apply_to(&self, instance: &mut Instance) {
        if let Some(enabled) = self.enabled {
            instance.enabled = enabled;
        }
        if let Some(weight) = self.weight {
            instance.weight = weight;
        }
        instance.metadata = instance.metadata.merged(&self.metadata);
    }
}

/// An override, and the index of the log entry that wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredOverride {
    pub value: Arc<Override>,
    pub revision: u64,
}
