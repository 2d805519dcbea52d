//! The naming part of a snapshot: the services in the order of their keys. A large service has several records.

use std::sync::Arc;

use dyad_types::publication::InstanceRecord;
use dyad_types::{BadRecord, ServiceKey};
use prost::Message;

use super::NamingState;
use super::codec::{instance_of, override_of, record_of, service_of, target_of};
use super::record::{OverrideRecord, ServicePart, ServiceSettings, StoredOverrideRecord};
use super::service::{CpService, StoredOverride, StoredRecord};
use crate::switches::Switches;

/// A record takes items until its body has this many bytes. An item is at most as large as the form of a request (64
/// KiB) and a key, so no record comes near 256 KiB.
const RECORD_BYTES: usize = 64 * 1024;

impl NamingState {
    /// The services as records, in the order of their keys. Each record is much smaller than 256 KiB. The switches are
    /// not among them.
    pub fn snapshot(&self) -> impl Iterator<Item = ServicePart> {
        self.services.iter().flat_map(|(key, service)| service_records(key, service))
    }

    /// Takes in one record of [`NamingState::snapshot`].
    ///
    /// # Errors
    /// A value in it cannot be decoded.
    pub fn restore(&mut self, part: ServicePart) -> Result<(), BadRecord> {
        let key = service_of(part.service)?;
        let mut added = 0;
        let service = self.service_mut(&key);
        if let Some(settings) = part.record {
            let record = Arc::new(record_of(Some(settings))?);
            service.record = Some(StoredRecord { record, revision: part.record_revision });
        }
        for instance in part.instances {
            let instance = instance_of(Some(instance))?;
            added += usize::from(service.instances.insert(instance.address(), Arc::new(instance)).is_none());
        }
        for stored in part.overrides {
            let value = Arc::new(override_of(stored.value)?);
            service
                .overrides
                .insert(target_of(stored.target)?, StoredOverride { value, revision: stored.revision });
        }
        self.instances += added;
        Ok(())
    }

    /// Takes in the switches from their JSON, which is the form in which a snapshot has them.
    ///
    /// # Errors
    /// The JSON is not that of switches.
    pub fn restore_switches(&mut self, json: &[u8]) -> Result<(), BadRecord> {
        let switches: Switches =
            serde_json::from_slice(json).map_err(|e| BadRecord(format!("switches: {e}")))?;
        self.switches = Arc::new(switches);
        Ok(())
    }
}

/// One service as one or more records: its settings, then instances and overrides in key order.
fn service_records(key: &ServiceKey, service: &CpService) -> Vec<ServicePart> {
    let mut parts = Vec::new();
    let mut part = ServicePart { service: Some(key.into()), ..ServicePart::default() };
    let mut bytes = 0;
    if let Some(stored) = &service.record {
        let settings = ServiceSettings::from(&*stored.record);
        bytes += settings.encoded_len();
        part.record = Some(settings);
        part.record_revision = stored.revision;
    }
    for instance in service.instances.values() {
        let record = InstanceRecord::from(&**instance);
        make_room(&mut parts, &mut part, &mut bytes, record.encoded_len());
        part.instances.push(record);
    }
    for (target, stored) in &service.overrides {
        let record = StoredOverrideRecord {
            target: Some(target.into()),
            value: Some(OverrideRecord::from(&*stored.value)),
            revision: stored.revision,
        };
        make_room(&mut parts, &mut part, &mut bytes, record.encoded_len());
        part.overrides.push(record);
    }
    parts.push(part);
    parts
}

/// Begins a new record when the next item would not fit.
fn make_room(parts: &mut Vec<ServicePart>, part: &mut ServicePart, bytes: &mut usize, next: usize) {
    if *bytes > 0 && *bytes + next > RECORD_BYTES {
        let fresh = ServicePart { service: part.service.clone(), ..ServicePart::default() };
        parts.push(std::mem::replace(part, fresh));
        *bytes = 0;
    }
    *bytes += next;
}
