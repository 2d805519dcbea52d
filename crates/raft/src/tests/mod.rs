//! Tests that need the crate's inside; those of the public API are in `tests/`.

mod backends;
mod broken;
mod contents;
mod forgotten;
mod golden;
mod model;
mod replay;
mod suite;
mod tail;

use dyad_naming::cp::NamingCommand;
use std::sync::Arc;

use bytes::Bytes;
use dyad_state::ports::CpSink;
use dyad_state::{CpChanges, CpCommand, CpState, Envelope};
use dyad_types::{Instance, ServiceKey};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

use crate::backend::{ContentBackend, LogBackend, MemContents};
use crate::contents::ContentStore;
use crate::error::{FatalSlot, StartError};
use crate::log::{LogStore, Owner};
use crate::machine::{SnapshotDir, StateMachine, Stores, stored_cluster_id};
use crate::space::Space;
use crate::types::{Entry, Payload, Proposal, log_id};

pub(crate) struct NoSink;

impl CpSink for NoSink {
    fn applied(&self, _: &CpState, _: &CpChanges) {}
    fn installed(&self, _: &CpState) {}
}

pub(crate) const MEMBER: u64 = 7;
pub(crate) const OWNER: Owner = Owner { member: MEMBER, claim: None };

/// Log and state machine over a backend, with snapshots in `dir` and contents in memory.
pub(crate) fn open(
    backend: Arc<dyn LogBackend>,
    dir: &std::path::Path,
) -> Result<(LogStore, StateMachine, FatalSlot), StartError> {
    open_with(backend, Arc::new(MemContents::new()), dir)
}

pub(crate) fn open_with(
    backend: Arc<dyn LogBackend>,
    contents: Arc<dyn ContentBackend>,
    dir: &std::path::Path,
) -> Result<(LogStore, StateMachine, FatalSlot), StartError> {
    let fatal = FatalSlot::new();
    let log = LogStore::open(backend, OWNER, fatal.clone())?;
    let cluster_id = stored_cluster_id(&log)?;
    let (snapshots, loaded) = SnapshotDir::open(dir.join("snapshots"), log.clone())?;
    let space = Arc::new(Space::new(Arc::clone(log.backend()), Some(0)));
    let contents = ContentStore::open_for(contents, fatal.clone(), loaded.as_ref().map(|l| &l.state))?;
    let store = (Stores { log: log.clone(), contents }, space, fatal.clone());
    let machine = StateMachine::new(Arc::new(snapshots), loaded, cluster_id, Arc::new(NoSink), store);
    Ok((log, machine, fatal))
}

pub(crate) fn register(port: u16) -> CpCommand {
    let service = ServiceKey::new("public", "DEFAULT_GROUP", "orders");
    NamingCommand::Register { service, instance: Instance::new("10.0.0.1", port) }.into()
}

/// A command entry of term 1 by leader 7, stamped with its index.
pub(crate) fn entry(index: u64) -> Entry {
    let command = Bytes::from(Envelope::bare(register((index % 60_000) as u16 + 1)).encode());
    Entry { log_id: log_id(1, MEMBER, index), payload: Payload::Normal(Proposal { now_ms: index, command }) }
}

pub(crate) async fn append(log: &LogStore, indexes: std::ops::Range<u64>) {
    log.clone().blocking_append(indexes.map(entry)).await.unwrap();
}

pub(crate) async fn state(log: &LogStore) -> (Option<u64>, Option<u64>) {
    let state = log.clone().get_log_state().await.unwrap();
    (state.last_purged_log_id.map(|id| id.index), state.last_log_id.map(|id| id.index))
}
