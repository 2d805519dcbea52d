//! The answering side: the raft service on the cluster port.

use std::sync::Arc;
use std::time::Duration;

use dyad_proto::raft as pb;
use dyad_proto::raft::raft_server;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use openraft::raft::{TransferLeaderError, TransferLeaderRequest};
use parking_lot::Mutex;
use tonic::{Request, Response, Status, Streaming};

use super::{Me, snapshot};
use crate::config::READ_DEADLINE;
use crate::contact::Wait;
use crate::error::Fatal;
use crate::handle::Inner;
use crate::propose::Refused;
use crate::seen::Seen;
use crate::space::Purpose;
use crate::types::{LogId, Vote, index_of};
use crate::wire;

/// The raft service of one member.
pub struct Service {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("member", &self.inner.me.id).finish_non_exhaustive()
    }
}

impl Service {
    pub(crate) fn new(inner: Arc<Inner>) -> Service {
        Service { inner }
    }

    fn me(&self) -> &Arc<Me> {
        &self.inner.me
    }

    /// openraft panics on a snapshot that no leader could have sent: refuse it here.
    fn check_snapshot(&self, vote: &Vote, last: Option<LogId>) -> Result<(), Status> {
        let committed = self.inner.metrics(|m| m.local_committed);
        if last.is_some_and(|last| last.leader_id > vote.leader_id) {
            return Err(Status::invalid_argument("the snapshot is newer than its sender's vote"));
        }
        if last > committed && index_of(last.as_ref()) <= index_of(committed.as_ref()) {
            let upto = |last: Option<LogId>| last.map_or_else(|| "none".into(), |last| last.to_string());
            self.inner.fatal.set(Fatal::Overruled {
                file: self.inner.log.backend().file(),
                committed: upto(committed),
                leader: format!("the leader sends a snapshot of others, up to {}", upto(last)),
            });
            return Err(Status::invalid_argument("the snapshot contradicts committed entries"));
        }
        Ok(())
    }
}

fn unavailable(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

/// The requests of an append stream that pass the checks; the first that does not ends them and is kept in `failed`.
async fn checked(
    mut inbound: Streaming<pb::AppendRequest>,
    inner: &Inner,
    failed: &Mutex<Option<Status>>,
) -> Option<(crate::wire::Append, Streaming<pb::AppendRequest>)> {
    let checked = async {
        let Some(mut message) = inbound.message().await? else { return Ok(None) };
        inner.me.check(message.head.as_ref())?;
        inner.compare_head(&mut message.head)?;
        let bytes = message.entries.iter().map(|entry| entry.len()).sum();
        if bytes > 0 {
            inner.check_has_asked()?;
        }
        let request = wire::get_append(message)?;
        inner.heard(&request.vote);
        // Heartbeats have no entries and go on, so that a full disk causes no election.
        if bytes > 0 {
            inner.space.take(Purpose::Last, bytes).map_err(Status::resource_exhausted)?;
        }
        Ok(Some(request))
    };
    match checked.await {
        Ok(request) => Some((request?, inbound)),
        Err(status) => {
            *failed.lock() = Some(status);
            None
        }
    }
}

#[tonic::async_trait]
impl raft_server::Raft for Service {
    type AppendStream = BoxStream<'static, Result<pb::AppendReply, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let failed = Arc::new(Mutex::new(None));
        let keep = (Arc::clone(&self.inner), Arc::clone(&failed));
        let requests = stream::unfold(request.into_inner(), move |inbound| {
            let (inner, failed) = keep.clone();
            async move { checked(inbound, &inner, &failed).await }
        });
        let replies = self.inner.raft.stream_append(requests).map(|result| match result {
            Ok(result) => Ok(wire::put_append_reply(result)),
            Err(fatal) => Err(unavailable(fatal)),
        });
        let failure = stream::once(async move { failed.lock().take() });
        let replies = replies.chain(failure.filter_map(|status| async move { status.map(Err) }));
        Ok(Response::new(replies.boxed()))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteReply>, Status> {
        let mut message = request.into_inner();
        self.me().check(message.head.as_ref())?;
        self.inner.compare_head(&mut message.head)?;
        self.inner.check_has_asked()?;
        let pre_vote = message.pre_vote;
        let request = wire::get_vote_request(message)?;
        let raft = &self.inner.raft;
        let reply = if pre_vote { raft.pre_vote(request).await } else { raft.vote(request).await };
        Ok(Response::new(wire::put_vote_reply(&reply.map_err(unavailable)?)))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotPart>>,
    ) -> Result<Response<pb::SnapshotReply>, Status> {
        let inner = &self.inner;
        inner.check_has_asked()?;
        // One leader sends one snapshot at a time; a second one is a left-over.
        let _turn =
            inner.receiving.try_lock().map_err(|_| Status::resource_exhausted("a snapshot is arriving"))?;
        let places = (&*inner.snapshots, &*inner.space);
        let mut received = snapshot::receive(self.me(), places, request.into_inner()).await?;
        self.check_snapshot(&received.vote, received.snapshot.meta.last_log_id)?;
        inner.fetch_rows(&received).await?;
        // It is read again to be installed, and must not be in memory twice then.
        drop(std::mem::take(&mut received.state));
        tracing::info!(
            "installing a snapshot up to {:?}",
            index_of(received.snapshot.meta.last_log_id.as_ref())
        );
        let reply = inner.raft.install_full_snapshot(received.vote, received.snapshot.clone()).await;
        let reply = reply.map_err(unavailable)?;
        Ok(Response::new(pb::SnapshotReply { vote: Some(wire::put_vote(&reply.vote)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferRequest>,
    ) -> Result<Response<pb::TransferReply>, Status> {
        use pb::transfer_reply::Result as Reply;
        let message = request.into_inner();
        self.me().check(message.head.as_ref())?;
        self.inner.check_has_asked()?;
        let vote = wire::get_vote(message.from_leader)?;
        let request = TransferLeaderRequest::new(vote, message.to, message.last.map(wire::get_log_id));
        let result = match self.inner.raft.handle_transfer_leader(request).await.map_err(unavailable)? {
            Ok(()) => Reply::Accepted(true),
            Err(TransferLeaderError::VoteChanged { actual, .. }) => {
                Reply::VoteChanged(wire::put_vote(&actual))
            }
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
                Reply::LogNotFlushed(pb::Matched { last: actual.as_ref().map(wire::put_log_id) })
            }
        };
        Ok(Response::new(pb::TransferReply { result: Some(result) }))
    }

    async fn propose(
        &self,
        request: Request<pb::ProposeRequest>,
    ) -> Result<Response<pb::ProposeReply>, Status> {
        use pb::propose_reply::Result as Reply;
        let message = request.into_inner();
        self.me().check(message.head.as_ref())?;
        let limit = Duration::from_millis(u64::from(message.deadline_ms));
        let result = match self.inner.propose_here(message.command, limit).await {
            Ok(applied) => {
                Reply::Applied(pb::Applied { index: applied.index, reply: applied.reply.encode().into() })
            }
            Err(refused) => Reply::Refused(Refused::to_wire(&refused)),
        };
        Ok(Response::new(pb::ProposeReply { result: Some(result) }))
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexReply>, Status> {
        use pb::read_index_reply::Result as Reply;
        let message = request.into_inner();
        self.me().check(message.head.as_ref())?;
        let limit = Duration::from_millis(u64::from(message.deadline_ms)).min(READ_DEADLINE);
        let result = match self.inner.read_index_here(&Wait::new(limit)).await {
            Ok(next) => Reply::Next(next),
            Err(refused) => Reply::Refused(Refused::to_wire(&refused)),
        };
        Ok(Response::new(pb::ReadIndexReply { result: Some(result) }))
    }

    async fn contents(
        &self,
        request: Request<pb::ContentsRequest>,
    ) -> Result<Response<pb::ContentsReply>, Status> {
        let message = request.into_inner();
        self.me().check(message.head.as_ref())?;
        self.inner.give_rows(message.revisions).await.map(Response::new)
    }

    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinReply>, Status> {
        let message = request.into_inner();
        self.me().check(message.head.as_ref())?;
        let refused = self.inner.admit(message).await.err().map(|e| e.to_string()).unwrap_or_default();
        Ok(Response::new(pb::JoinReply { refused }))
    }

    async fn change(&self, request: Request<pb::ChangeRequest>) -> Result<Response<pb::ChangeReply>, Status> {
        let message = request.into_inner();
        self.me().check(message.head.as_ref())?;
        Ok(Response::new(self.inner.change_asked(message).await))
    }

    async fn ping(&self, request: Request<pb::PingRequest>) -> Result<Response<pb::PingReply>, Status> {
        let mut message = request.into_inner();
        let from = message.head.as_ref().map_or(0, |head| head.from);
        // A process that is this member too wants to know it.
        if from != self.me().id {
            self.me().check(message.head.as_ref())?;
            self.inner.compare_head(&mut message.head)?;
        }
        let seen = self.me().seen.of(from).map(Seen::to_wire);
        if let Some(own) = message.own.filter(|_| from != self.me().id) {
            self.me().seen.saw(from, Seen::from_wire(own));
        }
        let config = &self.inner.config;
        let (member, wall_ms, process) = (self.me().id, (config.wall_clock)(), self.me().process);
        let room = self.inner.space.disk().room.to_wire().into();
        let twin = match from == member {
            true => None,
            false => self.inner.twin_of(from, message.process).await,
        };
        Ok(Response::new(pb::PingReply {
            member,
            state_level: config.state_level,
            wall_ms,
            process,
            seen,
            room,
            twin: twin.unwrap_or_default(),
            barred: self.inner.barred().is_some(),
        }))
    }
}
