//! The configuration state as a sequence of parts: namespaces, limits, and configurations by key. The counts are not in it, because they follow from the configurations.

use std::sync::Arc;

use dyad_types::ConfigKey;
use dyad_types::config::config_namespace;
use prost::Message;

use crate::BadRecord;
use crate::capacity::{Capacity, Scope};
use crate::codec::{NamedRule, gray_of, gray_record, key_of, md5_of, missing, scope_of};
use crate::content::{ConfigType, Revision};
use crate::history::{Entry, History};
use crate::item::{ConfigItem, Extra, Gray, Release};
use crate::namespace::Namespace;
use crate::record::{CapacityRecord, ItemRecord, NamespaceRecord, PartRecord, ReleaseRecord, StatePart};
use crate::state::ConfigState;

/// A part takes releases or versions until it has this many bytes. The largest single thing is a release with
/// all its texts, or a thousand versions of a thousand gray releases. Each of these has about 150 KiB, so no part has
/// 256 KiB.
const PART_BYTES: usize = 64 * 1024;

impl ConfigState {
    /// The state as parts in a fixed order. Each part is smaller than 256 KiB.
    pub fn snapshot(&self) -> impl Iterator<Item = StatePart> {
        let namespaces = self.namespaces.iter().map(|(id, n)| PartRecord::Namespace(namespace_record(id, n)));
        let capacity = self.capacity.iter().map(|(s, c)| PartRecord::Capacity(capacity_record(s, c)));
        let items = self.items.iter().flat_map(|(key, item)| item_records(key, item));
        let parts = namespaces.chain(capacity).chain(items);
        parts.map(|part| StatePart { part: Some(part) })
    }

    /// Takes in one part of a snapshot.
    ///
    /// # Errors
    /// The part makes no sense, or this build does not know its kind.
    pub fn restore(&mut self, part: StatePart) -> Result<(), BadRecord> {
        match part.part {
            Some(PartRecord::Item(record)) => self.restore_item(record),
            Some(PartRecord::Namespace(record)) => {
                let id = Arc::from(config_namespace(&record.id));
                self.namespaces.insert(id, Arc::new(namespace_of(record)));
                Ok(())
            }
            Some(PartRecord::Capacity(record)) => {
                self.capacity.insert(scope_of(record.scope.clone())?, capacity_of(&record));
                Ok(())
            }
            Some(PartRecord::Requests(_)) => {
                Err(BadRecord("a snapshot's requests are no configurations".into()))
            }
            None => Err(BadRecord("a configuration record that this build does not know".into())),
        }
    }

    fn restore_item(&mut self, record: ItemRecord) -> Result<(), BadRecord> {
        let key = key_of(record.key)?;
        let formal = record.formal.map(|formal| release_of(*formal)).transpose()?.map(|(release, _)| release);
        if record.revisions.len() != record.marks.len() {
            return Err(BadRecord(format!("the history of {key} has {} times", record.marks.len())));
        }
        let entry = |(revision, mark)| Entry { revision: Revision(revision), mark };
        let entries = record.revisions.into_iter().zip(record.marks).map(entry).collect();
        let names = record.names.into_iter().map(String::into_boxed_str).collect();
        let history = History::from_parts(entries, record.hidden, names)
            .ok_or_else(|| BadRecord(format!("the history of {key} makes no sense")))?;
        if let Some(len) = formal.as_ref().map(|release| release.len) {
            let before = self.item(&key).and_then(|item| item.formal()).map(|release| release.len);
            self.count(&key, before, Some(len));
        }
        let item = Arc::make_mut(self.items.entry(key).or_default());
        if formal.is_some() {
            item.formal = formal;
        }
        if !history.is_empty() {
            item.history = history;
        }
        for record in record.grays {
            let (release, gray) = release_of(record)?;
            let (name, rule) = gray.ok_or_else(|| missing("gray release"))?;
            let rule = rule.ok_or_else(|| missing("gray rule"))?;
            item.put_gray(Gray { name, rule, release });
        }
        Ok(())
    }
}

/// A configuration as one or more parts: the formal release, the versions, and the gray releases.
fn item_records(key: &ConfigKey, item: &ConfigItem) -> Vec<PartRecord> {
    let (entries, hidden, names) = item.history.parts();
    let mut record = ItemRecord {
        key: Some(key.into()),
        formal: item.formal().map(|release| Box::new(release_record(release))),
        ..ItemRecord::default()
    };
    let versions = ItemRecord {
        key: record.key.clone(),
        revisions: entries.iter().map(|e| e.revision.0).collect(),
        marks: entries.iter().map(|e| e.mark).collect(),
        hidden,
        names: names.iter().map(ToString::to_string).collect(),
        ..ItemRecord::default()
    };
    let formal = record.encoded_len();
    let mut parts = Vec::new();
    if formal + versions.encoded_len() > PART_BYTES {
        parts.push(PartRecord::Item(record));
        record = versions;
    } else {
        record = ItemRecord { formal: record.formal, ..versions };
    }
    let mut bytes = record.encoded_len();
    for gray in item.grays() {
        let mut release = release_record(&gray.release);
        release.gray = Some(gray_record(&gray.name, Some(&gray.rule)));
        let next = release.encoded_len();
        if bytes + next > PART_BYTES {
            let fresh = ItemRecord { key: record.key.clone(), ..ItemRecord::default() };
            parts.push(PartRecord::Item(std::mem::replace(&mut record, fresh)));
            bytes = 0;
        }
        bytes += next;
        record.grays.push(release);
    }
    parts.push(PartRecord::Item(record));
    parts
}

fn release_record(release: &Release) -> ReleaseRecord {
    ReleaseRecord {
        id: release.id.0,
        revision: release.revision.0,
        md5: release.md5.0.to_vec(),
        inline: release.inline.as_deref().map(str::to_owned),
        len: release.len,
        kind: release.kind as u32,
        created_ms: release.created_ms,
        modified_ms: release.modified_ms,
        extra: release.extra.as_deref().map(Into::into),
        gray: None,
    }
}

fn release_of(record: ReleaseRecord) -> Result<(Release, Option<NamedRule>), BadRecord> {
    let release = Release {
        id: Revision(record.id),
        revision: Revision(record.revision),
        md5: md5_of(&record.md5)?,
        inline: record.inline.map(Arc::from),
        len: record.len,
        kind: ConfigType::from_number(record.kind),
        created_ms: record.created_ms,
        modified_ms: record.modified_ms,
        extra: record.extra.map(|extra| Arc::new(Extra::from(extra))),
    };
    Ok((release, record.gray.map(gray_of).transpose()?))
}

fn namespace_record(id: &str, namespace: &Namespace) -> NamespaceRecord {
    NamespaceRecord {
        id: id.into(),
        name: namespace.name.to_string(),
        desc: namespace.desc.to_string(),
        created: namespace.created.0,
        created_ms: namespace.created_ms,
        modified_ms: namespace.modified_ms,
    }
}

fn namespace_of(record: NamespaceRecord) -> Namespace {
    Namespace {
        name: record.name.into(),
        desc: record.desc.into(),
        created: Revision(record.created),
        created_ms: record.created_ms,
        modified_ms: record.modified_ms,
    }
}

fn capacity_record(scope: &Scope, capacity: &Capacity) -> CapacityRecord {
    CapacityRecord {
        scope: Some(scope.into()),
        quota: Some(capacity.quota),
        max_size: Some(capacity.max_size),
        max_aggr_count: Some(capacity.max_aggr_count),
        max_aggr_size: Some(capacity.max_aggr_size),
        created_ms: capacity.created_ms,
        modified_ms: capacity.modified_ms,
    }
}

fn capacity_of(record: &CapacityRecord) -> Capacity {
    Capacity {
        quota: record.quota.unwrap_or_default(),
        max_size: record.max_size.unwrap_or_default(),
        max_aggr_count: record.max_aggr_count.unwrap_or_default(),
        max_aggr_size: record.max_aggr_size.unwrap_or_default(),
        created_ms: record.created_ms,
        modified_ms: record.modified_ms,
    }
}
