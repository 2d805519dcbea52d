//! The raft of a member, in the form in which the server uses it: to start it, initialize it, watch it, hand over its
//! leadership and stop it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use dyad_config::{ConfigState, Contents};
use dyad_proto::raft::raft_server::RaftServer;
use dyad_state::CpState;
use dyad_state::ports::{CpSink, Knowledge};
use dyad_types::MemberId;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::backend::{ContentBackend, LogBackend, MetaKey, SledBackend, SledContents};
use crate::compact::Compaction;
use crate::config::RaftConfig;
use crate::contents::{ContentStore, Reader};
use crate::error::{Fatal, FatalSlot, StartError};
use crate::log::{LogStore, Owner};
use crate::machine::{SnapshotDir, StateMachine, Stores};
use crate::network::{Dial, Factory, Me, Peers, Service};
use crate::opening::{self, Opened, blocking, is_blank};
use crate::propose::Admission;
use crate::record;
use crate::space::Space;
use crate::standing::Standing;
use crate::stats::ContentStats;
use crate::status::{Peer, RaftStatus, Recovery};
use crate::steward;
use crate::survey::Survey;
use crate::types::{Metrics, Node, TypeConfig, Vote, index_of};
use crate::wire::MESSAGE_MAX;

/// How long a hand-over of leadership may take; after it the others elect by themselves.
pub(crate) const TRANSFER_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Inner {
    pub(crate) config: RaftConfig,
    pub(crate) raft: openraft::Raft<TypeConfig, StateMachine>,
    pub(crate) log: LogStore,
    pub(crate) contents: ContentStore,
    pub(crate) snapshots: Arc<SnapshotDir>,
    pub(crate) me: Arc<Me>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) admission: Admission,
    pub(crate) space: Arc<Space>,
    pub(crate) survey: Survey,
    pub(crate) fatal: FatalSlot,
    /// The highest level of the state that this member ever proposed.
    pub(crate) raising: AtomicU32,
    /// Held during a membership change.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Held while a snapshot arrives.
    pub(crate) receiving: tokio::sync::Mutex<()>,
    /// Which leader was heard last, and when; 0 and the start of this member while none was.
    pub(crate) last_heard: Mutex<(u64, Instant)>,
    recovered: AtomicBool,
    /// Whether the store had never had the whole state at the start.
    blank: bool,
    noted_whole: AtomicBool,
    /// Whether another member has said that there is a cluster to join.
    joining: AtomicBool,
    standing: RwLock<Standing>,
    /// Whether the others were asked what they have seen of this member.
    pub(crate) asked: AtomicBool,
    stopping: AtomicBool,
}

impl Inner {
    /// Reads the metrics. The closure must be quick: openraft waits for it.
    pub(crate) fn metrics<T>(&self, read: impl FnOnce(&Metrics) -> T) -> T {
        read(&self.raft.metrics().borrow_watched())
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Notes a sign of life of a leader.
    pub(crate) fn heard(&self, vote: &Vote) {
        if vote.committed {
            *self.last_heard.lock() = (vote.leader_id.node_id, Instant::now());
        }
    }

    /// Was this leader heard of late?
    pub(crate) fn hears(&self, leader: u64) -> bool {
        let (from, at) = *self.last_heard.lock();
        from == leader && at.elapsed() < self.config.leader_stale()
    }

    /// Leading: did a majority answer of late?
    pub(crate) fn has_quorum(&self) -> bool {
        self.metrics(|m| {
            let alone = m.membership_config.voter_ids().eq([m.id]);
            let acked = m.last_quorum_acked.as_ref().map(|at| openraft::Instant::elapsed(&**at));
            m.state == ServerState::Leader && (alone || acked.is_some_and(|a| a < self.config.leader_stale()))
        })
    }

    /// The commit index that counts is one heard from a leader that has committed in its own term: it covers all that
    /// was acknowledged before. The index that openraft restores from the store is not enough: this member may have
    /// acknowledged what it had applied but not yet flushed.
    pub(crate) fn recovery(&self) -> Recovery {
        if self.recovered.load(Ordering::Relaxed) {
            return Recovery::Done;
        }
        let recovery = self.metrics(|m| {
            if m.membership_config.log_id().is_none() {
                return Recovery::NoCluster;
            }
            let whole = m.cluster_committed.is_some_and(|committed| {
                m.vote.committed
                    && committed.leader_id == m.vote.leader_id
                    && m.last_applied.is_some_and(|applied| applied.index >= committed.index)
            });
            if whole { Recovery::Done } else { Recovery::CatchingUp }
        });
        if recovery == Recovery::Done {
            self.recovered.store(true, Ordering::Relaxed);
        }
        recovery
    }

    /// Notes in the store that this member has had the whole state, once it has.
    pub(crate) async fn note_whole(&self) {
        if self.blank && self.recovery() == Recovery::Done && !self.noted_whole.swap(true, Ordering::Relaxed)
        {
            // A failure is in the fatal slot.
            let _ = self.log.put_meta(MetaKey::Whole, record::encode_number(1)).await;
        }
    }

    /// If this member leads, hands the leadership within a second to `to`, or to the follower that has the most of the log of those that
    /// answer and may speak for the cluster. True if another member leads then, or if this one did not lead.
    pub(crate) async fn transfer_to(&self, to: Option<u64>) -> bool {
        let unfit = self.unfit_members();
        let best = self.metrics(|m| {
            if m.state != ServerState::Leader {
                return None;
            }
            // One that is dead would keep openraft waiting, without heartbeats to the others.
            let may = |id: &u64| *id != m.id && to.map_or(!unfit.contains(id), |to| to == *id);
            let voters = m.membership_config.voter_ids().filter(may);
            let matched = |id: u64| m.replication.as_ref().and_then(|r| r.get(&id).copied().flatten());
            Some(voters.max_by_key(|id| matched(*id)))
        });
        let Some(best) = best else { return true };
        // A sole voter has nobody to hand over to.
        let Some(best) = best else { return false };
        let me = self.me.id;
        self.raft.trigger().transfer_leader(best).await.is_ok()
            && self.wait(TRANSFER_LIMIT, |i| i.known_leader().is_some_and(|(leader, _)| leader != me)).await
    }

    /// Waits until it holds. False if it does not within `limit`.
    pub(crate) async fn wait(&self, limit: Duration, done: impl Fn(&Inner) -> bool) -> bool {
        let mut metrics = self.raft.metrics();
        let deadline = Instant::now() + limit;
        loop {
            metrics.borrow_and_update();
            if done(self) {
                return true;
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return done(self),
            }
        }
    }

    /// Lets this member stand for election, if it speaks for its cluster and has asked whether its store was set back.
    pub(crate) fn let_elect(&self) {
        let member = *self.standing.read() == Standing::Member;
        self.raft.runtime_config().elect(member && self.asked.load(Ordering::Relaxed));
    }

    /// Why this member does not speak for its cluster.
    pub(crate) fn barred(&self) -> Option<String> {
        self.standing.read().why_not()
    }

    pub(crate) fn knowledge(&self) -> Knowledge {
        if *self.standing.read() == Standing::Removed {
            Knowledge::Removed
        } else if !self.blank || self.recovery() == Recovery::Done {
            Knowledge::Known
        } else if self.joining.load(Ordering::Relaxed) {
            Knowledge::Joining
        } else {
            Knowledge::NoCluster
        }
    }
}

/// The running raft of one member.
pub struct RaftHandle {
    pub(crate) inner: Arc<Inner>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for RaftHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftHandle").field("member", &self.inner.me.id).finish_non_exhaustive()
    }
}

impl RaftHandle {
    /// Opens the store in the data directory, rebuilds the state from the snapshot and the log, and starts raft. A
    /// member that is the only voter elects itself at once. The sink hears of the rebuilt state before this returns.
    ///
    /// # Errors
    /// The store is in use, corrupt or unreadable. [`StartError::exit_code`] gives the exit code of the process.
    pub async fn start(
        config: RaftConfig,
        dial: Arc<dyn Dial>,
        sink: Arc<dyn CpSink>,
    ) -> Result<Arc<RaftHandle>, StartError> {
        let path = config.data_dir.join("raft");
        let at = path.clone();
        let log = blocking(&at, move || SledBackend::open(&path)).await?;
        let path = config.data_dir.join("contents");
        let at = path.clone();
        let contents = blocking(&at, move || SledContents::open(&path)).await?;
        RaftHandle::start_on((Arc::new(log), Arc::new(contents)), config, dial, sink).await
    }

    /// The same as [`RaftHandle::start`], on the given log and store of contents.
    ///
    /// # Errors
    /// The same as those of [`RaftHandle::start`].
    pub async fn start_on(
        (log, contents): (Arc<dyn LogBackend>, Arc<dyn ContentBackend>),
        config: RaftConfig,
        dial: Arc<dyn Dial>,
        sink: Arc<dyn CpSink>,
    ) -> Result<Arc<RaftHandle>, StartError> {
        let fatal = FatalSlot::new();
        let (slot, dir) = (fatal.clone(), config.data_dir.join("snapshots"));
        let owner = Owner { member: config.member.0, claim: config.claim };
        let opened =
            blocking(&config.data_dir, move || opening::open(log, contents, owner, slot, &dir)).await?;
        let Opened { stores, snapshots, loaded, cluster_id } = opened;
        let Stores { log, contents } = stores.clone();
        let snapshots = Arc::new(snapshots);
        let space = Arc::new(Space::new(Arc::clone(log.backend()), config.min_free_bytes));
        let store = (stores, Arc::clone(&space), fatal.clone());
        let mut machine = StateMachine::new(Arc::clone(&snapshots), loaded, cluster_id, sink, store);
        // What the store found wrong says more than what became of it.
        let wrong = |error: String| fatal.get().map_or_else(|| StartError::Raft(error), Into::into);
        machine.replay().await.map_err(|error| wrong(error.to_string()))?;
        let empty = machine.is_blank();
        let me = Arc::new(Me::new(config.member.0, machine.applied()));
        let peers = Arc::new(Peers::new(dial));
        let factory =
            Factory { me: Arc::clone(&me), peers: Arc::clone(&peers), idle_limit: config.idle_limit() };
        let raft =
            openraft::Raft::new(config.member.0, config.openraft()?, factory, log.clone(), machine).await;
        let raft = raft.map_err(|error| wrong(error.to_string()))?;
        let compaction = Compaction {
            raft: raft.clone(),
            log: log.clone(),
            snapshots: Arc::clone(&snapshots),
            config: config.clone(),
        };
        let blank = is_blank(&log, empty).await.map_err(|error| wrong(error.to_string()))?;
        // It has voted, or was sent entries, before it was stopped: there is a cluster.
        let initialized = raft.is_initialized().await.unwrap_or(false);
        let joining = blank && initialized;
        let inner = Arc::new(Inner {
            space,
            survey: Survey::default(),
            config,
            raft,
            log,
            contents,
            snapshots,
            me,
            peers,
            admission: Admission::new(),
            fatal,
            raising: AtomicU32::new(0),
            changing: tokio::sync::Mutex::default(),
            receiving: tokio::sync::Mutex::default(),
            last_heard: Mutex::new((0, Instant::now())),
            recovered: AtomicBool::new(false),
            blank,
            noted_whole: AtomicBool::new(false),
            joining: AtomicBool::new(joining),
            standing: RwLock::default(),
            asked: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });
        if inner.membership().voter_ids().any(|id| id != inner.me.id) {
            tokio::spawn(Arc::clone(&inner).ask_what_was_seen());
        } else {
            inner.asked.store(true, Ordering::Relaxed);
            inner.let_elect();
        }
        let tasks = vec![
            tokio::spawn(steward::run(Arc::clone(&inner))),
            tokio::spawn(steward::watch(Arc::clone(&inner))),
            tokio::spawn(Arc::clone(&inner).survey_others()),
            tokio::spawn(compaction.run()),
        ];
        Ok(Arc::new(RaftHandle { inner, tasks: Mutex::new(tasks) }))
    }

    /// The service that the cluster port has to serve.
    pub fn service(&self) -> RaftServer<Service> {
        RaftServer::new(Service::new(Arc::clone(&self.inner)))
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX)
    }

    /// Founds the cluster with these voters. One member calls this once, after all of them answered that they are empty
    /// ([`crate::bootstrap`]). On a member that belongs to a cluster already it changes nothing.
    ///
    /// # Errors
    /// The store fails, or this member is not among the voters.
    pub async fn initialize(&self, voters: BTreeMap<MemberId, Node>) -> Result<(), Fatal> {
        let voters: BTreeMap<u64, Node> = voters.into_iter().map(|(id, node)| (id.0, node)).collect();
        match self.inner.raft.initialize(voters).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(self.inner.fatal.get().unwrap_or_else(|| Fatal::Raft(error.to_string()))),
        }
    }

    /// Whether this member belongs to a cluster, or has ever voted in one.
    pub async fn is_initialized(&self) -> bool {
        self.inner.raft.is_initialized().await.unwrap_or(false)
    }

    /// The identity of the cluster, as Hello answers it. 0 while the member does not know the identity of its cluster
    /// yet. `None` for an empty member, which may be initialized.
    pub async fn cluster_id(&self) -> Option<u128> {
        let known = *self.inner.me.applied.cluster_id.read();
        match known {
            Some(id) => Some(id),
            None => self.is_initialized().await.then_some(0),
        }
    }

    /// The applied state. This makes a clone, which is O(1).
    pub fn state(&self) -> CpState {
        self.inner.me.applied.state.read().clone()
    }

    /// The configurations of the applied state. It waits for an entry to change the state, not for what follows from it, so that
    /// whoever is told of an entry may call it.
    pub fn config_state(&self) -> ConfigState {
        self.inner.me.applied.state.read_recursive().config().clone()
    }

    /// The store of the contents on which the applied state relies.
    pub fn contents(&self) -> Arc<dyn Contents> {
        Arc::new(Reader::new(self.inner.contents.clone(), Arc::clone(&self.inner.me.applied)))
    }

    /// The counters and sizes of the store of contents.
    pub fn content_stats(&self) -> ContentStats {
        self.inner.contents.stats()
    }

    pub fn status(&self) -> RaftStatus {
        self.inner.status()
    }

    /// Whether reads can be answered without missing an acknowledged write. See [`Recovery`].
    pub fn recovery(&self) -> Recovery {
        self.inner.recovery()
    }

    /// Notes that another member belongs to a cluster, which this one has to join. It shows in [`Linearize::knowledge`].
    pub fn will_join(&self) {
        self.inner.joining.store(true, Ordering::Relaxed);
    }

    /// Waits until [`Recovery::Done`]. False if this does not happen within `limit`, because no leader was heard or the
    /// leader has not committed anything yet.
    pub async fn wait_recovered(&self, limit: Duration) -> bool {
        self.inner.wait(limit, |inner| inner.recovery() == Recovery::Done).await
    }

    /// Waits until a leader is known. False if this does not happen within `limit`.
    pub async fn wait_leader(&self, limit: Duration) -> bool {
        self.inner.wait(limit, |inner| inner.known_leader().is_some()).await
    }

    /// A channel that gets the error after which the process must end ([`Fatal::exit_code`]).
    pub fn on_fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.inner.fatal.subscribe()
    }

    /// Gives up memory that a quiet cluster does not need. Meant to be called every few seconds: only the second call without
    /// a new entry in between does anything.
    pub fn rest(&self) {
        self.inner.log.rest();
    }

    /// Makes a snapshot now. This returns at once; [`RaftStatus::snapshot`] shows when the snapshot exists.
    ///
    /// # Errors
    /// Raft has stopped.
    pub async fn snapshot(&self) -> Result<(), Fatal> {
        self.inner.raft.trigger().snapshot().await.map_err(|e| Fatal::Raft(e.to_string()))
    }

    /// If this member leads, hands the leadership within a second to the follower that has the most of the log. True if
    /// another member leads then, or if this one did not lead.
    pub async fn transfer_leader(&self) -> bool {
        self.inner.transfer_to(None).await
    }

    /// The members by the last committed change of the membership, and its index. `None` while this member knows of none, or while
    /// a change is under way that is not committed yet.
    pub fn members(&self) -> Option<(u64, Vec<Peer>)> {
        let inner = &self.inner;
        let index = inner.metrics(|m| {
            let index = index_of(m.membership_config.log_id().as_ref())?;
            (m.last_applied.is_some_and(|applied| applied.index >= index)).then_some(index)
        })?;
        let status = inner.status();
        Some((index, status.voters.into_iter().chain(status.learners).collect()))
    }

    /// A channel that changes with the role of this member and with the membership.
    pub fn on_members(&self) -> impl Future<Output = ()> + use<> {
        let mut metrics = self.inner.raft.server_metrics();
        metrics.borrow_and_update();
        async move {
            // The end of raft is told elsewhere.
            let _ended = metrics.changed().await;
        }
    }

    /// The highest level of the state that this build knows.
    pub fn known_level(&self) -> u32 {
        self.inner.config.state_level
    }

    /// Bytes that are free on the disk of the data directory; 0 if the system does not say.
    pub fn free_disk(&self) -> u64 {
        self.inner.space.disk().free_bytes.unwrap_or(0)
    }

    /// Whether this member may speak for its cluster.
    pub fn standing(&self) -> Standing {
        self.inner.standing.read().clone()
    }

    /// Sets whether this member may speak for its cluster. True if that is new.
    pub fn stand(&self, standing: Standing) -> bool {
        let mut now = self.inner.standing.write();
        if *now == standing {
            return false;
        }
        *now = standing;
        drop(now);
        self.inner.let_elect();
        true
    }

    /// Stops raft: hands over the leadership, waits for the writes under way, stops openraft, and makes the log
    /// durable. The front ends and the cluster port should accept no more requests by then. A second call does nothing.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        if inner.stopping.swap(true, Ordering::Relaxed) {
            return;
        }
        self.transfer_leader().await;
        inner.admission.drain().await;
        if let Err(error) = inner.raft.shutdown().await {
            tracing::warn!("raft did not stop cleanly: {error}");
        }
        inner.log.stop().await;
        inner.contents.stop().await;
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

impl Drop for RaftHandle {
    fn drop(&mut self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}
