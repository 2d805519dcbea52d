//! Founding a cluster anew from a state: out of a backup, or out of what one member has after the others are lost.
//!
//! Safety. The new cluster has an identity of its own, and its one member a new id. So no member of the old cluster ever counts
//! in the new one or the other way round: calls between them are refused by the cluster id and by both member ids, and what the
//! old member had acknowledged or voted stays with its old id, which never comes back. The log of the new cluster begins
//! behind the last entry of the state, in a higher term, since the revisions of the contents are made of indexes and must not
//! come twice.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dyad_state::ports::CpSink;
use dyad_state::{CpChanges, CpState};
use dyad_types::MemberId;
use openraft::storage::RaftLogStorage;
use parking_lot::RwLock;

use crate::backend::{ContentBackend, LogBackend, MetaKey, SledBackend, SledContents};
use crate::config::Claim;
use crate::contents::{ContentStore, NotServed};
use crate::error::{FatalSlot, StartError};
use crate::log::Owner;
use crate::machine::{Header, StateMachine, encode_snapshot, write_first};
use crate::opening::{Opened, blocking, open};
use crate::position::{Position, members};
use crate::record;
use crate::space::Space;
use crate::status::Peer;
use crate::types::{Membership, Node, SnapshotMeta, StoredMembership, Vote, index_of, log_id};

/// Revisions that are asked for at a time, and bytes of rows of one answer.
const ASK: usize = 256;
const READ_BYTES: usize = 1024 * 1024;

/// The new cluster.
#[derive(Clone, Debug)]
pub struct Founding {
    pub cluster_id: u128,
    /// Its one member, with an id that no cluster had before.
    pub member: MemberId,
    pub node: Node,
    /// The start of the member that counts as the one which made the log; see [`Claim`].
    pub start: u64,
}

/// Where the rows of contents come from.
pub trait RowsOf {
    /// The next rows, in ascending order of the revisions and as the store has them. `None` after the last one.
    ///
    /// # Errors
    /// A row cannot be had.
    fn next(&mut self) -> io::Result<Option<Vec<(u64, Bytes)>>>;
}

/// Makes `raft/`, `contents/` and `snapshots/` in `dir`, which has none of them: those of the one member of a new cluster whose
/// log begins behind `position`. The state is not kept: of a large one there is one copy at a time, if the caller has none. All of it is durable when this returns, and was opened as a start opens it.
///
/// # Errors
/// The disk fails, a row cannot be had, or the rows are not exactly those on which the state relies.
pub fn refound(
    dir: &Path,
    founding: &Founding,
    (state, position): (CpState, Position),
    rows: &mut dyn RowsOf,
) -> Result<(), StartError> {
    let contents: Arc<dyn ContentBackend> = Arc::new(SledContents::open(&dir.join("contents"))?);
    let log: Arc<dyn LogBackend> = Arc::new(SledBackend::open(&dir.join("raft"))?);
    refound_on((log, contents), &dir.join("snapshots"), founding, (state, position), rows)
}

/// The same as [`refound`], on empty stores.
pub(crate) fn refound_on(
    (log, contents): (Arc<dyn LogBackend>, Arc<dyn ContentBackend>),
    snapshots: &Path,
    founding: &Founding,
    (state, position): (CpState, Position),
    rows: &mut dyn RowsOf,
) -> Result<(), StartError> {
    let on_contents = |source| StartError::Io { file: contents.file(), source };
    while let Some(rows) = rows.next().map_err(on_contents)? {
        contents.put(&rows).map_err(on_contents)?;
    }
    contents.sync().map_err(on_contents)?;
    let founded = state.founded_anew(founding.cluster_id);
    drop(state);
    let me = founding.member.0;
    // Above every entry of the old log, and of a leader that led nothing else.
    let term = position.term + 1;
    let last = log_id(term, me, position.index);
    let nodes: BTreeMap<u64, Node> = [(me, founding.node.clone())].into();
    let membership =
        Membership::new(vec![[me].into()], nodes).map_err(|error| StartError::Raft(error.to_string()))?;
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: StoredMembership::new(Some(last), membership),
    };
    let header = Header { cluster_id: Some(founding.cluster_id), meta };
    let snapshot = write_first(snapshots, &header, &founded)
        .map_err(|source| StartError::Io { file: snapshots.display().to_string(), source })?;
    // It is read again below, and two states must not be in memory for that.
    drop(founded);
    let records = [
        (MetaKey::Snapshot, record::encode_snapshot(&snapshot)),
        (MetaKey::LastPurged, record::encode_log_id(&last)),
        (MetaKey::Committed, record::encode_log_id(&last)),
        (MetaKey::Vote, record::encode_vote(&Vote::new_committed(term, me))),
        (MetaKey::ClusterId, record::encode_cluster(founding.cluster_id)),
        // It has the whole state: a log that is emptied later is not that of a member which joins.
        (MetaKey::Whole, record::encode_number(1)),
    ];
    let on_log = |source| StartError::Io { file: log.file(), source };
    for (key, value) in records {
        log.put_meta(key, &value).map_err(on_log)?;
    }
    log.sync().map_err(on_log)?;
    let owner = Owner { member: me, claim: Some(Claim { start: founding.start, logged: None }) };
    let Opened { stores, loaded, .. } = open(log, Arc::clone(&contents), owner, FatalSlot::new(), snapshots)?;
    let differs = || StartError::Raft("the state that was written is not the one that is read".into());
    let state = loaded.ok_or_else(differs)?.state;
    // One state has one form as a snapshot: what is read is what was written if it would be written with the same bytes.
    let (_, again) = encode_snapshot(io::sink(), &header, &state).map_err(on_contents)?;
    if again[..] != snapshot.sha256[..] {
        return Err(differs());
    }
    // That no row is missing was checked. One too many would be the row of a version which never was.
    let stored =
        stores.contents.compare(state.config(), Some(position.index), crate::contents::Since::default());
    match stored.map_err(on_contents)?.extra.first() {
        Some(extra) => Err(StartError::Corrupt {
            file: contents.file(),
            at: format!("content row {extra}"),
            cause: "the state does not rely on it".into(),
        }),
        None => Ok(()),
    }
}

/// What one member has, up to the end of its log.
#[derive(Clone)]
pub struct Found {
    pub state: CpState,
    pub cluster_id: Option<u128>,
    /// The last entry of the log.
    pub position: Position,
    /// The last entry that is known to have been on a majority.
    pub committed: Option<u64>,
    /// The members at the end of the log.
    pub voters: Vec<Peer>,
    pub learners: Vec<Peer>,
    contents: ContentStore,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("position", &self.position).finish_non_exhaustive()
    }
}

/// The rows of a store that stays as it is, and those that are added to them, in memory.
///
/// Safety. The member may go on in its old cluster, where the entries that no majority had can be replaced by others with the same
/// indexes. Revisions are made of indexes, and whoever receives a snapshot fetches only the revisions that are missing. So the row of
/// an entry that may not be committed must not get into the store: it would stay there in the place of the right one.
struct Overlay {
    below: SledContents,
    /// Only what the store does not have: a crash leaves the rows of some moments unwritten.
    added: RwLock<BTreeMap<u64, Bytes>>,
}

impl ContentBackend for Overlay {
    fn put(&self, rows: &[(u64, Bytes)]) -> io::Result<()> {
        for (revision, row) in rows {
            if self.below.get(*revision)?.as_ref() != Some(row) {
                self.added.write().insert(*revision, row.clone());
            }
        }
        Ok(())
    }

    fn get(&self, revision: u64) -> io::Result<Option<Bytes>> {
        let added = self.added.read().get(&revision).cloned();
        added.map_or_else(|| self.below.get(revision), |row| Ok(Some(row)))
    }

    /// Rows are removed after a snapshot was made, and here none is made.
    fn remove(&self, _: &[u64]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "rows of a store that is only read are not removed"))
    }

    fn list(&self, from: u64, limit: usize) -> io::Result<Vec<u64>> {
        Ok(self.sizes(from, limit)?.into_iter().map(|(revision, _)| revision).collect())
    }

    fn sizes(&self, from: u64, limit: usize) -> io::Result<Vec<(u64, u64)>> {
        let mut sizes: BTreeMap<u64, u64> = self.below.sizes(from, limit)?.into_iter().collect();
        let added = self.added.read();
        sizes.extend(added.range(from..).take(limit).map(|(revision, row)| (*revision, row.len() as u64)));
        Ok(sizes.into_iter().take(limit).collect())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn let_go(&self, rows: &[u64]) -> io::Result<()> {
        self.below.let_go(rows)
    }

    fn disk_bytes(&self) -> io::Result<u64> {
        self.below.disk_bytes()
    }

    fn file(&self) -> String {
        self.below.file()
    }
}

struct NoSink;

impl CpSink for NoSink {
    fn applied(&self, _: &CpState, _: &CpChanges) {}
    fn installed(&self, _: &CpState) {}
}

/// Reads the store of a member that does not run, and applies all of its log, also what is not known to be committed: it may
/// have been acknowledged. `claim` is as for a start; without one, any log is taken. The rows of the entries that are applied here stay
/// in memory: see [`Overlay`].
///
/// # Errors
/// The store cannot be opened, as at a start, or has nothing.
pub async fn last_state(dir: &Path, member: MemberId, claim: Option<Claim>) -> Result<Found, StartError> {
    let at = dir.to_owned();
    let fatal = FatalSlot::new();
    let slot = fatal.clone();
    let opened = blocking(dir, move || {
        let log: Arc<dyn LogBackend> = Arc::new(SledBackend::open(&at.join("raft"))?);
        let below = SledContents::open(&at.join("contents"))?;
        let contents: Arc<dyn ContentBackend> = Arc::new(Overlay { below, added: RwLock::default() });
        open(log, contents, Owner { member: member.0, claim }, slot, &at.join("snapshots"))
    });
    let Opened { stores, snapshots, loaded, cluster_id } = opened.await?;
    let space = Arc::new(Space::new(Arc::clone(stores.log.backend()), Some(0)));
    let store = (stores.clone(), space, fatal.clone());
    let mut machine = StateMachine::new(Arc::new(snapshots), loaded, cluster_id, Arc::new(NoSink), store);
    let wrong =
        |error: io::Error| fatal.get().map_or_else(|| StartError::Raft(error.to_string()), Into::into);
    machine.replay_all().await.map_err(wrong)?;
    let (state, last, membership) = machine.view();
    let end = stores.log.clone().get_log_state().await.map_err(wrong)?.last_log_id;
    let Some(last) = last.filter(|last| Some(last.index) >= index_of(end.as_ref())) else {
        return Err(StartError::Corrupt {
            file: stores.log.backend().file(),
            at: "its beginning".into(),
            cause: "it has no entry, or none that follows the snapshot".into(),
        });
    };
    let committed = stores.log.clone().read_committed().await.map_err(wrong)?;
    stores.contents.sync().await.map_err(wrong)?;
    let (voters, learners) = members(&membership);
    Ok(Found {
        cluster_id: state.cluster().id().or(cluster_id),
        state,
        position: Position::of(&last),
        committed: index_of(committed.as_ref()),
        voters,
        learners,
        contents: stores.contents,
    })
}

impl Found {
    /// The rows on which the state relies.
    pub fn rows(&self) -> impl RowsOf + use<> {
        let mut revisions: Vec<u64> = self.state.config().revisions().map(|revision| revision.0).collect();
        revisions.sort_unstable();
        StoredRows { contents: self.contents.clone(), revisions, next: 0 }
    }
}

struct StoredRows {
    contents: ContentStore,
    revisions: Vec<u64>,
    next: usize,
}

impl RowsOf for StoredRows {
    fn next(&mut self) -> io::Result<Option<Vec<(u64, Bytes)>>> {
        let rest = &self.revisions[self.next..];
        if rest.is_empty() {
            return Ok(None);
        }
        let asked = &rest[..rest.len().min(ASK)];
        let rows = self.contents.encoded(asked, READ_BYTES).map_err(|error| {
            let what = match error {
                NotServed::Unknown(revision) => format!("content row {revision} is missing"),
                NotServed::Damaged(what) => what,
            };
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        self.next += rows.len();
        Ok(Some(asked.iter().copied().zip(rows).collect()))
    }
}
