//! One service: its publications, its persistent half, and the view that is built from both.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use dyad_types::{
    Address, ClientId, Instance, Lifetime, Millis, Origin, Publication, PublicationKey, ServiceKey,
};
use imbl::ordmap::DiffItem;
use parking_lot::{Mutex, MutexGuard};

use super::change::{InstanceChange, between};
use super::hash::ByKey;
use super::{Counts, LINGER_MS, Owners, VisiblePublication};
use crate::cp::{CpService, ExpiredOverride, OverrideKey, StoredOverride};
use crate::view::{LIST_BYTES, ServiceView, ViewInstance, host_bytes, hosts_bytes, metadata_bytes, place};

/// A hash table of publications shrinks when at most one in this many of its places is used.
const SHRINK_FACTOR: usize = 4;

#[derive(Debug)]
pub(super) struct ServiceEntry {
    key: ServiceKey,
    contents: Mutex<Contents>,
    /// The view of the present contents. `None` while nobody has asked for it.
    view: ArcSwapOption<ServiceView>,
}

/// The mutable part of a service.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) publications: HashMap<ClientId, Held, ByKey>,
    pub(super) cp: Option<Arc<CpService>>,
    revision: u64,
    /// The number of instances in `publications`.
    ephemeral: usize,
    /// The number of publications whose client is a connection.
    connections: usize,
    /// When the last instance of either lifetime was removed, or when the service appeared without an instance.
    empty_since: Option<Millis>,
    /// When the last ephemeral publication was removed.
    ephemeral_until: Option<Millis>,
    /// The overrides whose instance does not exist, and since when.
    pub(super) idle_overrides: BTreeMap<OverrideKey, Millis>,
    /// The overrides whose instance went, with their revisions. They are shown no more, also if the instance is registered again
    /// before the CP state has removed them.
    pub(super) ended_overrides: BTreeMap<OverrideKey, u64>,
    /// The bytes that the hosts of `publications` have in a list.
    ephemeral_bytes: usize,
    /// The same of the persistent instances.
    persistent_bytes: usize,
    /// Whether the service is in the listing of the registry.
    pub(super) listed: bool,
    /// Whether the entry was taken out of the map. A writer that still holds it must look up the service again.
    pub(super) dead: bool,
}

/// What a write did.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) lines: Vec<InstanceChange>,
    /// Whether the view may be different now. A repeated registration leaves it as it is.
    pub(super) visible: bool,
}

/// One client's publication.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) publication: Arc<Publication>,
    healthy: bool,
    pub(super) rank: (u64, Origin),
}

impl ServiceEntry {
    pub(super) fn new(key: ServiceKey) -> ServiceEntry {
        ServiceEntry { key, contents: Mutex::default(), view: ArcSwapOption::empty() }
    }

    pub(super) fn key(&self) -> &ServiceKey {
        &self.key
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock()
    }

    /// The present view. If there is none, it is built and kept.
    pub(super) fn view(&self, cache_millis: i64) -> Option<Arc<ServiceView>> {
        if let Some(view) = &*self.view.load() {
            view.mark_used();
            return Some(view.clone());
        }
        let contents = self.lock();
        if let Some(view) = self.view.load_full() {
            return Some(view);
        }
        let view = Arc::new(contents.build(&self.key, cache_millis)?);
        self.view.store(Some(view.clone()));
        Some(view)
    }

    /// The present view for one look. If there is none, it is built but not kept.
    pub(super) fn peek(&self, cache_millis: i64) -> Option<Arc<ServiceView>> {
        if let Some(view) = self.view.load_full() {
            return Some(view);
        }
        self.lock().build(&self.key, cache_millis).map(Arc::new)
    }

    /// Drops the view after a change of the contents, so that no reader finds the old view after this call. It is
    /// called under the lock, so that a view of older contents cannot be stored later.
    pub(super) fn changed(&self, contents: &mut Contents) {
        contents.revision += 1;
        if self.view.load().is_some() {
            self.view.store(None);
        }
    }

    /// Frees the memory of the view if nobody asked for it since the last call.
    pub(super) fn drop_unused_view(&self) {
        if self.view.load().as_ref().is_some_and(|view| !view.take_used()) {
            self.view.store(None);
        }
    }
}

impl Contents {
    pub(super) fn publish(&mut self, key: &PublicationKey, visible: VisiblePublication) -> Change {
        let new = Held { publication: visible.publication, healthy: visible.healthy, rank: visible.rank };
        let (after, rank) = (new.shown(&key.client), new.rank);
        for instance in &after {
            if self.idle_overrides.is_empty() {
                break;
            }
            self.idle_overrides.remove(&OverrideKey::of(instance));
        }
        self.ephemeral += after.len();
        self.ephemeral_bytes += hosts_bytes(&key.service, &after);
        let old = self.publications.insert(key.client.clone(), new);
        self.connections += usize::from(old.is_none() && !key.client.is_beat());
        let reranked = old.as_ref().is_some_and(|old| old.rank != rank);
        let before = old.map_or_else(Vec::new, |old| old.shown(&key.client));
        self.ephemeral -= before.len();
        self.ephemeral_bytes -= hosts_bytes(&key.service, &before);
        self.end_overrides(&before);
        let lines = between(&key.service, Lifetime::Ephemeral, before, after);
        // Two clients can only have the same instance if one of them is a connection.
        let visible = !lines.is_empty() || (reranked && self.connections > 0);
        Change { lines, visible }
    }

    pub(super) fn withdraw(&mut self, key: &PublicationKey, now: Millis) -> Change {
        let Some(old) = self.publications.remove(&key.client) else {
            return Change { lines: Vec::new(), visible: false };
        };
        self.connections -= usize::from(!key.client.is_beat());
        if self.publications.capacity() > SHRINK_FACTOR * self.publications.len() {
            self.publications.shrink_to_fit();
        }
        if self.publications.is_empty() {
            self.ephemeral_until = Some(now);
        }
        let before = old.shown(&key.client);
        self.ephemeral -= before.len();
        self.ephemeral_bytes -= hosts_bytes(&key.service, &before);
        self.end_overrides(&before);
        Change { lines: between(&key.service, Lifetime::Ephemeral, before, Vec::new()), visible: true }
    }

    pub(super) fn set_cp(
        &mut self,
        key: &ServiceKey,
        service: Option<Arc<CpService>>,
    ) -> Vec<InstanceChange> {
        let old = self.cp.take().unwrap_or_default();
        let new = service.clone().unwrap_or_default();
        self.cp = service;
        let (lifetime, mut out, mut gone) = (Lifetime::Persistent, Vec::new(), Vec::new());
        for item in old.instances().diff(new.instances()) {
            let service = key.clone();
            match item {
                DiffItem::Add(_, new) => {
                    self.idle_overrides.remove(&OverrideKey::of(new));
                    self.persistent_bytes += host_bytes(key, new);
                    out.push(InstanceChange::New { service, lifetime, instance: Instance::clone(new) });
                }
                DiffItem::Update { old: (_, old), new: (_, new) } => {
                    self.idle_overrides.remove(&OverrideKey::of(new));
                    self.persistent_bytes += host_bytes(key, new);
                    self.persistent_bytes -= host_bytes(key, old);
                    let (old, new) = (Instance::clone(old), Instance::clone(new));
                    if old.cluster != new.cluster {
                        gone.push(old.clone());
                    }
                    if old != new {
                        out.push(InstanceChange::Changed { service, lifetime, old, new });
                    }
                }
                DiffItem::Remove(_, old) => {
                    self.persistent_bytes -= host_bytes(key, old);
                    gone.push(Instance::clone(old));
                    out.push(InstanceChange::Gone { service, lifetime, instance: Instance::clone(old) });
                }
            }
        }
        self.end_overrides(&gone);
        // An override that was removed, or was written again, has not ended.
        self.ended_overrides.retain(|target, revision| {
            new.overrides().get(target).is_some_and(|stored| stored.revision == *revision)
        });
        out
    }

    /// What an operator set for an instance ends with the instance (`gone`: those that this write took away).
    fn end_overrides(&mut self, gone: &[Instance]) {
        let Some(cp) = self.cp.clone().filter(|cp| !cp.overrides().is_empty()) else { return };
        for instance in gone {
            let target = OverrideKey::of(instance);
            if let Some(stored) = cp.overrides().get(&target)
                && !self.has_instance(&target)
            {
                self.ended_overrides.insert(target, stored.revision);
            }
        }
    }

    /// The bytes that the list of all instances has at most: their hosts, and the metadata that overrides may add.
    pub(super) fn list_bytes(&self, key: &ServiceKey) -> usize {
        let overrides = self.cp.iter().flat_map(|cp| cp.overrides().values());
        let added: usize = overrides.map(|stored| metadata_bytes(&stored.value.metadata)).sum();
        LIST_BYTES + 2 * key.grouped_name().len() + self.ephemeral_bytes + self.persistent_bytes + added
    }

    /// Who has an instance with this address.
    pub(super) fn owners(&self, address: &Address) -> Owners {
        let has = |i: &Instance| i.port == address.port && i.ip == address.ip;
        let holds = |held: &Held| held.publication.instances().iter().any(has);
        let mut connections = self.publications.iter().filter(|_| self.connections > 0);
        let connection = connections.find(|(client, held)| !client.is_beat() && holds(held));
        Owners {
            persistent: self.cp.as_ref().is_some_and(|cp| cp.instances().contains_key(address)),
            beat: self.publications.contains_key(&ClientId::beat(&address.ip, address.port)),
            connection: connection.map(|(client, _)| client.clone()),
        }
    }

    /// The overrides for this address.
    pub(super) fn overrides_at(&self, key: &ServiceKey, address: &Address) -> Vec<ExpiredOverride> {
        let overrides = self.cp.iter().flat_map(|cp| cp.overrides());
        let at = overrides.filter(|(target, _)| target.address == *address);
        let expired = |(target, stored): (&OverrideKey, &StoredOverride)| ExpiredOverride {
            service: key.clone(),
            target: target.clone(),
            revision: stored.revision,
        };
        at.map(expired).collect()
    }

    /// Updates the listing and the time since when the service is empty, after a write.
    pub(super) fn settle(&mut self, now: Millis) {
        if self.instances() > 0 {
            self.empty_since = None;
        } else {
            self.empty_since.get_or_insert(now);
        }
        let held = self.instances() > 0 || self.has_record();
        self.listed = self.listed || held;
    }

    /// Makes the service unknown at once, because an operator deleted it, unless something was registered in the meantime.
    pub(super) fn forget(&mut self) {
        if self.instances() == 0 && !self.has_record() {
            self.listed = false;
            self.ephemeral_until = None;
        }
    }

    /// Whether the service has had no instances for 60 s.
    pub(super) fn idle(&self, now: Millis) -> bool {
        self.empty_since.is_some_and(|since| now.since(since) >= LINGER_MS)
    }

    /// Whether nothing is left that a later query could need.
    pub(super) fn is_void(&self) -> bool {
        !self.listed && self.instances() == 0 && self.cp.is_none()
    }

    pub(super) fn has_record(&self) -> bool {
        self.cp.as_ref().is_some_and(|cp| cp.record().is_some())
    }

    /// The number of instances of both lifetimes.
    pub(super) fn instances(&self) -> usize {
        self.ephemeral + self.persistent()
    }

    fn persistent(&self) -> usize {
        self.cp.as_ref().map_or(0, |cp| cp.instances().len())
    }

    pub(super) fn lifetime(&self, now: Millis) -> Option<Lifetime> {
        if self.persistent() > 0 {
            return Some(Lifetime::Persistent);
        }
        let lingers = || self.ephemeral_until.is_some_and(|until| now.since(until) < LINGER_MS);
        (!self.publications.is_empty() || lingers()).then_some(Lifetime::Ephemeral)
    }

    pub(super) fn totals(&self) -> Counts {
        Counts {
            services: usize::from(self.listed),
            ephemeral_instances: self.ephemeral,
            persistent_instances: self.persistent(),
            lifetime_conflicts: usize::from(self.ephemeral > 0 && self.persistent() > 0),
        }
    }

    /// Whether an instance with the ip, port and cluster of this override is registered.
    pub(super) fn has_instance(&self, target: &OverrideKey) -> bool {
        let wanted = (&*target.address.ip, target.address.port, &*target.cluster);
        let beat = ClientId::beat(&target.address.ip, target.address.port);
        let holds = |held: &Held| held.publication.instances().iter().any(|i| place(i) == wanted);
        self.cp
            .as_ref()
            .and_then(|cp| cp.instances().get(&target.address))
            .is_some_and(|i| place(i) == wanted)
            || self.publications.get(&beat).is_some_and(holds)
            || self.publications.iter().any(|(client, held)| !client.is_beat() && holds(held))
    }

    /// Merges everything into a view. `None` for a service that queries do not know.
    fn build(&self, key: &ServiceKey, cache_millis: i64) -> Option<ServiceView> {
        if !self.listed {
            return None;
        }
        let mut instances = self.ephemeral_instances();
        let persistent = self.cp.iter().flat_map(|cp| cp.instances().values());
        instances.extend(
            persistent.map(|i| ViewInstance { instance: Instance::clone(i), lifetime: Lifetime::Persistent }),
        );
        if let Some(cp) = self.cp.as_ref().filter(|cp| !cp.overrides().is_empty()) {
            for shown in &mut instances {
                let target = OverrideKey::of(&shown.instance);
                if let Some(over) = cp.overrides().get(&target)
                    && self.ended_overrides.get(&target) != Some(&over.revision)
                {
                    over.value.apply_to(&mut shown.instance);
                }
            }
        }
        instances.sort_by(|a, b| place(&a.instance).cmp(&place(&b.instance)));
        let record = self.cp.as_ref().and_then(|cp| cp.record()).map(|stored| stored.record.clone());
        Some(ServiceView::new(key.clone(), self.revision, instances, record, cache_millis))
    }

    /// The ephemeral instances. If several clients have the same instance, the one with the highest rank gives the
    /// attributes, and the instance is healthy if it is healthy at one of them.
    fn ephemeral_instances(&self) -> Vec<ViewInstance> {
        let mut ranked: Vec<(Instance, (u64, Origin), &ClientId)> = Vec::with_capacity(self.ephemeral);
        for (client, held) in &self.publications {
            ranked.extend(held.shown(client).into_iter().map(|i| (i, held.rank, client)));
        }
        ranked.sort_by(|a, b| place(&a.0).cmp(&place(&b.0)).then_with(|| (b.1, b.2).cmp(&(a.1, a.2))));
        let mut out: Vec<ViewInstance> = Vec::with_capacity(ranked.len());
        for (instance, _, _) in ranked {
            match out.last_mut() {
                Some(last) if place(&last.instance) == place(&instance) => {
                    last.instance.healthy |= instance.healthy;
                }
                _ => out.push(ViewInstance { instance, lifetime: Lifetime::Ephemeral }),
            }
        }
        out
    }
}

impl Held {
    /// The instances with their present health.
    fn shown(&self, client: &ClientId) -> Vec<Instance> {
        let beat = client.is_beat();
        let mut instances = self.publication.instances().to_vec();
        for instance in &mut instances {
            instance.healthy = self.healthy && (beat || instance.healthy);
        }
        instances
    }
}
