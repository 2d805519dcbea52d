//! What raft needs to know of its member, and the times of raft.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dyad_state::LEVEL;
use dyad_types::MemberId;
use openraft::{Config, SnapshotPolicy};

use crate::error::StartError;

/// The largest reserve by default, in bytes; a volume of less than ten times as much has a tenth as its reserve. Below it writes
/// are refused: a store that reaches the end of its disk may not open again.
pub const MIN_FREE_BYTES: u64 = 512 * 1024 * 1024;
/// The longest time of a write while a leader is known. Then its client learns that the outcome is unknown.
pub const PROPOSE_DEADLINE: Duration = Duration::from_secs(5);
/// The longest time of a linearizable read while a leader is known. Then it is refused.
pub const READ_DEADLINE: Duration = Duration::from_secs(5);
/// Followers slower than this are sent a snapshot; so many entries stay in the log for them after one is built.
const KEEP_ENTRIES: u64 = 10_000;
/// Bytes of entries that stay for them at most.
const KEEP_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of entries from one snapshot to the next; a start reads them again.
const SNAPSHOT_BYTES: u64 = 64 * 1024 * 1024;
/// Entries from one snapshot to the next.
const SNAPSHOT_EVERY: u64 = 50_000;

/// Tells whether the log is the one that this member had when it stopped. Each start has a number above those of the starts
/// before. The log remembers it, and then the member writes it down outside of the log too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The number of this start.
    pub start: u64,
    /// The last start that is known to be in the log. `None` until one is.
    pub logged: Option<u64>,
}

/// The settings of [`crate::RaftHandle`].
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// The id of this member, which is also its node id in raft.
    pub member: MemberId,
    /// What the log must remember. `None` by default: any log is taken.
    pub claim: Option<Claim>,
    /// The data directory. The store is in its directory `raft/`, and the snapshots are in `snapshots/`.
    pub data_dir: PathBuf,
    /// The least free space of the disk for writes, in bytes; 0 refuses none. By default it is the smaller of [`MIN_FREE_BYTES`]
    /// and a tenth of the volume.
    pub min_free_bytes: Option<u64>,
    /// The wall clock, in milliseconds since the epoch. The leader writes its time into each entry, unless the voters' clocks
    /// contradict it ([`crate::CLOCK_OFF_MS`]).
    pub wall_clock: fn() -> u64,
    /// The time between two heartbeats of a leader, in milliseconds. Default 100.
    pub heartbeat_ms: u64,
    /// The range of the election time-out, in milliseconds. Default 300 to 600, so that a dead leader is replaced
    /// within about a second.
    pub election_ms: (u64, u64),
    /// A snapshot is made after this many entries. Default 50,000.
    pub snapshot_every: u64,
    /// A snapshot is also made after this many bytes of entries. Default 64 MiB.
    pub snapshot_bytes: u64,
    /// At most this many bytes of entries stay in the log below a snapshot, but for a mebibyte and an entry. Default 16 MiB.
    pub keep_bytes: u64,
    /// This many entries stay in the log below a snapshot. Default 10,000.
    pub keep_entries: u64,
    /// The highest level of the state that this member says it knows, by default [`LEVEL`]. A test lowers it to stand for an
    /// older build.
    pub state_level: u32,
}

impl RaftConfig {
    /// The default settings for this member.
    pub fn new(member: MemberId, data_dir: PathBuf) -> RaftConfig {
        RaftConfig {
            member,
            claim: None,
            data_dir,
            min_free_bytes: None,
            wall_clock: system_clock,
            heartbeat_ms: 100,
            election_ms: (300, 600),
            snapshot_every: SNAPSHOT_EVERY,
            snapshot_bytes: SNAPSHOT_BYTES,
            keep_bytes: KEEP_BYTES,
            keep_entries: KEEP_ENTRIES,
            state_level: LEVEL,
        }
    }

    pub(crate) fn openraft(&self) -> Result<Arc<Config>, StartError> {
        let config = Config {
            cluster_name: "dyad".into(),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_ms.0,
            election_timeout_max: self.election_ms.1,
            enable_pre_vote: Some(true),
            // Not before this member has asked what others have seen of its store (`let_elect`).
            enable_elect: false,
            // A restarted leader that simply goes on may have lost what it acknowledged: it must be elected again.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            api_batch_linger_ms: 0,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            // `compact` purges, by bytes too. Two who decide could undercut each other.
            max_in_snapshot_log_to_keep: u64::MAX,
            replication_lag_threshold: self.keep_entries,
            ..Config::default()
        };
        config.validate().map(Arc::new).map_err(|e| StartError::Raft(e.to_string()))
    }

    /// A request that is outstanding longer than this has met a dead peer.
    pub(crate) fn idle_limit(&self) -> Duration {
        Duration::from_millis((2 * self.election_ms.1).max(2_000))
    }

    /// A leader not heard for this long may be replaced from now on; one that no majority answered for this long takes no
    /// more writes (openraft's lease).
    pub(crate) fn election_timeout(&self) -> Duration {
        Duration::from_millis(self.election_ms.1)
    }

    /// A leader not heard for this long is not shown as one.
    pub(crate) fn leader_stale(&self) -> Duration {
        Duration::from_millis(2 * self.election_ms.1)
    }
}

fn system_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the defaults of the first two, acknowledged writes are lost or missed after a crash of all members.
    #[test]
    fn what_safety_rests_on() {
        let config = RaftConfig::new(MemberId(1), PathBuf::new()).openraft().unwrap();
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.allow_log_reversion, Some(false));
        assert_eq!(config.enable_pre_vote, Some(true));
        assert!(!config.enable_elect);
    }
}
