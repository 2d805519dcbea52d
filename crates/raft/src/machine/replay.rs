//! The replay of the committed log at a start.
//!
//! openraft could do this itself, but it takes 64 entries at a time, and an entry can have 12 MiB, so it would need 768
//! MiB. It does not repeat what is applied here. Here the log is read as `apply` reads it: a megabyte at a time, or one
//! larger entry.

use std::io;

use futures::TryStreamExt;
use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftStateMachine};

use super::{StateMachine, next_of};

impl StateMachine {
    /// Applies what is stored as committed. Called once, before openraft has the state machine.
    ///
    /// Nothing is judged here: a log that lacks entries is left to openraft, which refuses to start with it.
    ///
    /// # Errors
    /// As apply.
    pub(crate) async fn replay(&mut self) -> io::Result<()> {
        let committed = self.stores.log.clone().read_committed().await?;
        self.replay_to(next_of(committed.as_ref())).await
    }

    /// Applies the whole log, also what is not known to be committed. Only for a cluster that ends here: whether a majority had
    /// these entries cannot be known any more, and what was acknowledged must not be lost.
    pub(crate) async fn replay_all(&mut self) -> io::Result<()> {
        let state = self.stores.log.clone().get_log_state().await?;
        self.replay_to(next_of(state.last_log_id.as_ref())).await
    }

    async fn replay_to(&mut self, to: u64) -> io::Result<()> {
        let mut log = self.stores.log.clone();
        let from = next_of(self.last.as_ref());
        let first = next_of(log.get_log_state().await?.last_purged_log_id.as_ref());
        if from >= to || from < first {
            return Ok(());
        }
        tracing::info!("replaying log entries {from} to {}", to - 1);
        let entries = log.entries_stream(from..to).await.map_ok(|entry| (entry, None));
        self.apply(entries).await
    }
}
