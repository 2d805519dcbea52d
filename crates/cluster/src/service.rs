//! The cluster port: the request Hello, incoming gossip, and the raft service, all inside the TLS between members.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dyad_distro::codec;
use dyad_naming::ports::BoxFuture;
use dyad_proto::cluster::cluster_server::{Cluster, ClusterServer};
use dyad_proto::cluster::{AskReply, AskRequest, Frame, GossipEnd, HelloReply, HelloRequest, Load};
use dyad_types::MemberId;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::ap::Ap;
use crate::ask::{ANSWER_MAX, TARGET_MAX};
use crate::directory::Directory;
use crate::port::{self, PortError, PortLimits};
use crate::tls::ClusterTls;

/// A gossip stream without a frame for this long is closed (rule 23); pings come each 500 ms.
pub(crate) const STREAM_SILENCE: Duration = Duration::from_secs(3);
/// The largest frame: a Distro message in its envelope.
const FRAME_MAX: usize = codec::FRAME_MAX + 16;

pub(crate) const FROM: &str = "dyad-from";
pub(crate) const TO: &str = "dyad-to";

/// Answers Hello and receives gossip.
#[derive(Clone, Debug)]
pub struct ClusterService {
    directory: Arc<Directory>,
    ap: Arc<Ap>,
    cluster_id: Arc<dyn ClusterIdentity>,
    streams: Arc<AtomicU64>,
}

/// The raft cluster to which this member belongs, for Hello. `Some(0)` means that the member does not know the identity
/// of its cluster yet. This is not the same as `None`: a member without a cluster may found one.
pub trait ClusterIdentity: Send + Sync + std::fmt::Debug + 'static {
    fn cluster_id(&self) -> BoxFuture<'_, Option<u128>>;
}

impl ClusterService {
    pub fn new(
        directory: Arc<Directory>,
        ap: Arc<Ap>,
        cluster_id: Arc<dyn ClusterIdentity>,
    ) -> ClusterService {
        ClusterService { directory, ap, cluster_id, streams: Arc::default() }
    }

    /// Serves the cluster port until `shutdown` ends. Then it stops at once: peers keep their streams open as long as
    /// they can, and they have been told before that this member leaves. `raft` has the raft service.
    ///
    /// # Errors
    /// The port cannot be served any more. Without it the member hears nobody, so the process should end.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: &ClusterTls,
        limits: PortLimits,
        raft: Routes,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), PortError> {
        let routes = raft.add_service(ClusterServer::new(self).max_decoding_message_size(FRAME_MAX));
        port::serve(listener, tls, limits, routes, shutdown).await
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.directory.greeted(&request.get_ref().address, request.get_ref().news);
        let cluster_id = self.cluster_id.cluster_id().await;
        let cluster_id = cluster_id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default();
        let load = self.directory.load();
        // What a removed member knows is what others told it.
        let membership =
            self.directory.membership().filter(|_| !cluster_id.is_empty() && !self.directory.is_removed());
        Ok(Response::new(HelloReply {
            member: self.directory.me().0,
            nonce: self.directory.nonce(),
            incarnation: self.ap.incarnation(),
            address: self.directory.own_entry().map(|e| e.address).unwrap_or_default(),
            cluster_id: cluster_id.into(),
            members: self.directory.sorted_addresses(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            load: load.map(|load| Load { clients: load.clients, draining: load.draining }),
            condition: self.directory.condition(),
            membership: membership.map(|membership| membership.to_wire()),
        }))
    }

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskReply>, Status> {
        let target = request.into_inner().target;
        if target.len() > TARGET_MAX {
            return Err(Status::invalid_argument(format!("a target has at most {TARGET_MAX} bytes")));
        }
        let answer = self.directory.answer().ok_or_else(|| Status::unavailable("this member is starting"))?;
        let (status, body) = answer.answer(target).await;
        if body.len() > ANSWER_MAX {
            return Err(Status::resource_exhausted(format!("the answer is larger than {ANSWER_MAX} bytes")));
        }
        Ok(Response::new(AskReply { status: status.into(), body }))
    }

    async fn gossip(&self, request: Request<Streaming<Frame>>) -> Result<Response<GossipEnd>, Status> {
        let from = member_header(&request, FROM)?;
        let to = member_header(&request, TO)?;
        let me = self.directory.me();
        if to != me {
            return Err(Status::failed_precondition(format!("this is member {me}, not {to}")));
        }
        // Numbers grow with the time of acceptance: the core ignores frames of an older stream of the same sender.
        let stream = self.streams.fetch_add(1, Ordering::Relaxed) + 1;
        let mut frames = request.into_inner();
        loop {
            let next = tokio::time::timeout(STREAM_SILENCE, frames.message()).await;
            match next {
                Ok(Ok(Some(frame))) => self.ap.receive(from, stream, frame.message)?,
                Ok(Ok(None)) => return Ok(Response::new(GossipEnd {})),
                Ok(Err(status)) => return Err(status),
                Err(_) => return Err(Status::deadline_exceeded("the stream was silent for 3 s")),
            }
        }
    }
}

fn member_header<T>(request: &Request<T>, name: &'static str) -> Result<MemberId, Status> {
    request
        .metadata()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Status::invalid_argument(format!("metadata `{name}` must be a member id")))
}
