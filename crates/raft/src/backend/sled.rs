//! The log in sled 0.34.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::disk::{Disk, io_error, let_go};
use super::parts;
use super::{LogBackend, MetaKey, Volume};
use crate::error::StartError;

/// sled's page cache. The log's tail is cached above, decoded; this only serves cold reads, which go on from page to page.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// A record's key is its index, big-endian.
const KEY_LEN: usize = 8;

/// A log in a sled directory.
#[derive(Debug)]
pub struct SledBackend {
    disk: Disk,
    log: sled::Tree,
    meta: sled::Tree,
}

impl SledBackend {
    /// Opens the store in the directory `path`, or creates it.
    ///
    /// # Errors
    /// `Locked` if another process has it open, `Corrupt` if sled cannot read it, and `Io` for everything else.
    pub fn open(path: &Path) -> Result<SledBackend, StartError> {
        let disk = Disk::open(path, CACHE_BYTES)?;
        let log = disk.tree("log")?;
        parts::drop_unbegun(&log, KEY_LEN).map_err(|source| StartError::Io { file: disk.file(), source })?;
        Ok(SledBackend { log, meta: disk.tree("meta")?, disk })
    }
}

fn index_of(key: &[u8]) -> io::Result<u64> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| {
        let what = format!("a part of a value that does not begin: {key:02x?}");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// The first key above the record at `index` and its parts; none at the end of all numbers.
fn above(index: u64) -> std::ops::Bound<[u8; KEY_LEN]> {
    index
        .checked_add(1)
        .map_or(std::ops::Bound::Unbounded, |next| std::ops::Bound::Excluded(next.to_be_bytes()))
}

impl LogBackend for SledBackend {
    fn append(&self, records: &[(u64, Bytes)]) -> io::Result<()> {
        records.iter().try_for_each(|(index, record)| parts::put(&self.log, &index.to_be_bytes(), record))
    }

    fn truncate_from(&self, index: u64) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for key in self.log.range(index.to_be_bytes()..).keys() {
            batch.remove(key.map_err(io_error)?);
        }
        self.log.apply_batch(batch).map_err(io_error)
    }

    /// Parts count as records. One whose first part is gone is below what was purged, where nobody reads.
    fn purge_to(&self, index: u64, limit: usize) -> io::Result<bool> {
        let keys = self.log.range((std::ops::Bound::Unbounded, above(index))).keys();
        for (n, key) in keys.take(limit + 1).enumerate() {
            let key = key.map_err(io_error)?;
            if n == limit {
                return Ok(true);
            }
            self.log.remove(key).map_err(io_error)?;
        }
        Ok(false)
    }

    fn put_meta(&self, key: MetaKey, value: &[u8]) -> io::Result<()> {
        self.meta.insert(key.name(), value).map(drop).map_err(io_error)
    }

    fn get_meta(&self, key: MetaKey) -> io::Result<Option<Bytes>> {
        Ok(self.meta.get(key.name()).map_err(io_error)?.map(|v| Bytes::copy_from_slice(&v)))
    }

    fn range(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let mut bytes = 0;
        let mut out = Vec::new();
        let items = |from: u64| self.log.range(from.to_be_bytes()..to.to_be_bytes());
        let mut left = if from < to { Some(items(from)) } else { None };
        while let Some(item) = left.as_mut().and_then(Iterator::next) {
            let (key, first) = item.map_err(io_error)?;
            let index = index_of(&key)?;
            let value = parts::read(&self.log, &key, &first)?;
            // It goes on behind the parts.
            if value.len() > first.len() {
                left = index.checked_add(1).filter(|next| *next < to).map(items);
            }
            bytes += value.len();
            out.push((index, value));
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(out)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    fn let_go(&self) -> io::Result<()> {
        let keys: Result<Vec<sled::IVec>, _> = self.log.iter().keys().collect();
        let_go(&self.log, &keys.map_err(io_error)?)
    }

    fn file(&self) -> String {
        self.disk.file()
    }

    fn volume(&self) -> io::Result<Option<Volume>> {
        self.disk.volume().map(Some)
    }
}
