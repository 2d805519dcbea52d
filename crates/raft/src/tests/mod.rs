//! Tests that need the crate's inside; those of the public API are in `tests/`.

mod suite;

use std::sync::Arc;

use dyad_naming::cp::{CpChanges, CpState};
use dyad_naming::ports::CpSink;

use crate::backend::LogBackend;
use crate::error::{FatalSlot, StartError};
use crate::log::LogStore;
use crate::machine::{SnapshotDir, StateMachine, stored_cluster_id};

pub(crate) struct NoSink;

impl CpSink for NoSink {
    fn applied(&self, _: &CpState, _: &CpChanges) {}
    fn installed(&self, _: &CpState) {}
}

pub(crate) const MEMBER: u64 = 7;

/// Log and state machine over a backend, with snapshots in `dir`.
pub(crate) fn open(
    backend: Arc<dyn LogBackend>,
    dir: &std::path::Path,
) -> Result<(LogStore, StateMachine, FatalSlot), StartError> {
    let fatal = FatalSlot::new();
    let log = LogStore::open(backend, MEMBER, fatal.clone())?;
    let cluster_id = stored_cluster_id(&log)?;
    let (snapshots, loaded) = SnapshotDir::open(dir.join("snapshots"), log.clone())?;
    let machine = StateMachine::new(
        Arc::new(snapshots),
        loaded,
        cluster_id,
        log.clone(),
        Arc::new(NoSink),
        fatal.clone(),
    );
    Ok((log, machine, fatal))
}
