//! What readers see of the configuration state. One configuration comes from a look-up in a lock-free map; everything
//! else comes from a copy of the state, which is made when somebody asks for it.
//!
//! No copy is kept here: while there is one, each entry that is applied copies the nodes on its way into every map.

use std::fmt;
use std::sync::{Arc, OnceLock};

use dyad_types::ConfigKey;

use crate::command::ConfigChanges;
use crate::item::ConfigItem;
use crate::state::ConfigState;

/// The configurations as they were applied last. All threads of the front ends share it. Only the code that applies the
/// log writes it, in the order of the log.
#[derive(Default)]
pub struct Catalog {
    items: papaya::HashMap<ConfigKey, Arc<ConfigItem>>,
    current: OnceLock<Box<dyn Fn() -> ConfigState + Send + Sync>>,
}

impl Catalog {
    /// The configuration, if it has a release. This takes no lock and copies no content.
    pub fn item(&self, key: &ConfigKey) -> Option<Arc<ConfigItem>> {
        self.items.pin().get(key).cloned()
    }

    /// Says who has the whole state as it was applied last. Called once, during start-up. `current` makes a copy, and may wait
    /// until an entry that is being applied has changed the state, but not for what follows from it.
    pub fn connect(&self, current: impl Fn() -> ConfigState + Send + Sync + 'static) {
        // A second call cannot happen; the first source would simply stay.
        let _ = self.current.set(Box::new(current));
    }

    /// The whole state as it was applied last, for listings, searches and histories. It can be ahead of [`Catalog::item`] by an
    /// entry. It is empty before the start of the core.
    pub fn state(&self) -> ConfigState {
        self.current.get().map(|current| current()).unwrap_or_default()
    }

    /// Takes in the state after an entry was applied.
    pub fn applied(&self, state: &ConfigState, changes: &ConfigChanges) {
        if changes.changed.is_empty() && changes.shortened.is_empty() {
            return;
        }
        let items = self.items.pin();
        for changed in &changes.changed {
            match &changed.item {
                Some(item) => items.insert(changed.key.clone(), item.clone()),
                None => items.remove(&changed.key),
            };
        }
        for key in &changes.shortened {
            if let Some(item) = state.item(key).filter(|item| item.is_present()) {
                items.insert(key.clone(), item.clone());
            }
        }
    }

    /// Takes in a state that has replaced the former one as a whole.
    pub fn installed(&self, state: &ConfigState) {
        let items = self.items.pin();
        items.retain(|key, _| state.item(key).is_some_and(|item| item.is_present()));
        for (key, item) in state.items().filter(|(_, item)| item.is_present()) {
            items.insert(key.clone(), item.clone());
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("items", &self.items.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use dyad_types::Stamp;

    use super::*;
    use crate::{Change, ConfigCommand, Draft, Prune, Publish, Source};

    #[test]
    fn readers_see_what_was_applied_and_what_was_installed() {
        let (catalog, mut state) = (Catalog::default(), ConfigState::default());
        let mut index = 0;
        let mut apply = |state: &mut ConfigState, change| {
            index += 1;
            let command = ConfigCommand { source: Source::default(), change };
            let (_, changes) = state.apply(&command, Stamp { now_ms: index, index });
            catalog.applied(state, &changes);
        };
        let key = |data_id: &str| ConfigKey::new("", "G", data_id);
        let publish = |data_id: &str| {
            Change::Publish(Publish { key: key(data_id), draft: Draft::text("x"), cas: None, enforce: false })
        };
        apply(&mut state, publish("a"));
        let earlier = state.clone();
        apply(&mut state, publish("b"));
        apply(&mut state, Change::Remove { key: key("a"), gray: None });
        let seen = |catalog: &Catalog| ["a", "b"].map(|data_id| catalog.item(&key(data_id)).is_some());
        assert_eq!(seen(&catalog), [false, true]);
        apply(&mut state, publish("b"));
        apply(&mut state, Change::Prune(Prune { until_ms: 0, keep: 1, from: None }));
        let shared = catalog.item(&key("b")).zip(state.item(&key("b")).cloned());
        assert!(
            shared.is_some_and(|(ours, theirs)| Arc::ptr_eq(&ours, &theirs)),
            "no second copy with a history"
        );
        catalog.installed(&earlier);
        assert_eq!(seen(&catalog), [true, false]);
        assert_eq!(catalog.state(), ConfigState::default(), "nobody has the state yet");
        catalog.connect(move || earlier.clone());
        assert!(catalog.state().item(&key("a")).is_some());
    }
}
