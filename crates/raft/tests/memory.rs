//! What a start has read once does not stay in memory. One test in a process of its own, so that its memory is its own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use dyad_raft::{LogBackend, SledBackend};

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A log as large as it may become: 48 MiB.
const RECORDS: u64 = 40_000;
const RECORD: usize = 1_200;
/// What sled's cache may keep of it, a few times its capacity.
const KEPT_KIB: u64 = 24 * 1024;

fn resident_kib() -> u64 {
    // mimalloc gives back what was freed a second later, and looks for it when a large block is freed.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1_100));
        drop(black_box(Vec::<u8>::with_capacity(8 << 20)));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn open(dir: &std::path::Path) -> SledBackend {
    loop {
        // sled's threads hold the lock for a moment after the store was dropped.
        if let Ok(store) = SledBackend::open(dir) {
            return store;
        }
    }
}

#[test]
fn a_log_that_was_read_does_not_stay_in_memory() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let record = |index: u64| Bytes::from(vec![(index % 251) as u8; RECORD]);
    for first in (0..RECORDS).step_by(1_000) {
        let records: Vec<(u64, Bytes)> = (first..first + 1_000).map(|index| (index, record(index))).collect();
        store.append(&records).unwrap();
        store.sync().unwrap();
    }
    drop(store);
    let store = open(dir.path());
    let before = resident_kib();
    let mut next = 0;
    while next < RECORDS {
        next = store.range(next, u64::MAX, 4 << 20).unwrap().last().unwrap().0 + 1;
    }
    let read = resident_kib() - before;
    store.let_go().unwrap();
    let kept = resident_kib().saturating_sub(before);
    assert!(kept <= KEPT_KIB, "{kept} KiB are kept of {read} that were read");
    assert_eq!(store.range(7, 8, 1).unwrap(), [(7, record(7))]);
}
