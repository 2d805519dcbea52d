//! Bounds the log by its bytes. openraft makes a snapshot after so many entries and keeps so many below it, whatever they
//! hold: 50,000 contents of 10 MiB would be read again at each start, and fill any disk before.

use std::sync::Arc;
use std::time::Duration;

use crate::handle::Inner;
use crate::types::index_of;

/// How often the log is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Runs until raft stops.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut tick = tokio::time::interval(LOOK_AGAIN);
    loop {
        tick.tick().await;
        let trigger = inner.raft.trigger();
        let asked = match due(&inner) {
            Due::Nothing => continue,
            // Asked again while one is made, openraft makes no other.
            Due::Snapshot => trigger.snapshot().await,
            Due::Purge(upto) => trigger.purge_log(upto).await,
        };
        if asked.is_err() {
            return;
        }
    }
}

enum Due {
    Nothing,
    Snapshot,
    /// Up to this entry.
    Purge(u64),
}

fn due(inner: &Inner) -> Due {
    let snapshot = inner.snapshots.current();
    let next =
        snapshot.as_ref().and_then(|s| index_of(s.meta.last_log_id.as_ref())).map_or(0, |index| index + 1);
    if let Some(upto) = inner.log.surplus(inner.config.keep_bytes, next) {
        return Due::Purge(upto);
    }
    // Where the state is larger than that, writing it more often would cost more than the log does.
    let worth = snapshot.map_or(0, |s| s.snapshot.len).max(inner.config.snapshot_bytes);
    if inner.log.bytes_from(next) > worth { Due::Snapshot } else { Due::Nothing }
}
