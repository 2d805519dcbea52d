//! Membership: a member with an empty disk, or with a new address, becomes a voter, and the voter that it replaces is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dyad_proto::raft as pb;
use dyad_state::ClusterCommand;
use openraft::{ChangeMembers, Precondition};

use crate::handle::{Inner, RaftHandle};
use crate::ping::PING_LIMIT;
use crate::types::{Node, StoredMembership};

/// How long a new member may take to catch up with the log before it has to ask again.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(20);
/// Longer than the leader's own limits together, so that its answer arrives.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// Longest address a member may have: a host name of 253 and a port.
const ADDRESS_MAX: usize = 260;

/// Why a member is not a voter yet. After each of these errors it can try again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("{0} does not answer: {1}")]
    Unreachable(String, String),
    #[error("{0}")]
    Refused(String),
}

/// The highest level of the state that the build of a member knows.
fn known_level(answer: pb::PingReply) -> u32 {
    answer.state_level.max(1)
}

fn refused(why: impl Into<String>) -> JoinError {
    JoinError::Refused(why.into())
}

impl RaftHandle {
    /// Asks the member at the cluster address `via` to make this member, which is reached at `node`, a voter. That
    /// member passes the request on to the leader. An old voter with the same advertised address that does not answer
    /// is removed in the same change. The members retire its Distro log later, when its clients have had the time to be
    /// taken over (rule 25 of docs/distro.md). Asking again changes nothing if this member is a voter already.
    ///
    /// # Errors
    /// Nobody answers at `via`, there is no leader, or another member that answers has the same advertised address.
    pub async fn join(&self, via: &str, node: Node) -> Result<(), JoinError> {
        let inner = &self.inner;
        let request = pb::JoinRequest {
            head: Some(inner.me.head(0)),
            member: inner.me.id,
            address: node.address,
            cluster_address: node.cluster_address,
            forwarded: false,
        };
        ask(inner, via, request).await
    }
}

async fn ask(inner: &Inner, via: &str, request: pb::JoinRequest) -> Result<(), JoinError> {
    let mut client = inner.peers.client(via);
    let reply = tokio::time::timeout(JOIN_LIMIT, client.join(request)).await;
    let unreachable = |why: String| JoinError::Unreachable(via.to_owned(), why);
    let reply = reply.map_err(|_| unreachable(format!("within {JOIN_LIMIT:?}")))?;
    let reply = reply.map_err(|status| unreachable(status.to_string()))?.into_inner();
    if reply.refused.is_empty() { Ok(()) } else { Err(JoinError::Refused(reply.refused)) }
}

impl Inner {
    /// The answer to a Join: by the leader itself, else passed on once.
    pub(crate) async fn admit(&self, mut request: pb::JoinRequest) -> Result<(), JoinError> {
        let sane = |a: &str| !a.is_empty() && a.len() <= ADDRESS_MAX;
        if request.member == 0 || !sane(&request.address) || !sane(&request.cluster_address) {
            return Err(refused("a join names a member, its address and its cluster address"));
        }
        match self.known_leader() {
            Some((leader, _)) if leader == self.me.id => {
                let node = Node { address: request.address, cluster_address: request.cluster_address };
                // One membership change at a time: two would leave a joint configuration behind.
                let _turn = self.changing.lock().await;
                self.admit_here(request.member, node).await
            }
            Some((leader, node)) if !request.forwarded => {
                request.forwarded = true;
                request.head = Some(self.me.head(leader));
                ask(self, &node.cluster_address, request).await
            }
            Some(_) => Err(refused("the leader changed; ask again")),
            None => Err(refused("there is no leader at present")),
        }
    }

    async fn admit_here(&self, id: u64, node: Node) -> Result<(), JoinError> {
        let membership = self.membership();
        let known = membership.get_node(&id);
        if known == Some(&node) && membership.voter_ids().any(|voter| voter == id) {
            return Ok(());
        }
        let Some(knows) = self.ping(id, &node, PING_LIMIT).await.map(known_level) else {
            return Err(refused(format!("member {id:016x} does not answer at {}", node.cluster_address)));
        };
        let level = self.level();
        if knows < level {
            return Err(refused(format!(
                "this cluster's state is of level {level}, and the build of member {id:016x} knows level {knows}; \
                 install the version that the other members have"
            )));
        }
        if known.is_some_and(|known| *known != node) {
            tracing::info!("member {id:016x} is at {} now", node.address);
            let change = ChangeMembers::SetNodes(BTreeMap::from([(id, node.clone())]));
            self.change(change, &membership).await?;
        }
        let replaced = self.replaced_by(id, &node).await?;
        tracing::info!("member {id:016x} at {} joins", node.address);
        let added = tokio::time::timeout(CATCH_UP_LIMIT, self.raft.add_learner(id, node, true)).await;
        added
            .map_err(|_| refused(format!("it has not caught up within {CATCH_UP_LIMIT:?}")))?
            .map_err(|e| refused(e.to_string()))?;
        let membership = self.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let (old_voters, old_learners): (BTreeSet<u64>, BTreeSet<u64>) =
            replaced.iter().partition(|old| voters.contains(old));
        let mut changes = vec![ChangeMembers::AddVoterIds(BTreeSet::from([id]))];
        if !old_learners.is_empty() {
            changes.insert(0, ChangeMembers::RemoveNodes(old_learners));
        }
        if !old_voters.is_empty() {
            changes.push(ChangeMembers::RemoveVoters(old_voters));
        }
        self.change(ChangeMembers::Batch(changes), &membership).await?;
        for old in replaced {
            tracing::info!("member {old:016x} was replaced by {id:016x}");
        }
        Ok(())
    }

    /// The members of the same advertised address. Their disks are gone, or the address belongs to two machines.
    async fn replaced_by(&self, id: u64, node: &Node) -> Result<Vec<u64>, JoinError> {
        let membership = self.membership();
        let mut replaced = Vec::new();
        for (&old, at) in membership.nodes().filter(|(old, at)| **old != id && at.address == node.address) {
            if old == self.me.id || self.ping(old, at, PING_LIMIT).await.is_some() {
                return Err(refused(format!("{} is member {old:016x}, which answers", node.address)));
            }
            replaced.push(old);
        }
        Ok(replaced)
    }

    /// The level by whose rules this member applies commands at present.
    pub(crate) fn level(&self) -> u32 {
        self.me.applied.state.read().cluster().level()
    }

    /// Raises the level of the state to what this build knows, once every member answers that its build knows it too. A member
    /// that is away may be of an older build, and would stop at the entry.
    pub(crate) async fn raise_level(&self) {
        let known = self.config.state_level;
        // While a member joins, its build counts too.
        let Ok(_turn) = self.changing.try_lock() else { return };
        if self.level() >= known {
            return;
        }
        let membership = self.membership();
        let others = membership.nodes().filter(|(id, _)| **id != self.me.id);
        let answers = others.map(|(id, node)| self.ping(*id, node, PING_LIMIT));
        let answers = futures::future::join_all(answers).await;
        if answers.into_iter().all(|answer| answer.is_some_and(|answer| known_level(answer) >= known)) {
            match self.propose(ClusterCommand::Raise { level: known }.into()).await {
                Ok(_) => {
                    tracing::info!("all members know level {known} of the state, which holds from now on")
                }
                Err(error) => tracing::debug!("the level of the state is not raised yet: {error}"),
            }
        }
    }

    async fn change(
        &self,
        change: ChangeMembers<u64, Node>,
        based_on: &StoredMembership,
    ) -> Result<(), JoinError> {
        let precondition = Precondition::LastMembershipLogId { last_membership_log_id: *based_on.log_id() };
        let changed = self.raft.change_membership_if(change, false, [precondition]);
        let changed = tokio::time::timeout(CATCH_UP_LIMIT, changed).await;
        changed
            .map_err(|_| refused("the change was not committed in time"))?
            .map_err(|e| refused(e.to_string()))?;
        Ok(())
    }

    /// Flattens a joint configuration that a leader left behind when it died.
    pub(crate) async fn finish_joint(&self) {
        let Ok(_turn) = self.changing.try_lock() else { return };
        let membership = self.membership();
        if membership.get_joint_config().len() < 2 {
            return;
        }
        tracing::info!("finishing a membership change that was left half done");
        if let Err(error) = self.change(ChangeMembers::AddVoterIds(BTreeSet::new()), &membership).await {
            tracing::warn!("the membership change could not be finished: {error}");
        }
    }

    pub(crate) fn membership(&self) -> StoredMembership {
        self.metrics(|m| StoredMembership::clone(&m.membership_config))
    }
}
