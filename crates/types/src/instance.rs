//! One instance of a service, as its client registered it.

use std::sync::Arc;

use crate::key::{Address, DEFAULT_CLUSTER, cluster_name};
use crate::metadata::Metadata;

/// Milliseconds between two beats of an HTTP client, unless its metadata says otherwise.
pub const BEAT_INTERVAL_MS: u64 = 5_000;
/// Milliseconds without a beat after which an instance is unhealthy.
pub const BEAT_TIMEOUT_MS: u64 = 15_000;
/// Milliseconds without a beat after which an instance is removed.
pub const DELETE_TIMEOUT_MS: u64 = 30_000;

/// Metadata keys with a meaning to the server (`PreservedMetadataKeys`).
pub const KEY_BEAT_INTERVAL: &str = "preserved.heart.beat.interval";
pub const KEY_BEAT_TIMEOUT: &str = "preserved.heart.beat.timeout";
pub const KEY_DELETE_TIMEOUT: &str = "preserved.ip.delete.timeout";
pub const KEY_ID_GENERATOR: &str = "preserved.instance.id.generator";

/// The largest weight; more is an error in a request and clamped in a record.
pub const WEIGHT_MAX: f64 = 10_000.0;
/// The smallest weight that is not zero.
pub const WEIGHT_MIN: f64 = 0.01;

/// How an instance's `instanceId` is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InstanceIdKind {
    /// Not shown (v2 and v3 HTTP registrations).
    None,
    /// `ip#port#cluster#group@@service`, derived (`DefaultInstanceIdGenerator`).
    #[default]
    Simple,
    /// The same, of an instance that a beat registered: `instanceIdGenerator` is not shown.
    Beat,
    /// `ip#port#null#group@@service`, of a gRPC client that named no cluster: Nacos makes the id before it fills in `DEFAULT`.
    NoCluster,
    /// Generated at registration, e.g. by `snowflake`. A thin pointer: it is rare, and every instance has room for it.
    Custom(Arc<String>),
}

/// One instance. `healthy` is what the client said at registration; the present health is the registry's.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub ip: Arc<str>,
    pub port: u16,
    pub cluster: Arc<str>,
    /// 0 to 10,000; 0 gets no traffic from the SDKs.
    pub weight: f64,
    pub healthy: bool,
    pub enabled: bool,
    pub metadata: Metadata,
    pub id: InstanceIdKind,
}

impl Instance {
    /// A healthy, enabled instance of weight 1 in cluster `DEFAULT`.
    pub fn new(ip: &str, port: u16) -> Instance {
        Instance {
            ip: Arc::from(ip),
            port,
            cluster: cluster_name(DEFAULT_CLUSTER),
            weight: 1.0,
            healthy: true,
            enabled: true,
            metadata: Metadata::default(),
            id: InstanceIdKind::Simple,
        }
    }

    pub fn address(&self) -> Address {
        Address { ip: self.ip.clone(), port: self.port }
    }

    /// Milliseconds without a beat until unhealthy: `preserved.heart.beat.timeout`, else 15 s.
    pub fn beat_timeout_ms(&self) -> u64 {
        duration_key(&self.metadata, KEY_BEAT_TIMEOUT, BEAT_TIMEOUT_MS)
    }

    /// Milliseconds without a beat until removed: `preserved.ip.delete.timeout`, else 30 s.
    pub fn delete_timeout_ms(&self) -> u64 {
        duration_key(&self.metadata, KEY_DELETE_TIMEOUT, DELETE_TIMEOUT_MS)
    }

    /// Milliseconds between beats: `preserved.heart.beat.interval`, else 5 s.
    pub fn beat_interval_ms(&self) -> u64 {
        duration_key(&self.metadata, KEY_BEAT_INTERVAL, BEAT_INTERVAL_MS)
    }
}

/// A duration in milliseconds from metadata; anything but digits is the default (`Instance.getMetaDataByKeyWithDefault`).
pub fn duration_key(metadata: &Metadata, key: &str, default: u64) -> u64 {
    match metadata.get(key) {
        Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().unwrap_or(default)
        }
        _ => default,
    }
}

/// A weight as it may be stored: 0, or 0.01 to 10,000. Records from a peer, a log or a snapshot are clamped, never refused.
pub fn clamp_weight(weight: f64) -> f64 {
    if weight.is_nan() {
        1.0
    } else if weight <= 0.0 {
        0.0
    } else {
        weight.clamp(WEIGHT_MIN, WEIGHT_MAX)
    }
}
