//! The results of `dyad backup`, as JSON and as text. Programs read the JSON (docs/cli.md), so a name never changes its meaning.

use std::collections::BTreeMap;
use std::path::Path;

use dyad_backup::{Digests, Header, Summary, hex};
use dyad_state::CpState;
use serde_json::{Map, Value, json};

use super::wire::{End, Head};
use crate::config::shown_namespace;
use crate::text::{Table, moment};

/// The header, in its own fields.
fn head(header: &Head) -> Map<String, Value> {
    match serde_json::to_value(header) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// A backup that was taken.
pub(super) fn taken(file: &Path, header: &Head, end: &End, seconds: f64) -> Value {
    let mut all = head(header);
    all.insert("file".into(), json!(file));
    all.insert("bytes".into(), json!(end.bytes));
    all.insert("sha256".into(), json!(end.sha256));
    all.insert("seconds".into(), json!((seconds * 1_000.0).round() / 1_000.0));
    Value::Object(all)
}

pub(super) fn taken_text(file: &Path, header: &Head, end: &End, seconds: f64) -> String {
    let mut text = String::new();
    text += &format!("{}: {} bytes in {seconds:.1} s\n", file.display(), end.bytes);
    text += &lines(header);
    text
}

/// What the header says, for people.
fn lines(header: &Head) -> String {
    let mut text = format!(
        "cluster {}, index {} of term {}, given by member {} at {}\n",
        header.cluster_id.as_deref().unwrap_or("unknown"),
        header.index,
        header.term,
        header.member_id,
        moment(header.time),
    );
    text += &format!(
        "{} configurations with {} versions, {} services with {} persistent instances\n",
        header.configs, header.contents, header.services, header.instances
    );
    if !header.in_quorum {
        text += &format!(
            "the member heard no leader: this is what it had applied, the last of it at {}; other members may have more\n",
            moment(header.state_time)
        );
    }
    text
}

/// What one namespace has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    configs: u64,
    grays: u64,
    versions: u64,
    services: u64,
    instances: u64,
}

fn counts(state: &CpState) -> BTreeMap<String, Counts> {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for namespace in state.config().namespaces() {
        counts.entry(shown_namespace(namespace.id).to_owned()).or_default();
    }
    for (key, item) in state.config().items() {
        let of = counts.entry(shown_namespace(key.namespace()).to_owned()).or_default();
        of.configs += u64::from(item.formal().is_some());
        of.grays += item.grays().len() as u64;
        of.versions += item.history_len() as u64;
    }
    for (key, service) in state.naming().services() {
        let of = counts.entry(shown_namespace(key.namespace()).to_owned()).or_default();
        of.services += 1;
        of.instances += service.instances().len() as u64;
    }
    counts
}

/// A whole backup that was read: what it is, what it has, and the digests by which states are compared.
pub(super) fn shown(header: &Header, state: &CpState, summary: &Summary) -> Value {
    let mut all = head(&header.into());
    let digests = Digests::of(state);
    all.insert("bytes".into(), json!(summary.bytes));
    all.insert("sha256".into(), json!(hex(&summary.sha256)));
    all.insert(
        "digests".into(),
        json!({
            "naming": hex(&digests.naming),
            "config": hex(&digests.config),
            "contents": hex(&summary.contents_sha256),
        }),
    );
    let namespaces: Vec<Value> = counts(state)
        .into_iter()
        .map(|(id, of)| {
            json!({
                "namespaceId": id,
                "configs": of.configs,
                "grays": of.grays,
                "versions": of.versions,
                "services": of.services,
                "instances": of.instances,
            })
        })
        .collect();
    all.insert("namespaces".into(), json!(namespaces));
    Value::Object(all)
}

pub(super) fn shown_text(header: &Header, state: &CpState, summary: &Summary) -> String {
    let mut text = lines(&header.into());
    text +=
        &format!("{} bytes; dyad {}, level {} of the state\n", summary.bytes, header.version, header.level);
    let mut members = Table::new(&["MEMBER", "ADDRESS", "VOTER"]);
    for held in &header.members {
        let voter = if held.voter { "yes" } else { "no" };
        members.row([held.member.to_string(), held.address.clone(), voter.to_owned()]);
    }
    text += &format!("\n{}\n", members.to_text());
    let mut table = Table::new(&["NAMESPACE", "CONFIGS", "GRAYS", "VERSIONS", "SERVICES", "INSTANCES"]);
    for (id, of) in counts(state) {
        let numbers = [of.configs, of.grays, of.versions, of.services, of.instances];
        let [configs, grays, versions, services, instances] = numbers.map(|n| n.to_string());
        table.row([id, configs, grays, versions, services, instances]);
    }
    text + &table.to_text()
}
