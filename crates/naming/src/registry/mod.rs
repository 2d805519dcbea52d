//! The registry of one member: what the Distro core and the CP state know, merged into a view for each service.
//!
//! All threads of the front ends share the registry. A read is a look-up in a lock-free map and a load of the present
//! view. A write takes the short lock of its service and drops the view, and the next read builds a new one. The lock
//! orders the writers of one service, and a writer drops the view before it returns, so a member reads its own writes.

mod beats;
mod change;
mod entry;
mod hash;
mod listed;
mod page;
mod sweep;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use dyad_types::limits::{INSTANCES_MAX, INSTANCES_PER_SERVICE_MAX, LIST_BYTES_MAX, SERVICES_MAX};
use dyad_types::{
    Address, BeatSlot, ClientId, Instance, Lifetime, Metadata, Millis, Origin, Publication, PublicationKey,
    ServiceKey,
};
use parking_lot::RwLock;

use crate::cp::{ExpiredOverride, Limit, NamingChanges, NamingState, OverrideKey};
use crate::view::{ServiceView, host_bytes, hosts_bytes, metadata_bytes};

use beats::Beats;
use entry::{Change, Contents, ServiceEntry};
use hash::ByKey;
use listed::Listed;

pub use beats::Beat;
pub use change::InstanceChange;
pub use page::{ClientCounts, ServicePage};
pub use sweep::Sweep;

/// A service without instances stays known, and keeps its lifetime, for this many milliseconds
/// (`nacos.naming.clean.empty-service.expired-time`).
pub const LINGER_MS: u64 = 60_000;

/// The publication of one client, as the Distro core shows it.
#[derive(Clone, Debug)]
pub struct VisiblePublication {
    pub publication: Arc<Publication>,
    /// The present health. For a client that sends heartbeats over HTTP, it replaces the health that the instance was
    /// registered with. For other clients, an instance is healthy only if both say so.
    pub healthy: bool,
    /// If several clients have the same instance, the one with the highest rank gives the attributes.
    pub rank: (u64, Origin),
    /// Where the heartbeats of this client leave their time. Only clients that send heartbeats over HTTP have a slot.
    pub slot: Option<Arc<BeatSlot>>,
}

/// Who has an instance with a certain address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// The address itself, as a persistent instance.
    pub persistent: bool,
    /// The client that sends heartbeats for it over HTTP.
    pub beat: bool,
    /// A client with a connection.
    pub connection: Option<ClientId>,
}

/// Hears of every change that a query could see. It is called under the lock of the service, so it must be quick and
/// must not read the registry. It hears the changes of one service in their order.
pub trait Watcher: Send + Sync + std::fmt::Debug + 'static {
    /// From now on queries of the service may get another answer.
    fn changed(&self, service: &ServiceKey);
    /// The service appeared in the listing, or left it.
    fn listed(&self, service: &ServiceKey, listed: bool);
}

/// Sizes of the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub services: usize,
    pub ephemeral_instances: usize,
    pub persistent_instances: usize,
    /// The number of services that have instances of both lifetimes, because a partition let both in.
    pub lifetime_conflicts: usize,
}

/// See the module's description. Time is monotonic milliseconds, given by the caller.
#[derive(Debug)]
pub struct Registry {
    services: papaya::HashMap<ServiceKey, Arc<ServiceEntry>, ByKey>,
    beats: Beats,
    /// The services that queries and listings know, in the order of their keys.
    listed: RwLock<Listed>,
    /// The `cacheMillis` of answers with a list, which a switch gives.
    cache_millis: AtomicI64,
    ephemeral: AtomicUsize,
    persistent: AtomicUsize,
    conflicts: AtomicUsize,
    watcher: OnceLock<Arc<dyn Watcher>>,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry {
            services: papaya::HashMap::builder()
                .hasher(ByKey)
                // All at once: an insert never leaves a half-moved table behind for the readers.
                .resize_mode(papaya::ResizeMode::Blocking)
                .build(),
            beats: Beats::default(),
            listed: RwLock::default(),
            cache_millis: AtomicI64::new(crate::Switches::default().default_push_cache_millis),
            ephemeral: AtomicUsize::new(0),
            persistent: AtomicUsize::new(0),
            conflicts: AtomicUsize::new(0),
            watcher: OnceLock::new(),
        }
    }
}

impl Registry {
    /// Sets the watcher that hears of changes. A second call has no effect.
    pub fn watch(&self, watcher: Arc<dyn Watcher>) {
        let _already = self.watcher.set(watcher);
    }

    /// The listed services for which `wanted` holds, at most `limit`, in the order of their keys, and whether there are more.
    pub fn listed(&self, wanted: impl Fn(&ServiceKey) -> bool, limit: usize) -> (BTreeSet<ServiceKey>, bool) {
        let listed = self.listed.read();
        let mut found = listed.iter().filter(|key| wanted(key));
        let taken = found.by_ref().take(limit).cloned().collect();
        (taken, found.next().is_some())
    }

    /// What queries see of the service. `None` for a service that nobody knows. This takes a lock only if the view must
    /// be built.
    pub fn view(&self, key: &ServiceKey) -> Option<Arc<ServiceView>> {
        let services = self.services.pin();
        services.get(key)?.view(self.cache_millis())
    }

    /// The view of [`Registry::view`], or that of a service without instances.
    pub fn view_or_unknown(&self, key: &ServiceKey) -> Arc<ServiceView> {
        self.view(key).unwrap_or_else(|| Arc::new(ServiceView::unknown(key.clone(), self.cache_millis())))
    }

    /// Whether the service is known here: it has instances or a record, or had an instance in the last 60 s.
    pub fn knows(&self, key: &ServiceKey) -> bool {
        self.services.pin().get(key).is_some_and(|entry| entry.lock().listed)
    }

    /// The lifetime of the service, as this member sees it. It is Persistent if the CP state has a persistent instance;
    /// otherwise Ephemeral if there is an ephemeral instance, or was one in the last 60 s; otherwise `None`, so that
    /// either may register.
    pub fn lifetime(&self, key: &ServiceKey, now: Millis) -> Option<Lifetime> {
        self.services.pin().get(key)?.lock().lifetime(now)
    }

    /// What is needed to answer a heartbeat of a known HTTP client. This takes no lock and allocates nothing.
    pub fn beat(&self, service: &ServiceKey, ip: &str, port: u16) -> Option<Beat> {
        self.beats.get(service, ip, port)
    }

    /// The slot of a publication, for callers that hold its key.
    pub fn beat_slot(&self, key: &PublicationKey) -> Option<Arc<BeatSlot>> {
        let (ip, port) = beats::address_of(&key.client)?;
        self.beat(&key.service, ip, port)?.slot
    }

    /// Checks whether there is room for a publication of these instances by this client. There always is room for
    /// one that is not larger than what the client publishes already.
    ///
    /// # Errors
    /// The limit that the publication would exceed.
    pub fn room(&self, key: &PublicationKey, wanted: &[Instance]) -> Result<(), Limit> {
        let services = self.services.pin();
        let bytes = hosts_bytes(&key.service, wanted);
        let (here, listed, held, list) = services.get(&key.service).map_or((0, false, 0, bytes), |entry| {
            let contents = entry.lock();
            let held =
                contents.publications.get(&key.client).map_or(&[][..], |held| held.publication.instances());
            let replaced = hosts_bytes(&key.service, held);
            let list =
                if bytes > replaced { contents.list_bytes(&key.service) + bytes - replaced } else { 0 };
            (contents.instances(), contents.listed, held.len(), list)
        });
        if list > LIST_BYTES_MAX {
            return Err(Limit::List(LIST_BYTES_MAX));
        }
        let counts = self.counts();
        let more = wanted.len().saturating_sub(held);
        if more == 0 {
            Ok(())
        } else if here + more > INSTANCES_PER_SERVICE_MAX {
            Err(Limit::InstancesPerService(INSTANCES_PER_SERVICE_MAX))
        } else if counts.ephemeral_instances + counts.persistent_instances + more > INSTANCES_MAX {
            Err(Limit::Instances(INSTANCES_MAX))
        } else if !listed && counts.services >= SERVICES_MAX {
            Err(Limit::Services(SERVICES_MAX))
        } else {
            Ok(())
        }
    }

    /// Checks whether the list of the service stays as small as clients take if a persistent instance is registered, or
    /// replaces the one with its address.
    ///
    /// # Errors
    /// The list would be too large.
    pub fn room_in_list(&self, service: &ServiceKey, instance: &Instance) -> Result<(), Limit> {
        let services = self.services.pin();
        let list = services.get(service).map_or(0, |entry| {
            let contents = entry.lock();
            let present = contents.cp.as_ref().and_then(|cp| cp.instances().get(&instance.address()));
            let replaced = present.map_or(0, |present| host_bytes(service, present));
            let more = host_bytes(service, instance).saturating_sub(replaced);
            if more == 0 { 0 } else { contents.list_bytes(service) + more }
        });
        if list > LIST_BYTES_MAX { Err(Limit::List(LIST_BYTES_MAX)) } else { Ok(()) }
    }

    /// Checks whether the list of the service stays as small as clients take with this metadata in an override.
    ///
    /// # Errors
    /// The list would be too large.
    pub fn room_for_override(
        &self,
        service: &ServiceKey,
        target: &OverrideKey,
        metadata: &Metadata,
    ) -> Result<(), Limit> {
        let services = self.services.pin();
        let list = services.get(service).map_or(0, |entry| {
            let contents = entry.lock();
            let present = contents.cp.as_ref().and_then(|cp| cp.overrides().get(target));
            let replaced = present.map_or(0, |present| metadata_bytes(&present.value.metadata));
            let more = metadata_bytes(metadata).saturating_sub(replaced);
            if more == 0 { 0 } else { contents.list_bytes(service) + more }
        });
        if list > LIST_BYTES_MAX { Err(Limit::List(LIST_BYTES_MAX)) } else { Ok(()) }
    }

    /// Who has an instance with this address.
    pub fn owners(&self, service: &ServiceKey, address: &Address) -> Owners {
        let services = self.services.pin();
        services.get(service).map_or_else(Owners::default, |entry| entry.lock().owners(address))
    }

    /// The overrides for this address, in any cluster.
    pub fn overrides_at(&self, service: &ServiceKey, address: &Address) -> Vec<ExpiredOverride> {
        let services = self.services.pin();
        services.get(service).map_or_else(Vec::new, |entry| entry.lock().overrides_at(service, address))
    }

    /// Whether the override has ended with its instance, though the CP state may still have it.
    pub fn has_ended(&self, service: &ServiceKey, target: &OverrideKey) -> bool {
        let services = self.services.pin();
        services.get(service).is_some_and(|entry| entry.lock().ended_overrides.contains_key(target))
    }

    /// What a client publishes for a service.
    pub fn publication(&self, key: &PublicationKey) -> Option<Arc<Publication>> {
        let services = self.services.pin();
        let contents = services.get(&key.service)?.lock();
        contents.publications.get(&key.client).map(|held| held.publication.clone())
    }

    pub fn counts(&self) -> Counts {
        Counts {
            services: self.listed.read().len(),
            ephemeral_instances: self.ephemeral.load(Ordering::Relaxed),
            persistent_instances: self.persistent.load(Ordering::Relaxed),
            lifetime_conflicts: self.conflicts.load(Ordering::Relaxed),
        }
    }

    /// Shows or replaces the publication of one client, or removes it (`None`). The Distro core calls this for each
    /// change of what is visible.
    pub fn set_publication(
        &self,
        key: &PublicationKey,
        visible: Option<VisiblePublication>,
        now: Millis,
    ) -> Vec<InstanceChange> {
        let create = visible.is_some();
        self.write(&key.service, create, |contents| {
            let change = match visible {
                Some(visible) => {
                    self.beats.set(key, &visible, contents.cp.as_deref());
                    contents.publish(key, visible)
                }
                None => {
                    self.beats.remove(key);
                    contents.withdraw(key, now)
                }
            };
            contents.settle(now);
            change
        })
    }

    /// Takes in what one applied entry changed in the CP state.
    pub fn apply_cp(&self, state: &NamingState, changes: &NamingChanges, now: Millis) -> Vec<InstanceChange> {
        if changes.switches {
            self.set_cache_millis(state.switches().default_push_cache_millis);
        }
        let mut out = Vec::new();
        for key in &changes.services {
            out.extend(self.set_cp(state, key, changes.deleted.contains(key), now));
        }
        out
    }

    /// Takes in a whole CP state, at a start or when a snapshot was installed.
    pub fn install_cp(&self, state: &NamingState, now: Millis) -> Vec<InstanceChange> {
        self.set_cache_millis(state.switches().default_push_cache_millis);
        let mut out = Vec::new();
        let known: Vec<ServiceKey> = self.services.pin().keys().cloned().collect();
        for key in known.iter().filter(|key| state.service(key).is_none()) {
            out.extend(self.set_cp(state, key, false, now));
        }
        for (key, _) in state.services() {
            out.extend(self.set_cp(state, key, false, now));
        }
        out
    }

    fn set_cp(
        &self,
        state: &NamingState,
        key: &ServiceKey,
        deleted: bool,
        now: Millis,
    ) -> Vec<InstanceChange> {
        let service = state.service(key).cloned();
        self.write(key, service.is_some(), |contents| {
            let old = contents.cp.clone();
            let changes = contents.set_cp(key, service);
            self.beats.refresh(key, contents, old.as_deref());
            contents.settle(now);
            if deleted {
                contents.forget();
            }
            Change { lines: changes, visible: true }
        })
    }

    /// Runs one write under the lock of the service, and updates the totals, the listing and the view with it.
    fn write(
        &self,
        key: &ServiceKey,
        create: bool,
        write: impl FnOnce(&mut Contents) -> Change,
    ) -> Vec<InstanceChange> {
        let services = self.services.pin();
        loop {
            let entry = if create {
                services.get_or_insert_with(key.clone(), || Arc::new(ServiceEntry::new(key.clone())))
            } else if let Some(entry) = services.get(key) {
                entry
            } else {
                return Vec::new();
            };
            let mut contents = entry.lock();
            // The sweep marks an entry dead and takes it out of the map under this lock: the next turn finds another.
            if contents.dead {
                continue;
            }
            let (before, was_listed) = (contents.totals(), contents.listed);
            let Change { lines: mut changes, visible } = write(&mut contents);
            self.count(before, contents.totals());
            if contents.listed != was_listed {
                if contents.listed {
                    self.listed.write().insert(key.clone());
                    changes.insert(0, InstanceChange::ServiceCreated { service: key.clone() });
                } else {
                    self.listed.write().remove(key);
                    changes.push(InstanceChange::ServiceGone { service: key.clone() });
                }
            }
            if visible || contents.listed != was_listed {
                self.tell(entry, &mut contents, was_listed);
            }
            if contents.is_void() {
                contents.dead = true;
                services.remove(key);
            }
            return changes;
        }
    }

    /// Drops the view and tells the watcher.
    fn tell(&self, entry: &ServiceEntry, contents: &mut Contents, was_listed: bool) {
        entry.changed(contents);
        let Some(watcher) = self.watcher.get() else { return };
        if contents.listed != was_listed {
            watcher.listed(entry.key(), contents.listed);
        }
        watcher.changed(entry.key());
    }

    fn count(&self, before: Counts, after: Counts) {
        let add = |total: &AtomicUsize, before: usize, after: usize| {
            if before != after {
                total.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            }
        };
        add(&self.ephemeral, before.ephemeral_instances, after.ephemeral_instances);
        add(&self.persistent, before.persistent_instances, after.persistent_instances);
        add(&self.conflicts, before.lifetime_conflicts, after.lifetime_conflicts);
    }

    fn cache_millis(&self) -> i64 {
        self.cache_millis.load(Ordering::Relaxed)
    }

    fn set_cache_millis(&self, millis: i64) {
        if self.cache_millis.swap(millis, Ordering::Relaxed) == millis {
            return;
        }
        for entry in self.services.pin().values() {
            entry.changed(&mut entry.lock());
        }
    }
}

#[cfg(test)]
mod tests;
