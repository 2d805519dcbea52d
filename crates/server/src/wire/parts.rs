//! The parts of a running server that its tasks share.

use std::net::SocketAddr;
use std::sync::Arc;

use dyad_cluster::{Ap, Directory};
use dyad_grpc::Connections;
use dyad_naming::Registry;
use dyad_push::config::Listeners;
use dyad_push::naming::Push;
use dyad_raft::RaftHandle;
use dyad_types::{Budget, MemberId, Places};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::files::Files;
use super::{cp, host, probes};
use crate::settings::Settings;
use crate::telemetry::Lines;

/// What every task may use, put together once at the start.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) me: MemberId,
    pub(crate) registry: Arc<Registry>,
    pub(crate) raft: Arc<RaftHandle>,
    pub(crate) ap: Arc<Ap>,
    /// `None` standalone.
    pub(crate) directory: Option<Arc<Directory>>,
    pub(crate) probes: Arc<probes::Probes>,
    pub(crate) sink: Arc<cp::Sink>,
    pub(crate) lines: Arc<Lines>,
    pub(crate) counters: Arc<host::Counters>,
    pub(crate) push: Arc<Push>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) places: Arc<Places>,
    pub(crate) files: Files,
    /// The HTTP port that was opened.
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) cluster: Option<SocketAddr>,
    /// Why this member is not ready; empty while it is. It is looked at all the time (`readiness`).
    pub(crate) not_ready: Mutex<String>,
    /// Cancelled when the other servers of the list were asked for the first time.
    pub(crate) asked: CancellationToken,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}
