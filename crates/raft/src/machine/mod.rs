//! The state machine for openraft: the CP state in memory, which a start rebuilds from the snapshot and the committed log.

mod files;
mod format;
mod progress;
mod replay;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use dyad_state::ports::CpSink;
use dyad_state::{CpCommand, CpState, Envelope, Stamp};
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use parking_lot::{RwLock, RwLockWriteGuard};

use crate::backend::MetaKey;
use crate::contents::{ContentStore, Since};
use crate::error::{Fatal, FatalSlot};
use crate::log::LogStore;
use crate::record;
use crate::space::Space;
use crate::types::{
    Entry, LogId, Outcome, Payload, Proposal, SnapshotMeta, StoredMembership, TypeConfig, index_of,
};
pub(crate) use files::{Blank, Loaded, Snapshot, SnapshotDir, SnapshotFile, has_snapshot, load, write_first};
pub(crate) use format::{Header, write as encode_snapshot};
#[cfg(test)]
pub(crate) use format::{read as read_snapshot, write as write_snapshot};
use progress::Progress;

/// The applied state as the rest of the member sees it.
pub(crate) struct Applied {
    pub(crate) state: RwLock<CpState>,
    pub(crate) progress: Progress,
    /// Known once the founding command was applied, or from the store.
    pub(crate) cluster_id: RwLock<Option<u128>>,
}

pub(crate) struct StateMachine {
    applied: Arc<Applied>,
    last: Option<LogId>,
    membership: StoredMembership,
    snapshots: Arc<SnapshotDir>,
    sink: Arc<dyn CpSink>,
    stores: Stores,
    space: Arc<Space>,
    fatal: FatalSlot,
}

/// What the state machine writes to, besides the snapshots.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) log: LogStore,
    pub(crate) contents: ContentStore,
}

impl StateMachine {
    /// Starts from the current snapshot, if there is one.
    pub(crate) fn new(
        snapshots: Arc<SnapshotDir>,
        loaded: Option<Loaded>,
        cluster_id: Option<u128>,
        sink: Arc<dyn CpSink>,
        (stores, space, fatal): (Stores, Arc<Space>, FatalSlot),
    ) -> StateMachine {
        let (state, meta) = match loaded {
            Some(loaded) => (loaded.state, loaded.header.meta),
            None => (CpState::default(), SnapshotMeta::default()),
        };
        let cluster_id = cluster_id.or(state.cluster().id());
        sink.installed(&state);
        let applied = Arc::new(Applied {
            state: RwLock::new(state),
            progress: Progress::new(next_of(meta.last_log_id.as_ref())),
            cluster_id: RwLock::new(cluster_id),
        });
        StateMachine {
            applied,
            last: meta.last_log_id,
            membership: meta.last_membership,
            snapshots,
            sink,
            stores,
            space,
            fatal,
        }
    }

    pub(crate) fn applied(&self) -> Arc<Applied> {
        Arc::clone(&self.applied)
    }

    /// The state, the entry that it ends with, and the membership at this entry.
    pub(crate) fn view(&self) -> (CpState, Option<LogId>, StoredMembership) {
        (self.applied.state.read().clone(), self.last, self.membership.clone())
    }

    /// Whether nothing was ever applied here.
    pub(crate) fn is_blank(&self) -> bool {
        self.last.is_none()
    }

    #[cfg(test)]
    pub(crate) fn contents(&self) -> &ContentStore {
        &self.stores.contents
    }

    async fn apply_one(&mut self, entry: Entry) -> io::Result<Outcome> {
        let log_id = entry.log_id;
        let outcome = match entry.payload {
            Payload::Blank => Outcome(None),
            Payload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership);
                Outcome(None)
            }
            Payload::Normal(proposal) => self.apply_command(&proposal, log_id).await?,
        };
        self.last = Some(log_id);
        Ok(outcome)
    }

    /// Contents are staged before the sink hears of the entry, so that whoever sees a version can read it.
    ///
    /// A command that does not decode stops the member: skipping it would make its state differ from the others'.
    async fn apply_command(&mut self, proposal: &Proposal, log_id: LogId) -> io::Result<Outcome> {
        let envelope = Envelope::decode(&proposal.command).map_err(|e| {
            let at = format!("log index {}", log_id.index);
            let fatal = Fatal::Corrupt { file: self.stores.log.backend().file(), at, cause: e.to_string() };
            let error = io::Error::new(io::ErrorKind::InvalidData, fatal.to_string());
            self.fatal.set(fatal);
            error
        })?;
        let stamp = Stamp { now_ms: proposal.now_ms, index: log_id.index };
        let contents = &self.stores.contents;
        if matches!(envelope.command, CpCommand::Config(_)) {
            contents.room().await?;
        }
        let (reply, cluster_id) = {
            let mut state = self.applied.state.write();
            let (reply, mut changes) = state.apply(&envelope, stamp);
            let rows = std::mem::take(&mut changes.config.contents_put);
            if !rows.is_empty() {
                contents.stage(rows);
            }
            if !changes.config.contents_dropped.is_empty() {
                contents.dropped(&changes.config.contents_dropped);
            }
            let state = RwLockWriteGuard::downgrade(state);
            self.sink.applied(&state, &changes);
            (reply, state.cluster().id())
        };
        self.learn_cluster_id(cluster_id).await?;
        Ok(Outcome(Some(reply)))
    }

    async fn learn_cluster_id(&self, id: Option<u128>) -> io::Result<()> {
        let Some(id) = id else { return Ok(()) };
        if *self.applied.cluster_id.read() == Some(id) {
            return Ok(());
        }
        self.stores.log.put_meta(MetaKey::ClusterId, record::encode_cluster(id)).await?;
        *self.applied.cluster_id.write() = Some(id);
        Ok(())
    }

    fn wake(&self) {
        self.applied.progress.reach(next_of(self.last.as_ref()));
    }

    fn builder(&self) -> Builder {
        let state = self.applied.state.read().clone();
        let meta = SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() };
        Builder {
            header: Header { cluster_id: state.cluster().id(), meta },
            state,
            snapshots: Arc::clone(&self.snapshots),
            since: self.stores.contents.since(),
            contents: self.stores.contents.clone(),
            fatal: self.fatal.clone(),
        }
    }

    /// Another cluster's snapshot would replace everything this one ever acknowledged.
    fn check_cluster(&self, header: &Header) -> io::Result<()> {
        let ours = *self.applied.cluster_id.read();
        match (ours, header.cluster_id) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the snapshot is of cluster {theirs:032x}, this is {ours:032x}"),
            )),
            _ => Ok(()),
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let outcome = self.apply_one(entry).await?;
            self.wake();
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    /// On a disk that is nearly full a snapshot can wait, unless a follower needs it.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        match self.space.check() {
            Err(why) if !force => {
                tracing::warn!("no snapshot now: {why}");
                None
            }
            _ => Some(self.builder()),
        }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.builder()
    }

    /// The file was checked, and the rows that were missing fetched, when it was received; both are checked again here
    /// because this is what becomes the state.
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, file: SnapshotFile) -> Result<(), io::Error> {
        let reading = file.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&reading)).await.map_err(io::Error::other)?;
        let loaded = loaded.map_err(|e| match e {
            format::ReadError::Io(e) => e,
            bad @ format::ReadError::Bad { .. } => {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {bad}", file.path.display()))
            }
        })?;
        self.check_cluster(&loaded.header)?;
        let contents = self.stores.contents.clone();
        let upto = index_of(meta.last_log_id.as_ref());
        // All rows are looked at: this state does not come from the one before.
        drop(contents.since());
        let extra = contents.whole(contents.settle(loaded.state.config(), upto, Since::default()).await?)?;
        let published = self.snapshots.publish(file, meta.clone(), loaded.sha256).await;
        published.inspect_err(|e| self.snapshots.report(&self.fatal, e))?;
        let cluster_id = loaded.state.cluster().id();
        {
            let mut state = self.applied.state.write();
            *state = loaded.state;
            let state = RwLockWriteGuard::downgrade(state);
            self.sink.installed(&state);
        }
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.learn_cluster_id(cluster_id).await?;
        self.wake();
        // Not awaited: apply goes on. A failure is in the fatal slot, and at a stop the next snapshot does it.
        tokio::spawn(async move { contents.remove(extra, upto).await });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.snapshots.current())
    }
}

/// Writes a snapshot from a clone of the state while apply goes on.
pub(crate) struct Builder {
    header: Header,
    state: CpState,
    snapshots: Arc<SnapshotDir>,
    contents: ContentStore,
    since: Since,
    fatal: FatalSlot,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    /// First all rows that the snapshot relies on are durable, then the snapshot is; then the rows in vain may go. openraft
    /// purges the log only after this has returned.
    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let upto = index_of(self.header.meta.last_log_id.as_ref());
        let since = std::mem::take(&mut self.since);
        let difference = self.contents.settle(self.state.config(), upto, since).await?;
        // A newer one was installed meanwhile, and rows that only this one relies on may have gone with that.
        let last = self.header.meta.last_log_id;
        if let Some(newer) = self.snapshots.current().filter(|current| current.meta.last_log_id > last) {
            return Ok(newer);
        }
        let extra = self.contents.whole(difference)?;
        let built = self.snapshots.build(self.header.clone(), self.state.clone()).await;
        let snapshot = built.inspect_err(|e| self.snapshots.report(&self.fatal, e))?;
        self.contents.remove(extra, upto).await?;
        Ok(snapshot)
    }
}

/// One past this entry.
fn next_of(last: Option<&LogId>) -> u64 {
    last.map_or(0, |id| id.index + 1)
}

/// The cluster id that the store keeps, so that it is known before the log is replayed.
pub(crate) fn stored_cluster_id(log: &LogStore) -> Result<Option<u128>, crate::error::StartError> {
    let file = log.backend().file();
    let stored: Option<Bytes> = log
        .backend()
        .get_meta(MetaKey::ClusterId)
        .map_err(|source| crate::error::StartError::Io { file: file.clone(), source })?;
    stored.map(|bytes| record::decode_cluster(&bytes)).transpose().map_err(|e| {
        crate::error::StartError::Corrupt { file, at: "cluster_id".into(), cause: e.to_string() }
    })
}
