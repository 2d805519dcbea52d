//! The bytes of commands and replies: one version byte and then a prost message. Field numbers are never reused; golden
//! bytes in tests/ fix them.

use std::sync::Arc;

use dyad_config::ConfigReply;
use dyad_types::publication::{InstanceRecord, metadata_from_records, metadata_records};
use dyad_types::{Address, Instance, MemberId, Origin, ServiceKey};
use prost::Message;

use super::BadRecord;
use super::command::{
    CpCommand, CpReply, ExpiredOverride, ExpiredService, HealthChange, Limit, OverrideChange,
};
use super::records::*;
use super::service::{Override, OverrideKey, Selector, ServiceRecord};

/// The one format that this build writes and reads.
pub(super) const FORMAT: u8 = 1;

impl CpCommand {
    /// The bytes of the command, with their version, as they are stored in the log and sent between members.
    pub fn encode(&self) -> Vec<u8> {
        frame(&CommandRecord { kind: Some(command_kind(self)) })
    }

    /// Reads what [`CpCommand::encode`] gave.
    ///
    /// # Errors
    /// The bytes are not a command, or this build does not know the command. It must not be skipped: the member has to stop.
    pub fn decode(bytes: &[u8]) -> Result<CpCommand, BadRecord> {
        let record: CommandRecord = unframe("command", bytes)?;
        let kind = record.kind.ok_or_else(|| {
            BadRecord("a command that this build does not know; install the version that wrote it".into())
        })?;
        command_of(kind)
    }
}

impl CpReply {
    /// The bytes of the reply, with their version, for a follower that forwarded the command.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, text, limit) = match self {
            CpReply::Done => (1, String::new(), 0),
            CpReply::Exists => (2, String::new(), 0),
            CpReply::NotFound => (3, String::new(), 0),
            CpReply::NotEmpty => (4, String::new(), 0),
            CpReply::Limit(Limit::Instances(max)) => (5, String::new(), *max as u64),
            CpReply::Limit(Limit::Services(max)) => (6, String::new(), *max as u64),
            CpReply::Limit(Limit::InstancesPerService(max)) => (7, String::new(), *max as u64),
            CpReply::BadSwitch(message) => (8, message.clone(), 0),
            CpReply::Config(_) => (9, String::new(), 0),
        };
        let config = match self {
            CpReply::Config(reply) => Some(reply.into()),
            _ => None,
        };
        frame(&ReplyRecord { kind, text, limit, config })
    }

    /// Reads what [`CpReply::encode`] gave.
    ///
    /// # Errors
    /// The bytes are not a reply that this build knows.
    pub fn decode(bytes: &[u8]) -> Result<CpReply, BadRecord> {
        let record: ReplyRecord = unframe("reply", bytes)?;
        let max = record.limit as usize;
        Ok(match record.kind {
            1 => CpReply::Done,
            2 => CpReply::Exists,
            3 => CpReply::NotFound,
            4 => CpReply::NotEmpty,
            5 => CpReply::Limit(Limit::Instances(max)),
            6 => CpReply::Limit(Limit::Services(max)),
            7 => CpReply::Limit(Limit::InstancesPerService(max)),
            8 => CpReply::BadSwitch(record.text),
            9 => CpReply::Config(config_of(record.config)?),
            other => return Err(BadRecord(format!("reply kind {other} is unknown"))),
        })
    }
}

/// The version byte, and then the message.
pub(super) fn frame(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(FORMAT);
    message.encode(&mut bytes).expect("a Vec grows to any size");
    bytes
}

pub(super) fn unframe<M: Message + Default>(what: &str, bytes: &[u8]) -> Result<M, BadRecord> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => {
            M::decode(rest).map_err(|e| BadRecord(format!("a {what} of {} bytes: {e}", bytes.len())))
        }
        Some((version, _)) => {
            Err(BadRecord(format!("a {what} of format {version}; this build reads format {FORMAT}")))
        }
        None => Err(BadRecord(format!("an empty {what}"))),
    }
}

fn command_kind(command: &CpCommand) -> CommandKind {
    match command {
        CpCommand::Found { cluster_id } => {
            CommandKind::Found(FoundRecord { cluster_id: cluster_id.to_be_bytes().to_vec() })
        }
        CpCommand::Register { service, instance } => CommandKind::Register(RegisterRecord {
            service: Some(service.into()),
            instance: Some(InstanceRecord::from(instance)),
        }),
        CpCommand::Deregister { service, address } => CommandKind::Deregister(DeregisterRecord {
            service: Some(service.into()),
            address: Some(address.into()),
        }),
        CpCommand::Retire { origin } => {
            CommandKind::Retire(RetireRecord { member: origin.member.0, incarnation: origin.incarnation })
        }
        CpCommand::SetHealth { changes } => {
            CommandKind::SetHealth(SetHealthRecord { changes: changes.iter().map(Into::into).collect() })
        }
        CpCommand::CreateService { service, record } => CommandKind::CreateService(ServiceWrite {
            service: Some(service.into()),
            record: Some(record.into()),
            create: false,
        }),
        CpCommand::UpdateService { service, record, create } => CommandKind::UpdateService(ServiceWrite {
            service: Some(service.into()),
            record: Some(record.into()),
            create: *create,
        }),
        CpCommand::DeleteService { service } => {
            CommandKind::DeleteService(DeleteServiceRecord { service: Some(service.into()) })
        }
        CpCommand::SetOverride { service, target, change } => {
            CommandKind::SetOverride(override_write(service, target, change))
        }
        CpCommand::Expire { overrides, services } => CommandKind::Expire(ExpireRecord {
            overrides: overrides.iter().map(Into::into).collect(),
            services: services.iter().map(Into::into).collect(),
        }),
        CpCommand::SetSwitch { entry, value } => {
            CommandKind::SetSwitch(SetSwitchRecord { entry: entry.clone(), value: value.clone() })
        }
        CpCommand::Config(command) => CommandKind::Config(Box::new(command.into())),
    }
}

fn command_of(kind: CommandKind) -> Result<CpCommand, BadRecord> {
    Ok(match kind {
        CommandKind::Found(r) => CpCommand::Found { cluster_id: cluster_id_of(&r.cluster_id)? },
        CommandKind::Register(r) => {
            CpCommand::Register { service: service_of(r.service)?, instance: instance_of(r.instance)? }
        }
        CommandKind::Deregister(r) => {
            CpCommand::Deregister { service: service_of(r.service)?, address: address_of(r.address)? }
        }
        CommandKind::Retire(r) => {
            CpCommand::Retire { origin: Origin { member: MemberId(r.member), incarnation: r.incarnation } }
        }
        CommandKind::SetHealth(r) => CpCommand::SetHealth { changes: all(r.changes, HealthRecord::value)? },
        CommandKind::CreateService(r) => {
            CpCommand::CreateService { service: service_of(r.service)?, record: record_of(r.record)? }
        }
        CommandKind::UpdateService(r) => CpCommand::UpdateService {
            service: service_of(r.service)?,
            record: record_of(r.record)?,
            create: r.create,
        },
        CommandKind::DeleteService(r) => CpCommand::DeleteService { service: service_of(r.service)? },
        CommandKind::SetOverride(r) => override_command(r)?,
        CommandKind::Expire(r) => CpCommand::Expire {
            overrides: all(r.overrides, ExpiredOverrideRecord::value)?,
            services: all(r.services, ExpiredServiceRecord::value)?,
        },
        CommandKind::SetSwitch(r) => CpCommand::SetSwitch { entry: r.entry, value: r.value },
        CommandKind::Config(r) => CpCommand::Config((*r).try_into().map_err(config_error)?),
    })
}

pub(super) fn all<R, T>(
    records: Vec<R>,
    value: impl Fn(R) -> Result<T, BadRecord>,
) -> Result<Vec<T>, BadRecord> {
    records.into_iter().map(value).collect()
}

fn config_of(record: Option<dyad_config::record::ReplyRecord>) -> Result<ConfigReply, BadRecord> {
    record.ok_or_else(|| missing("configuration reply"))?.try_into().map_err(config_error)
}

pub(super) fn config_error(error: dyad_config::BadRecord) -> BadRecord {
    BadRecord(error.0)
}

fn missing(field: &str) -> BadRecord {
    BadRecord(format!("the record lacks its {field}"))
}

pub(super) fn cluster_id_of(bytes: &[u8]) -> Result<u128, BadRecord> {
    let bytes = bytes.try_into().map_err(|_| BadRecord("a cluster id must have 16 bytes".into()))?;
    Ok(u128::from_be_bytes(bytes))
}

pub(super) fn service_of(record: Option<ServiceKeyRecord>) -> Result<ServiceKey, BadRecord> {
    let record = record.ok_or_else(|| missing("service"))?;
    Ok(ServiceKey::new(&record.namespace, &record.group, &record.name))
}

pub(super) fn instance_of(record: Option<InstanceRecord>) -> Result<Instance, BadRecord> {
    Instance::try_from(record.ok_or_else(|| missing("instance"))?).map_err(BadRecord)
}

fn address_of(record: Option<AddressRecord>) -> Result<Address, BadRecord> {
    let record = record.ok_or_else(|| missing("address"))?;
    let port =
        u16::try_from(record.port).map_err(|_| BadRecord(format!("port {} is over 65535", record.port)))?;
    Ok(Address::new(&record.ip, port))
}

pub(super) fn target_of(record: Option<TargetRecord>) -> Result<OverrideKey, BadRecord> {
    let record = record.ok_or_else(|| missing("target"))?;
    Ok(OverrideKey { address: address_of(record.address)?, cluster: Arc::from(record.cluster) })
}

pub(super) fn record_of(record: Option<ServiceSettings>) -> Result<ServiceRecord, BadRecord> {
    let record = record.ok_or_else(|| missing("service record"))?;
    let kind = if record.selector.is_empty() { "none".into() } else { record.selector.into_boxed_str() };
    Ok(ServiceRecord {
        protect_threshold: record.protect_threshold,
        metadata: metadata_from_records(record.metadata),
        selector: Selector { kind, expression: record.expression.into_boxed_str() },
    }
    .clamped())
}

fn override_write(service: &ServiceKey, target: &OverrideKey, change: &OverrideChange) -> OverrideWrite {
    let (value, patch, metadata_given) = match change {
        OverrideChange::Put(value) => (OverrideRecord::from(value), false, true),
        OverrideChange::Patch { enabled, weight, metadata } => (
            OverrideRecord {
                enabled: *enabled,
                weight: *weight,
                metadata: metadata.as_ref().map(metadata_records).unwrap_or_default(),
            },
            true,
            metadata.is_some(),
        ),
    };
    OverrideWrite {
        service: Some(service.into()),
        target: Some(target.into()),
        value: Some(value),
        patch,
        metadata_given,
    }
}

fn override_command(record: OverrideWrite) -> Result<CpCommand, BadRecord> {
    let value = override_of(record.value)?;
    let change = if record.patch {
        OverrideChange::Patch {
            enabled: value.enabled,
            weight: value.weight,
            metadata: record.metadata_given.then_some(value.metadata),
        }
    } else {
        OverrideChange::Put(value)
    };
    Ok(CpCommand::SetOverride {
        service: service_of(record.service)?,
        target: target_of(record.target)?,
        change,
    })
}

pub(super) fn override_of(record: Option<OverrideRecord>) -> Result<Override, BadRecord> {
    let record = record.ok_or_else(|| missing("override"))?;
    Ok(Override {
        enabled: record.enabled,
        weight: record.weight,
        metadata: metadata_from_records(record.metadata),
    }
    .clamped())
}

impl HealthRecord {
    fn value(self) -> Result<HealthChange, BadRecord> {
        Ok(HealthChange {
            service: service_of(self.service)?,
            address: address_of(self.address)?,
            healthy: self.healthy,
        })
    }
}

impl ExpiredOverrideRecord {
    fn value(self) -> Result<ExpiredOverride, BadRecord> {
        Ok(ExpiredOverride {
            service: service_of(self.service)?,
            target: target_of(self.target)?,
            revision: self.revision,
        })
    }
}

impl ExpiredServiceRecord {
    fn value(self) -> Result<ExpiredService, BadRecord> {
        Ok(ExpiredService { service: service_of(self.service)?, revision: self.revision })
    }
}
