//! The names of the services that queries and listings know, in their order: by namespace, group and name. The size of a group
//! is known without counting, so that a page of a large group costs no more than its entries.

use std::collections::{BTreeMap, BTreeSet};

use dyad_types::ServiceKey;

#[derive(Debug, Default)]
pub(super) struct Listed {
    namespaces: BTreeMap<Box<str>, BTreeMap<Box<str>, BTreeSet<ServiceKey>>>,
    len: usize,
}

impl Listed {
    pub(super) fn insert(&mut self, key: ServiceKey) {
        let groups = self.namespaces.entry(key.namespace().into()).or_default();
        let added = groups.entry(key.group().into()).or_default().insert(key);
        self.len += usize::from(added);
    }

    pub(super) fn remove(&mut self, key: &ServiceKey) {
        let Some(groups) = self.namespaces.get_mut(key.namespace()) else { return };
        let Some(group) = groups.get_mut(key.group()) else { return };
        self.len -= usize::from(group.remove(key));
        if group.is_empty() {
            groups.remove(key.group());
        }
        if groups.is_empty() {
            self.namespaces.remove(key.namespace());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All services, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ServiceKey> {
        self.namespaces.values().flat_map(BTreeMap::values).flatten()
    }

    /// The services of a group, by name. `None` for a group without services.
    pub(super) fn group(&self, namespace: &str, group: &str) -> Option<&BTreeSet<ServiceKey>> {
        self.namespaces.get(namespace)?.get(group)
    }

    /// The number of services of a namespace.
    pub(super) fn of_namespace(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).map_or(0, |groups| groups.values().map(BTreeSet::len).sum())
    }
}
