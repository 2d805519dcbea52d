//! What the log keeps in memory once nothing is added to it.

use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorageExt;

use super::{append, open};
use crate::backend::MemBackend;
use crate::types::{Entry, Payload, Proposal, log_id};

const LARGE: usize = 10 * 1024 * 1024;

fn large(index: u64) -> Entry {
    let command = Bytes::from(vec![b'x'; LARGE]);
    Entry {
        log_id: log_id(1, super::MEMBER, index),
        payload: Payload::Normal(Proposal { now_ms: index, command }),
    }
}

#[tokio::test]
async fn a_quiet_log_keeps_no_large_entry_in_memory_and_still_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _machine, _) = open(Arc::new(MemBackend::new()), dir.path()).unwrap();
    append(&log, 0..3).await;
    log.clone().blocking_append([large(3)]).await.unwrap();
    let full = log.cached_bytes();
    assert!(full > LARGE);

    log.rest();
    assert_eq!(log.cached_bytes(), full, "an entry was added since the last call");
    log.rest();
    assert!(log.cached_bytes() < 1024, "{} bytes", log.cached_bytes());

    let read = log.clone().try_get_log_entries(0..4).await.unwrap();
    assert_eq!(read.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(read.last(), Some(&large(3)));

    append(&log, 4..5).await;
    log.rest();
    log.rest();
    assert!(log.cached_bytes() > 0, "small entries stay for the followers");
}
