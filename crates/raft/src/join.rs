//! Membership, as members change it by themselves: one with an empty disk, or with a new address, becomes a member, and the
//! one that it replaces is removed. What operators change is in `members.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use dyad_proto::raft as pb;
use dyad_state::ClusterCommand;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, Precondition};

use crate::handle::{Inner, RaftHandle};
use crate::ping::PING_LIMIT;
use crate::types::{Node, StoredMembership, TypeConfig};

/// How long one change of the membership may take until it is committed.
const COMMIT_LIMIT: Duration = Duration::from_secs(20);
/// How long an operator's command waits until a new member has caught up with the log.
pub(crate) const CATCH_UP_LIMIT: Duration = Duration::from_secs(20);
/// How long a member that joins by itself waits for that, the first time. It asks again, and others may change the membership meanwhile.
const JOINER_LIMIT: Duration = Duration::from_secs(2);
/// How long the answer to a join may take: longer than what a leader that lives needs for it.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// A member that lacks more entries than this has not caught up: with its vote it could not acknowledge a write in time.
pub(crate) const LAG_MAX: u64 = 1_000;
/// From this level on the membership says which members are to have no vote, and the addresses of removed members are remembered.
pub(crate) const MEMBERS_LEVEL: u32 = 3;
/// Longest address a member may have: a host name of 253 and a port.
const ADDRESS_MAX: usize = 260;

type ChangeError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

/// Why a member is not one yet. After each of these errors it can try again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("{0} does not answer: {1}")]
    Unreachable(String, String),
    /// Nothing was done, because there is no leader, the one that was known is dead, or another change is not finished. It can be asked
    /// again at once.
    #[error("{0}")]
    NotNow(String),
    #[error("{0}")]
    Refused(String),
}

/// The highest level of the state that the build of a member knows.
fn known_level(answer: &pb::PingReply) -> u32 {
    answer.state_level.max(1)
}

pub(crate) fn refused(why: impl Into<String>) -> JoinError {
    JoinError::Refused(why.into())
}

/// A change that is in the log and may yet be committed.
fn not_committed() -> JoinError {
    let why = format!(
        "the change was not committed within {COMMIT_LIMIT:?}. What became of it is not known: look at `dyad cluster status`"
    );
    JoinError::Unreachable("a majority of the members".to_owned(), why)
}

/// Why openraft did not change the membership. A leader that was deposed meanwhile is no refusal: its successor is asked.
fn not_changed(error: &ChangeError) -> JoinError {
    match error.forward_to_leader() {
        Some(_) => JoinError::NotNow("the leader changed in between; ask again".to_owned()),
        None => refused(error.to_string()),
    }
}

impl RaftHandle {
    /// Asks the member at the cluster address `via` to make this member, which is reached at `node`, a member. That
    /// member passes the request on to the leader. An old member with the same advertised address that does not answer
    /// is removed in the same change. The members retire its Distro log later, when its clients have had the time to be
    /// taken over (rule 25 of docs/distro.md). Asking again changes nothing if this member is one already.
    ///
    /// # Errors
    /// Nobody answers at `via`, there is no leader, another member that answers has the same advertised address, or the address was
    /// removed from the cluster.
    pub async fn join(&self, via: &str, node: Node) -> Result<(), JoinError> {
        let inner = &self.inner;
        let request = pb::JoinRequest {
            head: Some(inner.me.head(0)),
            member: inner.me.id,
            address: node.address,
            cluster_address: node.cluster_address,
            forwarded: false,
            learner: node.learner,
        };
        ask(inner, via, request).await
    }

    /// If this member leads, gives it the address `node` in the membership. True if it has that address then.
    pub async fn move_here(&self, node: &Node) -> bool {
        let inner = &self.inner;
        if inner.known_leader().is_none_or(|(leader, _)| leader != inner.me.id) {
            return false;
        }
        let _turn = inner.changing.lock().await;
        let membership = inner.membership();
        let Some(known) = membership.get_node(&inner.me.id) else { return false };
        if known.is_at(node) {
            return true;
        }
        tracing::info!("this member is at {} now, and was at {}", node.address, known.address);
        let node = Node { learner: known.learner, ..node.clone() };
        let change = ChangeMembers::SetNodes(BTreeMap::from([(inner.me.id, node)]));
        inner.change(change, &membership, false).await.is_ok()
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

/// # Errors
/// It is no address.
pub(crate) fn check_node(node: &Node) -> Result<(), JoinError> {
    let sane = |a: &str| !a.is_empty() && a.len() <= ADDRESS_MAX && a.contains(':');
    if sane(&node.address) && sane(&node.cluster_address) {
        return Ok(());
    }
    Err(refused("a member has an address and a cluster address, each as host:port"))
}

impl Inner {
    /// The answer to a Join: by the leader itself, else passed on once.
    pub(crate) async fn admit(&self, mut request: pb::JoinRequest) -> Result<(), JoinError> {
        let node = Node {
            address: request.address.clone(),
            cluster_address: request.cluster_address.clone(),
            learner: request.learner,
        };
        check_node(&node)?;
        if request.member == 0 {
            return Err(refused("a join names a member"));
        }
        match self.known_leader() {
            Some((leader, _)) if leader == self.me.id => {
                // One membership change at a time: two would leave a joint configuration behind.
                let _turn = self.changing.lock().await;
                self.admit_asking(request.member, node).await
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

    async fn admit_asking(&self, id: u64, node: Node) -> Result<(), JoinError> {
        let membership = self.membership();
        let known = membership.get_node(&id);
        // A member that an operator has made a learner stays one, whatever its own settings say.
        let node = Node { learner: known.map_or(node.learner, |known| known.learner), ..node };
        if known.is_none() && self.is_excluded(&node.address) {
            return Err(refused(format!(
                "{0} was removed from the cluster; `dyad cluster add {0}` on a member takes it in again",
                node.address
            )));
        }
        // A member that only moves replaces nobody: who had its new address before may be about to move too.
        let replaced = match known.is_some_and(|known| !known.is_at(&node)) {
            true => Vec::new(),
            false => self.replaced_by(id, &node).await?,
        };
        let patience = if known.is_none() { JOINER_LIMIT } else { Duration::ZERO };
        self.admit_here(id, node, replaced, patience).await
    }

    pub(crate) fn is_excluded(&self, address: &str) -> bool {
        self.me.applied.state.read().cluster().is_excluded(address)
    }

    /// Makes it a member at this address. `replaced` go in the change in which it gets its vote. It gets the vote when it has caught up:
    /// now, if that takes no longer than `patience`, or by itself later.
    pub(crate) async fn admit_here(
        &self,
        id: u64,
        node: Node,
        replaced: Vec<u64>,
        patience: Duration,
    ) -> Result<(), JoinError> {
        let membership = self.membership();
        let known = membership.get_node(&id);
        let is_voter = membership.voter_ids().any(|voter| voter == id);
        if known == Some(&node) && is_voter != node.learner && replaced.is_empty() {
            return Ok(());
        }
        self.check_own_address(&membership)?;
        self.check_learner(&node)?;
        let knows = self.answers_at(id, &node, known).await?;
        self.check_level(id, knows)?;
        // At once, since it is dialed there from then on. What else is new of it comes with its vote.
        if known.is_some_and(|known| !known.is_at(&node)) {
            tracing::info!("member {id:016x} is at {} now", node.address);
            let change = ChangeMembers::SetNodes(BTreeMap::from([(id, node.clone())]));
            self.change(change, &membership, false).await?;
        }
        if known.is_none() {
            tracing::info!("member {id:016x} at {} joins", node.address);
            let added =
                tokio::time::timeout(COMMIT_LIMIT, self.raft.add_learner(id, node.clone(), false)).await;
            added.map_err(|_| not_committed())?.map_err(|e| not_changed(&e))?;
        }
        if !is_voter {
            self.until_caught_up(id, !node.learner, patience).await?;
        }
        self.take_the_place(id, &node, replaced).await
    }

    /// Waits until the member has caught up.
    ///
    /// # Errors
    /// It takes longer. The member goes on, and gets its vote when it has, if it is to have one ([`Inner::finish_joins`]).
    async fn until_caught_up(&self, id: u64, votes: bool, patience: Duration) -> Result<(), JoinError> {
        let has = |inner: &Inner| inner.lacks(id).is_some_and(|lacks| lacks <= LAG_MAX);
        if self.wait(patience, has).await {
            return Ok(());
        }
        let lacks = self
            .lacks(id)
            .map_or_else(String::new, |lacks| format!(": it still lacks {lacks} entries of the log"));
        let then = if votes { ", and gets its vote by itself when it has" } else { "" };
        Err(refused(format!("it has not caught up within {patience:?}{lacks}. It goes on{then}")))
    }

    /// Gives the caught-up member its vote, and lets the replaced ones go, in one change.
    async fn take_the_place(&self, id: u64, node: &Node, replaced: Vec<u64>) -> Result<(), JoinError> {
        let membership = self.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let (old_voters, old_learners): (BTreeSet<u64>, BTreeSet<u64>) =
            replaced.iter().partition(|old| voters.contains(old));
        let mut changes = Vec::new();
        if membership.get_node(&id) != Some(node) {
            changes.push(ChangeMembers::SetNodes(BTreeMap::from([(id, node.clone())])));
        }
        if !old_learners.is_empty() {
            changes.push(ChangeMembers::RemoveNodes(old_learners));
        }
        if !node.learner && !voters.contains(&id) {
            changes.push(ChangeMembers::AddVoterIds(BTreeSet::from([id])));
        }
        if !old_voters.is_empty() {
            changes.push(ChangeMembers::RemoveVoters(old_voters));
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.change(ChangeMembers::Batch(changes), &membership, false).await?;
        for old in replaced {
            tracing::info!("member {old:016x} was replaced by {id:016x}");
        }
        Ok(())
    }

    /// Others would dial the leader in vain, and be members of a cluster that they cannot reach.
    fn check_own_address(&self, membership: &StoredMembership) -> Result<(), JoinError> {
        match membership.get_node(&self.me.id) {
            Some(own) if !own.is_dialed() => Err(refused(
                "the leader has no address at which other members could reach it yet: start it with --advertise and a cluster token",
            )),
            _ => Ok(()),
        }
    }

    /// A leader of an older build would forget which members are to have no vote.
    pub(crate) fn check_learner(&self, node: &Node) -> Result<(), JoinError> {
        if !node.learner || self.level() >= MEMBERS_LEVEL {
            return Ok(());
        }
        Err(refused(format!(
            "a member without a vote needs level {MEMBERS_LEVEL} of the state, which holds when all members are upgraded; now it is {}",
            self.level()
        )))
    }

    /// The level that the member at `node` knows, if it is this one there.
    ///
    /// # Errors
    /// It does not answer there, or it answers at its known address too, and there it is another process.
    async fn answers_at(&self, id: u64, node: &Node, known: Option<&Node>) -> Result<u32, JoinError> {
        let Some(answer) = self.ping(id, node, PING_LIMIT).await else {
            return Err(refused(format!("member {id:016x} does not answer at {}", node.cluster_address)));
        };
        if let Some(known) = known.filter(|known| !known.is_at(node) && known.is_dialed())
            && let Some(other) = self.ping(id, known, PING_LIMIT).await
            && other.process != answer.process
        {
            return Err(refused(format!(
                "member {id:016x} answers at {} and at {}: two servers run on copies of one data directory; stop one of \
                 them and give it an empty directory",
                known.address, node.address
            )));
        }
        Ok(known_level(&answer))
    }

    fn check_level(&self, id: u64, knows: u32) -> Result<(), JoinError> {
        // A proposal of a higher level that was not answered may still be committed.
        let level = self.level().max(self.raising.load(Ordering::Relaxed));
        if knows >= level {
            return Ok(());
        }
        Err(refused(format!(
            "this cluster's state is of level {level}, and the build of member {id:016x} knows level {knows}; \
             install the version that the other members have"
        )))
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
        if answers.into_iter().all(|answer| answer.is_some_and(|answer| known_level(&answer) >= known)) {
            self.raising.fetch_max(known, Ordering::Relaxed);
            match self.propose(ClusterCommand::Raise { level: known }.into()).await {
                Ok(_) => {
                    tracing::info!("all members know level {known} of the state, which holds from now on")
                }
                Err(error) => tracing::debug!("the level of the state is not raised yet: {error}"),
            }
        }
    }

    /// One change of the membership, if nobody has changed it since. `retain`: voters that are removed become learners.
    pub(crate) async fn change(
        &self,
        change: ChangeMembers<u64, Node>,
        based_on: &StoredMembership,
        retain: bool,
    ) -> Result<(), JoinError> {
        let precondition = Precondition::LastMembershipLogId { last_membership_log_id: *based_on.log_id() };
        let changed = self.raft.change_membership_if(change, retain, [precondition]);
        let changed = tokio::time::timeout(COMMIT_LIMIT, changed).await;
        changed.map_err(|_| not_committed())?.map_err(|e| not_changed(&e))?;
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
        let Some(goal) = membership.get_joint_config().last() else { return };
        let mut leaving = membership.voter_ids().filter(|id| !goal.contains(id));
        // Who is to be a learner stays a member; the flag is in the same entry as the joint configuration.
        let retain = leaving.all(|id| membership.get_node(&id).is_some_and(|node| node.learner));
        let change = ChangeMembers::AddVoterIds(BTreeSet::new());
        if let Err(error) = self.change(change, &membership, retain).await {
            tracing::warn!("the membership change could not be finished: {error}");
        }
    }

    /// Gives their vote to members that were to be voters and have caught up, where nobody waits for it any more.
    pub(crate) async fn finish_joins(&self) {
        let Ok(_turn) = self.changing.try_lock() else { return };
        let membership = self.membership();
        if membership.get_joint_config().len() > 1 {
            return;
        }
        // Who is a member is not excluded: a removal that failed left that behind.
        let excluded = membership.nodes().find(|(_, node)| self.is_excluded(&node.address));
        if let Some((_, node)) = excluded
            && let Err(error) = self.admit_address(&node.address).await
        {
            tracing::debug!("{} is still excluded: {error}", node.address);
        }
        let half = membership.membership().learner_ids();
        let half = half.filter_map(|id| Some((id, membership.get_node(&id).filter(|node| !node.learner)?)));
        let ready = half.filter(|(id, _)| self.lacks(*id).is_some_and(|lacks| lacks <= LAG_MAX));
        // One at a time: the next look finds the next one.
        let Some((id, node)) = ready.min_by_key(|(id, _)| *id) else { return };
        if let Err(error) = self.finish_join(id, node).await {
            tracing::debug!("member {id:016x} does not have its vote yet: {error}");
        }
    }

    async fn finish_join(&self, id: u64, node: &Node) -> Result<(), JoinError> {
        let knows = self.answers_at(id, node, None).await?;
        self.check_level(id, knows)?;
        // Whose disk it has replaced goes with this change, as if the leader had not died in between.
        let replaced = self.replaced_by(id, node).await?;
        tracing::info!("finishing the joining of member {id:016x}, which was left half done");
        self.take_the_place(id, node, replaced).await
    }

    pub(crate) fn membership(&self) -> StoredMembership {
        self.metrics(|m| StoredMembership::clone(&m.membership_config))
    }
}
