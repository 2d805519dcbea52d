//! Counters of the writer thread, for metrics and `cluster status`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Upper bounds of the fsync histogram's buckets in microseconds; one more bucket holds the rest.
pub const FSYNC_BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];
const BUCKETS: usize = FSYNC_BOUNDS_US.len() + 1;

#[derive(Debug, Default)]
pub(crate) struct IoStats {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
    entries: AtomicU64,
    pub(crate) queued: AtomicUsize,
}

impl IoStats {
    pub(crate) fn record_sync(&self, took: Duration, entries: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = FSYNC_BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }

    pub(crate) fn fsync(&self) -> FsyncStats {
        let counts = std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed));
        FsyncStats {
            counts,
            sum_seconds: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64(),
            entries: self.entries.load(Ordering::Relaxed),
        }
    }
}

/// How long making writes durable took, since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FsyncStats {
    /// Syncs per bucket of [`FSYNC_BOUNDS_US`], not cumulative; the last counts those above all bounds.
    pub counts: [u64; BUCKETS],
    pub sum_seconds: f64,
    /// Log entries that these syncs made durable.
    pub entries: u64,
}

impl FsyncStats {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
