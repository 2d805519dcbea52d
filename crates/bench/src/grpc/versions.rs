//! Versions of one instance: when each was registered and when each subscriber had it or a later one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::record::{Record, Recorder};

/// Weights end at 10,000 in Nacos, and the weight is the version.
pub(crate) const VERSIONS_MAX: u32 = 9_990;

/// Shared by the publisher and all subscribers. Version 1 is there before anybody subscribes.
#[derive(Debug)]
pub(crate) struct Versions {
    origin: Instant,
    /// Nanoseconds from the origin to the registration of each version; 0: not registered.
    sent: Vec<AtomicU64>,
    /// Subscribers that have not seen the version.
    missing: Vec<AtomicU32>,
    /// The last version of the warm-up.
    warm: AtomicU32,
    /// The latest version of each subscriber.
    seen: Vec<AtomicU32>,
    backwards: AtomicU64,
    /// From the registration to each callback, and to the last one.
    callbacks: Recorder,
    complete: Recorder,
}

fn counters<T: Default>(count: usize) -> Vec<T> {
    (0..count).map(|_| T::default()).collect()
}

impl Versions {
    pub(crate) fn new(subscribers: usize, versions: u32) -> Versions {
        let count = versions as usize + 2;
        let all = u32::try_from(subscribers).unwrap_or(u32::MAX);
        Versions {
            origin: Instant::now(),
            sent: counters(count),
            missing: (0..count).map(|_| AtomicU32::new(all)).collect(),
            warm: AtomicU32::new(u32::MAX),
            seen: counters(subscribers),
            backwards: AtomicU64::new(0),
            callbacks: Recorder::new(),
            complete: Recorder::new(),
        }
    }

    /// Nanoseconds since the origin; never 0.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// `version` is about to be registered.
    pub(crate) fn send(&self, version: u32) {
        self.sent[version as usize].store(self.now(), Ordering::Release);
    }

    /// Versions after `version` count.
    pub(crate) fn warmed_up(&self, version: u32) {
        self.warm.store(version, Ordering::Relaxed);
    }

    /// Subscriber `who` was shown `version`. Those registered after `since` count for it.
    pub(crate) fn show(&self, who: usize, version: u32, since: u64) {
        let now = self.now();
        let last = self.sent.len() as u32 - 1;
        let version = version.min(last);
        let before = self.seen[who].fetch_max(version, Ordering::AcqRel);
        if version < before {
            self.backwards.fetch_add(1, Ordering::Relaxed);
        }
        for version in before + 1..=version {
            let sent = self.sent[version as usize].load(Ordering::Acquire);
            let left = self.missing[version as usize].fetch_sub(1, Ordering::AcqRel);
            if sent <= since || version <= self.warm.load(Ordering::Relaxed) {
                continue;
            }
            let took = Duration::from_nanos(now.saturating_sub(sent));
            self.callbacks.add(who, took);
            if left == 1 {
                self.complete.add(who, took);
            }
        }
    }

    /// Subscribers that have not seen `version`.
    pub(crate) fn behind(&self, version: u32) -> usize {
        self.seen.iter().filter(|seen| seen.load(Ordering::Acquire) < version).count()
    }

    /// Callbacks with an earlier version than the one before.
    pub(crate) fn backwards(&self) -> u64 {
        self.backwards.load(Ordering::Relaxed)
    }

    /// Latencies to each callback, and to the last callback of each version.
    pub(crate) fn take(&self) -> (Record, Record) {
        (self.callbacks.take(), self.complete.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_counts_once_and_skipped_ones_with_the_next() {
        let versions = Versions::new(2, 10);
        versions.send(1);
        versions.show(0, 1, 0);
        versions.show(1, 1, 0);
        versions.warmed_up(1);
        for version in 2..=4 {
            versions.send(version);
        }
        assert_eq!(versions.behind(4), 2);
        versions.show(0, 2, 0);
        versions.show(0, 4, 0);
        versions.show(0, 4, 0);
        versions.show(1, 4, 0);
        assert_eq!((versions.behind(4), versions.backwards()), (0, 0));
        let (callbacks, complete) = versions.take();
        assert_eq!((callbacks.count(), complete.count()), (6, 3));
        versions.show(0, 3, 0);
        assert_eq!(versions.backwards(), 1);
        // What a server makes up does not leave the table.
        versions.show(0, u32::MAX, 0);
    }

    #[test]
    fn what_was_registered_before_a_subscriber_came_does_not_count() {
        let versions = Versions::new(1, 10);
        versions.warmed_up(0);
        versions.send(1);
        let since = versions.now();
        versions.show(0, 1, since);
        assert_eq!((versions.take().0.count(), versions.behind(1)), (0, 0));
    }
}
