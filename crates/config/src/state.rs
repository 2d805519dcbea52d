//! The configuration part of the CP state. Only the function in `apply.rs` changes it.

use std::sync::Arc;

use dyad_types::ConfigKey;
use imbl::OrdMap;

use crate::capacity::{Capacity, Scope, Usage};
use crate::content::Revision;
use crate::item::ConfigItem;
use crate::limits::CONFIGS_MAX;
use crate::namespace::Namespace;

/// The whole configuration state. Clones are O(1).
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigState {
    pub(crate) items: OrdMap<ConfigKey, Arc<ConfigItem>>,
    pub(crate) namespaces: OrdMap<Arc<str>, Arc<Namespace>>,
    /// The usage of each scope that has a configuration with a formal release.
    pub(crate) usage: OrdMap<Scope, Usage>,
    /// The limits of the scopes for which limits were set.
    pub(crate) capacity: OrdMap<Scope, Capacity>,
    /// Most configurations. This is [`CONFIGS_MAX`] except in tests.
    pub(crate) configs_max: usize,
}

impl Default for ConfigState {
    fn default() -> ConfigState {
        ConfigState {
            items: OrdMap::new(),
            namespaces: OrdMap::new(),
            usage: OrdMap::new(),
            capacity: OrdMap::new(),
            configs_max: CONFIGS_MAX,
        }
    }
}

impl ConfigState {
    /// The configuration, even if only its history is left.
    pub fn item(&self, key: &ConfigKey) -> Option<&Arc<ConfigItem>> {
        self.items.get(key)
    }

    /// All configurations by key, including those of which only the history is left.
    pub fn items(&self) -> impl Iterator<Item = (&ConfigKey, &Arc<ConfigItem>)> {
        self.items.iter()
    }

    /// How many configurations of the scope have a formal release, and how many bytes their contents have.
    pub fn usage(&self, scope: &Scope) -> Usage {
        self.usage.get(scope).copied().unwrap_or_default()
    }

    /// The limits of a scope. Those that were not set are the defaults.
    pub fn capacity(&self, scope: &Scope) -> Capacity {
        self.capacity.get(scope).copied().unwrap_or_default()
    }

    /// The rows on which the state relies: those of every version that is shown or that a shown one needs, and those of
    /// every release. A snapshot is complete when all of them are stored.
    pub fn revisions(&self) -> impl Iterator<Item = Revision> {
        self.items.values().flat_map(|item| item.history.revisions())
    }

    /// The first configuration from `from` on whose history [`crate::Prune`] would shorten.
    pub fn prune_due(&self, until_ms: u64, keep: u32, from: Option<&ConfigKey>) -> Option<&ConfigKey> {
        self.items_from(from)
            .find(|(_, item)| item.history.is_due(until_ms, keep as usize))
            .map(|(key, _)| key)
    }

    /// The rows of versions that retention can drop, each with the time that [`crate::Prune::until_ms`] must be above, in no order. No row of a
    /// release is among them.
    pub fn droppable(&self) -> impl Iterator<Item = (Revision, u64)> {
        self.items.values().flat_map(|item| item.droppable())
    }

    pub(crate) fn items_from<'s>(
        &'s self,
        from: Option<&ConfigKey>,
    ) -> impl Iterator<Item = (&'s ConfigKey, &'s Arc<ConfigItem>)> + use<'s> {
        use std::ops::Bound;
        let start = from.map_or(Bound::Unbounded, |key| Bound::Included(key.clone()));
        self.items.range((start, Bound::Unbounded))
    }

    /// Updates the usage after a write. `before` and `after` are the bytes of the formal release's content; `None`
    /// means no release.
    pub(crate) fn count(&mut self, key: &ConfigKey, before: Option<u32>, after: Option<u32>) {
        let group = key.is_public().then(|| Scope::group(key.group()));
        for scope in [Scope::Cluster, Scope::namespace(key.namespace())].into_iter().chain(group) {
            let usage = self.usage(&scope).changed(before, after);
            if usage.count == 0 {
                self.usage.remove(&scope);
            } else {
                self.usage.insert(scope, usage);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dyad_types::Stamp;

    use super::*;
    use crate::command::{Change, ConfigCommand, ConfigLimit, ConfigReply, Prune, Publish, Source};
    use crate::content::Draft;

    #[test]
    fn a_full_store_takes_what_it_has_and_room_comes_with_retention() {
        let mut state = ConfigState { configs_max: 2, ..ConfigState::default() };
        let mut index = 0;
        let mut apply = |change| {
            index += 1;
            let command = ConfigCommand { source: Source::default(), change };
            state.apply(&command, Stamp { now_ms: index, index }).0
        };
        let key = |data_id: &str| ConfigKey::new("", "G", data_id);
        let publish = |data_id: &str| {
            Change::Publish(Publish { key: key(data_id), draft: Draft::text("x"), cas: None, enforce: false })
        };
        let is_done = |reply| matches!(reply, ConfigReply::Done { .. });
        assert!(is_done(apply(publish("a"))) && is_done(apply(publish("b"))) && is_done(apply(publish("a"))));
        let full = ConfigReply::Limit(ConfigLimit::Configs(2));
        assert_eq!(apply(publish("c")), full);
        assert!(is_done(apply(Change::Remove { key: key("a"), gray: None })));
        assert_eq!(apply(publish("c")), full, "its history is still there");
        apply(Change::Prune(Prune { until_ms: u64::MAX, keep: 0, from: None }));
        assert!(is_done(apply(publish("c"))));
    }
}
