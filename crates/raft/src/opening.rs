//! What a start does before there is a raft: it opens the stores, and checks that they are whole and belong together.

use std::path::Path;
use std::sync::Arc;

use crate::backend::{ContentBackend, LogBackend, MetaKey};
use crate::contents::ContentStore;
use crate::error::{FatalSlot, StartError};
use crate::log::{LogStore, Owner};
use crate::machine::{Loaded, SnapshotDir, Stores, has_snapshot, stored_cluster_id};
use crate::record;

/// What a start finds on the disk.
pub(crate) struct Opened {
    pub(crate) stores: Stores,
    pub(crate) snapshots: SnapshotDir,
    pub(crate) loaded: Option<Loaded>,
    pub(crate) cluster_id: Option<u128>,
}

/// Opens the log, the snapshots and the contents, and checks that they belong together.
pub(crate) fn open(
    log: Arc<dyn LogBackend>,
    contents: Arc<dyn ContentBackend>,
    owner: Owner,
    fatal: FatalSlot,
    snapshot_dir: &Path,
) -> Result<Opened, StartError> {
    let log = LogStore::open(log, owner, fatal.clone())?;
    check_not_emptied(&log, &*contents, snapshot_dir)?;
    let cluster_id = stored_cluster_id(&log)?;
    let (snapshots, loaded) = SnapshotDir::open(snapshot_dir.to_owned(), log.clone())?;
    let contents = ContentStore::open_for(contents, fatal, loaded.as_ref().map(|loaded| &loaded.state))?;
    Ok(Opened { stores: Stores { log, contents }, snapshots, loaded, cluster_id })
}

/// An entry is in the log before its content is stored and before a snapshot has it. A log without entries beside either was emptied,
/// or is another one. Only a member that joins is sent both first, and its log has the mark of [`is_blank`].
fn check_not_emptied(
    log: &LogStore,
    contents: &dyn ContentBackend,
    snapshots: &Path,
) -> Result<(), StartError> {
    let io = |source| StartError::Io { file: log.backend().file(), source };
    if !log.is_empty() || log.backend().get_meta(MetaKey::Whole).map_err(io)?.is_some() {
        return Ok(());
    }
    let stored = contents.list(0, 1).map_err(|source| StartError::Io { file: contents.file(), source })?;
    let beside = if !stored.is_empty() {
        contents.file()
    } else if has_snapshot(snapshots) {
        snapshots.display().to_string()
    } else {
        return Ok(());
    };
    let cause = format!("it is empty, and {beside} is not: it is not the log of this member");
    Err(StartError::Corrupt { file: log.backend().file(), at: "the first entry".into(), cause })
}

/// Has this member never had the whole state? A store that holds nothing gets the mark 0, and the mark 1 when the member has caught
/// up: what it was sent before a stop in between is only a beginning. A store of a version before 0.6 has no mark and is taken for
/// whole.
pub(crate) async fn is_blank(log: &LogStore, empty: bool) -> std::io::Result<bool> {
    if empty {
        log.put_meta(MetaKey::Whole, record::encode_number(0)).await?;
        return Ok(true);
    }
    let mark = log.backend().get_meta(MetaKey::Whole)?;
    Ok(mark.is_some_and(|mark| record::decode_number(&mark).is_ok_and(|whole| whole == 0)))
}

/// Runs start-up work off the runtime. sled panics on some torn files instead of saying so: that is a corrupt store too.
pub(crate) async fn blocking<T: Send + 'static>(
    file: &Path,
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StartError::Corrupt {
        file: file.display().to_string(),
        at: "opening".to_owned(),
        cause: error.to_string(),
    })?
}
