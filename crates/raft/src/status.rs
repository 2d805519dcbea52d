//! What `dyad cluster status` and the metrics show of raft.

use dyad_types::MemberId;
use openraft::ServerState;

use crate::error::Fatal;
use crate::handle::Inner;
use crate::space::Disk;
use crate::stats::FsyncStats;
use crate::types::{Node, index_of};

/// The raft of this member at one moment.
#[derive(Clone, Debug)]
pub struct RaftStatus {
    pub member: MemberId,
    pub role: Role,
    pub term: u64,
    pub leader: Option<MemberId>,
    /// The identity of the cluster. `None` until the founding command was applied.
    pub cluster_id: Option<u128>,
    /// The index of the last entry of the log. `None` if there is none yet.
    pub last_log: Option<u64>,
    /// The index of the last entry that is known to be committed. `None` if there is none yet.
    pub committed: Option<u64>,
    /// The index of the last entry that was applied here. `None` if there is none yet.
    pub applied: Option<u64>,
    pub snapshot: Option<u64>,
    pub purged: Option<u64>,
    pub voters: Vec<Peer>,
    pub learners: Vec<Peer>,
    /// Whether a change of the membership is half done.
    pub joint: bool,
    pub recovery: Recovery,
    pub fatal: Option<Fatal>,
    /// The number of writes under way, from clients of this member or forwarded to it. The limit is 512.
    pub proposals: usize,
    /// The number of operations that wait for the log's writer. The limit is 1,024.
    pub queue: usize,
    /// The bytes of the entries in the log above [`RaftStatus::purged`], or up to a mebibyte and one entry more.
    pub log_bytes: u64,
    /// The bytes of the log entries in memory.
    pub tail_bytes: usize,
    pub fsync: FsyncStats,
    pub disk: Disk,
}

/// One member of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub member: MemberId,
    pub node: Node,
    /// On the leader, the last index that is known to be on that member.
    pub matched: Option<u64>,
}

/// The role of this member at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Learner,
    Follower,
    Candidate,
    Leader,
    Stopped,
}

impl Role {
    /// The word that people see.
    pub fn word(self) -> &'static str {
        match self {
            Role::Learner => "learner",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Stopped => "stopped",
        }
    }
}

impl From<ServerState> for Role {
    fn from(state: ServerState) -> Role {
        match state {
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        }
    }
}

/// Whether this member has everything that was acknowledged before it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It belongs to no cluster yet, so there is nothing to recover.
    NoCluster,
    /// Its log or its leader may have more entries, so a read could miss an acknowledged write.
    CatchingUp,
    Done,
}

impl Inner {
    /// How many entries of this leader's log the member still lacks, as far as is known here. `None` while nothing is known of it.
    pub(crate) fn lacks(&self, id: u64) -> Option<u64> {
        self.metrics(|m| {
            let matched = index_of(m.replication.as_ref()?.get(&id)?.as_ref())?;
            Some(m.last_log_index.unwrap_or(0).saturating_sub(matched))
        })
    }

    pub(crate) fn status(&self) -> RaftStatus {
        let metrics = self.metrics(Clone::clone);
        let peer = |id: u64| {
            let node = metrics.membership_config.get_node(&id).cloned().unwrap_or_default();
            let matched = metrics.replication.as_ref().and_then(|r| r.get(&id).copied().flatten());
            Peer { member: MemberId(id), node, matched: index_of(matched.as_ref()) }
        };
        let membership = metrics.membership_config.membership();
        RaftStatus {
            member: MemberId(self.me.id),
            role: metrics.state.into(),
            term: metrics.current_term,
            leader: metrics.current_leader.map(MemberId),
            cluster_id: *self.me.applied.cluster_id.read(),
            last_log: metrics.last_log_index,
            committed: index_of(metrics.local_committed.as_ref()),
            applied: index_of(metrics.last_applied.as_ref()),
            snapshot: index_of(metrics.snapshot.as_ref()),
            purged: index_of(metrics.purged.as_ref()),
            voters: membership.voter_ids().map(peer).collect(),
            learners: membership.learner_ids().map(peer).collect(),
            joint: membership.get_joint_config().len() > 1,
            recovery: self.recovery(),
            fatal: self.fatal.get(),
            proposals: self.admission.under_way(),
            queue: self.log.stats().queued.load(std::sync::atomic::Ordering::Relaxed),
            log_bytes: self.log.bytes_from(0),
            tail_bytes: self.log.cached_bytes(),
            fsync: self.log.stats().fsync(),
            disk: self.space.disk(),
        }
    }
}
