//! Timings of the log and of the store of contents, for metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets of a histogram, in microseconds. One more bucket has the rest.
pub const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];
const BUCKETS: usize = BOUNDS_US.len() + 1;

#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn timings(&self) -> Timings {
        Timings {
            counts: std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed)),
            sum_seconds: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

/// How long something took, for each time since the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timings {
    /// The number of times for each bucket of [`BOUNDS_US`], not cumulative. The last bucket has those above all bounds.
    pub counts: [u64; BUCKETS],
    pub sum_seconds: f64,
}

impl Timings {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Counters of the log's writer thread.
#[derive(Debug, Default)]
pub(crate) struct IoStats {
    syncs: Histogram,
    entries: AtomicU64,
    pub(crate) queued: AtomicUsize,
}

impl IoStats {
    pub(crate) fn record_sync(&self, took: Duration, entries: u64) {
        self.syncs.record(took);
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }

    pub(crate) fn fsync(&self) -> FsyncStats {
        FsyncStats { timings: self.syncs.timings(), entries: self.entries.load(Ordering::Relaxed) }
    }
}

/// How long it took to make writes durable, since the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FsyncStats {
    pub timings: Timings,
    /// The number of log entries that these syncs made durable.
    pub entries: u64,
}

/// Counters of reads of the store of contents.
#[derive(Debug, Default)]
pub(crate) struct ReadStats {
    pub(crate) reads: Histogram,
    pub(crate) errors: AtomicU64,
}

/// The store of contents at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContentStats {
    /// Reads of rows from the disk or from sled's cache. Reads of rows that wait for the writer are not counted.
    pub reads: Timings,
    /// The number of reads that failed or found a damaged row.
    pub errors: u64,
    /// The bytes of the rows that wait for the writer.
    pub staged_bytes: usize,
    /// The bytes on the disk. `None` if the disk cannot be asked.
    pub disk_bytes: Option<u64>,
}
