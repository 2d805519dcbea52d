//! Conversions between the commands, replies and values of naming and their stored messages.

use std::sync::Arc;

use dyad_types::publication::{InstanceRecord, metadata_from_records, metadata_records};
use dyad_types::{Address, BadRecord, Instance, ServiceKey};

use super::command::{
    ExpiredOverride, ExpiredService, HealthChange, Limit, NamingCommand, NamingReply, OverrideChange,
};
use super::record::*;
use super::service::{Override, OverrideKey, Selector, ServiceRecord};

impl From<&NamingReply> for ReplyRecord {
    fn from(reply: &NamingReply) -> ReplyRecord {
        let (kind, text, limit) = match reply {
            NamingReply::Done => (1, String::new(), 0),
            NamingReply::Exists => (2, String::new(), 0),
            NamingReply::NotFound => (3, String::new(), 0),
            NamingReply::NotEmpty => (4, String::new(), 0),
            NamingReply::Limit(Limit::Instances(max)) => (5, String::new(), *max as u64),
            NamingReply::Limit(Limit::Services(max)) => (6, String::new(), *max as u64),
            NamingReply::Limit(Limit::InstancesPerService(max)) => (7, String::new(), *max as u64),
            NamingReply::Limit(Limit::List(max)) => (9, String::new(), *max as u64),
            NamingReply::BadSwitch(message) => (8, message.clone(), 0),
        };
        ReplyRecord { kind, text, limit }
    }
}

impl TryFrom<ReplyRecord> for NamingReply {
    type Error = BadRecord;

    fn try_from(record: ReplyRecord) -> Result<NamingReply, BadRecord> {
        let max = record.limit as usize;
        Ok(match record.kind {
            1 => NamingReply::Done,
            2 => NamingReply::Exists,
            3 => NamingReply::NotFound,
            4 => NamingReply::NotEmpty,
            5 => NamingReply::Limit(Limit::Instances(max)),
            6 => NamingReply::Limit(Limit::Services(max)),
            7 => NamingReply::Limit(Limit::InstancesPerService(max)),
            8 => NamingReply::BadSwitch(record.text),
            9 => NamingReply::Limit(Limit::List(max)),
            other => return Err(BadRecord(format!("reply kind {other} is unknown"))),
        })
    }
}

impl From<&NamingCommand> for CommandKind {
    fn from(command: &NamingCommand) -> CommandKind {
        command_kind(command)
    }
}

impl TryFrom<CommandKind> for NamingCommand {
    type Error = BadRecord;

    fn try_from(kind: CommandKind) -> Result<NamingCommand, BadRecord> {
        command_of(kind)
    }
}

fn command_kind(command: &NamingCommand) -> CommandKind {
    match command {
        NamingCommand::Register { service, instance } => CommandKind::Register(RegisterRecord {
            service: Some(service.into()),
            instance: Some(InstanceRecord::from(instance)),
        }),
        NamingCommand::Deregister { service, address } => CommandKind::Deregister(DeregisterRecord {
            service: Some(service.into()),
            address: Some(address.into()),
        }),
        NamingCommand::SetHealth { changes } => {
            CommandKind::SetHealth(SetHealthRecord { changes: changes.iter().map(Into::into).collect() })
        }
        NamingCommand::CreateService { service, record } => CommandKind::CreateService(ServiceWrite {
            service: Some(service.into()),
            record: Some(record.into()),
            create: false,
        }),
        NamingCommand::UpdateService { service, record, create } => {
            CommandKind::UpdateService(ServiceWrite {
                service: Some(service.into()),
                record: Some(record.into()),
                create: *create,
            })
        }
        NamingCommand::DeleteService { service } => {
            CommandKind::DeleteService(DeleteServiceRecord { service: Some(service.into()) })
        }
        NamingCommand::SetOverride { service, target, change } => {
            CommandKind::SetOverride(override_write(service, target, change))
        }
        NamingCommand::Expire { overrides, services } => CommandKind::Expire(ExpireRecord {
            overrides: overrides.iter().map(Into::into).collect(),
            services: services.iter().map(Into::into).collect(),
        }),
        NamingCommand::SetSwitch { entry, value } => {
            CommandKind::SetSwitch(SetSwitchRecord { entry: entry.clone(), value: value.clone() })
        }
    }
}

fn command_of(kind: CommandKind) -> Result<NamingCommand, BadRecord> {
    Ok(match kind {
        CommandKind::Register(r) => {
            NamingCommand::Register { service: service_of(r.service)?, instance: instance_of(r.instance)? }
        }
        CommandKind::Deregister(r) => {
            NamingCommand::Deregister { service: service_of(r.service)?, address: address_of(r.address)? }
        }
        CommandKind::SetHealth(r) => {
            NamingCommand::SetHealth { changes: all(r.changes, HealthRecord::value)? }
        }
        CommandKind::CreateService(r) => {
            NamingCommand::CreateService { service: service_of(r.service)?, record: record_of(r.record)? }
        }
        CommandKind::UpdateService(r) => NamingCommand::UpdateService {
            service: service_of(r.service)?,
            record: record_of(r.record)?,
            create: r.create,
        },
        CommandKind::DeleteService(r) => NamingCommand::DeleteService { service: service_of(r.service)? },
        CommandKind::SetOverride(r) => override_command(r)?,
        CommandKind::Expire(r) => NamingCommand::Expire {
            overrides: all(r.overrides, ExpiredOverrideRecord::value)?,
            services: all(r.services, ExpiredServiceRecord::value)?,
        },
        CommandKind::SetSwitch(r) => NamingCommand::SetSwitch { entry: r.entry, value: r.value },
    })
}

pub(super) fn all<R, T>(
    records: Vec<R>,
    value: impl Fn(R) -> Result<T, BadRecord>,
) -> Result<Vec<T>, BadRecord> {
    records.into_iter().map(value).collect()
}

fn missing(field: &str) -> BadRecord {
    BadRecord(format!("the record lacks its {field}"))
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

fn override_command(record: OverrideWrite) -> Result<NamingCommand, BadRecord> {
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
    Ok(NamingCommand::SetOverride {
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
