//! Corrupt records, torn snapshots, failing disks: each is named, none is repaired by itself.

use dyad_state::{ClusterCommand, Envelope};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{RaftLogReader, RaftSnapshotBuilder};
use tempfile::TempDir;

use super::{append, entry, open};
use crate::backend::{LogBackend, MemBackend, MetaKey, SledBackend};
use crate::error::{Fatal, FatalSlot, StartError};
use crate::log::LogStore;
use crate::machine::{StateMachine, read_snapshot};
use crate::record;
use crate::types::{Entry, Payload, Proposal, Vote, log_id};

fn corrupt_at(result: Result<impl Sized, StartError>) -> (String, String) {
    match result.err().expect("it must not open") {
        error @ StartError::Corrupt { .. } => {
            assert_eq!(error.exit_code(), 4);
            assert!(error.to_string().contains("dyad recover --discard"));
            let StartError::Corrupt { at, cause, .. } = error else { unreachable!() };
            (at, cause)
        }
        other => panic!("{other}"),
    }
}

/// A log of ten entries, then damage; answers what opening it says.
fn damaged(damage: impl FnOnce(&MemBackend)) -> (String, String) {
    let backend = MemBackend::new();
    backend.put_meta(MetaKey::Format, &record::encode_number(1)).unwrap();
    let records: Vec<(u64, Bytes)> = (0..10).map(|i| (i, record::encode_entry(&entry(i)))).collect();
    backend.append(&records).unwrap();
    damage(&backend);
    corrupt_at(LogStore::open(Arc::new(backend), super::OWNER, FatalSlot::new()))
}

fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes.into()
}

#[test]
fn a_damaged_log_names_the_place_and_the_cause() {
    let whole = record::encode_entry(&entry(5));
    type Damage = Box<dyn FnOnce(&MemBackend)>;
    let put = |bytes: Bytes| -> Damage { Box::new(move |b: &MemBackend| b.append(&[(5, bytes)]).unwrap()) };
    let meta =
        |key, value: Bytes| -> Damage { Box::new(move |b: &MemBackend| b.put_meta(key, &value).unwrap()) };
    let cases: Vec<(&str, Damage, &str, &str)> = vec![
        ("a flipped bit", put(flip(&whole, 20)), "log index 5", "checksum"),
        ("a flipped kind", put(flip(&whole, 1)), "log index 5", "checksum"),
        ("another format", put(flip(&whole, 0)), "log index 5", "format number 0"),
        ("a torn record", put(whole.slice(..3)), "log index 5", "3 bytes are too few"),
        ("a vote for an entry", put(record::encode_vote(&Vote::new(1, 1))), "log index 5", "kind 2"),
        ("another entry", put(record::encode_entry(&entry(6))), "log index 5", "the entry of index 6"),
        ("a hole", Box::new(|b| hole(b, 5)), "log index 6", "does not follow"),
        ("no beginning", Box::new(|b| b.purge_to(0, 1).map(drop).unwrap()), "log index 1", "the start"),
        ("a newer format", meta(MetaKey::Format, record::encode_number(2)), "format", "this build knows 1"),
        (
            "another member's",
            meta(MetaKey::Member, record::encode_number(8)),
            "member",
            "not 0000000000000007",
        ),
        ("a damaged vote", meta(MetaKey::Vote, Bytes::from_static(b"????????")), "vote", "format number 63"),
    ];
    for (what, damage, at, cause) in cases {
        let (found_at, found) = damaged(damage);
        assert_eq!(found_at, at, "{what}");
        assert!(found.contains(cause), "{what}: {found}");
    }
}

fn hole(backend: &MemBackend, index: u64) {
    let tail = backend.range(index + 1, u64::MAX, usize::MAX).unwrap();
    backend.truncate_from(index).unwrap();
    backend.append(&tail).unwrap();
}

#[tokio::test]
async fn an_unknown_command_stops_the_member() {
    let dir = TempDir::new().unwrap();
    let (log, mut machine, fatal) = open(Arc::new(MemBackend::new()), dir.path()).unwrap();
    let proposal = Proposal { now_ms: 1, command: Bytes::from_static(b"\x63") };
    let bad = Entry { log_id: log_id(1, 1, 0), payload: Payload::Normal(proposal) };
    assert!(machine.apply(stream::iter([Ok((bad, None))])).await.is_err());
    assert!(matches!(fatal.get(), Some(Fatal::Corrupt { at, .. }) if at == "log index 0"));
    log.stop().await;
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_acknowledged() {
    let backend = Arc::new(MemBackend::new());
    let fatal = FatalSlot::new();
    let mut log =
        LogStore::open(Arc::clone(&backend) as Arc<dyn LogBackend>, super::OWNER, fatal.clone()).unwrap();
    append(&log, 0..3).await;
    backend.fail();
    let (done, answer) = tokio::sync::oneshot::channel();
    let signal = openraft_signal(done);
    log.append([entry(3)], signal).await.unwrap();
    assert!(answer.await.unwrap().is_err());
    assert_eq!(fatal.get().map(|f| f.exit_code()), Some(5));
    assert!(fatal.get().unwrap().to_string().contains("memory"), "the file is named");
    assert!(log.save_vote(&Vote::new(9, 9)).await.is_err(), "and nothing is tried again");
    assert_eq!(log.read_vote().await.unwrap(), None);
    let after = LogStore::open(Arc::new(backend.crashed()), super::OWNER, FatalSlot::new()).unwrap();
    assert_eq!(super::state(&after).await, (None, Some(2)));
}

/// A callback that sends its result.
fn openraft_signal(
    done: tokio::sync::oneshot::Sender<std::io::Result<()>>,
) -> IOFlushed<crate::types::TypeConfig> {
    use openraft::type_config::TypeConfigExt;
    let (tx, rx) = crate::types::TypeConfig::oneshot();
    tokio::spawn(async move {
        if let Ok(result) = rx.await {
            let _ = done.send(result);
        }
    });
    IOFlushed::signal(tx)
}

#[tokio::test]
async fn a_store_in_use_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("raft");
    let _first = SledBackend::open(&path).unwrap();
    let error = SledBackend::open(&path).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
}

/// A store with a snapshot of ten entries; answers the snapshot's path.
async fn with_snapshot(dir: &Path) -> PathBuf {
    let backend = Arc::new(SledBackend::open(&dir.join("raft")).unwrap());
    let (log, mut machine, _) = open(backend, dir).unwrap();
    append(&log, 0..10).await;
    machine.apply(stream::iter((0..10).map(|i| Ok((entry(i), None))))).await.unwrap();
    let snapshot = machine.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await.unwrap();
    log.stop().await;
    snapshot.snapshot.path
}

fn reopened(dir: &Path) -> Result<(LogStore, StateMachine, FatalSlot), StartError> {
    loop {
        match SledBackend::open(&dir.join("raft")) {
            Ok(backend) => return open(Arc::new(backend), dir),
            Err(StartError::Locked { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_snapshot_is_the_state_after_a_restart_and_left_overs_go() {
    let dir = TempDir::new().unwrap();
    let path = with_snapshot(dir.path()).await;
    let snapshots = path.parent().unwrap();
    fs::write(snapshots.join("snap-9-0-9.bin.tmp"), b"half").unwrap();
    fs::write(snapshots.join("received-0.tmp"), b"half").unwrap();
    fs::write(snapshots.join("notes.txt"), b"not ours").unwrap();
    let (log, mut machine, _) = reopened(dir.path()).unwrap();
    let (last, _) = machine.applied_state().await.unwrap();
    assert_eq!(last, Some(log_id(1, super::MEMBER, 9)));
    assert_eq!(machine.applied().state.read().naming().instance_count(), 10);
    let mut left: Vec<String> =
        fs::read_dir(snapshots).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    // The two empty files of the next snapshots.
    left.retain(|name| !name.starts_with("snap-blank-"));
    assert_eq!(left, ["notes.txt", path.file_name().unwrap().to_str().unwrap()]);
    log.stop().await;
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_wherever_the_damage_is() {
    let dir = TempDir::new().unwrap();
    let path = with_snapshot(dir.path()).await;
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        // Bytes 10 and 11 are reserved, but the digest covers them too.
        assert!(read_snapshot(&bytes[..]).is_err(), "byte {at} of {}", whole.len());
        assert!(read_snapshot(&whole[..at]).is_err(), "torn at {at}");
    }
    assert!(read_snapshot(&[&whole[..], b"x"].concat()[..]).is_err(), "more than the trailer");
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (at, _) = corrupt_at(reopened(dir.path()));
    assert_eq!(at, "the snapshot");
    fs::remove_file(&path).unwrap();
    let (_, cause) = corrupt_at(reopened(dir.path()));
    assert!(cause.contains("No such file"), "{cause}");
}

#[tokio::test]
async fn a_snapshot_of_another_cluster_is_refused() {
    let found = |cluster_id| {
        let command = Bytes::from(Envelope::bare(ClusterCommand::Found { cluster_id }).encode());
        Entry { log_id: log_id(1, 1, 0), payload: Payload::Normal(Proposal { now_ms: 1, command }) }
    };
    let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (_log, mut machine, _) = open(Arc::new(MemBackend::new()), ours.path()).unwrap();
    let (_other_log, mut other, _) = open(Arc::new(MemBackend::new()), theirs.path()).unwrap();
    machine.apply(stream::iter([Ok((found(1), None))])).await.unwrap();
    other.apply(stream::iter([Ok((found(2), None))])).await.unwrap();
    let snapshot = other.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await.unwrap();
    let error = machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap_err();
    assert!(error.to_string().contains("the snapshot is of cluster"), "{error}");
    assert_eq!(machine.applied().state.read().cluster().id(), Some(1));
}
