//! What a caller may see of the configurations. Front ends reach the state through this alone, so nothing is shown before
//! [`Caller::may`] was asked with the key that is shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use dyad_config::{
    Capacity, ConfigItem, ConfigState, Filter, Found, HistoryEntry, NamespaceView, PageRequest, Pattern,
    Release, Revision, Scope, Stopped, Usage, Work,
};
use dyad_types::ConfigKey;

use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// The state as it was applied last, for one caller. It does not change any more.
#[derive(Clone, Debug)]
pub struct View {
    state: ConfigState,
    caller: Caller,
}

impl View {
    /// # Errors
    /// This member has never had the state of its cluster.
    pub fn of(app: &App, caller: Caller) -> Result<View, Fault> {
        app.has_state()?;
        Ok(View { state: app.configs.state(), caller })
    }

    /// The configuration, also when only its history is left.
    ///
    /// # Errors
    /// A caller that may not read it.
    pub fn item(&self, key: &ConfigKey) -> Result<Option<&Arc<ConfigItem>>, Fault> {
        self.caller.may(Action::Read, &Resource::Config(key))?;
        Ok(self.state.item(key))
    }

    /// A page of the versions of a configuration, newest first.
    ///
    /// # Errors
    /// A caller that may not read it.
    pub fn history(&self, key: &ConfigKey, page: PageRequest) -> Result<Found<HistoryEntry<'_>>, Fault> {
        self.caller.may(Action::Read, &Resource::Config(key))?;
        Ok(self.state.history(key, page))
    }

    /// The configurations that match and may be read, as [`ConfigState::find`] finds them.
    ///
    /// # Errors
    /// As those of [`ConfigState::find`].
    pub fn find<E: From<Stopped>>(
        &self,
        filter: &Filter,
        page: PageRequest,
        work: &mut Work<'_>,
        stored: impl FnMut(&Pattern, &Release, &mut Work<'_>) -> Result<bool, E>,
    ) -> Result<Found<(&ConfigKey, &Arc<ConfigItem>)>, E> {
        self.state.find(filter, &|key| self.sees(key), page, work, stored)
    }

    /// [`View::find`] for a filter without a content.
    ///
    /// # Errors
    /// The work must stop.
    pub fn list(
        &self,
        filter: &Filter,
        page: PageRequest,
        work: &mut Work<'_>,
    ) -> Result<Found<(&ConfigKey, &Arc<ConfigItem>)>, Stopped> {
        self.find(filter, page, work, |_, _, _| Ok(true))
    }

    /// The configurations with these ids that may be read, sorted by key.
    pub fn by_ids(&self, ids: &BTreeSet<Revision>) -> Vec<(&ConfigKey, &Arc<ConfigItem>)> {
        let mut found = self.state.by_ids(ids);
        found.retain(|(key, _)| self.sees(key));
        found
    }

    /// The configurations of a namespace that may be read, also those of which only the history is left.
    pub fn items_of(&self, namespace: &str) -> impl Iterator<Item = (&ConfigKey, &Arc<ConfigItem>)> {
        self.state.items().filter(move |(key, _)| key.namespace() == namespace && self.sees(key))
    }

    /// The namespaces that may be read.
    pub fn namespaces(&self) -> Vec<NamespaceView<'_>> {
        let mut all = self.state.namespaces();
        all.retain(|view| self.caller.may(Action::Read, &Resource::Namespace(Some(view.id))).is_ok());
        all
    }

    /// A namespace by its id, in any spelling.
    ///
    /// # Errors
    /// A caller that may not read it.
    pub fn namespace(&self, id: &str) -> Result<Option<NamespaceView<'_>>, Fault> {
        self.caller.may(Action::Read, &Resource::Namespace(Some(id)))?;
        Ok(self.state.namespace(id))
    }

    /// What a namespace or a group may have, and what it has.
    ///
    /// # Errors
    /// A caller that may not read the limits.
    pub fn limits(&self, scope: &Scope) -> Result<(Capacity, Usage), Fault> {
        self.caller.may(Action::Read, &Resource::ConfigLimits)?;
        Ok((self.state.capacity(scope), self.state.usage(scope)))
    }

    fn sees(&self, key: &ConfigKey) -> bool {
        self.caller.may(Action::Read, &Resource::Config(key)).is_ok()
    }
}
