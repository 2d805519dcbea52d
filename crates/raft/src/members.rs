//! Membership, as operators change it: members are added, removed and replaced, get a vote or lose it, and hand over the
//! leadership. Each change is refused, with the reason, where it would cost the cluster its majority.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dyad_proto::raft as pb;
use dyad_state::{ClusterCommand, ClusterReply, CpReply};
use futures::future::join_all;
use openraft::ChangeMembers;
use tokio::time::Instant;
use tonic::Code;

use crate::handle::{Inner, RaftHandle, TRANSFER_LIMIT};
use crate::join::{CATCH_UP_LIMIT, JoinError, LAG_MAX, MEMBERS_LEVEL, check_node, refused};
use crate::ping::PING_LIMIT;
use crate::propose::never_sent;
use crate::types::{Node, StoredMembership, index_of};

/// How long the answer of the leader to a change may take: longer than all limits of two changes, of which one waits for the other.
const CHANGE_LIMIT: Duration = Duration::from_secs(180);
/// How often a hand-over is tried: the chosen member must have the whole log, and entries keep coming.
const TRANSFER_TRIES: usize = 5;
/// How long a server that is to be added may take to answer: its operator has just started it.
const STARTING: Duration = Duration::from_secs(10);
/// How long the answer of a member that cannot be reached any more is waited for.
const ANSWER_AFTER: Duration = Duration::from_secs(15);
/// How long a change waits for a leader: past an ordinary election.
const ELECTION: Duration = Duration::from_secs(5);
/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// What an operator asks for. A member is named by its address, as status shows it, or by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Takes in the server that answers at this address.
    Add(Node),
    Remove(String),
    /// Takes in the server at this address, and lets the old member go in the change in which the new one gets its vote.
    Replace {
        old: String,
        node: Node,
    },
    Promote(String),
    Demote(String),
    /// Lets this member lead, or any other than the present leader.
    Transfer(Option<String>),
}

impl RaftHandle {
    /// Carries out a change of the membership, here or at the leader, and says what was done.
    ///
    /// # Errors
    /// The change was refused, or nobody can carry it out.
    pub async fn change_members(&self, change: MemberChange) -> Result<String, JoinError> {
        let deadline = Instant::now() + ELECTION;
        loop {
            match self.inner.change_members(change.clone(), false).await {
                // A leader that has just died is replaced in about a second.
                Err(JoinError::NotNow(_)) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }
}

impl Inner {
    /// The answer to a Change that another member passed on.
    pub(crate) async fn change_asked(&self, request: pb::ChangeRequest) -> pb::ChangeReply {
        use pb::change_reply::Result as Reply;
        let done = match MemberChange::from_wire(request.change) {
            Some(change) => self.change_members(change, request.forwarded).await,
            None => Err(refused(
                "a change that the leader's build does not know: install the newer version there too",
            )),
        };
        let result = match done {
            Ok(done) => Reply::Done(done),
            Err(JoinError::NotNow(why)) => Reply::NotNow(why),
            Err(error) => Reply::Refused(error.to_string()),
        };
        pb::ChangeReply { result: Some(result) }
    }

    async fn change_members(&self, change: MemberChange, forwarded: bool) -> Result<String, JoinError> {
        let Some((leader, node)) = self.known_leader() else {
            let why = "there is no leader at present, so that nothing can be changed";
            return Err(JoinError::NotNow(why.to_owned()));
        };
        if leader != self.me.id {
            if forwarded {
                return Err(JoinError::NotNow("the leader changed; ask again".to_owned()));
            }
            return self.pass_on(leader, &node, change).await;
        }
        if let MemberChange::Remove(who) = &change
            && self.is_excluded(who)
            && self.membership().nodes().all(|(_, node)| node.address != *who)
        {
            // Also what an answer that was lost on its way is followed by.
            return Ok(format!("{who} was removed before"));
        }
        // A leader that goes hands over first: the cluster then never waits for an election.
        let goes = match &change {
            MemberChange::Remove(who) | MemberChange::Demote(who) => Some(who),
            MemberChange::Replace { old, .. } => Some(old),
            _ => None,
        };
        if let Some(who) = goes
            && self.resolve(&self.membership(), who)? == self.me.id
        {
            // What another change has begun is done before another member leads.
            let turn = self.changing.lock().await;
            let membership = self.membership();
            self.check_left(&membership, self.me.id).await?;
            let next = self.hand_over(None).await?;
            drop(turn);
            let Some((next, node)) = next else {
                return Err(refused("it is the only voter: a cluster has at least one"));
            };
            return self.pass_on(next, &node, change).await;
        }
        self.change_here(change).await
    }

    async fn pass_on(&self, to: u64, node: &Node, change: MemberChange) -> Result<String, JoinError> {
        use pb::change_reply::Result as Reply;
        let request = pb::ChangeRequest {
            head: Some(self.me.head(to)),
            forwarded: true,
            change: Some(change.into_wire()),
        };
        let mut client = self.peers.client(&node.cluster_address);
        let unreachable = |why: String| {
            let why = format!("{why}. What became of the change is not known: look at `dyad cluster status`");
            JoinError::Unreachable(format!("the leader at {}", node.address), why)
        };
        let reply = tokio::select! {
            reply = tokio::time::timeout(CHANGE_LIMIT, client.change(request)) => reply,
            () = self.falls_silent(to, node) => return Err(unreachable(format!("it cannot be reached since {ANSWER_AFTER:?}"))),
        };
        let reply = reply.map_err(|_| unreachable(format!("within {CHANGE_LIMIT:?}")))?;
        let reply = reply.map_err(|status| match status.code() {
            _ if never_sent(&status) => {
                JoinError::NotNow(format!("the leader at {} does not answer", node.address))
            }
            Code::Unimplemented => refused(format!(
                "the build of the leader at {} does not know such changes: upgrade that member first, or stop it, so that another leads",
                node.address
            )),
            _ => unreachable(status.message().to_owned()),
        })?;
        match reply.into_inner().result {
            Some(Reply::Done(done)) => Ok(done),
            Some(Reply::Refused(why)) => Err(refused(why)),
            Some(Reply::NotNow(why)) => Err(JoinError::NotNow(why)),
            None => Err(unreachable("an empty answer".to_owned())),
        }
    }

    /// Completes when this member has not reached that one for so long that an answer will hardly come: the way to it may be cut, so
    /// that the call would end with its own limit. It is asked, since one that hands over for the change leads no more, and is not heard.
    async fn falls_silent(&self, id: u64, node: &Node) {
        let mut reached = Instant::now();
        while reached.elapsed() < ANSWER_AFTER {
            tokio::time::sleep(PING_LIMIT).await;
            if self.ping(id, node, PING_LIMIT).await.is_some() {
                reached = Instant::now();
            }
        }
    }

    async fn change_here(&self, change: MemberChange) -> Result<String, JoinError> {
        // Who is to lead keeps its vote meanwhile.
        let _turn = self.changing.lock().await;
        if let MemberChange::Transfer(to) = &change {
            let to = to.as_ref().map(|who| self.resolve(&self.membership(), who)).transpose()?;
            return match self.hand_over(to).await? {
                Some((id, node)) => Ok(format!("member {id:016x} at {} leads now", node.address)),
                None => Err(refused("it is the only voter: nobody else can lead")),
            };
        }
        if self.membership().get_joint_config().len() > 1 {
            // The next look of this leader finishes it, when this turn is over.
            let why = "another change of the membership is half done; ask again in a second";
            return Err(JoinError::NotNow(why.to_owned()));
        }
        match change {
            MemberChange::Add(node) => self.add(node).await,
            MemberChange::Remove(who) => self.remove(&who).await,
            MemberChange::Replace { old, node } => self.replace(&old, node).await,
            MemberChange::Promote(who) => self.promote(&who).await,
            MemberChange::Demote(who) => self.demote(&who).await,
            MemberChange::Transfer(_) => Err(refused("a hand-over is no change of the membership")),
        }
    }

    async fn add(&self, node: Node) -> Result<String, JoinError> {
        let id = self.identify(&node).await?;
        let membership = self.membership();
        let same = membership.nodes().find(|(known, at)| **known != id && at.address == node.address);
        if let Some((known, at)) = same
            && self.ping(*known, at, PING_LIMIT).await.is_some()
        {
            return Err(refused(format!("{} is member {known:016x}, which answers", node.address)));
        }
        let replaced = same.map(|(known, _)| *known).into_iter().collect();
        // Whether a member votes is changed by `promote` and `demote` only.
        let node =
            Node { learner: membership.get_node(&id).map_or(node.learner, |known| known.learner), ..node };
        let what = if node.learner { "is a member without a vote" } else { "is a member" };
        let address = node.address.clone();
        self.admit_address(&address).await?;
        self.admit_here(id, node, replaced, CATCH_UP_LIMIT).await?;
        Ok(format!("member {id:016x} at {address} {what}"))
    }

    async fn replace(&self, old: &str, node: Node) -> Result<String, JoinError> {
        let membership = self.membership();
        let old = self.resolve(&membership, old)?;
        let id = self.identify(&node).await?;
        if id == old {
            return Err(refused(format!("the server at {} is that very member", node.address)));
        }
        let was = membership.get_node(&old).cloned().unwrap_or_default();
        let is_learner = membership.membership().learner_ids().any(|learner| learner == old);
        let node = Node { learner: is_learner, ..node };
        let address = node.address.clone();
        self.admit_address(&address).await?;
        if membership.voter_ids().all(|voter| voter != id) && self.level() >= MEMBERS_LEVEL {
            // Without a vote until it has caught up, and beside the old member never with one: where that one is dead, one more voter
            // would make the majority harder to reach.
            let without = Node { learner: true, ..node.clone() };
            let caught_up = self.admit_here(id, without, Vec::new(), CATCH_UP_LIMIT).await;
            caught_up.map_err(|error| match error {
                JoinError::Refused(why) => {
                    refused(format!("{why}. {} stays a member: say `replace` again later", was.address))
                }
                other => other,
            })?;
        }
        self.admit_here(id, node, vec![old], CATCH_UP_LIMIT).await?;
        if was.address != address {
            self.exclude_address(&was.address).await;
        }
        Ok(format!("member {id:016x} at {address} has replaced {old:016x} at {}", was.address))
    }

    async fn remove(&self, who: &str) -> Result<String, JoinError> {
        let membership = self.membership();
        let id = self.resolve(&membership, who)?;
        let is_voter = membership.voter_ids().any(|voter| voter == id);
        if is_voter {
            self.check_left(&membership, id).await?;
        }
        let address = membership.get_node(&id).map(|node| node.address.clone()).unwrap_or_default();
        // First, so that a server that starts there empty at this moment does not come in by itself.
        let remembered = self.exclude_address(&address).await;
        let one = BTreeSet::from([id]);
        let change =
            if is_voter { ChangeMembers::RemoveVoters(one) } else { ChangeMembers::RemoveNodes(one) };
        // If this fails, the next look of whoever leads takes the exclusion back (`finish_joins`).
        self.change(change, &membership, false).await?;
        tracing::info!("member {id:016x} at {address} was removed");
        let note = if remembered {
            String::new()
        } else {
            "; who starts there with an empty directory and this cluster's token joins again".to_owned()
        };
        Ok(format!("member {id:016x} at {address} was removed{note}"))
    }

    async fn promote(&self, who: &str) -> Result<String, JoinError> {
        let membership = self.membership();
        let id = self.resolve(&membership, who)?;
        let known = membership.get_node(&id).cloned().unwrap_or_default();
        let node = Node { learner: false, ..known };
        let address = node.address.clone();
        self.admit_here(id, node, Vec::new(), CATCH_UP_LIMIT).await?;
        Ok(format!("member {id:016x} at {address} has a vote"))
    }

    async fn demote(&self, who: &str) -> Result<String, JoinError> {
        let membership = self.membership();
        let id = self.resolve(&membership, who)?;
        let known = membership.get_node(&id).cloned().unwrap_or_default();
        let address = known.address.clone();
        if !membership.voter_ids().any(|voter| voter == id) {
            return Ok(format!("member {id:016x} at {address} has no vote"));
        }
        self.check_left(&membership, id).await?;
        let node = Node { learner: true, ..known };
        self.check_learner(&node)?;
        // In one entry, so that the vote does not go later after all when it was said that it stays.
        let changes = vec![
            ChangeMembers::SetNodes(BTreeMap::from([(id, node)])),
            ChangeMembers::RemoveVoters(BTreeSet::from([id])),
        ];
        self.change(ChangeMembers::Batch(changes), &membership, true).await?;
        Ok(format!("member {id:016x} at {address} has no vote any more"))
    }

    /// Whose id answers there. A server that has just been started is waited for.
    async fn identify(&self, node: &Node) -> Result<u64, JoinError> {
        check_node(node)?;
        let deadline = Instant::now() + STARTING;
        loop {
            match self.ask_id(node).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(PING_LIMIT).await,
                answer => return answer,
            }
        }
    }

    async fn ask_id(&self, node: &Node) -> Result<u64, JoinError> {
        let request = pb::PingRequest { head: Some(self.me.head(0)), own: None, process: 0 };
        let mut client = self.peers.client(&node.cluster_address);
        let at = format!("{} (cluster port {})", node.address, node.cluster_address);
        match tokio::time::timeout(PING_LIMIT, client.ping(request)).await {
            Ok(Ok(reply)) => Ok(reply.into_inner().member),
            Ok(Err(status)) => Err(refused(format!(
                "no server of this cluster answers at {at}: {}; it must run with this cluster's token and an empty data directory",
                status.message()
            ))),
            Err(_) => Err(refused(format!("no server answers at {at}: start it first"))),
        }
    }

    /// The id of the member that has this address or id.
    fn resolve(&self, membership: &StoredMembership, who: &str) -> Result<u64, JoinError> {
        let by_id = u64::from_str_radix(who, 16).ok().filter(|_| who.len() == 16);
        let mut found = membership.nodes().filter(|(id, node)| node.address == who || by_id == Some(**id));
        match (found.next(), found.next()) {
            (Some((id, _)), None) => Ok(*id),
            (None, _) => {
                let known: Vec<&str> = membership.nodes().map(|(_, node)| node.address.as_str()).collect();
                Err(refused(format!(
                    "no member has the address or id {who}; the members are {}",
                    known.join(", ")
                )))
            }
            _ => Err(refused(format!("two members have the address {who}: name one by its id"))),
        }
    }

    /// Without this voter, would a majority of the others carry on?
    async fn check_left(&self, membership: &StoredMembership, gone: u64) -> Result<(), JoinError> {
        let left: Vec<u64> = membership.voter_ids().filter(|id| *id != gone).collect();
        if left.is_empty() {
            return Err(refused("it is the only voter: a cluster has at least one"));
        }
        let last = self.metrics(|m| m.last_log_index.unwrap_or(0));
        let answers = join_all(left.iter().map(async |id| match membership.get_node(id) {
            _ if *id == self.me.id => true,
            Some(node) => self.ping(*id, node, PING_LIMIT).await.is_some(),
            None => false,
        }))
        .await;
        let name = |id: &u64| {
            membership.get_node(id).map_or_else(|| format!("{id:016x}"), |node| node.address.clone())
        };
        let mut missing = Vec::new();
        for (id, answers) in left.iter().zip(answers) {
            // What was seen of it is newer than what openraft's metrics tell of a member.
            let has = self.me.seen.of(*id).and_then(|seen| index_of(seen.last.as_ref())).unwrap_or(0);
            let lacks = if *id == self.me.id { 0 } else { last.saturating_sub(has) };
            if !answers {
                missing.push(format!("{} does not answer", name(id)));
            } else if lacks > LAG_MAX {
                missing.push(format!("{} still lacks {lacks} entries of the log", name(id)));
            }
        }
        let carry_on = left.len() - missing.len();
        if carry_on * 2 > left.len() {
            return Ok(());
        }
        Err(refused(format!(
            "of the {} voters that would be left only {carry_on} could carry on, which is no majority: {}",
            left.len(),
            missing.join(", ")
        )))
    }

    /// Lets `to` lead, or the member that has the most of the log. Who leads then; `None` if there is no other voter.
    async fn hand_over(&self, to: Option<u64>) -> Result<Option<(u64, Node)>, JoinError> {
        let me = self.me.id;
        if to == Some(me) {
            return Ok(self.known_leader());
        }
        let voters: Vec<u64> = self.membership().voter_ids().filter(|id| *id != me).collect();
        if voters.is_empty() {
            return Ok(None);
        }
        if let Some(to) = to.filter(|to| !voters.contains(to)) {
            return Err(refused(format!("member {to:016x} has no vote, so that it cannot lead")));
        }
        if let Some(to) = to {
            self.check_successor(to).await?;
        }
        for _ in 0..TRANSFER_TRIES {
            if self.transfer_to(to).await
                && let Some((leader, node)) = self.known_leader().filter(|(leader, _)| *leader != me)
            {
                return match to.filter(|to| *to != leader) {
                    None => Ok(Some((leader, node))),
                    Some(to) => Err(refused(format!(
                        "member {to:016x} did not take the leadership; member {leader:016x} at {} leads now",
                        node.address
                    ))),
                };
            }
        }
        Err(refused(format!(
            "no other member took the leadership within {TRANSFER_TRIES} tries of {TRANSFER_LIMIT:?}"
        )))
    }

    /// One that is dead, or that lacks much of the log, would leave the cluster without a leader for a while.
    async fn check_successor(&self, to: u64) -> Result<(), JoinError> {
        let membership = self.membership();
        let Some(node) = membership.get_node(&to) else { return Ok(()) };
        if self.ping(to, node, PING_LIMIT).await.is_none() {
            return Err(refused(format!("{} does not answer, so that it cannot lead", node.address)));
        }
        match self.lacks(to) {
            Some(lacks) if lacks > LAG_MAX => Err(refused(format!(
                "{} still lacks {lacks} entries of the log, so that it cannot lead yet",
                node.address
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) async fn admit_address(&self, address: &str) -> Result<(), JoinError> {
        if !self.is_excluded(address) {
            return Ok(());
        }
        let admit = ClusterCommand::Admit { address: address.to_owned() };
        self.propose(admit.into()).await.map(drop).map_err(|error| refused(error.to_string()))
    }

    /// Remembers that nobody joins by himself from there. False if it cannot: older members would not know the command.
    async fn exclude_address(&self, address: &str) -> bool {
        if self.level() < MEMBERS_LEVEL {
            return false;
        }
        let exclude = ClusterCommand::Exclude { address: address.to_owned() };
        matches!(self.propose(exclude.into()).await, Ok(CpReply::Cluster(ClusterReply::Done)))
    }
}

impl MemberChange {
    fn into_wire(self) -> pb::change_request::Change {
        use pb::change_request::Change;
        match self {
            MemberChange::Add(Node { address, cluster_address, learner }) => {
                Change::Add(pb::AddMember { address, cluster_address, learner })
            }
            MemberChange::Remove(who) => Change::Remove(who),
            MemberChange::Replace { old, node: Node { address, cluster_address, .. } } => {
                Change::Replace(pb::ReplaceMember { old, address, cluster_address })
            }
            MemberChange::Promote(who) => Change::Promote(who),
            MemberChange::Demote(who) => Change::Demote(who),
            MemberChange::Transfer(to) => Change::Transfer(to.unwrap_or_default()),
        }
    }

    fn from_wire(change: Option<pb::change_request::Change>) -> Option<MemberChange> {
        use pb::change_request::Change;
        Some(match change? {
            Change::Add(pb::AddMember { address, cluster_address, learner }) => {
                MemberChange::Add(Node { address, cluster_address, learner })
            }
            Change::Remove(who) => MemberChange::Remove(who),
            Change::Replace(pb::ReplaceMember { old, address, cluster_address }) => {
                MemberChange::Replace { old, node: Node::new(address, cluster_address) }
            }
            Change::Promote(who) => MemberChange::Promote(who),
            Change::Demote(who) => MemberChange::Demote(who),
            Change::Transfer(to) => MemberChange::Transfer(Some(to).filter(|to| !to.is_empty())),
        })
    }
}
