//! What both kinds of store on the disk must do with values of every size, and what a crash leaves of them.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use crate::backend::{ContentBackend, LogBackend, MemContents, SledBackend, SledContents};
use crate::error::StartError;

/// Of a value that is not cut, of the first part of one that is, and of all parts of builds before 0.6.
const WHOLE: usize = 6 * 1024;
const PART: usize = 1_000;

fn bytes(len: usize, seed: usize) -> Bytes {
    (0..len).map(|n| ((n * 31 + seed) % 251) as u8).collect()
}

/// Rows of every number of parts, whole and begun.
fn rows() -> Vec<(u64, Bytes)> {
    let lengths = [
        0,
        1,
        PART,
        PART + 1,
        WHOLE - 1,
        WHOLE,
        WHOLE + 1,
        8 * PART,
        8 * PART + 1,
        40 * WHOLE + 7,
        900 * WHOLE,
    ];
    lengths.into_iter().enumerate().map(|(n, len)| (n as u64 * 1024, bytes(len, n))).collect()
}

fn conformance(store: &dyn ContentBackend) {
    let rows = rows();
    assert_eq!(store.list(0, 9).unwrap(), Vec::<u64>::new());
    store.put(&rows).unwrap();
    store.put(&rows[3..5]).unwrap();
    store.sync().unwrap();
    for (revision, row) in &rows {
        assert_eq!(store.get(*revision).unwrap().as_ref(), Some(row), "{revision}");
        assert_eq!(store.get(revision + 1).unwrap(), None);
    }
    let all: Vec<u64> = rows.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(store.list(0, usize::MAX).unwrap(), all);
    assert_eq!(store.list(1, 3).unwrap(), all[1..4]);
    let sizes: Vec<(u64, u64)> = rows.iter().map(|(revision, row)| (*revision, row.len() as u64)).collect();
    assert_eq!(store.sizes(0, usize::MAX).unwrap(), sizes);
    assert_eq!(store.sizes(1, 3).unwrap(), sizes[1..4]);
    assert_eq!(store.list(u64::MAX, 3).unwrap(), Vec::<u64>::new());
    store.remove(&[all[0], all[9], 77]).unwrap();
    assert_eq!(store.get(all[9]).unwrap(), None);
    assert_eq!(store.list(0, usize::MAX).unwrap(), [&all[1..9], &all[10..]].concat());
    store.put(&rows[9..10]).unwrap();
    assert_eq!(store.get(all[9]).unwrap().as_ref(), Some(&rows[9].1));
}

#[test]
fn the_store_in_memory() {
    conformance(&MemContents::new());
}

#[test]
fn the_store_in_sled() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("contents");
    let store = SledContents::open(&path).unwrap();
    conformance(&store);
    let before = store.list(0, usize::MAX).unwrap();
    store.sync().unwrap();
    drop(store);
    let store = reopened(|| SledContents::open(&path));
    assert_eq!(store.list(0, usize::MAX).unwrap(), before);
    assert_eq!(store.get(rows()[9].0).unwrap(), Some(rows()[9].1.clone()));
}

fn reopened<T>(open: impl Fn() -> Result<T, StartError>) -> T {
    loop {
        match open() {
            Ok(store) => return store,
            Err(StartError::Locked { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Our fdatasync reaches one file. sled puts what it writes at once, above 128 KiB, into others: nothing may come to that.
#[test]
fn no_size_of_value_makes_sled_begin_a_file_that_is_not_synced() {
    let dir = TempDir::new().unwrap();
    let (contents, log) = (dir.path().join("contents"), dir.path().join("raft"));
    let store = SledContents::open(&contents).unwrap();
    let backend = SledBackend::open(&log).unwrap();
    for round in 0..30_u64 {
        let sizes = [WHOLE - 1, 3 * WHOLE, 20 * WHOLE, WHOLE, 170 * WHOLE, 100];
        let rows: Vec<(u64, Bytes)> =
            sizes.iter().enumerate().map(|(n, len)| (round * 10 + n as u64, bytes(*len, n))).collect();
        store.put(&rows).unwrap();
        backend.append(&rows).unwrap();
        if round % 3 == 2 {
            let gone: Vec<u64> = (round * 10 - 15..round * 10 - 2).collect();
            store.remove(&gone).unwrap();
            backend.purge_to(round * 10 - 15, 512).unwrap();
            store.sync().unwrap();
            backend.sync().unwrap();
        }
    }
    for path in [contents, log] {
        let blobs = fs::read_dir(path.join("blobs")).map_or(0, |files| files.count());
        assert_eq!(blobs, 0, "{}", path.display());
    }
}

#[test]
fn large_log_records_come_back_whole() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("raft");
    let backend = SledBackend::open(&path).unwrap();
    let records: Vec<(u64, Bytes)> =
        (0..rows().len() as u64).zip(rows().into_iter().map(|(_, row)| row)).collect();
    backend.append(&records).unwrap();
    assert_eq!(backend.range(0, u64::MAX, usize::MAX).unwrap(), records);
    assert_eq!(backend.range(3, 6, usize::MAX).unwrap(), records[3..6]);
    assert_eq!(
        backend.range(2, 9, PART + PART + WHOLE).unwrap(),
        records[2..5],
        "it ends with the record that reaches the limit"
    );
    backend.truncate_from(9).unwrap();
    while backend.purge_to(5, 2).unwrap() {}
    assert_eq!(backend.range(0, u64::MAX, usize::MAX).unwrap(), records[6..9]);
    backend.append(&records[9..]).unwrap();
    backend.sync().unwrap();
    drop(backend);
    let backend = reopened(|| SledBackend::open(&path));
    assert_eq!(backend.range(6, 99, usize::MAX).unwrap(), records[6..]);
}

fn tree(path: &Path, name: &str) -> sled::Tree {
    loop {
        if let Ok(db) = sled::open(path) {
            return db.open_tree(name).unwrap();
        }
    }
}

/// sled keeps the first of its writes. A record is written from its end, so that one without its first part was cut off; the
/// log ends before it, and another record may come to its index.
#[test]
fn a_record_that_a_crash_cut_off_is_not_there_and_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("raft");
    let backend = SledBackend::open(&path).unwrap();
    let records: Vec<(u64, Bytes)> = (4..7).map(|n| (n, bytes(20 * PART, n as usize))).collect();
    backend.append(&records).unwrap();
    backend.sync().unwrap();
    drop(backend);
    let log = tree(&path, "log");
    // What came last goes first.
    log.remove(6_u64.to_be_bytes()).unwrap();
    for number in 0..3_u16 {
        log.remove([&6_u64.to_be_bytes()[..], &number.to_be_bytes()].concat()).unwrap();
    }
    assert!(log.last().unwrap().unwrap().0.starts_with(&6_u64.to_be_bytes()), "the cut is there");
    drop(log);
    let backend = reopened(|| SledBackend::open(&path));
    assert_eq!(backend.range(0, u64::MAX, usize::MAX).unwrap(), records[..2]);
    let other = [(6, bytes(7 * PART, 0))];
    backend.append(&other).unwrap();
    assert_eq!(backend.range(6, u64::MAX, usize::MAX).unwrap(), other);
}

/// Builds before 0.6 cut into larger parts.
#[test]
fn values_in_larger_parts_come_back_whole() {
    let dir = TempDir::new().unwrap();
    let (log_path, contents_path) = (dir.path().join("raft"), dir.path().join("contents"));
    let whole = bytes(2 * WHOLE + 5, 3);
    let rows = [tree(&log_path, "log"), tree(&contents_path, "rows")];
    let keys = [3_u64.to_be_bytes().to_vec(), [&b"r"[..], &3_u64.to_be_bytes()].concat()];
    for (tree, key) in rows.iter().zip(&keys) {
        tree.insert(key, &whole[..WHOLE]).unwrap();
        for (number, part) in whole[WHOLE..].chunks(WHOLE).enumerate() {
            tree.insert([&key[..], &(number as u16).to_be_bytes()].concat(), part).unwrap();
        }
    }
    drop(rows);
    let log = reopened(|| SledBackend::open(&log_path));
    assert_eq!(log.range(0, u64::MAX, usize::MAX).unwrap(), [(3, whole.clone())]);
    // Builds before 0.7 did not write the bytes of a row beside it.
    tree(&contents_path, "rows").insert([&b"i"[..], &3_u64.to_be_bytes()].concat(), &[]).unwrap();
    let contents = reopened(|| SledContents::open(&contents_path));
    assert_eq!(contents.sizes(0, 9).unwrap(), [(3, whole.len() as u64)]);
    assert_eq!(contents.get(3).unwrap(), Some(whole));
}

/// The bytes on the disk, pinned: key letters, the bytes of a row beside it, and a row in its parts.
#[test]
fn golden_keys() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("contents");
    let store = SledContents::open(&path).unwrap();
    store.put(&[(0x0102, bytes(WHOLE + PART + 5, 0)), (0x0103, bytes(WHOLE, 0))]).unwrap();
    store.sync().unwrap();
    drop(store);
    let items: Vec<(String, usize)> = tree(&path, "rows")
        .iter()
        .map(|item| {
            item.map(|(key, value)| (key.iter().map(|b| format!("{b:02x}")).collect(), value.len())).unwrap()
        })
        .collect();
    let want = [
        ("690000000000000102", 4),
        ("690000000000000103", 4),
        ("720000000000000102", WHOLE),
        ("7200000000000001020000", PART),
        ("7200000000000001020001", 5),
        ("720000000000000103", WHOLE),
    ];
    assert_eq!(items, want.map(|(key, len)| (key.to_owned(), len)));
}
