//! Logs that have forgotten what their member acknowledged.

use std::sync::Arc;

use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

use super::{MEMBER, OWNER, append, entry, state};
use crate::backend::{LogBackend, MemBackend};
use crate::config::Claim;
use crate::error::{Fatal, FatalSlot, StartError};
use crate::log::{LogStore, Owner};
use crate::types::log_id;

async fn start(backend: &Arc<MemBackend>, start: u64, logged: Option<u64>) -> Result<(), StartError> {
    let owner = Owner { member: MEMBER, claim: Some(Claim { start, logged }) };
    let log = LogStore::open(Arc::clone(backend) as Arc<dyn LogBackend>, owner, FatalSlot::new())?;
    log.stop().await;
    Ok(())
}

fn cause(result: Result<(), StartError>) -> String {
    match result {
        Err(error @ StartError::Corrupt { .. }) if error.exit_code() == 4 => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_log_that_lacks_what_its_member_had_is_refused() {
    let empty = || Arc::new(MemBackend::new());
    assert!(cause(start(&empty(), 5, Some(4)).await).contains("it is empty"));

    // The first start, one that ended before it was noted outside of the log, and the next.
    let log = empty();
    start(&log, 1, None).await.unwrap();
    start(&log, 2, None).await.unwrap();
    start(&log, 3, Some(2)).await.unwrap();
    let copy = Arc::new(log.crashed());
    // Some starts end before the log is opened.
    start(&log, 7, Some(3)).await.unwrap();
    let older = cause(start(&copy, 8, Some(7)).await);
    assert!(older.contains("an older copy: its last start is 3") && older.contains("start 7"), "{older}");
    let older = cause(start(&log, 4, Some(3)).await);
    assert!(older.contains("by the file `identity` this is start 4"), "{older}");
    start(&log, 8, Some(7)).await.unwrap();
}

#[tokio::test]
async fn a_log_of_a_version_that_noted_no_start_is_taken() {
    let old = Arc::new(MemBackend::new());
    let log = LogStore::open(Arc::clone(&old) as Arc<dyn LogBackend>, OWNER, FatalSlot::new()).unwrap();
    append(&log, 0..5).await;
    log.stop().await;
    start(&old, 9, None).await.unwrap();
    assert!(
        cause(start(&old, 9, Some(9)).await)
            .contains("its last start is 9, and by the file `identity` this is start 9")
    );
}

#[tokio::test]
async fn what_was_committed_is_never_truncated() {
    let fatal = FatalSlot::new();
    let backend = Arc::new(MemBackend::new());
    let mut log = LogStore::open(Arc::clone(&backend) as Arc<dyn LogBackend>, OWNER, fatal.clone()).unwrap();
    append(&log, 0..10).await;
    log.save_committed(Some(log_id(1, MEMBER, 6))).await.unwrap();
    log.truncate_after(Some(log_id(1, MEMBER, 6))).await.unwrap();
    assert_eq!(state(&log).await, (None, Some(6)));
    log.clone().blocking_append((7..9).map(entry)).await.unwrap();

    let refused = log.truncate_after(Some(log_id(1, MEMBER, 5))).await.unwrap_err();
    assert!(refused.to_string().contains("older copies of their data directories"), "{refused}");
    assert!(matches!(fatal.get(), Some(fatal @ Fatal::Overruled { .. }) if fatal.exit_code() == 4));
    assert_eq!(state(&log).await, (None, Some(8)), "nothing was removed");
    assert!(log.truncate_after(None).await.is_err());
}
