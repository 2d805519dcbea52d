//! The types of openraft in the form in which this crate uses them. Only this file spells out their type configuration.

use std::fmt;

use bytes::Bytes;
use dyad_state::CpReply;
use openraft::type_config::alias;

openraft::declare_raft_types!(
    /// The raft of the CP half.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = Node,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

pub(crate) type Entry = <TypeConfig as openraft::RaftTypeConfig>::Entry;
pub(crate) type Payload = <TypeConfig as openraft::RaftTypeConfig>::Payload;
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type LeaderId = alias::LeaderIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Node>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// The addresses of a member. They are part of the replicated membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The advertised `host:http_port`, which is the name of the member for operators and clients.
    pub address: String,
    /// `host:cluster_port`, which the other members dial.
    pub cluster_address: String,
    /// Whether the member is to have no vote. A member without a vote that is not meant to be one has yet to become a voter.
    pub learner: bool,
}

impl Node {
    /// A member that is to have a vote.
    pub fn new(address: impl Into<String>, cluster_address: impl Into<String>) -> Node {
        Node { address: address.into(), cluster_address: cluster_address.into(), learner: false }
    }

    /// Whether both have the same addresses.
    pub(crate) fn is_at(&self, other: &Node) -> bool {
        self.address == other.address && self.cluster_address == other.cluster_address
    }

    /// Whether others can reach it. A server that was founded alone may have no address yet.
    pub(crate) fn is_dialed(&self) -> bool {
        self.cluster_address.contains(':')
    }
}

/// What a log entry carries: an encoded `Envelope` and the leader's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// Wall-clock milliseconds since the epoch, written by the leader just before proposing.
    pub(crate) now_ms: u64,
    pub(crate) command: Bytes,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes at {}", self.command.len(), self.now_ms)
    }
}

/// What apply returns to the proposer; `None` for blank and membership entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome(pub(crate) Option<CpReply>);

/// Below every vote.
pub(crate) const NOBODY: LeaderId = LeaderId { term: 0, node_id: 0 };

pub(crate) fn log_id(term: u64, leader: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: leader }, index)
}

pub(crate) fn index_of(log_id: Option<&LogId>) -> Option<u64> {
    log_id.map(|id| id.index)
}
