//! The registry of one member: what the Distro core and the CP state hold, merged per service into views.
//!
//! Shared by reference among all front-end threads. A read is a look-up in a lock-free map and a load of the present
//! view; a write takes the short lock of its service, drops the view, and the next read builds a new one. Writers of one
//! service are ordered by that lock, and a writer drops the view before it returns: a member reads its own writes.

mod beats;
mod change;
mod entry;
mod hash;
mod page;
mod sweep;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use dyad_types::limits::{INSTANCES_MAX, INSTANCES_PER_SERVICE_MAX, SERVICES_MAX};
use dyad_types::{BeatSlot, Lifetime, Millis, Origin, Publication, PublicationKey, ServiceKey};
use parking_lot::RwLock;

use crate::cp::{CpChanges, CpState, Limit};
use crate::view::ServiceView;

use beats::Beats;
use entry::{Change, Contents, ServiceEntry};
use hash::ByKey;

pub use beats::Beat;
pub use change::InstanceChange;
pub use page::{ClientCounts, ServicePage};
pub use sweep::Sweep;

/// Milliseconds for which a service without instances stays known and keeps its lifetime
/// (`nacos.naming.clean.empty-service.expired-time`).
pub const LINGER_MS: u64 = 60_000;

/// One client's publication as the Distro core shows it.
#[derive(Clone, Debug)]
pub struct VisiblePublication {
    pub publication: Arc<Publication>,
    /// Present health. For HTTP-beat clients it stands for the instance's own; for others it is combined with what each
    /// instance was registered with.
    pub healthy: bool,
    /// Of several clients with the same instance, the highest rank gives the attributes.
    pub rank: (u64, Origin),
    /// Where beats of this client leave their time; only for HTTP-beat clients.
    pub slot: Option<Arc<BeatSlot>>,
}

/// Told of every change that a query could see. Called under the lock of the service: it must be quick, must not read
/// the registry, and hears the changes of one service in their order.
pub trait Watcher: Send + Sync + std::fmt::Debug + 'static {
    /// Queries of the service may be answered otherwise from now on.
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
    /// Services that hold instances of both lifetimes (a healed partition let both in).
    pub lifetime_conflicts: usize,
}

/// See the module's description. Time is monotonic milliseconds, given by the caller.
#[derive(Debug)]
pub struct Registry {
    services: papaya::HashMap<ServiceKey, Arc<ServiceEntry>, ByKey>,
    beats: Beats,
    /// The services that queries and listings know, in their order.
    listed: RwLock<BTreeSet<ServiceKey>>,
    /// `cacheMillis` of list answers, from the switches.
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
            listed: RwLock::new(BTreeSet::new()),
            cache_millis: AtomicI64::new(crate::Switches::default().default_push_cache_millis),
            ephemeral: AtomicUsize::new(0),
            persistent: AtomicUsize::new(0),
            conflicts: AtomicUsize::new(0),
            watcher: OnceLock::new(),
        }
    }
}

impl Registry {
    /// Names the one who is told of changes; a second call has no effect.
    pub fn watch(&self, watcher: Arc<dyn Watcher>) {
        let _already = self.watcher.set(watcher);
    }

    /// The names of all listed services for which `wanted` holds, in key order, at most `limit`, and whether there are more.
    pub fn listed(&self, wanted: impl Fn(&ServiceKey) -> bool, limit: usize) -> (BTreeSet<ServiceKey>, bool) {
        let listed = self.listed.read();
        let mut found = listed.iter().filter(|key| wanted(key));
        let taken = found.by_ref().take(limit).cloned().collect();
        (taken, found.next().is_some())
    }

    /// What queries see of the service; `None` for a service that nobody knows. Lock-free unless the view must be built.
    pub fn view(&self, key: &ServiceKey) -> Option<Arc<ServiceView>> {
        let services = self.services.pin();
        services.get(key)?.view(self.cache_millis())
    }

    /// The view of [`Registry::view`], or that of a service without instances.
    pub fn view_or_unknown(&self, key: &ServiceKey) -> Arc<ServiceView> {
        self.view(key).unwrap_or_else(|| Arc::new(ServiceView::unknown(key.clone(), self.cache_millis())))
    }

    /// Is the service known here: has instances or a record, or had an instance in the last 60 s?
    pub fn knows(&self, key: &ServiceKey) -> bool {
        self.services.pin().get(key).is_some_and(|entry| entry.lock().listed)
    }

    /// The lifetime of the service as this member sees it: Persistent if the CP state holds a persistent instance; else
    /// Ephemeral if an ephemeral one is live or was in the last 60 s; else free.
    pub fn lifetime(&self, key: &ServiceKey, now: Millis) -> Option<Lifetime> {
        self.services.pin().get(key)?.lock().lifetime(now)
    }

    /// Where the beat of a known HTTP client goes. Lock-free, and without an allocation.
    pub fn beat(&self, service: &ServiceKey, ip: &str, port: u16) -> Option<Beat> {
        self.beats.get(service, ip, port)
    }

    /// The slot of a publication, for callers that hold its key.
    pub fn beat_slot(&self, key: &PublicationKey) -> Option<Arc<BeatSlot>> {
        let (ip, port) = beats::address_of(&key.client)?;
        self.beat(&key.service, ip, port)?.slot
    }

    /// Would a publication of `wanted` instances by this client break a limit? One that is not larger than what the
    /// client publishes already always fits.
    ///
    /// # Errors
    /// With the limit that is reached.
    pub fn room(&self, key: &PublicationKey, wanted: usize) -> Result<(), Limit> {
        let services = self.services.pin();
        let (here, listed, held) = services.get(&key.service).map_or((0, false, 0), |entry| {
            let contents = entry.lock();
            let held = contents.publications.get(&key.client);
            (contents.instances(), contents.listed, held.map_or(0, |held| held.publication.instances().len()))
        });
        let counts = self.counts();
        let more = wanted.saturating_sub(held);
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

    pub fn counts(&self) -> Counts {
        Counts {
            services: self.listed.read().len(),
            ephemeral_instances: self.ephemeral.load(Ordering::Relaxed),
            persistent_instances: self.persistent.load(Ordering::Relaxed),
            lifetime_conflicts: self.conflicts.load(Ordering::Relaxed),
        }
    }

    /// Shows, replaces or removes (`None`) one client's publication. Called by the Distro core for each change of what
    /// is visible.
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

    /// Takes over what one applied entry changed in the CP state.
    pub fn apply_cp(&self, state: &CpState, changes: &CpChanges, now: Millis) -> Vec<InstanceChange> {
        if changes.switches {
            self.set_cache_millis(state.switches().default_push_cache_millis);
        }
        let mut out = Vec::new();
        for key in &changes.services {
            out.extend(self.set_cp(state, key, changes.deleted.contains(key), now));
        }
        out
    }

    /// Takes over a whole CP state (start, installed snapshot).
    pub fn install_cp(&self, state: &CpState, now: Millis) -> Vec<InstanceChange> {
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

    fn set_cp(&self, state: &CpState, key: &ServiceKey, deleted: bool, now: Millis) -> Vec<InstanceChange> {
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

    /// Runs one write under the service's lock and keeps totals, listing and view in step with it.
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
