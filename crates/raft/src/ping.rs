//! What a member learns by asking another one whether it is there: that it can be reached, what time it has, whether its disk has
//! room, and what it has seen of the store of this one.

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
        let own = Some(self.durable().to_wire());
        let request = pb::PingRequest { head: Some(self.me.head_with_seen(id)), own };
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
        let (term, _) = self.log.durable();
        let (newer, applied) = self.metrics(|m| (m.current_term, m.last_applied.max(m.snapshot)));
        Seen { term: term.max(newer), last: self.log.last().max(applied) }
    }

    /// What others may remember of this member.
    pub(crate) fn durable(&self) -> Seen {
        let (term, last) = self.log.durable();
        Seen { term, last }
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

    /// Asks all other members, before this one stands for election, what they have seen of it, and whether another process is this
    /// member too.
    pub(crate) async fn ask_what_was_seen(self: Arc<Inner>) {
        let membership = self.membership();
        let asked = membership.nodes().filter(|(_, node)| node.is_dialed()).map(async |(id, node)| {
            // It compares what was seen.
            let answer = self.ping(*id, node, PING_LIMIT).await?;
            Some((*id, node, answer))
        });
        for (id, node, answer) in join_all(asked).await.into_iter().flatten() {
            if id == self.me.id && answer.process != self.me.process {
                let file = self.log.backend().file();
                self.fatal.set(Fatal::Twin { file, address: node.address.clone() });
            }
        }
        self.asked.store(true, Ordering::Relaxed);
        self.let_elect();
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
