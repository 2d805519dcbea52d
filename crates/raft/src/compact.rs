//! Bounds the log. openraft makes a snapshot after so many entries and keeps so many below it, whatever they hold: 50,000
//! contents of 10 MiB would be read again at each start, and fill any disk before. So its snapshots come by bytes as well, and
//! all purges come from here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;

use crate::config::RaftConfig;
use crate::log::LogStore;
use crate::machine::{SnapshotDir, StateMachine};
use crate::types::{TypeConfig, index_of};

/// How often the log is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// When a snapshot is asked for again that was not made, because the disk is nearly full for example.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The file of the log has at most so many times the bytes of its entries: sled writes a page again for each few values that come to it,
/// and collects a segment of its file only when half of it is dead.
const DISK_FACTOR: u64 = 4;
/// Bytes of the file beside that: what is written until a snapshot that is due is made and the log below it is gone.
const DISK_BASE: u64 = 64 * 1024 * 1024;

/// The most bytes that `raft/` takes on the disk, if the current snapshot has so many. sled never gives back what its file once took.
pub fn log_disk_max(config: &RaftConfig, snapshot: u64) -> u64 {
    let log = config.snapshot_bytes.max(snapshot) + config.keep_bytes;
    DISK_FACTOR * log + DISK_BASE
}

/// The log, and what bounds it.
pub(crate) struct Compaction {
    pub(crate) raft: openraft::Raft<TypeConfig, StateMachine>,
    pub(crate) log: LogStore,
    pub(crate) snapshots: Arc<SnapshotDir>,
    pub(crate) config: RaftConfig,
}

impl Compaction {
    /// Runs until raft stops.
    pub(crate) async fn run(self) {
        let mut tick = tokio::time::interval(LOOK_AGAIN);
        // One past the snapshot that there was when another was asked for, and when that was.
        let mut asked: Option<(u64, Instant)> = None;
        loop {
            tick.tick().await;
            let (next, len) = self.snapshot();
            let trigger = self.raft.trigger();
            // A follower that is being served delays the purge, and the snapshot must not wait for that.
            let mut sent = Ok(());
            if let Some(upto) = self.surplus(next) {
                sent = trigger.purge_log(upto).await;
            }
            let lately = asked.is_some_and(|(then, at)| then == next && at.elapsed() < ASK_AGAIN);
            if sent.is_ok() && !lately && self.is_due(next, len) {
                asked = Some((next, Instant::now()));
                sent = trigger.snapshot().await;
            }
            if sent.is_err() {
                return;
            }
        }
    }

    /// One past the last entry of the current snapshot, and the bytes of its file.
    fn snapshot(&self) -> (u64, u64) {
        let Some(current) = self.snapshots.current() else { return (0, 0) };
        (index_of(current.meta.last_log_id.as_ref()).map_or(0, |index| index + 1), current.snapshot.len)
    }

    /// The entry up to which the log can go: what is below the snapshot, and more than followers may need.
    fn surplus(&self, next: u64) -> Option<u64> {
        let by_count = next.checked_sub(self.config.keep_entries + 1);
        self.log.surplus(self.config.keep_bytes, next).max(by_count.filter(|upto| self.log.has(*upto)))
    }

    /// Where the state is larger than the bound, writing it more often would cost more than the log does.
    fn is_due(&self, next: u64, len: u64) -> bool {
        let applied = self.raft.metrics().borrow_watched().last_applied;
        let applied = index_of(applied.as_ref()).map_or(0, |index| index + 1);
        let bytes = self.log.bytes_from(next).saturating_sub(self.log.bytes_from(applied));
        applied > next && bytes > len.max(self.config.snapshot_bytes)
    }
}
