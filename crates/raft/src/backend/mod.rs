//! What the log and the store of contents need of a medium: ordered writes, then one call that makes them all durable.

mod disk;
mod mem;
mod parts;
mod rows;
mod sled;

use std::io;

use bytes::Bytes;

pub(crate) use disk::sync_dir;
pub use mem::{MemBackend, MemContents};
pub use rows::SledContents;
pub use sled::SledBackend;

/// A durable place for log records and a handful of named values. Called by one writer at a time; reads come from any
/// thread. Writes become durable together, in their order, at the next [`sync`](LogBackend::sync): a crash before it may
/// lose a suffix of them, never one in the middle.
pub trait LogBackend: Send + Sync + 'static {
    /// Writes records at their indexes, one after another, each whole.
    ///
    /// # Errors
    /// When the medium fails; the store is then poisoned and the member stops.
    fn append(&self, records: &[(u64, Bytes)]) -> io::Result<()>;

    /// Removes all records at `index` and above. Atomic.
    ///
    /// # Errors
    /// When the medium fails.
    fn truncate_from(&self, index: u64) -> io::Result<()>;

    /// Removes at most `limit` of the lowest records at or below `index`. Answers whether more are left.
    ///
    /// # Errors
    /// When the medium fails.
    fn purge_to(&self, index: u64, limit: usize) -> io::Result<bool>;

    /// # Errors
    /// When the medium fails.
    fn put_meta(&self, key: MetaKey, value: &[u8]) -> io::Result<()>;

    /// # Errors
    /// When the medium fails.
    fn get_meta(&self, key: MetaKey) -> io::Result<Option<Bytes>>;

    /// The records in `from..to`, ascending; stops after the record that reaches `max_bytes`.
    ///
    /// # Errors
    /// When the medium fails.
    fn range(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>>;

    /// Makes everything written so far durable. Never called again after it failed.
    ///
    /// # Errors
    /// When the medium fails.
    fn sync(&self) -> io::Result<()>;

    /// The file that errors and log lines name.
    fn file(&self) -> String;

    /// Free space of the medium in bytes; `None` when it has no limit.
    ///
    /// # Errors
    /// When the medium cannot be asked.
    fn free_bytes(&self) -> io::Result<Option<u64>>;
}

/// A place for the rows of contents, by revision. Written by one thread; reads come from any. Writes become durable at the
/// next [`sync`](ContentBackend::sync); a crash before it may lose any of them, but never a part of a row.
pub trait ContentBackend: Send + Sync + 'static {
    /// Writes rows; one that is there already has the same bytes.
    ///
    /// # Errors
    /// When the medium fails; the member then stops.
    fn put(&self, rows: &[(u64, Bytes)]) -> io::Result<()>;

    /// # Errors
    /// When the medium fails, or its own checks find damage.
    fn get(&self, revision: u64) -> io::Result<Option<Bytes>>;

    /// Removes rows; unknown ones are no error.
    ///
    /// # Errors
    /// When the medium fails.
    fn remove(&self, revisions: &[u64]) -> io::Result<()>;

    /// The revisions of the rows that are there, ascending from `from`, at most `limit`.
    ///
    /// # Errors
    /// When the medium fails.
    fn list(&self, from: u64, limit: usize) -> io::Result<Vec<u64>>;

    /// Makes everything written so far durable. Never called again after it failed.
    ///
    /// # Errors
    /// When the medium fails.
    fn sync(&self) -> io::Result<()>;

    /// Bytes that the rows take on the medium, from its metadata: asked for by metrics.
    ///
    /// # Errors
    /// When the medium cannot be asked.
    fn disk_bytes(&self) -> io::Result<u64>;

    /// The file that errors and log lines name.
    fn file(&self) -> String;
}

/// The named values of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetaKey {
    Format,
    ClusterId,
    Member,
    Vote,
    Committed,
    LastPurged,
    Snapshot,
}

impl MetaKey {
    /// The key as stored.
    pub fn name(self) -> &'static str {
        match self {
            MetaKey::Format => "format",
            MetaKey::ClusterId => "cluster_id",
            MetaKey::Member => "member",
            MetaKey::Vote => "vote",
            MetaKey::Committed => "committed",
            MetaKey::LastPurged => "last_purged",
            MetaKey::Snapshot => "snapshot",
        }
    }
}
