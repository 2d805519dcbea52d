//! Where a state is in the log, and whose log it is.

use std::collections::BTreeSet;

use dyad_types::MemberId;

use crate::status::Peer;
use crate::types::{LogId, Node, StoredMembership};

/// The entry of the log that a state ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub term: u64,
    /// The leader that wrote it.
    pub leader: MemberId,
    pub index: u64,
}

impl Position {
    pub(crate) fn of(last: &LogId) -> Position {
        let leader = MemberId(last.leader_id.node_id);
        Position { term: last.leader_id.term, leader, index: last.index }
    }
}

/// The voters, and the others.
pub(crate) fn members(membership: &StoredMembership) -> (Vec<Peer>, Vec<Peer>) {
    let peer = |(id, node): (&u64, &Node)| Peer { member: MemberId(*id), node: node.clone(), matched: None };
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let (voting, others): (Vec<_>, Vec<_>) = membership.nodes().partition(|(id, _)| voters.contains(id));
    (voting.into_iter().map(peer).collect(), others.into_iter().map(peer).collect())
}
