//! The commands of the CP log, their replies, and what applying them touched.

use std::fmt;
use std::sync::Arc;

use dyad_config::{ConfigChanges, ConfigCommand, ConfigReply};
use dyad_types::{Address, Instance, Metadata, Origin, ServiceKey};

use super::service::{Override, OverrideKey, ServiceRecord};

/// Most changes in one [`CpCommand::SetHealth`]: bounds the entry at about 100 KiB.
pub const HEALTH_BATCH_MAX: usize = 500;
/// Most removals in one [`CpCommand::Expire`]: bounds the entry at about 100 KiB.
pub const EXPIRE_BATCH_MAX: usize = 500;

/// One replicated change. All are idempotent: a proposal with an unknown outcome is simply repeated.
#[derive(Clone, Debug, PartialEq)]
pub enum CpCommand {
    /// The cluster's identity, proposed once by the member that initialized it. Reply: Done, or Exists when the cluster
    /// has another id already.
    Found { cluster_id: u128 },
    /// Registers or replaces the persistent instance at this (ip, port), whatever its cluster; a re-registration keeps
    /// the probed health. Reply: Done or Limit.
    Register { service: ServiceKey, instance: Instance },
    /// Reply: Done, or NotFound, which callers answer as Nacos does: ok.
    Deregister { service: ServiceKey, address: Address },
    /// A quorum's decision that this incarnation and all earlier ones of the member are gone.
    Retire { origin: Origin },
    /// Results of probes; at most [`HEALTH_BATCH_MAX`]. Unknown instances are skipped.
    SetHealth { changes: Vec<HealthChange> },
    /// Creates a service record. Reply: Done, Exists (a record or a persistent instance is there) or Limit.
    CreateService { service: ServiceKey, record: ServiceRecord },
    /// Replaces a service record. Reply: Done, NotFound or Limit.
    UpdateService {
        service: ServiceKey,
        record: ServiceRecord,
        /// The proposer sees the service through its ephemeral instances: write the record even if the CP state does not
        /// know the service.
        create: bool,
    },
    /// Removes the service record and the overrides. Reply: Done, NotFound (nothing in the CP state) or NotEmpty
    /// (persistent instances; the proposer looks after the ephemeral ones).
    DeleteService { service: ServiceKey },
    /// Writes an override. Reply: Done or Limit.
    SetOverride { service: ServiceKey, target: OverrideKey, change: OverrideChange },
    /// Removes overrides and records that had no instance for 60 s, as the leader saw it; at most [`EXPIRE_BATCH_MAX`].
    /// One that was written since (its revision differs) or has a persistent instance stays.
    Expire { overrides: Vec<ExpiredOverride>, services: Vec<ExpiredService> },
    /// `SwitchManager.update`. Reply: Done or BadSwitch.
    SetSwitch { entry: String, value: String },
    /// A change of the configuration center. Reply: Config.
    Config(ConfigCommand),
}

/// One instance's new probed health.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthChange {
    pub service: ServiceKey,
    pub address: Address,
    pub healthy: bool,
}

/// How an override is written.
#[derive(Clone, Debug, PartialEq)]
pub enum OverrideChange {
    /// PUT: replaces the override.
    Put(Override),
    /// PATCH: only the given fields change; given metadata replaces the override's metadata.
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

/// What apply made of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpReply {
    Done,
    Exists,
    NotFound,
    NotEmpty,
    Limit(Limit),
    /// The message of the 400.
    BadSwitch(String),
    Config(ConfigReply),
}

/// Which bound a command ran into. Answered with 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Instances(usize),
    Services(usize),
    InstancesPerService(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Instances(max) => write!(f, "the registry is full: the limit is {max} instances"),
            Limit::Services(max) => write!(f, "the registry is full: the limit is {max} services"),
            Limit::InstancesPerService(max) => write!(f, "the service is full: the limit is {max} instances"),
        }
    }
}

/// What apply touched, for the registry and the Distro core.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpChanges {
    pub services: Vec<ServiceKey>,
    /// Services that an operator deleted: they vanish at once instead of 60 s later. Also in `services`.
    pub deleted: Vec<ServiceKey>,
    pub switches: bool,
    pub retired: bool,
    pub config: ConfigChanges,
}

impl CpChanges {
    pub(super) fn service(key: &ServiceKey) -> CpChanges {
        CpChanges { services: vec![key.clone()], ..CpChanges::default() }
    }
}

impl CpCommand {
    /// Short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            CpCommand::Found { .. } => "found",
            CpCommand::Register { .. } => "register",
            CpCommand::Deregister { .. } => "deregister",
            CpCommand::Retire { .. } => "retire",
            CpCommand::SetHealth { .. } => "set-health",
            CpCommand::CreateService { .. } => "create-service",
            CpCommand::UpdateService { .. } => "update-service",
            CpCommand::DeleteService { .. } => "delete-service",
            CpCommand::SetOverride { .. } => "set-override",
            CpCommand::Expire { .. } => "expire",
            CpCommand::SetSwitch { .. } => "set-switch",
            CpCommand::Config(command) => command.name(),
        }
    }

    /// A PUT of an instance as an override: enabled, weight and metadata as given.
    pub fn put_override(service: ServiceKey, instance: &Instance) -> CpCommand {
        let value = Override {
            enabled: Some(instance.enabled),
            weight: Some(instance.weight),
            metadata: instance.metadata.clone(),
        };
        let target = OverrideKey { address: instance.address(), cluster: Arc::clone(&instance.cluster) };
        CpCommand::SetOverride { service, target, change: OverrideChange::Put(value) }
    }
}
