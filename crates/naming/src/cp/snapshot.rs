//! The CP state as a sequence of records with a version: a header, the retirements, each service in the order of the
//! keys, and the configurations.

use std::sync::Arc;

use dyad_types::publication::InstanceRecord;
use dyad_types::{MemberId, Origin, ServiceKey};
use prost::Message;

use super::codec::{
    cluster_id_of, config_error, frame, instance_of, override_of, record_of, service_of, target_of, unframe,
};
use super::records::{OverrideRecord, RetireRecord, ServiceKeyRecord, ServiceSettings, TargetRecord};
use super::service::{CpService, StoredOverride, StoredRecord};
use super::{BadRecord, CpState};
use crate::switches::Switches;

/// A record takes items until its body has this many bytes. An item is at most as large as the form of a request (64
/// KiB) and a key, so no record comes near 256 KiB.
const RECORD_BYTES: usize = 64 * 1024;

impl CpState {
    /// The state as records with a version, in a fixed order. Each record is much smaller than 256 KiB.
    pub fn snapshot(&self) -> impl Iterator<Item = Vec<u8>> {
        let head = std::iter::once(self.header());
        let services = self.services.iter().flat_map(|(key, service)| service_records(key, service));
        let config = self.config.snapshot().map(RecordKind::Config);
        head.chain(services).chain(config).map(|kind| frame(&SnapshotRecord { kind: Some(kind) }))
    }

    /// Makes the state from what [`CpState::snapshot`] gave.
    ///
    /// # Errors
    /// A record cannot be decoded.
    pub fn restore(records: impl IntoIterator<Item = Vec<u8>>) -> Result<CpState, BadRecord> {
        let mut state = CpState::default();
        let mut headed = false;
        for bytes in records {
            let record: SnapshotRecord = unframe("snapshot record", &bytes)?;
            match record.kind {
                Some(RecordKind::Header(header)) if !headed => {
                    headed = true;
                    state.restore_header(header)?;
                }
                Some(RecordKind::Service(part)) if headed => state.restore_service(part)?,
                Some(RecordKind::Config(part)) if headed => {
                    state.config.restore(part).map_err(config_error)?
                }
                Some(_) => return Err(BadRecord("a snapshot must begin with one header".into())),
                None => return Err(BadRecord("a snapshot record that this build does not know".into())),
            }
        }
        if headed { Ok(state) } else { Err(BadRecord("an empty snapshot".into())) }
    }

    fn header(&self) -> RecordKind {
        RecordKind::Header(HeaderRecord {
            now_ms: self.now_ms,
            cluster_id: self.cluster_id.map(|id| id.to_be_bytes().to_vec()),
            switches: self.switches.to_json(),
            retired: self
                .retired()
                .map(|o| RetireRecord { member: o.member.0, incarnation: o.incarnation })
                .collect(),
        })
    }

    fn restore_header(&mut self, header: HeaderRecord) -> Result<(), BadRecord> {
        self.now_ms = header.now_ms;
        self.cluster_id = header.cluster_id.as_deref().map(cluster_id_of).transpose()?;
        let switches: Switches =
            serde_json::from_slice(&header.switches).map_err(|e| BadRecord(format!("switches: {e}")))?;
        self.switches = Arc::new(switches);
        for retired in header.retired {
            let Origin { member, incarnation } =
                Origin { member: MemberId(retired.member), incarnation: retired.incarnation };
            self.retired.insert(member, incarnation);
        }
        Ok(())
    }

    fn restore_service(&mut self, part: ServicePart) -> Result<(), BadRecord> {
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
}

/// One service as one or more records: its settings, and then its instances and overrides in the order of their keys.
fn service_records(key: &ServiceKey, service: &CpService) -> Vec<RecordKind> {
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
    parts.push(RecordKind::Service(part));
    parts
}

/// Begins a new record if the next item would not fit.
fn make_room(parts: &mut Vec<RecordKind>, part: &mut ServicePart, bytes: &mut usize, next: usize) {
    if *bytes > 0 && *bytes + next > RECORD_BYTES {
        let fresh = ServicePart { service: part.service.clone(), ..ServicePart::default() };
        parts.push(RecordKind::Service(std::mem::replace(part, fresh)));
        *bytes = 0;
    }
    *bytes += next;
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotRecord {
    #[prost(oneof = "RecordKind", tags = "1, 2, 3")]
    kind: Option<RecordKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum RecordKind {
    #[prost(message, tag = "1")]
    Header(HeaderRecord),
    #[prost(message, tag = "2")]
    Service(ServicePart),
    #[prost(message, tag = "3")]
    Config(dyad_config::record::StatePart),
}

#[derive(Clone, PartialEq, Message)]
struct HeaderRecord {
    #[prost(uint64, tag = "1")]
    now_ms: u64,
    #[prost(bytes = "vec", optional, tag = "2")]
    cluster_id: Option<Vec<u8>>,
    /// The switches as JSON, which is also the form in which they are shown.
    #[prost(bytes = "vec", tag = "3")]
    switches: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    retired: Vec<RetireRecord>,
}

/// A service, or a further part of a large service.
#[derive(Clone, PartialEq, Message)]
struct ServicePart {
    #[prost(message, optional, tag = "1")]
    service: Option<ServiceKeyRecord>,
    #[prost(message, optional, tag = "2")]
    record: Option<ServiceSettings>,
    #[prost(uint64, tag = "3")]
    record_revision: u64,
    #[prost(message, repeated, tag = "4")]
    instances: Vec<InstanceRecord>,
    #[prost(message, repeated, tag = "5")]
    overrides: Vec<StoredOverrideRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredOverrideRecord {
    #[prost(message, optional, tag = "1")]
    target: Option<TargetRecord>,
    #[prost(message, optional, tag = "2")]
    value: Option<OverrideRecord>,
    #[prost(uint64, tag = "3")]
    revision: u64,
}
