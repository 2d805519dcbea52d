//! The calling side: the messages that openraft sends to one other member.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dyad_proto::raft as pb;
use dyad_proto::raft::raft_client::RaftClient;
use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use openraft::raft::{TransferLeaderError, TransferLeaderResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::{Me, Peers, snapshot};
use crate::machine::{Snapshot, SnapshotFile};
use crate::seen::Seen;
use crate::types::{Node, TypeConfig, Vote};
use crate::wire;

/// How often an append stream looks whether its oldest request is overdue.
const WATCH_TICK: Duration = Duration::from_millis(250);
/// Requests between openraft and the connection; openraft's own pipeline on the other side holds 64.
const PIPELINE: usize = 16;
/// Pauses before an unreachable member is tried again: 100 ms to 1 s.
const BACKOFF_MS: [u64; 4] = [100, 200, 400, 1000];

type RpcError = RPCError<TypeConfig>;
type AppendStream<'s> = BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>;

/// Makes a [`Peer`] per member for openraft.
pub(crate) struct Factory {
    pub(crate) me: Arc<Me>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) idle_limit: Duration,
}

impl Factory {
    fn peer(&self, target: u64, node: &Node, own: bool) -> Peer {
        let (me, peers) = (Arc::clone(&self.me), Arc::clone(&self.peers));
        let address = node.cluster_address.clone();
        let client = peers.client_of(&address, own);
        Peer { me, peers, target, address, own, client, idle_limit: self.idle_limit }
    }
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Node) -> Peer {
        self.peer(target, node, false)
    }

    /// On a connection of its own: a heartbeat behind an entry of megabytes could come too late.
    async fn new_heartbeat_client(&mut self, target: u64, node: &Node) -> Peer {
        self.peer(target, node, true)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Node) -> Peer {
        self.peer(target, node, true)
    }
}

/// One other member, as openraft calls it.
pub(crate) struct Peer {
    me: Arc<Me>,
    peers: Arc<Peers>,
    target: u64,
    address: String,
    /// Whether it has a connection of its own.
    own: bool,
    client: RaftClient<Channel>,
    idle_limit: Duration,
}

impl Peer {
    /// Goes to where the target is now. A wrong address table must not make a leader talk to itself.
    fn check_target(&mut self) -> Result<(), RpcError> {
        if let Some(address) = self.peers.moved_from(self.target, &self.address) {
            self.client = self.peers.client_of(&address, self.own);
            self.address = address;
        }
        if self.target == self.me.id {
            return Err(RPCError::Unreachable(Unreachable::from_string("the target is this member itself")));
        }
        Ok(())
    }

    async fn ask_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.check_target()?;
        let message = wire::put_vote_request(self.me.head_with_seen(self.target), &request, pre_vote);
        let reply = within(option.soft_ttl(), self.client.vote(message)).await?;
        let reply = wire::get_vote_reply(reply.into_inner()).map_err(rpc_error)?;
        if reply.vote_granted && !pre_vote {
            // A vote is on the disk before it is given.
            self.me.seen.saw(self.target, Seen { voted: request.vote.leader_id, last: None });
        }
        Ok(reply)
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<tonic::Response<T>, RpcError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(rpc_error),
        Err(_) => Err(RPCError::Unreachable(Unreachable::from_string(format!("no answer in {limit:?}")))),
    }
}

/// openraft waits before it tries an unreachable member again; what broke under way is tried at once.
fn rpc_error(status: Status) -> RpcError {
    match status.code() {
        Code::Unknown | Code::Internal | Code::Aborted => RPCError::Network(NetworkError::new(&status)),
        _ => RPCError::Unreachable(Unreachable::new(&status)),
    }
}

/// Ends the task that feeds a stream when the stream's reader goes: openraft takes its request stream's lock again at
/// once, and must not wait for a dead connection to let go of it.
struct Feeder(tokio::task::JoinHandle<()>);

impl Drop for Feeder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The replies of one append stream, and the watch over requests that stay without one.
struct Replies {
    inbound: Streaming<pb::AppendReply>,
    sent: Arc<AtomicU64>,
    received: u64,
    waiting_since: Option<Instant>,
    idle_limit: Duration,
    _feeder: Feeder,
}

impl Replies {
    async fn next(&mut self) -> Option<Result<StreamAppendResult<TypeConfig>, RpcError>> {
        loop {
            match tokio::time::timeout(WATCH_TICK, self.inbound.message()).await {
                Ok(Ok(Some(reply))) => {
                    self.received += 1;
                    self.waiting_since = None;
                    return Some(wire::get_append_reply(reply).map_err(rpc_error));
                }
                Ok(Ok(None)) => return None,
                Ok(Err(status)) => return Some(Err(rpc_error(status))),
                Err(_) if self.sent.load(Ordering::Relaxed) > self.received => {
                    let since = *self.waiting_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.idle_limit {
                        let what = format!("an append without an answer for {:?}", since.elapsed());
                        return Some(Err(RPCError::Unreachable(Unreachable::from_string(what))));
                    }
                }
                Err(_) => self.waiting_since = None,
            }
        }
    }
}

impl NetStreamAppend<TypeConfig> for Peer {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendStream<'s>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            self.check_target()?;
            // openraft's pause before an unreachable member is tried again is in its stream of requests: a call that failed
            // without having asked for the first one would be made again at once, thousands of times a second.
            let Some(first) = input.next().await else {
                return Ok(Box::pin(stream::empty()) as AppendStream<'s>);
            };
            let voted = first.vote.leader_id;
            let mut input = stream::iter([first]).chain(input);
            let (feed, requests) = mpsc::channel(PIPELINE);
            let sent = Arc::new(AtomicU64::new(0));
            let (me, target, counter) = (Arc::clone(&self.me), self.target, Arc::clone(&sent));
            let feeder = Feeder(tokio::spawn(async move {
                let mut head = Some(me.head_with_seen(target));
                while let Some(request) = input.next().await {
                    counter.fetch_add(1, Ordering::Relaxed);
                    let head = head.take().unwrap_or_else(|| me.head(target));
                    if feed.send(wire::put_append(head, &request)).await.is_err() {
                        return;
                    }
                }
            }));
            let call = self.client.append(ReceiverStream::new(requests));
            let inbound = within(self.idle_limit, call).await?.into_inner();
            let replies = Replies {
                inbound,
                sent,
                received: 0,
                waiting_since: None,
                idle_limit: self.idle_limit,
                _feeder: feeder,
            };
            let me = &self.me;
            let stream = stream::unfold(Some(replies), move |replies| async move {
                let mut replies = replies?;
                let item = replies.next().await?;
                if let Ok(Ok(matched)) = &item {
                    // What is answered is on the disk there: the leader's vote, and the entries up to this one.
                    me.seen.saw(target, Seen { voted, last: *matched });
                }
                // Anything but success ends the stream, as openraft expects.
                let go_on = matches!(item, Ok(Ok(_)));
                Some((item, go_on.then_some(replies)))
            });
            Ok(Box::pin(stream) as AppendStream<'s>)
        })
    }
}

impl NetVote<TypeConfig> for Peer {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_vote(request, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_vote(request, true, &option).await
    }
}

impl NetSnapshot<TypeConfig> for Peer {
    type SnapshotData = SnapshotFile;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        self.check_target()?;
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = snapshot::send(&mut self.client, (&self.me, self.target), vote, snapshot.snapshot) => {
                sent.map(SnapshotResponse::new).map_err(|status| rpc_error(status).into())
            }
        }
    }
}

impl NetTransferLeader<TypeConfig> for Peer {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        use pb::transfer_reply::Result as Reply;
        self.check_target()?;
        let message = pb::TransferRequest {
            head: Some(self.me.head(self.target)),
            from_leader: Some(wire::put_vote(request.from_leader())),
            to: *request.to_node_id(),
            last: request.last_log_id().map(wire::put_log_id),
        };
        let reply = within(option.soft_ttl(), self.client.transfer_leader(message)).await?.into_inner();
        Ok(match reply.result {
            Some(Reply::VoteChanged(vote)) => Err(TransferLeaderError::VoteChanged {
                expected: *request.from_leader(),
                actual: wire::get_vote(Some(vote)).map_err(rpc_error)?,
            }),
            Some(Reply::LogNotFlushed(matched)) => Err(TransferLeaderError::LogNotFlushed {
                expected: request.last_log_id().copied(),
                actual: matched.last.map(wire::get_log_id),
            }),
            Some(Reply::Accepted(_)) | None => Ok(()),
        })
    }
}

impl NetBackoff<TypeConfig> for Peer {
    fn backoff(&self) -> Option<Backoff> {
        let last = BACKOFF_MS[BACKOFF_MS.len() - 1];
        let pauses = BACKOFF_MS.into_iter().chain(std::iter::repeat(last));
        Some(Backoff::new(pauses.map(Duration::from_millis)))
    }
}
