//! The one function that changes the configuration state.

use std::sync::Arc;

use dyad_types::{ConfigKey, Stamp};

use crate::capacity::{CapacityChange, Scope};
use crate::command::{
    Change, ChangedConfig, ConfigChanges, ConfigCommand, ConfigLimit, ConfigReply, Import, ImportPolicy,
    ItemOutcome, Prune, Publish, PublishGray, RemoveItem, Source,
};
use crate::content::{ConfigType, Draft, Revision};
use crate::gray::{GrayRule, is_gray_name};
use crate::history::Op;
use crate::item::{ConfigItem, Extra, Gray, Release, inline};
use crate::limits::{
    BATCH_MAX, CAPACITIES_MAX, EXTRA_MAX, GRAYS_MAX, HISTORY_MAX, NAMES_MAX, PRUNE_DROPS_MAX, PRUNE_ITEMS_MAX,
};
use crate::row::{Cause, ContentRow};
use crate::state::ConfigState;

impl ConfigState {
    /// Applies one command. Only this function changes the state. Every command gets a reply. The result depends on
    /// nothing but the state, the command and the stamp, and the time of the stamp must never go back.
    pub fn apply(&mut self, command: &ConfigCommand, stamp: Stamp) -> (ConfigReply, ConfigChanges) {
        let mut write = Write {
            state: self,
            source: &command.source,
            stamp,
            touched: Vec::new(),
            changes: ConfigChanges::default(),
        };
        let reply = write.carry_out(&command.change);
        (reply, write.finish())
    }
}

/// The limit that these names exceed together, if any. Front ends check names by their own rules; the state itself
/// relies on this one.
pub(crate) fn over_names(names: &[&str]) -> Option<ConfigLimit> {
    let bytes: usize = names.iter().map(|name| name.len()).sum();
    (bytes > NAMES_MAX).then_some(ConfigLimit::Names(NAMES_MAX))
}

/// One command on its way into the state.
struct Write<'a> {
    state: &'a mut ConfigState,
    source: &'a Source,
    stamp: Stamp,
    /// The configurations that were written, and whether each of them was present before.
    touched: Vec<(ConfigKey, bool)>,
    changes: ConfigChanges,
}

/// One write to one release.
#[derive(Clone, Copy)]
struct Target<'a> {
    key: &'a ConfigKey,
    /// `None` is the formal release.
    gray: Option<(&'a str, &'a Arc<GrayRule>)>,
    position: usize,
    cause: Cause,
}

impl Write<'_> {
    fn carry_out(&mut self, change: &Change) -> ConfigReply {
        let now = (self.revision(0), self.stamp.now_ms);
        match change {
            Change::Publish(publish) => self.publish(publish),
            Change::PublishGray(publish) => self.publish_gray(publish),
            Change::Remove { key, gray } => {
                let name = gray.as_deref().unwrap_or_default();
                if self.remove(key, name, 0) { ConfigReply::done(now.0) } else { ConfigReply::NotFound }
            }
            Change::RemoveBatch { items } => self.remove_batch(items),
            Change::Import(import) => self.import(import),
            Change::Rollback { key, to, draft } => self.rollback(key, *to, draft),
            Change::SetCapacity { scope, change } => self.set_capacity(scope, change),
            Change::CreateNamespace { id, name, desc } => {
                let reply = self.state.create_namespace(id, name, desc, now);
                self.namespaces(reply)
            }
            Change::UpdateNamespace { id, name, desc } => {
                let reply = self.state.update_namespace(id, name, desc, now);
                self.namespaces(reply)
            }
            Change::DeleteNamespace { id, force } => {
                let reply = self.state.delete_namespace(id, *force, now.0);
                self.namespaces(reply)
            }
            Change::Prune(prune) => self.prune(prune),
        }
    }

    fn publish(&mut self, publish: &Publish) -> ConfigReply {
        let Publish { key, draft, cas, enforce } = publish;
        if let Some(current) =
            self.release(key, "").map(|r| r.md5).filter(|md5| cas.is_some_and(|c| c != *md5))
        {
            return ConfigReply::CasMismatch { current };
        }
        if let Some(limit) = self.refuses(key, draft, *enforce) {
            return ConfigReply::Limit(limit);
        }
        self.put(Target { key, gray: None, position: 0, cause: Cause::Publish }, draft)
    }

    fn publish_gray(&mut self, publish: &PublishGray) -> ConfigReply {
        let PublishGray { key, name, rule, draft, cas } = publish;
        if !is_gray_name(name) {
            return ConfigReply::BadName;
        }
        let present = self.release(key, name).map(|r| r.md5);
        if let Some(current) = present.filter(|md5| cas.is_some_and(|c| c != *md5)) {
            return ConfigReply::CasMismatch { current };
        }
        let grays = self.state.items.get(key).map_or(0, |item| item.grays.len());
        if present.is_none() && grays >= GRAYS_MAX {
            return ConfigReply::Limit(ConfigLimit::Grays(GRAYS_MAX));
        }
        if let Some(limit) = self.refuses(key, draft, false) {
            return ConfigReply::Limit(limit);
        }
        self.put(Target { key, gray: Some((name, rule)), position: 0, cause: Cause::Publish }, draft)
    }

    fn rollback(&mut self, key: &ConfigKey, to: Revision, draft: &Draft) -> ConfigReply {
        if self.state.items.get(key).is_none_or(|item| item.version(to).is_none()) {
            return ConfigReply::NotFound;
        }
        if let Some(limit) = self.refuses(key, draft, false) {
            return ConfigReply::Limit(limit);
        }
        self.put(Target { key, gray: None, position: 0, cause: Cause::Rollback(to) }, draft)
    }

    fn remove_batch(&mut self, items: &[RemoveItem]) -> ConfigReply {
        if items.len() > BATCH_MAX {
            return ConfigReply::Limit(ConfigLimit::Batch(BATCH_MAX));
        }
        let outcome = |(position, item): (usize, &RemoveItem)| {
            let present = self.release(&item.key, "").is_some_and(|r| item.id.is_none_or(|id| id == r.id));
            if present && self.remove(&item.key, "", position) {
                ItemOutcome::Removed
            } else {
                ItemOutcome::NotFound
            }
        };
        ConfigReply::Report(items.iter().enumerate().map(outcome).collect())
    }

    fn import(&mut self, import: &Import) -> ConfigReply {
        if import.items.len() > BATCH_MAX {
            return ConfigReply::Limit(ConfigLimit::Batch(BATCH_MAX));
        }
        if import.items.iter().any(|(key, _)| !self.state.has_namespace(key.namespace())) {
            return ConfigReply::NoNamespace;
        }
        let cause = if import.clone { Cause::Clone } else { Cause::Import };
        let mut aborted = false;
        let outcome = |(position, (key, draft)): (usize, &(ConfigKey, Draft))| {
            let present = self.release(key, "").is_some();
            if aborted {
                return ItemOutcome::NotTried;
            }
            match import.policy {
                ImportPolicy::Abort if present => {
                    aborted = true;
                    return ItemOutcome::Conflict;
                }
                ImportPolicy::Skip if present => return ItemOutcome::Skipped,
                _ => {}
            }
            if self.refuses(key, draft, import.enforce).is_some() {
                return ItemOutcome::OverLimit;
            }
            self.put(Target { key, gray: None, position, cause }, draft);
            if present { ItemOutcome::Updated } else { ItemOutcome::Created }
        };
        ConfigReply::Report(import.items.iter().enumerate().map(outcome).collect())
    }

    fn set_capacity(&mut self, scope: &Scope, change: &CapacityChange) -> ConfigReply {
        let name = match scope {
            Scope::Cluster => "",
            Scope::Namespace(name) | Scope::Group(name) => name,
        };
        if let Some(limit) = over_names(&[name]) {
            return ConfigReply::Limit(limit);
        }
        if self.state.capacity.len() >= CAPACITIES_MAX && !self.state.capacity.contains_key(scope) {
            return ConfigReply::Limit(ConfigLimit::Capacities(CAPACITIES_MAX));
        }
        let changed = self.state.capacity(scope).changed(change, self.stamp.now_ms);
        self.state.capacity.insert(scope.clone(), changed);
        self.changes.limits = true;
        ConfigReply::done(self.revision(0))
    }

    fn prune(&mut self, prune: &Prune) -> ConfigReply {
        let keep = prune.keep as usize;
        let mut due = Vec::new();
        let mut next = None;
        for (looked, (key, item)) in self.state.items_from(prune.from.as_ref()).enumerate() {
            if looked == PRUNE_ITEMS_MAX {
                next = Some(key.clone());
                break;
            }
            if item.history.is_due(prune.until_ms, keep) {
                due.push(key.clone());
            }
        }
        let mut dropped = 0;
        for key in due {
            if dropped >= PRUNE_DROPS_MAX {
                next = Some(key);
                break;
            }
            let rows = self.item_mut(&key).prune(prune.until_ms, keep);
            dropped += rows.len();
            self.changes.contents_dropped.extend(rows);
            if self.state.items.get(&key).is_some_and(|item| item.history.is_empty()) {
                self.state.items.remove(&key);
            }
            self.changes.shortened.push(key);
        }
        ConfigReply::Pruned { dropped: dropped as u64, next }
    }

    /// The limit that this content would exceed, if any.
    fn refuses(&self, key: &ConfigKey, draft: &Draft, enforce: bool) -> Option<ConfigLimit> {
        if let Some(limit) = over_names(&[key.namespace(), key.group(), key.data_id()]) {
            return Some(limit);
        }
        if draft.extra_bytes() > EXTRA_MAX {
            return Some(ConfigLimit::Extra(EXTRA_MAX));
        }
        if self.state.items.len() >= self.state.configs_max && !self.state.items.contains_key(key) {
            return Some(ConfigLimit::Configs(self.state.configs_max));
        }
        let new = self.release(key, "").is_none();
        let scopes = if enforce { vec![Scope::Cluster, Scope::limiting(key)] } else { Vec::new() };
        scopes.iter().find_map(|scope| {
            let len = draft.content.text().len();
            self.state.capacity(scope).refuses(scope, self.state.usage(scope), len, new)
        })
    }

    /// Makes this draft the release, and makes its version and its row.
    fn put(&mut self, target: Target<'_>, draft: &Draft) -> ConfigReply {
        let Target { key, gray, position, .. } = target;
        let name = gray.map_or("", |(name, _)| name);
        let revision = self.revision(position);
        let now_ms = self.stamp.now_ms;
        let before = self.release(key, name).cloned();
        let release = Release {
            id: before.as_ref().map_or(revision, |b| b.id),
            revision,
            md5: draft.content.md5(),
            inline: inline(draft.content.text()),
            len: u32::try_from(draft.content.text().len()).unwrap_or(u32::MAX),
            kind: draft.kind,
            created_ms: before.as_ref().map_or(now_ms, |b| b.created_ms),
            modified_ms: now_ms,
            extra: Extra::of(draft, before.as_ref().map(Release::extra)),
        };
        let op = if before.is_some() { Op::Update } else { Op::Insert };
        let mut row = self.row(target, op, &release);
        row.content = Some(draft.content.clone());
        if let Some((_, rule)) = gray {
            row.gray = Some((name.into(), Some(Arc::clone(rule))));
        } else {
            self.state.count(key, before.map(|b| b.len), Some(release.len));
        }
        let md5 = Some(release.md5);
        self.record(target, row, |item| match gray {
            Some((_, rule)) => item.put_gray(Gray { name: name.into(), rule: Arc::clone(rule), release }),
            None => item.formal = Some(release),
        });
        ConfigReply::Done { revision, md5 }
    }

    /// Removes the gray release of this name, or the formal release if the name is empty. False if there is none.
    fn remove(&mut self, key: &ConfigKey, gray: &str, position: usize) -> bool {
        let Some(release) = self.release(key, gray).cloned() else { return false };
        let target = Target { key, gray: None, position, cause: Cause::Remove };
        let mut row = self.row(target, Op::Delete, &release);
        row.extra = None;
        row.kind = ConfigType::default();
        if gray.is_empty() {
            self.state.count(key, Some(release.len), None);
        } else {
            row.gray = Some((gray.into(), None));
        }
        self.record(target, row, |item| {
            if gray.is_empty() {
                item.formal = None;
            } else {
                item.grays.retain(|present| *present.name != *gray);
            }
        });
        true
    }

    /// The row of a write to the formal release. The caller fills in the content and what a gray release needs.
    fn row(&self, target: Target<'_>, op: Op, release: &Release) -> ContentRow {
        ContentRow {
            revision: self.revision(target.position),
            key: target.key.clone(),
            op,
            gray: None,
            content: None,
            kind: release.kind,
            extra: release.extra.clone(),
            cause: target.cause,
            user: self.source.user.clone(),
            ip: self.source.ip.clone(),
            reason: self.source.reason.clone(),
            created_ms: release.created_ms,
            modified_ms: self.stamp.now_ms,
        }
    }

    /// Changes the item, adds the version to its history, and puts the row among those to be stored.
    fn record(&mut self, target: Target<'_>, row: ContentRow, change: impl FnOnce(&mut ConfigItem)) {
        let was_present = self.state.items.get(target.key).is_some_and(|item| item.is_present());
        self.touched.push((target.key.clone(), was_present));
        let item = self.item_mut(target.key);
        change(item);
        let name = row.gray.as_ref().map_or("", |(name, _)| name);
        item.history.push(row.revision, row.modified_ms, row.op, name);
        let dropped = if item.history.len() > HISTORY_MAX { item.prune(0, HISTORY_MAX) } else { Vec::new() };
        self.changes.contents_dropped.extend(dropped);
        self.changes.contents_put.push((row.revision, row));
    }

    /// The changes of the command. Each configuration is in them once: as it was before the first write to it, and as
    /// it is now.
    fn finish(mut self) -> ConfigChanges {
        self.touched.sort_by(|a, b| a.0.cmp(&b.0));
        self.touched.dedup_by(|later, first| later.0 == first.0);
        let state = &*self.state;
        let changed = self.touched.into_iter().map(|(key, was_present)| {
            let item = state.items.get(&key).filter(|item| item.is_present()).cloned();
            ChangedConfig { key, was_present, item }
        });
        self.changes.changed = changed.collect();
        self.changes
    }

    fn namespaces(&mut self, reply: ConfigReply) -> ConfigReply {
        self.changes.namespaces = matches!(reply, ConfigReply::Done { .. });
        reply
    }

    fn revision(&self, position: usize) -> Revision {
        Revision::new(self.stamp.index, position)
    }

    fn release(&self, key: &ConfigKey, gray: &str) -> Option<&Release> {
        self.state.items.get(key).and_then(|item| item.release(gray))
    }

    fn item_mut(&mut self, key: &ConfigKey) -> &mut ConfigItem {
        Arc::make_mut(self.state.items.entry(key.clone()).or_default())
    }
}
