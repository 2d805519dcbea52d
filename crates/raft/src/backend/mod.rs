//! What the log and the store of contents need from a medium: ordered writes, and one call that makes all of them durable.

mod disk;
mod mem;
mod parts;
mod rows;
mod sled;

use std::io;

use bytes::Bytes;

pub use mem::{MemBackend, MemContents};
pub use rows::SledContents;
pub use sled::SledBackend;

/// A durable place for the records of the log and for a few named values. One writer at a time calls it; reads come
/// from any thread. Writes become durable together, in their order, at the next [`sync`](LogBackend::sync). A crash
/// before it may lose the last writes, but never a write before one that stays.
pub trait LogBackend: Send + Sync + 'static {
    /// Writes records at their indexes, one after another. Each record is written as a whole.
    ///
    /// # Errors
    /// The medium fails. Nothing is written any more after this, and the member stops.
    fn append(&self, records: &[(u64, Bytes)]) -> io::Result<()>;

    /// Removes all records at `index` and above. This happens as a whole or not at all.
    ///
    /// # Errors
    /// The medium fails.
    fn truncate_from(&self, index: u64) -> io::Result<()>;

    /// Removes at most `limit` of the lowest records at or below `index`. True if more of them are left.
    ///
    /// # Errors
    /// The medium fails.
    fn purge_to(&self, index: u64, limit: usize) -> io::Result<bool>;

    /// Writes a named value.
    ///
    /// # Errors
    /// The medium fails.
    fn put_meta(&self, key: MetaKey, value: &[u8]) -> io::Result<()>;

    /// Reads a named value. `None` if it was never written.
    ///
    /// # Errors
    /// The medium fails.
    fn get_meta(&self, key: MetaKey) -> io::Result<Option<Bytes>>;

    /// The records in `from..to` in ascending order. The list ends after the record with which it has `max_bytes`.
    ///
    /// # Errors
    /// The medium fails.
    fn range(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>>;

    /// Makes everything durable that was written so far. It is never called again after it has failed.
    ///
    /// # Errors
    /// The medium fails.
    fn sync(&self) -> io::Result<()>;

    /// All records were read once: none of them need stay in memory.
    ///
    /// # Errors
    /// The medium fails.
    fn let_go(&self) -> io::Result<()> {
        Ok(())
    }

    /// The name of the file, for errors and lines of the log.
    fn file(&self) -> String;

    /// The space of the medium. `None` if it has no limit.
    ///
    /// # Errors
    /// The medium cannot be asked.
    fn volume(&self) -> io::Result<Option<Volume>>;
}

/// The space of a medium, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What this process may still write.
    pub free: u64,
    pub total: u64,
}

/// A place for the rows of contents, by revision. One thread writes it; reads come from any thread. Writes become
/// durable at the next [`sync`](ContentBackend::sync). A crash before it may lose any of them, but never a part of a
/// row.
pub trait ContentBackend: Send + Sync + 'static {
    /// Writes rows. A row that exists already has the same bytes.
    ///
    /// # Errors
    /// The medium fails. The member stops then.
    fn put(&self, rows: &[(u64, Bytes)]) -> io::Result<()>;

    /// # Errors
    /// The medium fails, or its own checks find damage.
    fn get(&self, revision: u64) -> io::Result<Option<Bytes>>;

    /// Removes rows. An unknown row is not an error.
    ///
    /// # Errors
    /// The medium fails.
    fn remove(&self, revisions: &[u64]) -> io::Result<()>;

    /// The revisions of the rows that exist, in ascending order from `from`, at most `limit`.
    ///
    /// # Errors
    /// The medium fails.
    fn list(&self, from: u64, limit: usize) -> io::Result<Vec<u64>>;

    /// As [`list`](ContentBackend::list), each with the bytes of the row.
    ///
    /// # Errors
    /// The medium fails.
    fn sizes(&self, from: u64, limit: usize) -> io::Result<Vec<(u64, u64)>>;

    /// Makes everything durable that was written so far. It is never called again after it has failed.
    ///
    /// # Errors
    /// The medium fails.
    fn sync(&self) -> io::Result<()>;

    /// All rows were listed once: nothing of that need stay in memory. `rows` are some of them.
    ///
    /// # Errors
    /// The medium fails.
    fn let_go(&self, rows: &[u64]) -> io::Result<()> {
        let _none = rows;
        Ok(())
    }

    /// The bytes that the rows take on the medium, according to its metadata. The metrics ask for it.
    ///
    /// # Errors
    /// The medium cannot be asked.
    fn disk_bytes(&self) -> io::Result<u64>;

    /// The name of the file, for errors and lines of the log.
    fn file(&self) -> String;
}

/// The named values of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetaKey {
    Format,
    ClusterId,
    Member,
    Start,
    Whole,
    Vote,
    Committed,
    LastPurged,
    Snapshot,
}

impl MetaKey {
    /// The key under which the value is stored.
    pub fn name(self) -> &'static str {
        match self {
            MetaKey::Format => "format",
            MetaKey::ClusterId => "cluster_id",
            MetaKey::Member => "member",
            MetaKey::Start => "start",
            MetaKey::Whole => "whole",
            MetaKey::Vote => "vote",
            MetaKey::Committed => "committed",
            MetaKey::LastPurged => "last_purged",
            MetaKey::Snapshot => "snapshot",
        }
    }
}
