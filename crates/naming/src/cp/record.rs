//! The stored messages of the naming part, for the CP log and its snapshots. Field numbers are never reused; golden
//! bytes in the tests of the crate `state` fix them.

use dyad_types::publication::{InstanceRecord, MetadataRecord, metadata_records};
use dyad_types::{Address, ServiceKey};
use prost::Message;

use super::command::{ExpiredOverride, ExpiredService, HealthChange};
use super::service::{Override, OverrideKey, ServiceRecord};

/// A naming command. The numbers are those of the fields in the CP log's message of a command.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum CommandKind {
    #[prost(message, tag = "2")]
    Register(RegisterRecord),
    #[prost(message, tag = "3")]
    Deregister(DeregisterRecord),
    #[prost(message, tag = "5")]
    SetHealth(SetHealthRecord),
    #[prost(message, tag = "6")]
    CreateService(ServiceWrite),
    #[prost(message, tag = "7")]
    UpdateService(ServiceWrite),
    #[prost(message, tag = "8")]
    DeleteService(DeleteServiceRecord),
    #[prost(message, tag = "9")]
    SetOverride(OverrideWrite),
    #[prost(message, tag = "10")]
    Expire(ExpireRecord),
    #[prost(message, tag = "11")]
    SetSwitch(SetSwitchRecord),
}

/// A naming reply, which has three of the fields of the CP log's message of a reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplyRecord {
    pub kind: u32,
    pub text: String,
    pub limit: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct RegisterRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) service: Option<ServiceKeyRecord>,
    #[prost(message, optional, tag = "2")]
    pub(super) instance: Option<InstanceRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DeregisterRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) service: Option<ServiceKeyRecord>,
    #[prost(message, optional, tag = "2")]
    pub(super) address: Option<AddressRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SetHealthRecord {
    #[prost(message, repeated, tag = "1")]
    pub(super) changes: Vec<HealthRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HealthRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) service: Option<ServiceKeyRecord>,
    #[prost(message, optional, tag = "2")]
    pub(super) address: Option<AddressRecord>,
    #[prost(bool, tag = "3")]
    pub(super) healthy: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ServiceWrite {
    #[prost(message, optional, tag = "1")]
    pub(super) service: Option<ServiceKeyRecord>,
    #[prost(message, optional, tag = "2")]
    pub(super) record: Option<ServiceSettings>,
    #[prost(bool, tag = "3")]
    pub(super) create: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct DeleteServiceRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) service: Option<ServiceKeyRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub struct OverrideWrite {
    #[prost(message, optional, tag = "1")]
    pub(super) service: Option<ServiceKeyRecord>,
    #[prost(message, optional, tag = "2")]
    pub(super) target: Option<TargetRecord>,
    #[prost(message, optional, tag = "3")]
    pub(super) value: Option<OverrideRecord>,
    #[prost(bool, tag = "4")]
    pub(super) patch: bool,
    #[prost(bool, tag = "5")]
    pub(super) metadata_given: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExpireRecord {
    #[prost(message, repeated, tag = "1")]
    pub(super) overrides: Vec<ExpiredOverrideRecord>,
    #[prost(message, repeated, tag = "2")]
    pub(super) services: Vec<ExpiredServiceRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExpiredOverrideRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) service: Option<ServiceKeyRecord>,
    #[prost(message, optional, tag = "2")]
    pub(super) target: Option<TargetRecord>,
    #[prost(uint64, tag = "3")]
    pub(super) revision: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExpiredServiceRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) service: Option<ServiceKeyRecord>,
    #[prost(uint64, tag = "2")]
    pub(super) revision: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct SetSwitchRecord {
    #[prost(string, tag = "1")]
    pub(super) entry: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// The stored form of the identity of a service.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceKeyRecord {
    #[prost(string, tag = "1")]
    pub(super) namespace: String,
    #[prost(string, tag = "2")]
    pub(super) group: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct AddressRecord {
    #[prost(string, tag = "1")]
    pub(super) ip: String,
    #[prost(uint32, tag = "2")]
    pub(super) port: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct TargetRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) address: Option<AddressRecord>,
    #[prost(string, tag = "2")]
    pub(super) cluster: String,
}

/// The stored form of a service record. An empty selector stands for `none`.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceSettings {
    #[prost(float, tag = "1")]
    pub(super) protect_threshold: f32,
    #[prost(message, repeated, tag = "2")]
    pub(super) metadata: Vec<MetadataRecord>,
    #[prost(string, tag = "3")]
    pub(super) selector: String,
    #[prost(string, tag = "4")]
    pub(super) expression: String,
}

/// The stored form of an override.
#[derive(Clone, PartialEq, Message)]
pub struct OverrideRecord {
    #[prost(bool, optional, tag = "1")]
    pub(super) enabled: Option<bool>,
    #[prost(double, optional, tag = "2")]
    pub(super) weight: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) metadata: Vec<MetadataRecord>,
}

/// A service, or a further part of a large service.
#[derive(Clone, PartialEq, Message)]
pub struct ServicePart {
    #[prost(message, optional, tag = "1")]
    pub(super) service: Option<ServiceKeyRecord>,
    #[prost(message, optional, tag = "2")]
    pub(super) record: Option<ServiceSettings>,
    #[prost(uint64, tag = "3")]
    pub(super) record_revision: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) instances: Vec<InstanceRecord>,
    #[prost(message, repeated, tag = "5")]
    pub(super) overrides: Vec<StoredOverrideRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StoredOverrideRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) target: Option<TargetRecord>,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<OverrideRecord>,
    #[prost(uint64, tag = "3")]
    pub(super) revision: u64,
}

impl From<&ServiceKey> for ServiceKeyRecord {
    fn from(key: &ServiceKey) -> ServiceKeyRecord {
        ServiceKeyRecord {
            namespace: key.namespace().into(),
            group: key.group().into(),
            name: key.name().into(),
        }
    }
}

impl From<&Address> for AddressRecord {
    fn from(address: &Address) -> AddressRecord {
        AddressRecord { ip: address.ip.to_string(), port: address.port.into() }
    }
}

impl From<&OverrideKey> for TargetRecord {
    fn from(key: &OverrideKey) -> TargetRecord {
        TargetRecord { address: Some((&key.address).into()), cluster: key.cluster.to_string() }
    }
}

impl From<&ServiceRecord> for ServiceSettings {
    fn from(record: &ServiceRecord) -> ServiceSettings {
        ServiceSettings {
            protect_threshold: record.protect_threshold,
            metadata: metadata_records(&record.metadata),
            selector: if &*record.selector.kind == "none" {
                String::new()
            } else {
                record.selector.kind.to_string()
            },
            expression: record.selector.expression.to_string(),
        }
    }
}

impl From<&Override> for OverrideRecord {
    fn from(value: &Override) -> OverrideRecord {
        OverrideRecord {
            enabled: value.enabled,
            weight: value.weight,
            metadata: metadata_records(&value.metadata),
        }
    }
}

impl From<&HealthChange> for HealthRecord {
    fn from(change: &HealthChange) -> HealthRecord {
        HealthRecord {
            service: Some((&change.service).into()),
            address: Some((&change.address).into()),
            healthy: change.healthy,
        }
    }
}

impl From<&ExpiredOverride> for ExpiredOverrideRecord {
    fn from(expired: &ExpiredOverride) -> ExpiredOverrideRecord {
        ExpiredOverrideRecord {
            service: Some((&expired.service).into()),
            target: Some((&expired.target).into()),
            revision: expired.revision,
        }
    }
}

impl From<&ExpiredService> for ExpiredServiceRecord {
    fn from(expired: &ExpiredService) -> ExpiredServiceRecord {
        ExpiredServiceRecord { service: Some((&expired.service).into()), revision: expired.revision }
    }
}
