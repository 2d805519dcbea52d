//! The tail of the log, decoded and in memory. Replication and apply read it, and it has the entries that are not on
//! the disk yet.

use std::collections::BTreeMap;

use super::sizes::Sizes;
use crate::types::{Entry, LogId, Payload, Vote};

/// Decoded entries kept, some 40,000 of usual size. Replication to a live follower reads here only; a follower further
/// behind costs reads of the store.
pub(super) const TAIL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Decoded entries kept on a cluster that has gone quiet, so that one large content does not stay in memory for days. Every
/// live follower has them by then.
const TAIL_BYTES_AT_REST: usize = 256 * 1024;
/// What an entry costs besides its command.
const ENTRY_OVERHEAD: usize = 160;

#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    /// Of all entries of the log, in memory or not.
    pub(super) sizes: Sizes,
    /// Entries below this index are in the store and may be evicted.
    flushed: u64,
    /// Where the log ended when [`Cache::rest`] was last called.
    rested_at: u64,
    /// Where the log began: 0, except where a test begins elsewhere.
    begin: u64,
    pub(super) last: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
}

impl Cache {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.last.is_none() {
            self.begin = entry.log_id.index;
        }
        self.last = Some(entry.log_id);
        self.sizes.push(entry.log_id.index, cost(&entry) as u64);
        self.bytes += cost(&entry);
        self.entries.insert(entry.log_id.index, entry);
        self.evict(TAIL_BYTES_MAX);
    }

    /// An entry that was read from the store.
    pub(super) fn push_flushed(&mut self, entry: Entry) {
        self.flushed = entry.log_id.index + 1;
        self.push(entry);
    }

    pub(super) fn flushed(&mut self, last: u64) {
        self.flushed = self.flushed.max(last + 1);
        self.evict(TAIL_BYTES_MAX);
    }

    /// The last entry that is in the store, if it is at hand.
    pub(super) fn flushed_id(&self) -> Option<LogId> {
        let last = self.flushed.checked_sub(1)?;
        let cached = self.entries.get(&last).map(|entry| entry.log_id);
        cached.or_else(|| self.last.filter(|id| id.index == last))
    }

    /// Entries that are not flushed stay, whatever they cost: they are nowhere else.
    pub(super) fn evict(&mut self, budget: usize) {
        while self.bytes > budget {
            let Some(first) = self.entries.first_entry().filter(|e| *e.key() < self.flushed) else { return };
            self.bytes -= cost(&first.remove());
        }
    }

    /// Called now and then: when nothing was added since the last time, the tail shrinks.
    pub(super) fn rest(&mut self) {
        let quiet = self.rested_at == self.end();
        self.rested_at = self.end();
        if quiet {
            self.evict(TAIL_BYTES_AT_REST);
        }
    }

    /// Forgets everything above `last`, once the store has.
    pub(super) fn truncate(&mut self, last: Option<LogId>) {
        let from = last.map_or(0, |id| id.index + 1);
        self.sizes.truncate(from);
        for (_, entry) in self.entries.split_off(&from) {
            self.bytes -= cost(&entry);
        }
        self.flushed = self.flushed.min(from);
        self.last = self.last.min(last);
    }

    pub(super) fn purge(&mut self, upto: LogId) {
        self.sizes.purge(upto.index);
        let kept = self.entries.split_off(&(upto.index + 1));
        for entry in std::mem::replace(&mut self.entries, kept).values() {
            self.bytes -= cost(entry);
        }
        self.purged = self.purged.max(Some(upto));
        self.last = self.last.max(Some(upto));
    }

    /// The first index that a read may see.
    pub(super) fn start(&self) -> u64 {
        self.purged.map_or(self.begin, |id| id.index + 1)
    }

    /// One past the last index.
    pub(super) fn end(&self) -> u64 {
        self.last.map_or(0, |id| id.index + 1)
    }

    /// The cached part of `from..to` and where it begins; what lies below must be read from the store.
    pub(super) fn tail(&self, from: u64, to: u64, max_bytes: usize) -> (u64, Vec<Entry>) {
        let first = self.entries.first_key_value().map_or(to, |(index, _)| (*index).min(to)).max(from);
        let mut bytes = 0;
        let mut out = Vec::new();
        if first < to {
            for entry in self.entries.range(first..to).map(|(_, entry)| entry) {
                bytes += cost(entry);
                out.push(entry.clone());
                if bytes >= max_bytes {
                    break;
                }
            }
        }
        (first, out)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

pub(super) fn cost(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Normal(proposal) => ENTRY_OVERHEAD + proposal.command.len(),
        Payload::Membership(_) => 4 * ENTRY_OVERHEAD,
        Payload::Blank => ENTRY_OVERHEAD,
    }
}
