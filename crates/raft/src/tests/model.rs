//! The log store against a map: random appends, truncations, purges, values, crashes and reopenings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, RaftLogStorage};
use proptest::prelude::*;
use tempfile::TempDir;

use super::entry;
use crate::backend::{LogBackend, MemBackend, SledBackend, Volume};
use crate::error::{FatalSlot, StartError};
use crate::log::LogStore;
use crate::types::{Entry, Vote, log_id};

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    /// Appends without waiting for the disk.
    AppendSoon(u8),
    /// Keeps so many of the entries there are.
    Truncate(u8),
    /// Removes so many from the beginning.
    Purge(u8),
    Vote(u8),
    /// Forgets what is on the disk: reads merge store and memory.
    Evict,
    /// Ends the writer in order and opens anew.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_u8).prop_map(Step::Append),
        2 => (1..10_u8).prop_map(Step::AppendSoon),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => any::<u8>().prop_map(Step::Vote),
        2 => Just(Step::Evict),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, Entry>,
    purged: Option<u64>,
    vote: Option<Vote>,
}

impl Model {
    fn next(&self) -> u64 {
        let last = self.entries.last_key_value().map(|(index, _)| *index).max(self.purged);
        last.map_or(0, |last| last + 1)
    }
}

fn reopen(open: &dyn Fn() -> Result<Arc<dyn LogBackend>, StartError>) -> LogStore {
    loop {
        match open() {
            Ok(backend) => return LogStore::open(backend, super::OWNER, FatalSlot::new()).unwrap(),
            // The predecessor's last handle goes in a moment.
            Err(StartError::Locked { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn run(steps: Vec<Step>, open: &dyn Fn() -> Result<Arc<dyn LogBackend>, StartError>) {
    let mut model = Model::default();
    let mut log = reopen(open);
    for step in steps {
        match step {
            Step::Append(n) | Step::AppendSoon(n) => {
                let entries: Vec<Entry> = (model.next()..model.next() + u64::from(n)).map(entry).collect();
                model.entries.extend(entries.iter().map(|e| (e.log_id.index, e.clone())));
                if matches!(step, Step::Append(_)) {
                    openraft::storage::RaftLogStorageExt::blocking_append(&mut log, entries).await.unwrap();
                } else {
                    log.append(entries, IOFlushed::noop()).await.unwrap();
                }
            }
            Step::Truncate(keep) => {
                let first = model.purged.map_or(0, |p| p + 1);
                let from = first + u64::from(keep) % (model.next() - first + 1);
                let last = from.checked_sub(1).map(|index| log_id(1, super::MEMBER, index));
                log.truncate_after(last).await.unwrap();
                model.entries.split_off(&from);
            }
            Step::Purge(n) => {
                let upto = model.purged.map_or(0, |p| p + 1) + u64::from(n);
                if upto < model.next() {
                    log.purge(log_id(1, super::MEMBER, upto)).await.unwrap();
                    model.entries = model.entries.split_off(&(upto + 1));
                    model.purged = Some(upto);
                }
            }
            Step::Vote(term) => {
                let vote = Vote::new(u64::from(term), super::MEMBER);
                log.save_vote(&vote).await.unwrap();
                model.vote = Some(vote);
            }
            Step::Evict => log.evict(),
            Step::Reopen => {
                log.stop().await;
                drop(log);
                log = reopen(open);
            }
        }
        let entries = log.try_get_log_entries(..).await.unwrap();
        assert_eq!(entries, model.entries.values().cloned().collect::<Vec<_>>());
        let (from, to) = (model.next() / 3, model.next() / 3 * 2 + 1);
        let part = log.try_get_log_entries(from..to).await.unwrap();
        assert_eq!(part, model.entries.range(from..to).map(|(_, e)| e.clone()).collect::<Vec<_>>());
        assert_eq!(log.read_vote().await.unwrap(), model.vote);
        let state = super::state(&log).await;
        assert_eq!(state, (model.purged, model.next().checked_sub(1)));
    }
    log.stop().await;
}

fn sled_at(path: &Path) -> Result<Arc<dyn LogBackend>, StartError> {
    Ok(Arc::new(SledBackend::open(path)?))
}

/// Lends one memory to many openings.
struct Lent(Arc<MemBackend>);

impl LogBackend for Lent {
    fn append(&self, records: &[(u64, bytes::Bytes)]) -> std::io::Result<()> {
        self.0.append(records)
    }
    fn truncate_from(&self, index: u64) -> std::io::Result<()> {
        self.0.truncate_from(index)
    }
    fn purge_to(&self, index: u64, limit: usize) -> std::io::Result<bool> {
        self.0.purge_to(index, limit)
    }
    fn put_meta(&self, key: crate::MetaKey, value: &[u8]) -> std::io::Result<()> {
        self.0.put_meta(key, value)
    }
    fn get_meta(&self, key: crate::MetaKey) -> std::io::Result<Option<bytes::Bytes>> {
        self.0.get_meta(key)
    }
    fn range(&self, from: u64, to: u64, max: usize) -> std::io::Result<Vec<(u64, bytes::Bytes)>> {
        self.0.range(from, to, max)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.0.sync()
    }
    fn file(&self) -> String {
        self.0.file()
    }
    fn volume(&self) -> std::io::Result<Option<Volume>> {
        self.0.volume()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_equals_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let memory = Arc::new(MemBackend::new());
        let open = || Ok(Arc::new(Lent(Arc::clone(&memory))) as Arc<dyn LogBackend>);
        runtime().block_on(run(steps, &open));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sled_equals_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("raft");
        runtime().block_on(run(steps, &|| sled_at(&path)));
    }
}

/// A power failure keeps all that was answered, in order, and nothing that was torn out of the middle.
#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let memory = Arc::new(MemBackend::new());
    let log = LogStore::open(Arc::new(Lent(Arc::clone(&memory))), super::OWNER, FatalSlot::new()).unwrap();
    for index in 0..50 {
        super::append(&log, index..index + 1).await;
        let after = LogStore::open(Arc::new(memory.crashed()), super::OWNER, FatalSlot::new()).unwrap();
        assert_eq!(super::state(&after).await, (None, Some(index)));
    }
}

/// No value may reach the size that sled would put into a file of its own, which our fdatasync does not cover.
#[tokio::test]
async fn sled_keeps_everything_in_its_one_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("raft");
    let log = LogStore::open(sled_at(&path).unwrap(), super::OWNER, FatalSlot::new()).unwrap();
    for batch in 0..100 {
        super::append(&log, batch * 1000..(batch + 1) * 1000).await;
    }
    log.clone().purge(log_id(1, super::MEMBER, 89_999)).await.unwrap();
    log.stop().await;
    let blobs: Vec<_> = std::fs::read_dir(path.join("blobs")).unwrap().collect();
    assert_eq!(blobs.len(), 0, "{blobs:?}");
    let names = std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let others: Vec<String> =
        names.filter(|n| !["db", "conf", "blobs"].contains(&n.as_str()) && !n.starts_with("snap.")).collect();
    assert_eq!(others, Vec::<String>::new());
}
