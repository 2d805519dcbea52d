//! What a member learns by asking another one whether it is there: that it can be reached, what time it has, whether its disk has
//! room, and what it has seen of the store of this one.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dyad_proto::raft as pb;
use futures::future::join_all;
use tokio::time::Instant;
use tonic::Status;

use crate::error::Fatal;
use crate::handle::Inner;
use crate::seen::Seen;
use crate::types::Node;

/// A member that is there answers a ping on the same network well within this.
pub(crate) const PING_LIMIT: Duration = Duration::from_millis(500);
/// A request that has waited for so long for its leader is accompanied by a ping, and again after as long.
const UNANSWERED: Duration = Duration::from_millis(600);
/// How long the leader has for the answer to such a ping. Together with the wait before it the request is answered within a second.
const REACH_LIMIT: Duration = Duration::from_millis(300);
/// How long a member that starts waits for the last answers when a majority has told what it has seen of it. Longer than one answer may
/// take.
const OTHERS_LIMIT: Duration = Duration::from_secs(1);
/// How long it asks at all.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// From one round of these questions to the next.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl Inner {
    /// The answer of this very member, if it answers at its address within the limit.
    pub(crate) async fn ping(&self, id: u64, node: &Node, limit: Duration) -> Option<pb::PingReply> {
        self.question(id, node, limit).await.ok()
    }

    /// The same.
    ///
    /// # Errors
    /// Why there is no answer, as people are told it.
    pub(crate) async fn question(
        &self,
        id: u64,
        node: &Node,
        limit: Duration,
    ) -> Result<pb::PingReply, String> {
        self.question_as(self.me.process, id, node, limit).await
    }

    /// The same as `process`; 0 asks without being asked back.
    async fn question_as(
        &self,
        process: u64,
        id: u64,
        node: &Node,
        limit: Duration,
    ) -> Result<pb::PingReply, String> {
        let own = Some(self.durable().to_wire());
        let request = pb::PingRequest { head: Some(self.me.head_with_seen(id)), own, process };
        let mut client = self.peers.client(&node.cluster_address);
        let reply = match tokio::time::timeout(limit, client.ping(request)).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Err(reason(&status)),
            Err(_) => return Err(format!("no answer within {} ms", limit.as_millis())),
        };
        if reply.member != id {
            return Err(format!("member {:016x} answers at its address", reply.member));
        }
        if id != self.me.id {
            // A contradiction is in the fatal slot, and ends the process.
            self.compare(id, reply.seen).map_err(|status| reason(&status))?;
            if !reply.twin.is_empty() {
                self.is_twin(reply.twin.clone());
            }
        }
        Ok(reply)
    }

    /// Runs beside a request of this member, and ends when the leader is heard but does not hear: its messages arrive, and a ping
    /// stays without an answer. Such a leader is not replaced, so that the request would wait in vain. A leader that answers
    /// pings is only slow. A leader that is not heard any more is the matter of `contact.rs`.
    pub(crate) async fn leader_hears_nothing(&self) {
        loop {
            tokio::time::sleep(UNANSWERED).await;
            let Some((leader, node)) = self.known_leader().filter(|(id, _)| *id != self.me.id) else {
                continue;
            };
            let asked = Instant::now();
            if self.ping(leader, &node, REACH_LIMIT).await.is_some() {
                continue;
            }
            // A dead leader refuses pings at once; what tells that it lives comes with its heartbeats.
            tokio::time::sleep_until(asked + REACH_LIMIT).await;
            let (heard, at) = *self.last_heard.lock();
            if heard == leader && at > asked {
                return;
            }
        }
    }
}

impl Inner {
    /// What is here: at least what others can have seen. What a snapshot brought is not in the log.
    fn has(&self) -> Seen {
        let (voted, _) = self.log.durable();
        let (newer, applied) = self.metrics(|m| (m.vote.leader_id, m.last_applied.max(m.snapshot)));
        Seen { voted: voted.max(newer), last: self.log.last().max(applied) }
    }

    /// What others may remember of this member.
    pub(crate) fn durable(&self) -> Seen {
        let (voted, last) = self.log.durable();
        Seen { voted, last }
    }

    /// Compares what another member has seen of this one with what is here. A contradiction ends the process.
    ///
    /// # Errors
    /// The store of this member was set back.
    pub(crate) fn compare(&self, from: u64, seen: Option<pb::Seen>) -> Result<(), Status> {
        let Some(seen) = seen.map(Seen::from_wire) else { return Ok(()) };
        let now = self.has();
        if seen.can_become(&now) {
            return Ok(());
        }
        let file = self.log.backend().file();
        let committed = self.metrics(|m| m.local_committed.max(m.last_applied));
        // Terms rise along a log. So an entry of a later term than a committed one cannot have been before it: who has seen it here is of
        // members that have forgotten the committed one.
        if let (Some(committed), Some(last)) = (committed, seen.last)
            && last.index <= committed.index
            && last.leader_id > committed.leader_id
        {
            let leader = format!(
                "member {from:016x} has another entry {} of term {}",
                last.index, last.leader_id.term
            );
            self.fatal.set(Fatal::Overruled { file, committed: committed.to_string(), leader });
            return Err(Status::failed_precondition(
                "other members run on older copies of their data directories",
            ));
        }
        self.fatal.set(Fatal::SetBack { file, seen: seen.to_string(), by: from, now: now.to_string() });
        Err(Status::failed_precondition("the store of this member was set back to an older copy"))
    }

    /// [`Inner::compare`] with what the head of a message says.
    ///
    /// # Errors
    /// As of [`Inner::compare`].
    pub(crate) fn compare_head(&self, head: &mut Option<pb::Head>) -> Result<(), Status> {
        let Some(head) = head else { return Ok(()) };
        self.compare(head.from, head.seen.take())
    }

    /// Another process that is this member too answers at this address, which ends this one.
    fn is_twin(&self, address: String) {
        let file = self.log.backend().file();
        self.fatal.set(Fatal::Twin { file, address });
    }

    /// Whether another process than the one that asks is the member `from`: it answers at the member's address while this one waits
    /// for its answer. Gives that address.
    pub(crate) async fn twin_of(&self, from: u64, process: u64) -> Option<String> {
        let known = self.survey.known.lock().get(&from).map_or(0, |one| one.process);
        if process == 0 || known == 0 || known == process {
            return None;
        }
        let membership = self.membership();
        let node = membership.get_node(&from)?;
        let there = self.question_as(0, from, node, PING_LIMIT).await.ok()?;
        (there.process != process).then(|| node.address.clone())
    }

    /// Asks all other members, before this one votes or stands for election, what they have seen of it, and whether another process is
    /// this member too. It is over when all voters have answered, or when a majority has and the others had their time. Without a
    /// majority this member could not do harm by itself, but others may need its vote; so it has an end in any case.
    pub(crate) async fn ask_what_was_seen(self: Arc<Inner>) {
        let began = Instant::now();
        let mut answered = BTreeSet::from([self.me.id]);
        loop {
            let membership = self.membership();
            let open = membership.nodes().filter(|(id, node)| node.is_dialed() && !answered.contains(id));
            // Who answers at this member's own address may be another process.
            let own = membership.nodes().filter(|(id, node)| **id == self.me.id && node.is_dialed());
            let asked = open.chain(own).map(async |(id, node)| {
                // It compares what was seen.
                let answer = self.ping(*id, node, PING_LIMIT).await?;
                Some((*id, node, answer))
            });
            for (id, node, answer) in join_all(asked).await.into_iter().flatten() {
                answered.insert(id);
                if id == self.me.id && answer.process != self.me.process {
                    self.is_twin(node.address.clone());
                }
            }
            if self.fatal.get().is_some() || self.stopping() {
                return;
            }
            let (all, there) = membership
                .voter_ids()
                .fold((0, 0), |(all, there), id| (all + 1, there + usize::from(answered.contains(&id))));
            let waited = began.elapsed();
            if there == all || there * 2 > all && waited >= OTHERS_LIMIT || waited >= ASK_LIMIT {
                break;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        self.asked.store(true, Ordering::Relaxed);
        self.let_elect();
    }

    /// # Errors
    /// This member may not vote, nor acknowledge entries: its store may be an older copy, or is one.
    pub(crate) fn check_has_asked(&self) -> Result<(), Status> {
        if let Some(fatal) = self.fatal.get() {
            return Err(Status::unavailable(fatal.to_string()));
        }
        if !self.asked.load(Ordering::Relaxed) {
            return Err(Status::unavailable(
                "this member has just started, and asks first what others have seen of it",
            ));
        }
        Ok(())
    }
}

/// The innermost cause, which is what the system said; tonic's own message is only "transport error".
fn reason(status: &Status) -> String {
    let mut cause = status.source();
    while let Some(inner) = cause.and_then(Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| status.message().to_owned(), ToString::to_string)
}
