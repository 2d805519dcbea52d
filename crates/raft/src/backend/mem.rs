//! A log and contents in memory that can lose what was not synced, for tests and simulators.

use std::io;

use bytes::Bytes;
use imbl::OrdMap;
use parking_lot::Mutex;

use super::{ContentBackend, LogBackend, MetaKey, Volume};

fn broken() -> io::Error {
    io::Error::other("the disk is broken (injected)")
}

/// A log in memory. Clones of its state are O(1), so a crash is a copy.
#[derive(Debug, Default)]
pub struct MemBackend {
    inner: Mutex<Inner>,
    volume: Option<Volume>,
}

#[derive(Debug, Default)]
struct Inner {
    now: State,
    durable: State,
    failing: bool,
}

#[derive(Clone, Debug, Default)]
struct State {
    log: OrdMap<u64, Bytes>,
    meta: OrdMap<MetaKey, Bytes>,
}

impl MemBackend {
    pub fn new() -> MemBackend {
        MemBackend::default()
    }

    /// A backend that says that it is on such a volume.
    pub fn with_volume(volume: Volume) -> MemBackend {
        MemBackend { volume: Some(volume), ..MemBackend::default() }
    }

    /// A backend that has only what was synced, which is what a crash leaves.
    pub fn crashed(&self) -> MemBackend {
        let durable = self.inner.lock().durable.clone();
        let inner = Inner { now: durable.clone(), durable, failing: false };
        MemBackend { inner: Mutex::new(inner), volume: self.volume }
    }

    /// From now on every write and sync fails, as on a broken disk.
    pub fn fail(&self) {
        self.inner.lock().failing = true;
    }

    fn write(&self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if inner.failing {
            return Err(broken());
        }
        change(&mut inner.now);
        Ok(())
    }
}

impl LogBackend for MemBackend {
    fn append(&self, records: &[(u64, Bytes)]) -> io::Result<()> {
        self.write(|state| {
            for (index, record) in records {
                state.log.insert(*index, record.clone());
            }
        })
    }

    fn truncate_from(&self, index: u64) -> io::Result<()> {
        self.write(|state| state.log = state.log.split(&index).0)
    }

    fn purge_to(&self, index: u64, limit: usize) -> io::Result<bool> {
        let mut more = false;
        self.write(|state| {
            let keys: Vec<u64> = state.log.range(..=index).take(limit + 1).map(|(k, _)| *k).collect();
            more = keys.len() > limit;
            for key in keys.iter().take(limit) {
                state.log.remove(key);
            }
        })?;
        Ok(more)
    }

    fn put_meta(&self, key: MetaKey, value: &[u8]) -> io::Result<()> {
        self.write(|state| {
            state.meta.insert(key, Bytes::copy_from_slice(value));
        })
    }

    fn get_meta(&self, key: MetaKey) -> io::Result<Option<Bytes>> {
        Ok(self.inner.lock().now.meta.get(&key).cloned())
    }

    fn range(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let inner = self.inner.lock();
        let mut bytes = 0;
        let mut out = Vec::new();
        for (index, record) in inner.now.log.range(from..to) {
            bytes += record.len();
            out.push((*index, record.clone()));
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(out)
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if inner.failing {
            return Err(broken());
        }
        inner.durable = inner.now.clone();
        Ok(())
    }

    fn file(&self) -> String {
        "memory".into()
    }

    fn volume(&self) -> io::Result<Option<Volume>> {
        Ok(self.volume)
    }
}

/// Contents in memory.
#[derive(Debug, Default)]
pub struct MemContents {
    inner: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    now: OrdMap<u64, Bytes>,
    durable: OrdMap<u64, Bytes>,
    failing: bool,
}

impl MemContents {
    pub fn new() -> MemContents {
        MemContents::default()
    }

    /// A store that has only what was synced, which is what a crash leaves.
    pub fn crashed(&self) -> MemContents {
        let durable = self.inner.lock().durable.clone();
        MemContents { inner: Mutex::new(Rows { now: durable.clone(), durable, failing: false }) }
    }

    /// From now on every write and sync fails, as on a broken disk.
    pub fn fail(&self) {
        self.inner.lock().failing = true;
    }

    fn write(&self, change: impl FnOnce(&mut Rows)) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if inner.failing {
            return Err(broken());
        }
        change(&mut inner);
        Ok(())
    }
}

impl ContentBackend for MemContents {
    fn put(&self, rows: &[(u64, Bytes)]) -> io::Result<()> {
        self.write(|inner| inner.now.extend(rows.iter().cloned()))
    }

    fn get(&self, revision: u64) -> io::Result<Option<Bytes>> {
        Ok(self.inner.lock().now.get(&revision).cloned())
    }

    fn remove(&self, revisions: &[u64]) -> io::Result<()> {
        self.write(|inner| {
            for revision in revisions {
                inner.now.remove(revision);
            }
        })
    }

    fn list(&self, from: u64, limit: usize) -> io::Result<Vec<u64>> {
        Ok(self.inner.lock().now.range(from..).take(limit).map(|(revision, _)| *revision).collect())
    }

    fn sizes(&self, from: u64, limit: usize) -> io::Result<Vec<(u64, u64)>> {
        let inner = self.inner.lock();
        Ok(inner.now.range(from..).take(limit).map(|(revision, row)| (*revision, row.len() as u64)).collect())
    }

    fn sync(&self) -> io::Result<()> {
        self.write(|inner| inner.durable = inner.now.clone())
    }

    fn disk_bytes(&self) -> io::Result<u64> {
        Ok(self.inner.lock().durable.values().map(|row| row.len() as u64).sum())
    }

    fn file(&self) -> String {
        "memory".into()
    }
}
