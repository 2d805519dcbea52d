//! The JSON of v1 answers, with the fields in the order of Nacos.

use bytes::Bytes;
use dyad_types::instance::KEY_ID_GENERATOR;
use dyad_types::{Instance, InstanceIdKind, Metadata, ServiceKey};

use super::{Halves, ListQuery, ServiceView, ViewInstance};
use crate::cp::Selector;
use crate::java::{push_double, push_float};

/// The typical number of bytes of one host, by which the first size of the buffer is chosen.
const HOST_BYTES: usize = 400;

/// How every list begins.
pub(super) const NAME_FIELD: &str = "{\"name\":";

/// The name without its group as a JSON string, and the number of bytes of the grouped name as a JSON string.
pub(super) fn names(key: &ServiceKey) -> (String, usize) {
    let (mut name, mut grouped) = (String::with_capacity(key.name().len() + 2), String::new());
    text(&mut name, key.name());
    text(&mut grouped, key.grouped_name());
    (name, grouped.len())
}

pub(super) fn list(view: &ServiceView, query: &ListQuery<'_>) -> Halves {
    let selection = view.select(query);
    let mut out = String::with_capacity(256 + selection.hosts.len() * HOST_BYTES);
    out.push_str(NAME_FIELD);
    text(&mut out, view.key.grouped_name());
    out.push_str(",\"groupName\":");
    text(&mut out, view.key.group());
    out.push_str(",\"clusters\":");
    text(&mut out, query.clusters);
    out.push_str(",\"cacheMillis\":");
    number(&mut out, view.cache_millis);
    out.push_str(",\"hosts\":[");
    for (n, host) in selection.hosts.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        push_host(&mut out, &view.key, host, selection.protected);
    }
    out.push_str("],\"lastRefTime\":");
    let tail = if selection.protected {
        &b",\"checksum\":\"\",\"allIPs\":false,\"reachProtectionThreshold\":true,\"valid\":true}"[..]
    } else {
        &b",\"checksum\":\"\",\"allIPs\":false,\"reachProtectionThreshold\":false,\"valid\":true}"[..]
    };
    // The bytes live as long as the view: give back what the estimate was too much.
    out.shrink_to_fit();
    Halves { head: out.into(), tail: Bytes::from_static(tail) }
}

fn push_host(out: &mut String, key: &ServiceKey, host: &ViewInstance, protected: bool) {
    let instance = &host.instance;
    out.push('{');
    if let Some(id) = instance_id(key, host) {
        out.push_str("\"instanceId\":");
        text(out, &id);
        out.push(',');
    }
    out.push_str("\"ip\":");
    text(out, &instance.ip);
    out.push_str(",\"port\":");
    number(out, instance.port);
    out.push_str(",\"weight\":");
    push_double(out, instance.weight);
    out.push_str(",\"healthy\":");
    boolean(out, instance.healthy || protected);
    out.push_str(",\"enabled\":");
    boolean(out, instance.enabled);
    out.push_str(",\"ephemeral\":");
    boolean(out, host.lifetime.is_ephemeral());
    out.push_str(",\"clusterName\":");
    text(out, &instance.cluster);
    out.push_str(",\"serviceName\":");
    text(out, key.grouped_name());
    out.push_str(",\"metadata\":");
    push_metadata(out, &instance.metadata);
    out.push_str(",\"instanceHeartBeatInterval\":");
    number(out, instance.beat_interval_ms());
    out.push_str(",\"instanceHeartBeatTimeOut\":");
    number(out, instance.beat_timeout_ms());
    out.push_str(",\"ipDeleteTimeout\":");
    number(out, instance.delete_timeout_ms());
    if let Some(generator) = id_generator(host) {
        out.push_str(",\"instanceIdGenerator\":");
        text(out, generator);
    }
    out.push('}');
}

/// The bytes of a list without its hosts and names, at most.
pub(crate) const LIST_BYTES: usize = 512;
/// The bytes of a host without its names and metadata, at most.
const HOST_FIXED_BYTES: usize = 448;

/// The bytes that an instance has in a list, at most.
pub(crate) fn host_bytes(key: &ServiceKey, instance: &Instance) -> usize {
    let id = match &instance.id {
        InstanceIdKind::Custom(id) => text_bytes(id),
        _ => text_bytes(&instance.ip) + text_bytes(&instance.cluster) + text_bytes(key.grouped_name()),
    };
    // The name of a generator is in the metadata too.
    let generator = instance.metadata.get(KEY_ID_GENERATOR).map_or(0, text_bytes);
    HOST_FIXED_BYTES
        + id
        + generator
        + text_bytes(&instance.ip)
        + text_bytes(&instance.cluster)
        + text_bytes(key.grouped_name())
        + metadata_bytes(&instance.metadata)
}

/// The sum of [`host_bytes`].
pub(crate) fn hosts_bytes(key: &ServiceKey, instances: &[Instance]) -> usize {
    instances.iter().map(|instance| host_bytes(key, instance)).sum()
}

/// The bytes of the metadata as JSON, at most.
pub(crate) fn metadata_bytes(metadata: &Metadata) -> usize {
    metadata.iter().map(|(key, value)| text_bytes(key) + value.map_or(4, text_bytes) + 2).sum()
}

/// The bytes of a text as a JSON string, at most.
fn text_bytes(value: &str) -> usize {
    let escaped = |b: u8| match b {
        b'"' | b'\\' => 1,
        0..0x20 => 5,
        _ => 0,
    };
    2 + value.len() + value.bytes().map(escaped).sum::<usize>()
}

pub(super) fn detail(key: &ServiceKey, host: &ViewInstance) -> Bytes {
    let instance = &host.instance;
    let mut out = String::with_capacity(HOST_BYTES);
    out.push_str("{\"service\":");
    text(&mut out, key.grouped_name());
    out.push_str(",\"ip\":");
    text(&mut out, &instance.ip);
    out.push_str(",\"port\":");
    number(&mut out, instance.port);
    out.push_str(",\"clusterName\":");
    text(&mut out, &instance.cluster);
    out.push_str(",\"weight\":");
    push_double(&mut out, instance.weight);
    out.push_str(",\"healthy\":");
    boolean(&mut out, instance.healthy);
    out.push_str(",\"instanceId\":");
    match instance_id(key, host) {
        Some(id) => text(&mut out, &id),
        None => out.push_str("null"),
    }
    out.push_str(",\"metadata\":");
    push_metadata(&mut out, &instance.metadata);
    out.push('}');
    out.into()
}

pub(super) fn service(view: &ServiceView) -> Bytes {
    let record = view.record.as_deref().cloned().unwrap_or_default();
    let mut out = String::with_capacity(HOST_BYTES);
    out.push_str("{\"namespaceId\":");
    text(&mut out, view.key.namespace());
    out.push_str(",\"groupName\":");
    text(&mut out, view.key.group());
    out.push_str(",\"name\":");
    text(&mut out, view.key.name());
    out.push_str(",\"protectThreshold\":");
    push_float(&mut out, record.protect_threshold);
    out.push_str(",\"metadata\":");
    push_metadata(&mut out, &record.metadata);
    out.push_str(",\"selector\":");
    push_selector(&mut out, &record.selector);
    out.push_str(",\"clusters\":[");
    for (n, cluster) in view.clusters().into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push_str("{\"name\":");
        text(&mut out, cluster);
        out.push_str(",\"healthChecker\":{\"type\":\"TCP\"},\"metadata\":{}}");
    }
    out.push_str("]}");
    out.into()
}

fn push_selector(out: &mut String, selector: &Selector) {
    out.push_str("{\"type\":");
    text(out, &selector.kind);
    if &*selector.kind == "none" {
        out.push_str(",\"contextType\":\"NONE\"}");
        return;
    }
    out.push_str(",\"contextType\":\"CMDB\",\"expression\":");
    text(out, &selector.expression);
    out.push('}');
}

/// The instance id that is shown. It is made as in `DefaultInstanceIdGenerator`, unless an id was generated at the
/// registration.
fn instance_id(key: &ServiceKey, host: &ViewInstance) -> Option<String> {
    let instance = &host.instance;
    match &instance.id {
        InstanceIdKind::None => None,
        InstanceIdKind::Custom(id) => Some(id.to_string()),
        InstanceIdKind::Simple | InstanceIdKind::Beat => {
            let mut port = itoa::Buffer::new();
            let port = port.format(instance.port);
            Some([&*instance.ip, port, &*instance.cluster, key.grouped_name()].join("#"))
        }
        InstanceIdKind::NoCluster => {
            let mut port = itoa::Buffer::new();
            Some([&*instance.ip, port.format(instance.port), "null", key.grouped_name()].join("#"))
        }
    }
}

/// The generator that is shown (`Instance.getInstanceIdGenerator`): `simple` if the shown metadata is empty, otherwise
/// what the metadata says, or nothing.
fn id_generator(host: &ViewInstance) -> Option<&str> {
    let metadata = &host.instance.metadata;
    if !metadata.is_empty() {
        return metadata.get(KEY_ID_GENERATOR);
    }
    (host.instance.id != InstanceIdKind::Beat).then_some("simple")
}

fn push_metadata(out: &mut String, metadata: &Metadata) {
    out.push('{');
    for (n, (key, value)) in metadata.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        text(out, key);
        out.push(':');
        match value {
            Some(value) => text(out, value),
            None => out.push_str("null"),
        }
    }
    out.push('}');
}

fn text(out: &mut String, value: &str) {
    if value.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(value);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(value).expect("a string always serializes"));
    }
}

fn number(out: &mut String, value: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(value));
}

fn boolean(out: &mut String, value: bool) {
    out.push_str(if value { "true" } else { "false" });
}
