//! Clients with a connection (rules 17 and 18): what a connection published ends with it.

use std::collections::{BTreeSet, HashMap};

use dyad_types::ClientId;

use crate::api::Ending;
use crate::core::{Distro, New};
use crate::store::{KeyId, RecState};

/// The connections of this member that publish something, with the keys of their live records.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    keys: HashMap<ClientId, BTreeSet<KeyId>>,
}

impl Distro {
    /// Brings the table in line with the own record.
    pub(crate) fn conn_follows(&mut self, id: KeyId) {
        let own = self.own;
        let Some(entry) = self.store.entry(id).filter(|e| !e.key.client.is_beat()) else { return };
        let live = entry.record(own).is_some_and(|r| r.state.is_live());
        let client = entry.key.client.clone();
        if live {
            self.conns.keys.entry(client).or_default().insert(id);
        } else if let Some(keys) = self.conns.keys.get_mut(&client) {
            keys.remove(&id);
            if keys.is_empty() {
                self.conns.keys.remove(&client);
            }
        }
    }

    /// Rule 18.
    pub(crate) fn ended(&mut self, client: &ClientId, _ending: Ending) {
        for id in self.conns.keys.remove(client).unwrap_or_default() {
            self.append(id, New { state: RecState::Gone, ..New::default() });
        }
    }

    /// Rule 17.
    pub(crate) fn probed(&mut self, client: &ClientId, alive: bool) {
        if !alive {
            self.ended(client, Ending::Abnormal);
        }
    }
}
