//! The naming commands of the CP log, their replies, and what became different when they were applied.

use std::fmt;
use std::sync::Arc;

use dyad_types::{Address, Instance, Metadata, ServiceKey};

use super::service::{Override, OverrideKey, ServiceRecord};

/// Most changes in one [`NamingCommand::SetHealth`], so that its entry has at most about 100 KiB.
pub const HEALTH_BATCH_MAX: usize = 500;
/// Most removals in one [`NamingCommand::Expire`], so that its entry has at most about 100 KiB.
pub const EXPIRE_BATCH_MAX: usize = 500;

/// One replicated change of the naming part.
#[derive(Clone, Debug, PartialEq)]
pub enum NamingCommand {
    /// Registers the persistent instance with this ip and port, or replaces it, even if it was in another cluster of the
    /// service, which is another instance then. An instance that registers again keeps its probed health and its override.
    /// Reply: Done or Limit.
    Register { service: ServiceKey, instance: Instance },
    /// Removes a persistent instance, and the overrides of its address. Reply: Done, or NotFound, which callers answer with ok, as
    /// Nacos does.
    Deregister { service: ServiceKey, address: Address },
    /// Sets the results of probes, at most [`HEALTH_BATCH_MAX`]. Unknown instances are skipped. Reply: Done.
    SetHealth { changes: Vec<HealthChange> },
    /// Creates a service record. Reply: Done, Exists (there is a record or a persistent instance) or Limit.
    CreateService { service: ServiceKey, record: ServiceRecord },
    /// Replaces a service record. Reply: Done, NotFound or Limit.
    UpdateService {
        service: ServiceKey,
        record: ServiceRecord,
        /// Whether the record is written even if the CP state does not know the service. The proposer sets this when it sees
        /// ephemeral instances of the service.
        create: bool,
    },
    /// Removes the service record and the overrides. Reply: Done, NotFound (the CP state does not know the service) or
    /// NotEmpty (there are persistent instances; the proposer checks for ephemeral ones itself).
    DeleteService { service: ServiceKey },
    /// Writes an override. Reply: Done or Limit.
    SetOverride { service: ServiceKey, target: OverrideKey, change: OverrideChange },
    /// Removes overrides and records that had no instance for 60 s, as the leader saw it; at most [`EXPIRE_BATCH_MAX`].
    /// Those that were written since (their revision differs) or have a persistent instance stay. Reply: Done.
    Expire { overrides: Vec<ExpiredOverride>, services: Vec<ExpiredService> },
    /// Sets a switch (`SwitchManager.update`). Reply: Done or BadSwitch.
    SetSwitch { entry: String, value: String },
}

/// The new probed health of one instance.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthChange {
    pub service: ServiceKey,
    pub address: Address,
    pub healthy: bool,
}

/// How an override is written.
#[derive(Clone, Debug, PartialEq)]
pub enum OverrideChange {
    /// Replaces the override (HTTP PUT).
    Put(Override),
    /// Changes only the given fields (HTTP PATCH). Given metadata replaces the metadata of the override.
    Patch { enabled: Option<bool>, weight: Option<f64>, metadata: Option<Metadata> },
}

/// An override to be removed, if it still has this revision.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpiredOverride {
    pub service: ServiceKey,
    pub target: OverrideKey,
    pub revision: u64,
}

/// A service record to be removed, if it still has this revision.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpiredService {
    pub service: ServiceKey,
    pub revision: u64,
}

/// The reply of `apply` to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamingReply {
    Done,
    Exists,
    NotFound,
    NotEmpty,
    Limit(Limit),
    /// The switch cannot have this value. This is the message of the answer 400.
    BadSwitch(String),
}

/// The limit that a command would exceed. The answer is 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Instances(usize),
    Services(usize),
    InstancesPerService(usize),
    /// Bytes of the list of a service's instances.
    List(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Instances(max) => write!(f, "the registry is full: the limit is {max} instances"),
            Limit::Services(max) => write!(f, "the registry is full: the limit is {max} services"),
            Limit::List(max) => write!(
                f,
                "the list of the service's instances would be larger than {max} bytes: clients take at most 10 MiB; register \
                 fewer instances, or less metadata"
            ),
            Limit::InstancesPerService(max) => write!(f, "the service is full: the limit is {max} instances"),
        }
    }
}

/// What became different when a command was applied, for the registry and the schedule of probes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamingChanges {
    pub services: Vec<ServiceKey>,
    /// The services that an operator deleted. They vanish at once instead of 60 s later. They are in `services` too.
    pub deleted: Vec<ServiceKey>,
    /// Whether a switch changed.
    pub switches: bool,
}

impl NamingChanges {
    pub(super) fn service(key: &ServiceKey) -> NamingChanges {
        NamingChanges { services: vec![key.clone()], ..NamingChanges::default() }
    }
}

impl NamingCommand {
    /// A short name of the command, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            NamingCommand::Register { .. } => "register",
            NamingCommand::Deregister { .. } => "deregister",
            NamingCommand::SetHealth { .. } => "set-health",
            NamingCommand::CreateService { .. } => "create-service",
            NamingCommand::UpdateService { .. } => "update-service",
            NamingCommand::DeleteService { .. } => "delete-service",
            NamingCommand::SetOverride { .. } => "set-override",
            NamingCommand::Expire { .. } => "expire",
            NamingCommand::SetSwitch { .. } => "set-switch",
        }
    }

    /// The command that makes an override of an instance that was PUT: with its `enabled`, weight and metadata.
    pub fn put_override(service: ServiceKey, instance: &Instance) -> NamingCommand {
        let value = Override {
            enabled: Some(instance.enabled),
            weight: Some(instance.weight),
            metadata: instance.metadata.clone(),
        };
        let target = OverrideKey { address: instance.address(), cluster: Arc::clone(&instance.cluster) };
        NamingCommand::SetOverride { service, target, change: OverrideChange::Put(value) }
    }
}
