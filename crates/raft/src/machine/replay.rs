//! The replay of the committed log at a start.
//!
//! openraft could do this itself, but it takes 64 entries at a time, and an entry can have 12 MiB, so it would need 768
//! MiB. It does not repeat what is applied here. Here the log is read as `apply` reads it: a megabyte at a time, or one
//! larger entry.

use std::io;

use futures::TryStreamExt;
use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftStateMachine};

use super::StateMachine;
use crate::types::index_of;

impl StateMachine {
    /// Applies what is stored as committed. Called once, before openraft has the state machine.
    ///
    /// Nothing is judged here: a log that lacks entries is left to openraft, which refuses to start with it.
    ///
    /// # Errors
    /// As apply.
    pub(crate) async fn replay(&mut self) -> io::Result<()> {
        let mut log = self.stores.log.clone();
        let next = |index: Option<u64>| index.map_or(0, |index| index + 1);
        let from = next(index_of(self.last.as_ref()));
        let to = next(index_of(log.read_committed().await?.as_ref()));
        let first = next(index_of(log.get_log_state().await?.last_purged_log_id.as_ref()));
        if from >= to || from < first {
            return Ok(());
        }
        tracing::info!("replaying log entries {from} to {}", to - 1);
        let entries = log.entries_stream(from..to).await.map_ok(|entry| (entry, None));
        self.apply(entries).await
    }
}
