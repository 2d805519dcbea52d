//! How much of the histories stays: what the leader asks before it proposes to shorten them.

use std::io;

use crate::handle::RaftHandle;

impl RaftHandle {
    /// The time for [`dyad_config::Prune::until_ms`] at which the versions that retention can drop have at most `limit` bytes, and
    /// down to a sixteenth less. `None` if they have no more than `limit`.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn history_until(&self, limit: u64) -> io::Result<Option<u64>> {
        let (contents, state) = (self.inner.contents.clone(), self.config_state());
        let until = tokio::task::spawn_blocking(move || contents.history_until(&state, limit));
        until.await.map_err(io::Error::other)?
    }
}
