//! Namespaces (`NamespaceOperationService`): each is a name and a description for an id. Only import and clone need a
//! namespace to exist. As in Nacos, configurations and services may be in any namespace.

use std::sync::Arc;

use dyad_types::config::config_namespace;
use dyad_types::key::DEFAULT_NAMESPACE;

use crate::apply::over_names;
use crate::capacity::Scope;
use crate::command::{ConfigLimit, ConfigReply};
use crate::content::Revision;
use crate::limits::NAMESPACES_MAX;
use crate::state::ConfigState;

/// What an operator said about a namespace that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    pub name: Box<str>,
    pub desc: Box<str>,
    /// The write that created it. Namespaces are listed in the order of these writes.
    pub created: Revision,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// Milliseconds since the epoch.
    pub modified_ms: u64,
}

/// A namespace as a list of namespaces shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceView<'a> {
    /// The id. It is `public` for the default namespace, which Nacos 2 shows as `''`.
    pub id: &'a str,
    pub name: &'a str,
    pub desc: &'a str,
    /// The number of configurations with a formal release.
    pub configs: u64,
    pub quota: u32,
    /// Whether this is the default namespace. In Nacos it has the type 0, and the others have the type 2.
    pub is_default: bool,
}

impl ConfigState {
    /// The default namespace, then the others in the order of their creation.
    pub fn namespaces(&self) -> Vec<NamespaceView<'_>> {
        let mut others: Vec<_> = self.namespaces.iter().collect();
        others.sort_unstable_by_key(|(_, namespace)| namespace.created);
        let others = others.into_iter().map(|(id, _)| &**id);
        std::iter::once(DEFAULT_NAMESPACE).chain(others).filter_map(|id| self.namespace(id)).collect()
    }

    /// The namespace with this id, in any spelling. `None` if nobody created it.
    pub fn namespace(&self, id: &str) -> Option<NamespaceView<'_>> {
        let id = config_namespace(id);
        let (id, name, desc) = match self.namespaces.get_key_value(id) {
            Some((id, namespace)) => (&**id, &*namespace.name, &*namespace.desc),
            None if id == DEFAULT_NAMESPACE => (DEFAULT_NAMESPACE, DEFAULT_NAMESPACE, "Default Namespace"),
            None => return None,
        };
        let scope = Scope::namespace(id);
        let quota = self.capacity(&scope).quota(&scope);
        let is_default = id == DEFAULT_NAMESPACE;
        Some(NamespaceView { id, name, desc, configs: self.usage(&scope).count, quota, is_default })
    }

    pub(crate) fn has_namespace(&self, id: &str) -> bool {
        id == DEFAULT_NAMESPACE || self.namespaces.contains_key(id)
    }

    pub(crate) fn create_namespace(
        &mut self,
        id: &str,
        name: &str,
        desc: &str,
        (created, now_ms): (Revision, u64),
    ) -> ConfigReply {
        let id = config_namespace(id);
        if self.has_namespace(id) {
            return ConfigReply::Exists;
        }
        if let Some(limit) = over_names(&[id, name, desc]) {
            return ConfigReply::Limit(limit);
        }
        if self.namespaces.len() >= NAMESPACES_MAX {
            return ConfigReply::Limit(ConfigLimit::Namespaces(NAMESPACES_MAX));
        }
        let namespace = Namespace {
            name: name.into(),
            desc: desc.into(),
            created,
            created_ms: now_ms,
            modified_ms: now_ms,
        };
        self.namespaces.insert(Arc::from(id), Arc::new(namespace));
        ConfigReply::done(created)
    }

    pub(crate) fn update_namespace(
        &mut self,
        id: &str,
        name: &str,
        desc: &str,
        (revision, now_ms): (Revision, u64),
    ) -> ConfigReply {
        let id = config_namespace(id);
        let Some(present) = self.namespaces.get_mut(id) else {
            return ConfigReply::NotFound;
        };
        if let Some(limit) = over_names(&[id, name, desc]) {
            return ConfigReply::Limit(limit);
        }
        let present = Arc::make_mut(present);
        present.name = name.into();
        present.desc = desc.into();
        present.modified_ms = now_ms;
        ConfigReply::done(revision)
    }

    pub(crate) fn delete_namespace(&mut self, id: &str, force: bool, revision: Revision) -> ConfigReply {
        let id = config_namespace(id);
        if !self.namespaces.contains_key(id) {
            return ConfigReply::NotFound;
        }
        let configs = self.usage(&Scope::namespace(id)).count;
        if configs > 0 && !force {
            return ConfigReply::NotEmpty(configs);
        }
        self.namespaces.remove(id);
        ConfigReply::done(revision)
    }
}
