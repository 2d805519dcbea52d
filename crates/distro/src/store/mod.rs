//! The store of datums (Nacos's `DataStore`): for each key the records of all origins, and for each origin its log.
//! Only visibility (rules 2 to 4) is decided here; the other rules are in other modules.

mod log;
mod record;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use dyad_types::{BeatSlot, Dot, Instance, Origin, Publication, PublicationKey, ServiceKey};
use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

pub(crate) use log::{Log, Reset};
pub(crate) use record::{Entry, Rare, RecState, Record, add_cover, covers};

pub(crate) type KeyId = u32;
pub(crate) type LogId = u32;

/// Keys are numbered: the multiplication spreads them over the table.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u32(&mut self, n: u32) {
        self.0 = u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

pub(crate) type IdMap<V> = HashMap<KeyId, V, BuildHasherDefault<IdHasher>>;

/// What a query sees of one key.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) publication: Arc<Publication>,
    pub(crate) healthy: bool,
    pub(crate) rank: (u64, Origin),
    pub(crate) slot: Option<Arc<BeatSlot>>,
}

impl PartialEq for Shown {
    fn eq(&self, other: &Shown) -> bool {
        self.healthy == other.healthy
            && self.rank == other.rank
            && Arc::ptr_eq(&self.publication, &other.publication)
            && self.slot.as_ref().map(Arc::as_ptr) == other.slot.as_ref().map(Arc::as_ptr)
    }
}

/// A table shrinks when less than a quarter of this or of its capacity is used.
const SHRINK_FROM: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Store {
    index: HashTable<KeyId>,
    entries: IdMap<Box<Entry>>,
    /// One allocation per service, with the number of its entries.
    services: HashMap<ServiceKey, u32>,
    logs: Vec<Option<Log>>,
    origins: HashMap<Origin, LogId>,
    /// Yields whose new record is not here yet, by its origin: (seq, key).
    yields: HashMap<Origin, Vec<(u64, KeyId)>>,
    /// Of clients with a connection: (hash of service, cluster, ip and port; key). Beating clients are found by their id.
    publishers: HashTable<(u64, KeyId)>,
    next_id: KeyId,
}

impl Store {
    pub(crate) fn log_id(&self, origin: Origin) -> Option<LogId> {
        self.origins.get(&origin).copied()
    }

    pub(crate) fn log(&self, id: LogId) -> &Log {
        self.logs[id as usize].as_ref().expect("a log id is dropped from all records with its log")
    }

    pub(crate) fn log_mut(&mut self, id: LogId) -> &mut Log {
        self.logs[id as usize].as_mut().expect("a log id is dropped from all records with its log")
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = (LogId, &Log)> {
        self.logs.iter().enumerate().filter_map(|(id, log)| Some((id as LogId, log.as_ref()?)))
    }

    pub(crate) fn logs_mut(&mut self) -> impl Iterator<Item = &mut Log> {
        self.logs.iter_mut().flatten()
    }

    pub(crate) fn log_count(&self) -> usize {
        self.origins.len()
    }

    pub(crate) fn add_log(&mut self, origin: Origin, heard: u64) -> LogId {
        let free = self.logs.iter().position(Option::is_none).unwrap_or(self.logs.len());
        if free == self.logs.len() {
            self.logs.push(None);
        }
        self.logs[free] = Some(Log::new(origin, heard));
        self.origins.insert(origin, free as LogId);
        free as LogId
    }

    /// Forgets a log whose records were all removed.
    pub(crate) fn remove_log(&mut self, id: LogId) {
        if let Some(log) = self.logs[id as usize].take() {
            debug_assert!(log.by_seq.is_empty());
            self.origins.remove(&log.origin);
        }
    }

    pub(crate) fn entry(&self, id: KeyId) -> Option<&Entry> {
        self.entries.get(&id).map(|e| &**e)
    }

    pub(crate) fn entry_mut(&mut self, id: KeyId) -> Option<&mut Entry> {
        self.entries.get_mut(&id).map(|e| &mut **e)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|e| &**e)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn find(&self, key: &PublicationKey) -> Option<KeyId> {
        let entries = &self.entries;
        self.index.find(hash(key), |id| entries.get(id).is_some_and(|e| e.key == *key)).copied()
    }

    /// The id of a key, new if it is unknown.
    pub(crate) fn intern(&mut self, key: &PublicationKey) -> KeyId {
        if let Some(id) = self.find(key) {
            return id;
        }
        while self.entries.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let entry = self.services.entry(key.service.clone());
        let service = entry.key().clone();
        *entry.or_insert(0) += 1;
        let key = PublicationKey { service, client: key.client.clone() };
        let entries = &self.entries;
        self.index.insert_unique(hash(&key), id, |id| entries.get(id).map_or(0, |e| hash(&e.key)));
        self.entries.insert(id, Box::new(Entry { key, records: Vec::new(), slot: None, armed: 0 }));
        id
    }

    /// Drops a key without records.
    pub(crate) fn release(&mut self, id: KeyId) {
        let Some(entry) = self.entries.get(&id) else { return };
        if !entry.records.is_empty() || entry.slot.is_some() {
            return;
        }
        let entry = self.entries.remove(&id).expect("found above");
        if let Ok(found) = self.index.find_entry(hash(&entry.key), |other| *other == id) {
            found.remove();
        }
        if let Some(count) = self.services.get_mut(&entry.key.service) {
            *count -= 1;
            if *count == 0 {
                self.services.remove(&entry.key.service);
            }
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        let len = self.entries.len();
        if self.entries.capacity() > SHRINK_FROM && len < self.entries.capacity() / 4 {
            self.entries.shrink_to(len * 2);
            let entries = &self.entries;
            self.index.shrink_to(len * 2, |id| entries.get(id).map_or(0, |e| hash(&e.key)));
        }
        if self.publishers.capacity() > SHRINK_FROM && self.publishers.len() < self.publishers.capacity() / 4
        {
            self.publishers.shrink_to(self.publishers.len() * 2, |(hash, _)| *hash);
        }
        if self.services.capacity() > SHRINK_FROM && self.services.len() < self.services.capacity() / 4 {
            self.services.shrink_to(self.services.len() * 2);
        }
    }

    /// What a query sees (rules 3, 4 and 24).
    pub(crate) fn shown(&self, id: KeyId) -> Option<Shown> {
        let entry = self.entry(id)?;
        let mut best: Option<(&Record, (u64, Origin))> = None;
        let mut healthy = false;
        for record in entry.visible() {
            let log = self.log(record.log);
            let rank = (record.lamport, log.origin);
            healthy |= record.state.is_healthy() && !log.soft;
            if best.is_none_or(|(_, other)| rank > other) {
                best = Some((record, rank));
            }
        }
        let (record, rank) = best?;
        let publication = record.publication.clone()?;
        Some(Shown { publication, healthy, rank, slot: entry.slot.clone() })
    }

    /// Puts a record in place of the log's former one for the key.
    pub(crate) fn put(&mut self, id: KeyId, mut record: Record) {
        self.take(id, record.log);
        if record.state == RecState::Yield {
            let to = record.rare.as_ref().map_or(Dot::default(), |r| r.to);
            if self
                .log_id(to.origin)
                .map(|id| self.log(id))
                .is_some_and(|log| log.seq >= to.seq && !log.quiet)
            {
                record.state = RecState::Settled;
            } else {
                self.yields.entry(to.origin).or_default().push((to.seq, id));
            }
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let log = self.logs[record.log as usize].as_mut().expect("the caller's log exists");
        log.by_seq.insert(record.seq, id);
        if record.state.is_live() {
            log.live += 1;
            log.hash = log.hash.wrapping_add(record_hash(&entry.key, &record));
        } else {
            log.ended.insert(record.seq, id);
        }
        if !record.covers().is_empty() {
            log.covering.insert(record.seq, id);
        }
        if let Some(publication) = record.publication.as_ref().filter(|_| !entry.key.client.is_beat()) {
            for hash in publication.instances().iter().map(|i| instance_hash(&entry.key.service, i)) {
                let is_same = |other: &(u64, KeyId)| *other == (hash, id);
                self.publishers.entry(hash, is_same, |(hash, _)| *hash).or_insert((hash, id));
            }
        }
        entry.records.reserve_exact(1);
        entry.records.push(record);
    }

    /// Takes a log's record for the key out.
    pub(crate) fn take(&mut self, id: KeyId, log_id: LogId) -> Option<Record> {
        let entry = self.entries.get_mut(&id)?;
        let at = entry.records.iter().position(|r| r.log == log_id)?;
        let record = entry.records.swap_remove(at);
        let log = self.logs[log_id as usize].as_mut().expect("a record's log exists");
        log.by_seq.remove(&record.seq);
        if record.state.is_live() {
            log.live -= 1;
            log.hash = log.hash.wrapping_sub(record_hash(&entry.key, &record));
        } else {
            log.ended.remove(&record.seq);
        }
        if record.rare.is_some() {
            log.covering.remove(&record.seq);
        }
        if let Some(publication) = record.publication.as_ref().filter(|_| !entry.key.client.is_beat()) {
            let of = |p: &Arc<Publication>| -> Vec<u64> {
                p.instances().iter().map(|i| instance_hash(&entry.key.service, i)).collect()
            };
            let kept: Vec<u64> =
                entry.records.iter().filter_map(|r| r.publication.as_ref()).flat_map(of).collect();
            for hash in of(publication).into_iter().filter(|hash| !kept.contains(hash)) {
                if let Ok(found) = self.publishers.find_entry(hash, |other| *other == (hash, id)) {
                    found.remove();
                }
            }
        }
        Some(record)
    }

    /// The keys of clients with a connection whose records, visible or not, have this instance of the service; a few others
    /// with the same hash may be among them.
    pub(crate) fn publishers(
        &self,
        service: &ServiceKey,
        instance: &Instance,
    ) -> impl Iterator<Item = KeyId> {
        let hash = instance_hash(service, instance);
        let found = self.publishers.iter_hash(hash).filter(|(other, _)| *other == hash);
        let mut ids: Vec<KeyId> = found.map(|(_, id)| *id).collect();
        // The table's own order depends on its history; what is done must depend on the state alone.
        ids.sort_unstable();
        ids.into_iter()
    }

    /// Takes a record out and forgets the key if nothing is left of it.
    pub(crate) fn remove(&mut self, id: KeyId, log: LogId) {
        self.take(id, log);
        self.release(id);
    }

    /// The keys with a Yield to a record of `origin` up to `reached`, which is here now.
    pub(crate) fn yields_to(&mut self, origin: Origin, reached: u64) -> Vec<KeyId> {
        let Some(waiting) = self.yields.get_mut(&origin) else { return Vec::new() };
        let mut found = Vec::new();
        waiting.retain(|&(seq, id)| {
            if seq <= reached {
                found.push(id);
            }
            seq > reached
        });
        if waiting.is_empty() {
            self.yields.remove(&origin);
        }
        found
    }

    /// Origins that Yields wait for, and whose log is not here.
    pub(crate) fn awaited(&self) -> Vec<Origin> {
        self.yields.keys().filter(|origin| self.log_id(**origin).is_none()).copied().collect()
    }

    /// The new holder's record is here: the Yield counts as Gone.
    pub(crate) fn settle(&mut self, id: KeyId, to: Origin, reached: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        for record in &mut entry.records {
            if record.state == RecState::Yield
                && record.rare.as_ref().is_some_and(|r| r.to.origin == to && r.to.seq <= reached)
            {
                record.state = RecState::Settled;
            }
        }
    }

    /// Drops the covers of a log's record, and the record if it is only a tombstone below the floor.
    pub(crate) fn strip(&mut self, id: KeyId, log_id: LogId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(record) = entry.records.iter_mut().find(|r| r.log == log_id) else { return };
        if let Some(rare) = &mut record.rare {
            rare.covers = Vec::new();
        }
        if !matches!(record.state, RecState::Yield | RecState::Settled) {
            record.rare = None;
        }
        let log = self.logs[log_id as usize].as_mut().expect("a record's log exists");
        log.covering.remove(&record.seq);
        if record.seq <= log.floor && matches!(record.state, RecState::Gone | RecState::Settled) {
            self.remove(id, log_id);
        }
    }
}

fn hash(key: &PublicationKey) -> u64 {
    xxh3_64_with_seed(key.client.as_str().as_bytes(), key.service.hash64())
}

fn instance_hash(service: &ServiceKey, instance: &Instance) -> u64 {
    let place = xxh3_64_with_seed(instance.cluster.as_bytes(), service.hash64());
    xxh3_64_with_seed(instance.ip.as_bytes(), place.wrapping_add(u64::from(instance.port)))
}

/// The record's share in its log's hash: what makes a difference to a query, and its position.
fn record_hash(key: &PublicationKey, record: &Record) -> u128 {
    let mut bytes = [0u8; 56];
    let content = record.publication.as_ref().map_or(0, |p| xxh3_64(p.bytes()));
    let healthy = u64::from(record.state == RecState::Live);
    let parts = [
        hash(key),
        record.seq,
        healthy,
        content,
        record.dot.origin.member.0,
        record.dot.origin.incarnation,
        record.dot.seq,
    ];
    for (chunk, part) in bytes.chunks_exact_mut(8).zip(parts) {
        chunk.copy_from_slice(&part.to_le_bytes());
    }
    xxh3_128(&bytes)
}
