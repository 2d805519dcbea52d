//! What a query sees of one service: an immutable list of instances and its bytes, which are built once for each revision.

mod json;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dyad_types::{Instance, Lifetime, ServiceKey};

use crate::cp::ServiceRecord;

/// One service at one revision. Everything in it is immutable. The first query makes the bytes of the plain list.
#[derive(Debug)]
pub struct ServiceView {
    key: ServiceKey,
    revision: u64,
    instances: Box<[ViewInstance]>,
    record: Option<Arc<ServiceRecord>>,
    cache_millis: i64,
    plain: OnceLock<Halves>,
    used: AtomicBool,
}

/// One instance as it is shown: its overrides are applied, and `instance.healthy` is its present health.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewInstance {
    pub instance: Instance,
    pub lifetime: Lifetime,
}

/// An answer to `/instance/list` without its time stamp. The body is `head`, then the milliseconds since the epoch as a
/// decimal number, and then `tail`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halves {
    pub head: Bytes,
    pub tail: Bytes,
}

/// The same answer as the `serviceInfo` of gRPC. It is `{"name":`, `name`, `rest`, the milliseconds, and `tail`. Only
/// the name differs from the HTTP form, so both share their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInfoParts {
    /// The name without its group, as a JSON string.
    pub name: String,
    pub rest: Bytes,
    pub tail: Bytes,
}

/// What `/instance/list` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListQuery<'a> {
    /// The clusters, separated by commas. A blank text means all clusters.
    pub clusters: &'a str,
    pub healthy_only: bool,
}

impl ListQuery<'_> {
    fn is_plain(&self) -> bool {
        self.clusters.is_empty() && !self.healthy_only
    }

    fn takes(&self, cluster: &str) -> bool {
        self.clusters.trim().is_empty() || self.clusters.split(',').any(|c| c == cluster)
    }
}

/// The instances that answer a query.
#[derive(Debug, PartialEq)]
pub struct Selection<'a> {
    pub hosts: Vec<&'a ViewInstance>,
    /// Whether the share of healthy instances is at or below the protect threshold, so that all are shown as healthy.
    pub protected: bool,
}

impl ServiceView {
    /// A view of these instances. They must be in the order in which they are shown.
    pub fn new(
        key: ServiceKey,
        revision: u64,
        instances: Vec<ViewInstance>,
        record: Option<Arc<ServiceRecord>>,
        cache_millis: i64,
    ) -> ServiceView {
        ServiceView {
            key,
            revision,
            instances: instances.into_boxed_slice(),
            record,
            cache_millis,
            plain: OnceLock::new(),
            used: AtomicBool::new(true),
        }
    }

    /// The view of a service that nobody knows. As in Nacos, a query for it gets an empty list.
    pub fn unknown(key: ServiceKey, cache_millis: i64) -> ServiceView {
        ServiceView::new(key, 0, Vec::new(), None, cache_millis)
    }

    pub fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// The number of changes of the service on this member since the service appeared here.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All instances, including disabled ones, sorted by ip, port and cluster.
    pub fn instances(&self) -> &[ViewInstance] {
        &self.instances
    }

    /// The service record, if an operator ever wrote one.
    pub fn record(&self) -> Option<&Arc<ServiceRecord>> {
        self.record.as_ref()
    }

    /// The names of the clusters that have instances, sorted.
    pub fn clusters(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.instances.iter().map(|i| &*i.instance.cluster).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The instance with exactly this ip, port and cluster.
    pub fn find(&self, ip: &str, port: u16, cluster: &str) -> Option<&ViewInstance> {
        let key = (ip, port, cluster);
        let at = self.instances.partition_point(|i| place(&i.instance) < key);
        self.instances.get(at).filter(|i| place(&i.instance) == key)
    }

    /// Selects the enabled instances for a query, and decides whether the protect threshold is reached
    /// (`ServiceUtil.selectInstancesWithHealthyProtection`). A service without a record has no threshold. The selector
    /// `label` selects all instances, as in Nacos without a CMDB.
    pub fn select(&self, query: &ListQuery<'_>) -> Selection<'_> {
        let takes = |i: &&ViewInstance| {
            i.instance.enabled
                && query.takes(&i.instance.cluster)
                && (i.instance.healthy || !query.healthy_only)
        };
        let hosts: Vec<&ViewInstance> = self.instances.iter().filter(takes).collect();
        let healthy = hosts.iter().filter(|i| i.instance.healthy).count();
        let protected = self.record.as_ref().is_some_and(|record| {
            // 0 of 0 is not a number and protects nothing.
            (healthy as f32 / hosts.len() as f32) <= record.protect_threshold.max(0.0)
        });
        Selection { hosts, protected }
    }

    /// The body of `/instance/list` without its time stamp. The bytes for the plain query are made once.
    pub fn list(&self, query: &ListQuery<'_>) -> Halves {
        if query.is_plain() {
            return self.plain.get_or_init(|| json::list(self, query)).clone();
        }
        json::list(self, query)
    }

    /// The `ServiceInfo` in answers and pushes over gRPC.
    pub fn service_info(&self, query: &ListQuery<'_>) -> ServiceInfoParts {
        let Halves { head, tail } = self.list(query);
        let (name, http_name) = json::names(&self.key);
        ServiceInfoParts { name, rest: head.slice(json::NAME_FIELD.len() + http_name..), tail }
    }

    /// The body of `/instance` for one of the instances of this view.
    pub fn instance_json(&self, instance: &ViewInstance) -> Bytes {
        json::detail(&self.key, instance)
    }

    /// The body of `/service`.
    pub fn service_json(&self) -> Bytes {
        json::service(self)
    }

    pub(crate) fn mark_used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether somebody asked for the view since the last call.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

impl ServiceInfoParts {
    /// The pieces of the JSON object in their order. `last_ref_ms` has decimal digits.
    pub fn pieces<'a>(&'a self, last_ref_ms: &'a str) -> [&'a [u8]; 5] {
        let (name, stamp) = (self.name.as_bytes(), last_ref_ms.as_bytes());
        [json::NAME_FIELD.as_bytes(), name, &self.rest, stamp, &self.tail]
    }
}

impl Halves {
    /// The whole body with this time stamp, in milliseconds since the epoch.
    pub fn stamped(&self, now_ms: u64) -> Vec<u8> {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(now_ms);
        let mut body = Vec::with_capacity(self.head.len() + digits.len() + self.tail.len());
        body.extend_from_slice(&self.head);
        body.extend_from_slice(digits.as_bytes());
        body.extend_from_slice(&self.tail);
        body
    }
}

pub(crate) use json::{LIST_BYTES, host_bytes, hosts_bytes, metadata_bytes};

/// What decides the place of an instance in a view.
pub(crate) fn place(instance: &Instance) -> (&str, u16, &str) {
    (&instance.ip, instance.port, &instance.cluster)
}

#[cfg(test)]
mod tests;
