//! One instance of a service, as its client registered it.

use std::sync::Arc;

use crate::key::{Address, DEFAULT_CLUSTER, cluster_name};
use crate::metadata::Metadata;

/// Milliseconds between two heartbeats of an HTTP client, unless its metadata says otherwise.
pub const BEAT_INTERVAL_MS: u64 = 5_000;
/// Milliseconds without a heartbeat after which an instance is unhealthy.
pub const BEAT_TIMEOUT_MS: u64 = 15_000;
/// Milliseconds without a heartbeat after which an instance is removed.
pub const DELETE_TIMEOUT_MS: u64 = 30_000;

/// A time of less than a second was meant in seconds, and is too short for any heartbeat. Nacos does not flicker on it, since
/// it looks every 5 s; here the time becomes one that a client with the usual interval of 5 s keeps.
const SHORTEST_MS: u64 = 1_000;
/// What a `preserved.heart.beat.timeout` that is too short becomes, in milliseconds.
const SHORT_BEAT_TIMEOUT_MS: u64 = 6_000;
/// What a `preserved.ip.delete.timeout` that is too short becomes, in milliseconds.
const SHORT_DELETE_TIMEOUT_MS: u64 = 9_000;

/// The longest duration that metadata can set: 100 years, so that a moment plus a multiple of it is still a number.
pub const DURATION_MAX_MS: u64 = 3_155_760_000_000;

/// The first of the metadata keys that mean something to the server (`PreservedMetadataKeys`): milliseconds between heartbeats.
pub const KEY_BEAT_INTERVAL: &str = "preserved.heart.beat.interval";
/// Milliseconds without a heartbeat until the instance is unhealthy.
pub const KEY_BEAT_TIMEOUT: &str = "preserved.heart.beat.timeout";
/// Milliseconds without a heartbeat until the instance is removed.
pub const KEY_DELETE_TIMEOUT: &str = "preserved.ip.delete.timeout";
/// How the `instanceId` is made, such as `snowflake`.
pub const KEY_ID_GENERATOR: &str = "preserved.instance.id.generator";

/// The largest weight. A larger one is an error in a request and is reduced to this in a stored record.
pub const WEIGHT_MAX: f64 = 10_000.0;
/// The smallest weight other than zero.
pub const WEIGHT_MIN: f64 = 0.01;

/// How an instance's `instanceId` is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InstanceIdKind {
    /// The id is not shown (HTTP registrations of v2 and v3).
    None,
    /// The id is derived: `ip#port#cluster#group@@service` (`DefaultInstanceIdGenerator`).
    #[default]
    Simple,
    /// The id is derived as for `Simple`. A heartbeat registered the instance, so its `instanceIdGenerator` is not shown.
    Beat,
    /// The id is `ip#port#null#group@@service`, because a gRPC client named no cluster: Nacos makes the id before it fills in
    /// `DEFAULT`.
    NoCluster,
    /// The id was generated at the registration, for example by `snowflake`. The pointer is thin, because such ids are rare and
    /// every instance has room for it.
    Custom(Arc<String>),
}

/// One instance. The client said at its registration whether it is `healthy`; the registry knows its present health.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub ip: Arc<str>,
    pub port: u16,
    pub cluster: Arc<str>,
    /// From 0 to 10,000. SDKs send no traffic to an instance with weight 0.
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

    /// Milliseconds without a heartbeat until the instance is unhealthy: `preserved.heart.beat.timeout`; default 15 s.
    pub fn beat_timeout_ms(&self) -> u64 {
        duration_key(&self.metadata, KEY_BEAT_TIMEOUT, BEAT_TIMEOUT_MS)
    }

    /// Milliseconds without a heartbeat until the instance is removed: `preserved.ip.delete.timeout`; default 30 s.
    pub fn delete_timeout_ms(&self) -> u64 {
        duration_key(&self.metadata, KEY_DELETE_TIMEOUT, DELETE_TIMEOUT_MS)
    }

    /// The time that is waited for a heartbeat before the instance is unhealthy, in milliseconds:
    /// [`Instance::beat_timeout_ms`], or 6 s if that is less than a second.
    pub fn unhealthy_after_ms(&self) -> u64 {
        let given = self.beat_timeout_ms();
        if given < SHORTEST_MS { SHORT_BEAT_TIMEOUT_MS } else { given }
    }

    /// The time that is waited for a heartbeat before the instance is removed, in milliseconds:
    /// [`Instance::delete_timeout_ms`], or 9 s if that is less than a second.
    pub fn removed_after_ms(&self) -> u64 {
        let given = self.delete_timeout_ms();
        if given < SHORTEST_MS { SHORT_DELETE_TIMEOUT_MS } else { given }
    }

    /// Milliseconds between heartbeats: `preserved.heart.beat.interval`; default 5 s.
    pub fn beat_interval_ms(&self) -> u64 {
        duration_key(&self.metadata, KEY_BEAT_INTERVAL, BEAT_INTERVAL_MS)
    }
}

/// Reads a duration in milliseconds from metadata, at most [`DURATION_MAX_MS`]. The default is taken if the value has
/// anything but digits (`Instance.getMetaDataByKeyWithDefault`).
pub fn duration_key(metadata: &Metadata, key: &str, default: u64) -> u64 {
    match metadata.get(key) {
        Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().unwrap_or(default).min(DURATION_MAX_MS)
        }
        _ => default,
    }
}

/// Brings a weight into the range that may be stored: 0, or 0.01 to 10,000. A record from a peer, a log or a snapshot is never
/// refused because of its weight.
pub fn clamp_weight(weight: f64) -> f64 {
    if weight.is_nan() {
        1.0
    } else if weight <= 0.0 {
        0.0
    } else {
        weight.clamp(WEIGHT_MIN, WEIGHT_MAX)
    }
}
