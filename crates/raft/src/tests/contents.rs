//! The store of contents: what a crash leaves, what snapshots rely on, and how contents are read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use dyad_config::{
    Change, ConfigCommand, ConfigState, Content, ContentError, ContentRow, Contents, Draft, Prune, Publish,
    Revision, Source,
};
use dyad_state::{CpCommand, Envelope, Stamp};
use dyad_types::ConfigKey;
use futures::stream;
use openraft::RaftSnapshotBuilder;
use openraft::storage::RaftStateMachine;
use tempfile::TempDir;

use super::open_with;
use crate::backend::{ContentBackend, MemBackend, MemContents};
use crate::contents::{ContentStore, Reader};
use crate::error::{Fatal, FatalSlot};
use crate::machine::StateMachine;
use crate::types::{Entry, Payload, Proposal, log_id};

fn key(n: usize) -> ConfigKey {
    ConfigKey::new("", "G", &format!("c{n}"))
}

fn publish(n: usize, content: &str) -> Change {
    Change::Publish(Publish { key: key(n), draft: Draft::text(content), cas: None, enforce: false })
}

fn entry(index: u64, change: Change) -> Entry {
    let command = CpCommand::Config(ConfigCommand { source: Source::default(), change });
    let proposal = Proposal { now_ms: index, command: Envelope::bare(command).encode().into() };
    Entry { log_id: log_id(1, super::MEMBER, index), payload: Payload::Normal(proposal) }
}

/// Two versions of each of `n` configurations, from log index 0 on.
fn published(n: usize) -> Vec<Entry> {
    let version = |k: usize| entry(k as u64, publish(k % n, &format!("version {k} {}", "x".repeat(100))));
    (0..2 * n).map(version).collect()
}

async fn apply(machine: &mut StateMachine, entries: &[Entry]) {
    let entries: Vec<_> = entries.iter().map(|entry| Ok((entry.clone(), None))).collect();
    machine.apply(stream::iter(entries)).await.unwrap();
}

async fn snapshot(machine: &mut StateMachine) -> std::io::Result<crate::machine::Snapshot> {
    machine.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await
}

fn reader(machine: &StateMachine) -> Reader {
    Reader::new(machine.contents().clone(), machine.applied())
}

fn config(machine: &StateMachine) -> ConfigState {
    machine.applied().state.read().config().clone()
}

#[tokio::test]
async fn rows_are_there_when_the_entry_is_applied_and_after_a_snapshot_only_the_needed_ones() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(MemContents::new());
    let (log, mut machine, _) = open_with(Arc::new(MemBackend::new()), disk.clone(), dir.path()).unwrap();
    let reader = reader(&machine);
    for (at, entry) in published(10).iter().enumerate() {
        apply(&mut machine, std::slice::from_ref(entry)).await;
        let row = reader.read(Revision::new(at as u64, 0)).unwrap();
        assert!(row.content.unwrap().text().starts_with(&format!("version {at} ")));
    }
    let prune = Change::Prune(Prune { until_ms: u64::MAX, keep: 0, from: None });
    apply(&mut machine, &[entry(20, prune)]).await;
    let old = Revision::new(3, 0);
    assert!(reader.read(old).is_ok(), "no snapshot was declared since");
    snapshot(&mut machine).await.unwrap();
    let needed: Vec<u64> = (10..20).map(|index| Revision::new(index, 0).0).collect();
    assert_eq!(disk.list(0, usize::MAX).unwrap(), needed);
    assert_eq!(reader.read(old), Err(ContentError::Gone(old)));
    assert_eq!(
        disk.crashed().list(0, usize::MAX).unwrap().len(),
        20,
        "what was removed need not be gone for good"
    );
    // The next snapshot looks only at what came since, and at what was dropped.
    for index in 21..26 {
        apply(&mut machine, &[entry(index, publish(index as usize % 10, "new"))]).await;
    }
    let prune = Change::Prune(Prune { until_ms: u64::MAX, keep: 0, from: None });
    apply(&mut machine, &[entry(26, prune)]).await;
    let mut builder = machine.try_create_snapshot_builder(true).await.unwrap();
    apply(&mut machine, &[entry(27, publish(0, "after it was begun"))]).await;
    builder.build_snapshot().await.unwrap();
    machine.contents().sync().await.unwrap();
    let needed: Vec<u64> =
        [10, 16, 17, 18, 19, 21, 22, 23, 24, 25, 27].map(|index| Revision::new(index, 0).0).to_vec();
    assert_eq!(disk.list(0, usize::MAX).unwrap(), needed);
    for revision in config(&machine).revisions() {
        reader.read(revision).unwrap();
    }
    log.stop().await;
}

#[tokio::test]
async fn a_snapshot_makes_its_rows_durable_and_the_log_brings_the_others_back() {
    let dir = TempDir::new().unwrap();
    let (disk, log_disk) = (Arc::new(MemContents::new()), Arc::new(MemBackend::new()));
    let entries = published(6);
    {
        let (log, mut machine, _) = open_with(log_disk.clone(), disk.clone(), dir.path()).unwrap();
        apply(&mut machine, &entries[..8]).await;
        snapshot(&mut machine).await.unwrap();
        apply(&mut machine, &entries[8..]).await;
        log.stop().await;
    }
    let left = Arc::new(disk.crashed());
    assert_eq!(left.list(0, usize::MAX).unwrap().len(), 8, "durable with the snapshot, and nothing else is");
    let (log, mut machine, _) = open_with(log_disk, left, dir.path()).unwrap();
    apply(&mut machine, &entries[8..]).await;
    let reader = reader(&machine);
    for revision in config(&machine).revisions() {
        reader.read(revision).unwrap();
    }
    assert_eq!(config(&machine).revisions().count(), 12);
    log.stop().await;
}

#[tokio::test]
async fn a_missing_row_is_named_and_no_snapshot_is_declared() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(MemContents::new());
    let (log, mut machine, fatal) = open_with(Arc::new(MemBackend::new()), disk.clone(), dir.path()).unwrap();
    let reader = reader(&machine);
    apply(&mut machine, &published(3)).await;
    machine.contents().sync().await.unwrap();
    let (gone, damaged) = (Revision::new(2, 0), Revision::new(4, 0));
    disk.remove(&[gone.0]).unwrap();
    let mut row = disk.get(damaged.0).unwrap().unwrap().to_vec();
    row[20] ^= 1;
    disk.put(&[(damaged.0, row.into())]).unwrap();
    let told = |revision| match reader.read(revision) {
        Err(ContentError::Damaged(what)) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(told(gone), "memory: content row 2048 is missing");
    assert_eq!(told(damaged), "memory: content row 4096: its checksum is wrong");
    assert!(snapshot(&mut machine).await.is_err());
    assert!(machine.get_current_snapshot().await.unwrap().is_none());
    let fatal = fatal.get().unwrap();
    assert_eq!(fatal.exit_code(), 4);
    assert!(matches!(&fatal, Fatal::Corrupt { at, .. } if at == "content row 2048"), "{fatal}");
    log.stop().await;
}

#[tokio::test]
async fn a_start_without_a_row_of_the_snapshot_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let (disk, log_disk) = (Arc::new(MemContents::new()), Arc::new(MemBackend::new()));
    {
        let (log, mut machine, _) = open_with(log_disk.clone(), disk.clone(), dir.path()).unwrap();
        apply(&mut machine, &published(3)).await;
        snapshot(&mut machine).await.unwrap();
        log.stop().await;
    }
    disk.remove(&[Revision::new(1, 0).0, Revision::new(5, 0).0]).unwrap();
    let error = open_with(log_disk, disk, dir.path()).err().unwrap();
    assert_eq!(error.exit_code(), 4);
    let text = error.to_string();
    assert!(
        text.contains("memory at content row 1024: 2 rows") && text.contains("recover --discard"),
        "{text}"
    );
}

#[tokio::test]
async fn a_snapshot_whose_rows_are_not_here_is_not_installed() {
    let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let disk = Arc::new(MemContents::new());
    let (_log, mut machine, _) = open_with(Arc::new(MemBackend::new()), disk.clone(), ours.path()).unwrap();
    let other_disk = Arc::new(MemContents::new());
    let (_other_log, mut other, _) =
        open_with(Arc::new(MemBackend::new()), other_disk.clone(), theirs.path()).unwrap();
    apply(&mut other, &published(4)).await;
    let sent = snapshot(&mut other).await.unwrap();
    let error = machine.install_snapshot(&sent.meta, sent.snapshot.clone()).await.unwrap_err();
    assert!(error.to_string().contains("content row 0"), "{error}");
    assert_eq!(config(&machine), ConfigState::default());
    assert!(machine.get_current_snapshot().await.unwrap().is_none());
    let rows: Vec<(u64, Bytes)> = other_disk
        .list(0, usize::MAX)
        .unwrap()
        .into_iter()
        .map(|revision| (revision, other_disk.get(revision).unwrap().unwrap()))
        .collect();
    disk.put(&rows).unwrap();
    machine.install_snapshot(&sent.meta, sent.snapshot).await.unwrap();
    assert_eq!(config(&machine), config(&other));
    assert_eq!(disk.crashed().list(0, usize::MAX).unwrap().len(), 8, "durable before it was declared");
}

/// openraft installs a snapshot while another one is being built.
#[tokio::test]
async fn a_snapshot_that_a_newer_one_overtakes_is_given_up() {
    let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (disk, other_disk) = (Arc::new(MemContents::new()), Arc::new(MemContents::new()));
    let (log, mut machine, fatal) =
        open_with(Arc::new(MemBackend::new()), disk.clone(), ours.path()).unwrap();
    let (other_log, mut other, _) =
        open_with(Arc::new(MemBackend::new()), other_disk, theirs.path()).unwrap();
    let prune = Change::Prune(Prune { until_ms: u64::MAX, keep: 0, from: None });
    apply(&mut machine, &published(4)).await;
    apply(&mut other, &published(4)).await;
    apply(&mut other, &[entry(8, prune)]).await;
    let newer = snapshot(&mut other).await.unwrap();
    machine.contents().sync().await.unwrap();
    let mut builder = machine.try_create_snapshot_builder(true).await.unwrap();
    machine.install_snapshot(&newer.meta, newer.snapshot).await.unwrap();
    while disk.list(0, usize::MAX).unwrap().len() > 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(builder.build_snapshot().await.unwrap().meta, newer.meta);
    assert!(fatal.get().is_none(), "{:?}", fatal.get());
    log.stop().await;
    other_log.stop().await;
}

#[tokio::test]
async fn readers_of_a_stored_content_share_it() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(MemContents::new());
    let (log, mut machine, _) = open_with(Arc::new(MemBackend::new()), disk, dir.path()).unwrap();
    apply(&mut machine, &published(2)).await;
    machine.contents().sync().await.unwrap();
    let (reader, revision) = (reader(&machine), Revision::new(3, 0));
    let content = |row: ContentRow| row.content.unwrap();
    let first = content(reader.read(revision).unwrap());
    let row = reader.read(revision).unwrap();
    assert_eq!((row.revision, &row.key), (revision, &key(1)));
    assert!(Arc::ptr_eq(first.text(), content(row).text()));
    assert_eq!(machine.contents().stats().reads.count(), 1);
    let (weak, text) = (first.downgrade(), Arc::clone(first.text()));
    drop(first);
    assert!(weak.upgrade().is_none(), "it is kept for nobody");
    // A handle to the text itself would keep its memory.
    assert_eq!((Arc::strong_count(&text), Arc::weak_count(&text)), (1, 0));
    assert!(reader.read(revision).unwrap().content.is_some());
    log.stop().await;
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_staged_any_more() {
    let disk = Arc::new(MemContents::new());
    let fatal = FatalSlot::new();
    let store = ContentStore::open(disk.clone(), fatal.clone()).unwrap();
    disk.fail();
    let row = row(1, "x");
    store.stage([(row.revision, row.clone())]);
    assert!(store.sync().await.is_err());
    assert!(store.room().await.is_err());
    let fatal = fatal.get().unwrap();
    assert_eq!((fatal.exit_code(), fatal.to_string().contains("memory")), (5, true));
}

#[tokio::test]
async fn apply_waits_while_the_disk_is_behind() {
    let disk = Arc::new(MemContents::new());
    let store = ContentStore::open(disk.clone(), FatalSlot::new()).unwrap();
    let text = "y".repeat(9 * 1024 * 1024);
    let rows: Vec<ContentRow> = (1..9).map(|index| row(index, &text)).collect();
    for row in rows {
        store.room().await.unwrap();
        store.stage([(row.revision, row)]);
        let staged = store.stats().staged_bytes;
        assert!(staged < 42 * 1024 * 1024, "{staged} bytes wait: the limit and one row may");
    }
    store.sync().await.unwrap();
    assert_eq!(disk.list(0, usize::MAX).unwrap().len(), 8);
}

fn row(index: u64, content: &str) -> ContentRow {
    let mut state = ConfigState::default();
    let change = Change::Publish(Publish {
        key: key(0),
        draft: Draft { content: Content::new(content), ..Draft::text("") },
        cas: None,
        enforce: false,
    });
    let command = ConfigCommand { source: Source::default(), change };
    let (_, mut changes) = state.apply(&command, Stamp { now_ms: 5, index });
    changes.contents_put.remove(0).1
}

/// What the leader asks, and what the entry that it proposes does: as many of the oldest versions go as have to.
#[tokio::test]
async fn histories_are_cut_to_their_bytes() {
    const LIMIT: u64 = 64 * 1024;
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(MemContents::new());
    let (log, mut machine, _) = open_with(Arc::new(MemBackend::new()), disk.clone(), dir.path()).unwrap();
    let bytes = || disk.sizes(0, usize::MAX).unwrap().iter().map(|(_, bytes)| bytes).sum::<u64>();
    let until = async |machine: &StateMachine| {
        machine.contents().sync().await.unwrap();
        machine.contents().history_until(&config(machine), LIMIT).unwrap()
    };
    let mut index = 0;
    for day in 0..6 {
        for version in 0..100 {
            apply(&mut machine, &[entry(index, publish(version % 3, &"x".repeat(1_500)))]).await;
            index += 1;
        }
        let Some(until_ms) = until(&machine).await else { panic!("day {day}: 150 KB are more than 64") };
        apply(&mut machine, &[entry(index, Change::Prune(Prune { until_ms, keep: 1_000, from: None }))])
            .await;
        index += 1;
        assert_eq!(until(&machine).await, None, "day {day}: the rest fits");
        snapshot(&mut machine).await.unwrap();
        // Of the three that are released none goes.
        let released = 3 * 1_700;
        assert!((LIMIT * 7 / 8..=LIMIT + released).contains(&bytes()), "day {day}: {}", bytes());
        assert!(config(&machine).item(&key(0)).unwrap().history_len() > 10, "day {day}");
    }
    log.stop().await;
}

/// A store from which a row is removed while it is read.
#[derive(Debug)]
struct Vanishing {
    rows: MemContents,
    gone: AtomicBool,
}

impl ContentBackend for Vanishing {
    fn get(&self, revision: u64) -> io::Result<Option<Bytes>> {
        let row = self.rows.get(revision)?.filter(|_| !self.gone.swap(true, Ordering::Relaxed));
        Ok(row.map(|row| row.slice(..row.len() / 2)))
    }

    fn put(&self, rows: &[(u64, Bytes)]) -> io::Result<()> {
        self.rows.put(rows)
    }

    fn remove(&self, revisions: &[u64]) -> io::Result<()> {
        self.rows.remove(revisions)
    }

    fn list(&self, from: u64, limit: usize) -> io::Result<Vec<u64>> {
        self.rows.list(from, limit)
    }

    fn sizes(&self, from: u64, limit: usize) -> io::Result<Vec<(u64, u64)>> {
        self.rows.sizes(from, limit)
    }

    fn sync(&self) -> io::Result<()> {
        self.rows.sync()
    }

    fn disk_bytes(&self) -> io::Result<u64> {
        self.rows.disk_bytes()
    }

    fn file(&self) -> String {
        self.rows.file()
    }
}

#[tokio::test]
async fn a_row_that_is_removed_while_it_is_read_is_gone_and_not_damaged() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(Vanishing { rows: MemContents::new(), gone: AtomicBool::new(false) });
    let (log, mut machine, _) = open_with(Arc::new(MemBackend::new()), disk.clone(), dir.path()).unwrap();
    apply(&mut machine, &published(2)).await;
    let prune = Change::Prune(Prune { until_ms: u64::MAX, keep: 0, from: None });
    apply(&mut machine, &[entry(4, prune)]).await;
    machine.contents().sync().await.unwrap();
    let read = reader(&machine).read(Revision::new(0, 0));
    assert!(disk.gone.load(Ordering::Relaxed), "it was read in part");
    assert!(matches!(read, Err(ContentError::Gone(_))), "{read:?}");
    log.stop().await;
}
