//! What one client publishes for one service: one instance, or a batch of instances that is always replaced as a whole.
//!
//! A publication is encoded once, when it is made. Its bytes travel unchanged through logs, deltas and snapshots.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::instance::{Instance, InstanceIdKind, clamp_weight};
use crate::key::cluster_name;
use crate::metadata::Metadata;

/// A publication with its encoded form. Two publications are equal if their bytes are equal.
#[derive(Clone)]
pub struct Publication {
    instances: Instances,
    bytes: Bytes,
}

#[derive(Clone)]
enum Instances {
    One(Instance),
    Batch(Box<[Instance]>),
}

/// The bytes of a publication could not be decoded.
#[derive(Debug, thiserror::Error)]
#[error("a publication of {len} bytes does not decode: {cause}")]
pub struct BadPublication {
    len: usize,
    cause: String,
}

impl Publication {
    /// The publication of one instance.
    pub fn one(instance: Instance) -> Arc<Publication> {
        let record = PublicationRecord { instances: vec![InstanceRecord::from(&instance)], batch: false };
        Arc::new(Publication { instances: Instances::One(instance), bytes: record.encode_to_vec().into() })
    }

    /// The publication of a batch, which may be empty.
    pub fn batch(instances: Vec<Instance>) -> Arc<Publication> {
        let record = PublicationRecord {
            instances: instances.iter().map(InstanceRecord::from).collect(),
            batch: true,
        };
        Arc::new(Publication {
            instances: Instances::Batch(instances.into_boxed_slice()),
            bytes: record.encode_to_vec().into(),
        })
    }

    /// Decodes what [`Publication::bytes`] gave. A weight that is out of range is brought into it by [`clamp_weight`].
    ///
    /// # Errors
    /// The bytes are not a publication, or a publication that is not a batch does not have exactly one instance.
    pub fn decode(bytes: Bytes) -> Result<Arc<Publication>, BadPublication> {
        let bad = |cause: String| BadPublication { len: bytes.len(), cause };
        let record = PublicationRecord::decode(&bytes[..]).map_err(|e| bad(e.to_string()))?;
        let mut instances: Vec<Instance> =
            record.instances.into_iter().map(Instance::try_from).collect::<Result<_, _>>().map_err(bad)?;
        let instances = if record.batch {
            Instances::Batch(instances.into_boxed_slice())
        } else {
            match (instances.pop(), instances.is_empty()) {
                (Some(instance), true) => Instances::One(instance),
                _ => return Err(bad("it must hold exactly one instance".into())),
            }
        };
        Ok(Arc::new(Publication { instances, bytes }))
    }

    /// The encoded form.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn instances(&self) -> &[Instance] {
        match &self.instances {
            Instances::One(instance) => std::slice::from_ref(instance),
            Instances::Batch(instances) => instances,
        }
    }
}

impl PartialEq for Publication {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Publication {}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.instances()).finish()
    }
}

/// The stored form of an instance. Distro messages, the raft log and snapshots share it. Field numbers are never reused.
#[derive(Clone, PartialEq, Message)]
pub struct InstanceRecord {
    #[prost(string, tag = "1")]
    pub ip: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
    #[prost(string, tag = "3")]
    pub cluster: String,
    #[prost(double, tag = "4")]
    pub weight: f64,
    #[prost(bool, tag = "5")]
    pub unhealthy: bool,
    #[prost(bool, tag = "6")]
    pub disabled: bool,
    #[prost(message, repeated, tag = "7")]
    pub metadata: Vec<MetadataRecord>,
    /// Which [`InstanceIdKind`]: 0 `None`, 1 `Simple`, 2 `Beat`, 3 `Custom`, 4 `NoCluster`.
    #[prost(uint32, tag = "8")]
    pub id_kind: u32,
    #[prost(string, tag = "9")]
    pub id: String,
}

/// One entry of metadata. An absent value stands for JSON `null`.
#[derive(Clone, PartialEq, Message)]
pub struct MetadataRecord {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct PublicationRecord {
    #[prost(message, repeated, tag = "1")]
    instances: Vec<InstanceRecord>,
    #[prost(bool, tag = "2")]
    batch: bool,
}

/// Metadata in its stored form.
pub fn metadata_records(metadata: &Metadata) -> Vec<MetadataRecord> {
    metadata.iter().map(|(k, v)| MetadataRecord { key: k.into(), value: v.map(Into::into) }).collect()
}

/// Metadata from its stored form.
pub fn metadata_from_records(records: Vec<MetadataRecord>) -> Metadata {
    records.into_iter().map(|r| (r.key.into_boxed_str(), r.value.map(String::into_boxed_str))).collect()
}

impl From<&Instance> for InstanceRecord {
    fn from(instance: &Instance) -> InstanceRecord {
        let (id_kind, id) = match &instance.id {
            InstanceIdKind::None => (0, String::new()),
            InstanceIdKind::Simple => (1, String::new()),
            InstanceIdKind::Beat => (2, String::new()),
            InstanceIdKind::Custom(id) => (3, id.to_string()),
            InstanceIdKind::NoCluster => (4, String::new()),
        };
        InstanceRecord {
            ip: instance.ip.to_string(),
            port: instance.port.into(),
            cluster: instance.cluster.to_string(),
            weight: instance.weight,
            unhealthy: !instance.healthy,
            disabled: !instance.enabled,
            metadata: metadata_records(&instance.metadata),
            id_kind,
            id,
        }
    }
}

impl TryFrom<InstanceRecord> for Instance {
    type Error = String;

    fn try_from(record: InstanceRecord) -> Result<Instance, String> {
        let port = u16::try_from(record.port).map_err(|_| format!("port {} is over 65535", record.port))?;
        let id = match record.id_kind {
            0 => InstanceIdKind::None,
            1 => InstanceIdKind::Simple,
            2 => InstanceIdKind::Beat,
            3 => InstanceIdKind::Custom(record.id.into()),
            4 => InstanceIdKind::NoCluster,
            other => return Err(format!("instance id kind {other} is unknown")),
        };
        Ok(Instance {
            ip: record.ip.into(),
            port,
            cluster: cluster_name(&record.cluster),
            weight: clamp_weight(record.weight),
            healthy: !record.unhealthy,
            enabled: !record.disabled,
            metadata: metadata_from_records(record.metadata),
            id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hundreds of thousands are held: with its two counts one must fit into the allocator's class of 128 bytes.
    #[test]
    fn a_shared_publication_is_small() {
        assert!(size_of::<Publication>() + 2 * size_of::<usize>() <= 128, "{}", size_of::<Publication>());
    }

    #[test]
    fn decoding_gives_back_what_was_encoded() {
        let mut instance = Instance::new("10.0.0.1", 8080);
        instance.metadata = [("zone", "z1")].into_iter().collect();
        instance.weight = 2.5;
        let publication = Publication::one(instance.clone());
        let back = Publication::decode(publication.bytes().clone()).unwrap();
        assert_eq!(back.instances(), &[instance]);
    }

    #[test]
    fn a_weight_out_of_range_is_clamped_and_never_refused() {
        let mut instance = Instance::new("10.0.0.1", 8080);
        for (sent, kept) in [(20_000.0, 10_000.0), (-1.0, 0.0), (0.001, 0.01), (f64::NAN, 1.0)] {
            instance.weight = sent;
            let back = Publication::decode(Publication::one(instance.clone()).bytes().clone()).unwrap();
            assert_eq!(back.instances()[0].weight, kept, "sent {sent}");
        }
    }
}
