//! The contents of configurations: one row for each write, in a store beside the log.
//!
//! When an entry is applied, its row is staged: readers see it, and one thread writes it later. This does not make the
//! row durable, and need not, because a replay of the log stages the same bytes again. A snapshot ends that. Before a
//! snapshot is declared, and the log below it may be deleted, all rows on which its state relies are made durable and
//! are seen to exist ([`ContentStore::settle`]). Rows that nobody needs are removed only after a snapshot without them
//! was declared, so that no crash leaves a snapshot whose rows are gone.

mod audit;
mod hold;
mod reader;
mod surplus;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dyad_config::{ConfigState, ContentRow, Revision};
use dyad_state::CpState;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use audit::Audit;
pub(crate) use audit::Since;
pub(crate) use hold::Hold;
use hold::Holds;
use surplus::Surplus;
use writer::{BATCH_BYTES, BATCH_ROWS};

use crate::backend::ContentBackend;
use crate::error::{Fatal, FatalSlot, StartError};
use crate::stats::{ContentStats, ReadStats};
pub(crate) use reader::Reader;

/// Bytes of rows that wait for the writer. Above it apply waits: the disk is slower than the log, which is on it too.
const STAGED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a staged row costs besides its content.
const ROW_OVERHEAD: usize = 512;
/// Revisions listed at a time.
const LIST_CHUNK: usize = 4096;
/// Rows that stand for all when what was listed may go from memory.
const SAMPLE: usize = 2_048;
/// Rows removed by one job.
const REMOVE_CHUNK: usize = 256;

/// Handle of the store; clones share it. The writer thread ends with the last of them.
#[derive(Clone)]
pub(crate) struct ContentStore {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

/// Ends the writer when it is dropped: what is staged then is left to the log.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Shared {
    backend: Arc<dyn ContentBackend>,
    staged: Mutex<Staged>,
    /// The writer's bell.
    work: Condvar,
    /// Apply's, when rows were written.
    room: Notify,
    audit: Mutex<Audit>,
    holds: Holds,
    surplus: Surplus,
    stats: ReadStats,
    fatal: FatalSlot,
}

#[derive(Default)]
struct Staged {
    /// Rows that the backend may not have yet, by revision.
    rows: BTreeMap<u64, Arc<ContentRow>>,
    bytes: usize,
    jobs: VecDeque<Job>,
    /// What the first failure said; nothing is written after it.
    poisoned: Option<String>,
    stopped: bool,
}

impl Staged {
    /// The last revision that is staged; 0 when none is.
    fn last(&self) -> u64 {
        self.rows.last_key_value().map_or(0, |(revision, _)| *revision)
    }

    /// Whether the writer should not linger.
    fn is_due(&self) -> bool {
        !self.jobs.is_empty() || self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }
}

/// Work for the writer, done when no row up to `after` is staged.
struct Job {
    after: u64,
    what: Work,
    done: oneshot::Sender<io::Result<()>>,
}

enum Work {
    Sync,
    Remove(Vec<u64>),
}

impl Work {
    /// There is more of it than was done.
    fn goes_on(&self) -> bool {
        matches!(self, Work::Remove(revisions) if !revisions.is_empty())
    }
}

/// How the stored rows compare with those that a state relies on.
pub(crate) struct Difference {
    pub(crate) missing: Vec<u64>,
    /// Stored in vain.
    pub(crate) extra: Vec<u64>,
}

impl ContentStore {
    /// Starts the writer thread.
    pub(crate) fn open(backend: Arc<dyn ContentBackend>, fatal: FatalSlot) -> io::Result<ContentStore> {
        let shared = Arc::new(Shared {
            backend,
            staged: Mutex::default(),
            work: Condvar::new(),
            room: Notify::new(),
            audit: Mutex::default(),
            holds: Holds::default(),
            surplus: Surplus::default(),
            stats: ReadStats::default(),
            fatal,
        });
        writer::spawn(Arc::clone(&shared))?;
        Ok(ContentStore { _owner: Arc::new(Owner(Arc::clone(&shared))), shared })
    }

    /// As [`ContentStore::open`]; all rows that the snapshot's state relies on must be there. Those of later entries are
    /// written again from the log.
    pub(crate) fn open_for(
        backend: Arc<dyn ContentBackend>,
        fatal: FatalSlot,
        snapshot: Option<&CpState>,
    ) -> Result<ContentStore, StartError> {
        let file = backend.file();
        let io = |source| StartError::Io { file: file.clone(), source };
        let store = ContentStore::open(backend, fatal).map_err(io)?;
        if let Some(state) = snapshot {
            let missing = store.compare(state.config(), None, Since::default()).map_err(io)?.missing;
            if let Some(first) = missing.first() {
                return Err(store.missing(*first, missing.len()).into());
            }
        }
        Ok(store)
    }

    pub(crate) fn file(&self) -> String {
        self.shared.backend.file()
    }

    /// Waits until rows may be staged.
    pub(crate) async fn room(&self) -> io::Result<()> {
        loop {
            let changed = self.shared.room.notified();
            {
                let staged = self.shared.staged.lock();
                if let Some(cause) = &staged.poisoned {
                    return Err(io::Error::other(cause.clone()));
                }
                if staged.bytes < STAGED_BYTES_MAX {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Shows rows to readers, and leaves them to the writer. Never blocks; wait for [`ContentStore::room`] before.
    pub(crate) fn stage(&self, rows: impl IntoIterator<Item = (Revision, ContentRow)>) {
        let mut staged = self.shared.staged.lock();
        let (was_empty, was_due) = (staged.rows.is_empty(), staged.is_due());
        for (revision, row) in rows {
            staged.bytes += cost(&row);
            if let Some(before) = staged.rows.insert(revision.0, Arc::new(row)) {
                staged.bytes -= cost(&before);
            }
        }
        if was_empty || staged.is_due() != was_due {
            self.shared.work.notify_one();
        }
    }

    /// Rows that the state does not rely on any more, as of the entry that is being applied.
    pub(crate) fn dropped(&self, revisions: &[Revision]) {
        self.shared.audit.lock().dropped(revisions.iter().map(|revision| revision.0));
    }

    /// To be called when the state of a snapshot is taken, and before further entries are applied.
    pub(crate) fn since(&self) -> Since {
        self.shared.audit.lock().take()
    }

    /// The row, staged or stored. May read the disk.
    fn get(&self, revision: Revision) -> Result<Option<ContentRow>, String> {
        let staged = self.shared.staged.lock().rows.get(&revision.0).cloned();
        if let Some(row) = staged {
            return Ok(Some(ContentRow::clone(&row)));
        }
        // A row leaves the staged ones only when the backend has it.
        let began = Instant::now();
        let row = self.stored(revision);
        let stats = &self.shared.stats;
        stats.reads.record(began.elapsed());
        if row.is_err() {
            stats.errors.fetch_add(1, Ordering::Relaxed);
        }
        row
    }

    fn stored(&self, revision: Revision) -> Result<Option<ContentRow>, String> {
        let get = || {
            let bytes = self.shared.backend.get(revision.0);
            bytes.map_err(|e| format!("{}: content row {revision}: {e}", self.file()))
        };
        let Some(bytes) = get()? else { return Ok(None) };
        match ContentRow::decode(revision, &bytes) {
            Ok(row) => Ok(Some(row)),
            // It was removed while it was read, or it is damaged.
            Err(e) => get()?.map_or(Ok(None), |_| Err(format!("{}: {e}", self.file()))),
        }
    }

    pub(crate) fn stats(&self) -> ContentStats {
        let stats = &self.shared.stats;
        ContentStats {
            reads: stats.reads.timings(),
            errors: stats.errors.load(Ordering::Relaxed),
            staged_bytes: self.shared.staged.lock().bytes,
            disk_bytes: self.shared.backend.disk_bytes().ok(),
        }
    }

    /// Makes all rows up to the log index durable and compares them with those that the state relies on. A snapshot is
    /// declared only if they are [`ContentStore::whole`].
    pub(crate) async fn settle(
        &self,
        state: &ConfigState,
        upto: Option<u64>,
        since: Since,
    ) -> io::Result<Difference> {
        self.sync().await?;
        let (store, state) = (self.clone(), state.clone());
        let compared = tokio::task::spawn_blocking(move || store.compare(&state, upto, since));
        compared.await.map_err(io::Error::other)?
    }

    /// The rows that are stored in vain. `Err`, and the end of this member, when one is missing.
    pub(crate) fn whole(&self, Difference { missing, extra }: Difference) -> io::Result<Vec<u64>> {
        let Some(first) = missing.first() else { return Ok(extra) };
        let fatal = self.missing(*first, missing.len());
        let error = io::Error::new(io::ErrorKind::InvalidData, fatal.to_string());
        self.shared.fatal.set(fatal);
        Err(error)
    }

    /// What to say when rows that the state relies on are not there.
    pub(crate) fn missing(&self, first: u64, count: usize) -> Fatal {
        Fatal::Corrupt {
            file: self.file(),
            at: format!("content row {first}"),
            cause: format!("{count} rows that the configurations rely on are missing"),
        }
    }

    /// Looks which rows are there: of those the state relies on, and up to the log index also those that it does not need.
    /// Reads the disk.
    pub(crate) fn compare(
        &self,
        state: &ConfigState,
        upto: Option<u64>,
        since: Since,
    ) -> io::Result<Difference> {
        let Since { known, dropped } = since;
        let mut needed: Vec<u64> =
            state.revisions().map(|revision| revision.0).filter(|revision| *revision >= known).collect();
        needed.sort_unstable();
        let end = above(upto);
        let some: Vec<u64> = needed.iter().step_by(needed.len() / SAMPLE + 1).copied().collect();
        let mut needed = needed.into_iter().peekable();
        let extra = dropped.into_iter().filter(|revision| *revision < known).collect();
        let mut difference = Difference { missing: Vec::new(), extra };
        let mut from = known;
        loop {
            let stored = self.shared.backend.list(from, LIST_CHUNK)?;
            for &revision in &stored {
                while let Some(absent) = needed.next_if(|n| *n < revision) {
                    difference.missing.push(absent);
                }
                if needed.next_if_eq(&revision).is_none() && revision < end {
                    difference.extra.push(revision);
                }
            }
            match stored.last() {
                Some(last) if stored.len() == LIST_CHUNK => from = last.saturating_add(1),
                _ => break,
            }
        }
        difference.missing.extend(needed);
        if known == 0 {
            self.shared.backend.let_go(&some)?;
        }
        Ok(difference)
    }

    /// The time below which versions must go, in milliseconds since the epoch, so that those which retention can drop have at most
    /// `limit` bytes. `None` if they have no more. Reads the disk.
    pub(crate) fn history_until(&self, state: &ConfigState, limit: u64) -> io::Result<Option<u64>> {
        let Shared { backend, surplus, .. } = &*self.shared;
        let written = surplus.written();
        // The store does not compress, so that rows take no less than their bytes on the disk.
        let at_most = surplus.at_most().map_or_else(|| backend.disk_bytes(), Ok)?;
        if at_most <= limit {
            return Ok(None);
        }
        let mut rows: Vec<(u64, u64)> =
            state.droppable().map(|(revision, above)| (revision.0, above)).collect();
        rows.sort_unstable();
        surplus::weigh(&mut rows, |from| backend.sizes(from, LIST_CHUNK))?;
        Ok(surplus.count(rows, limit, written))
    }

    /// Keeps all rows for as long as the hold is there, and no longer than `limit`. To be taken before the state whose rows are
    /// wanted.
    pub(crate) fn hold(&self, limit: Duration) -> Hold {
        self.shared.holds.take(limit)
    }

    /// The snapshot up to this index is declared: removes rows that neither it nor a later state relies on. While they are held,
    /// this is left to the snapshot after it.
    pub(crate) async fn remove(&self, extra: Vec<u64>, upto: Option<u64>) -> io::Result<()> {
        if self.shared.holds.any() {
            let mut audit = self.shared.audit.lock();
            audit.dropped(extra);
            audit.settled(above(upto));
            return Ok(());
        }
        for chunk in extra.chunks(REMOVE_CHUNK) {
            self.job(Work::Remove(chunk.to_vec())).await?;
        }
        self.shared.audit.lock().settled(above(upto));
        Ok(())
    }

    /// Makes durable all that was staged before.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        self.job(Work::Sync).await
    }

    async fn job(&self, what: Work) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        {
            let mut staged = self.shared.staged.lock();
            if staged.stopped {
                return Err(stopped());
            }
            let after = staged.last();
            staged.jobs.push_back(Job { after, what, done });
            self.shared.work.notify_one();
        }
        answer.await.map_err(|_| stopped())?
    }

    /// Encoded rows for another member, as many of the first as fit into `max_bytes` but at least one. May read the disk.
    pub(crate) fn encoded(
        &self,
        revisions: &[u64],
        max_bytes: usize,
    ) -> Result<Vec<bytes::Bytes>, NotServed> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        for &revision in revisions {
            let row = self.get(Revision(revision)).map_err(NotServed::Damaged)?;
            let row = row.ok_or(NotServed::Unknown(revision))?.encode();
            bytes += row.len();
            if bytes > max_bytes && !rows.is_empty() {
                break;
            }
            rows.push(row.into());
        }
        Ok(rows)
    }

    /// Ends the writer thread once what is staged is written. A second call does nothing.
    pub(crate) async fn stop(&self) {
        // What it says was said to the fatal slot already.
        let _ = self.sync().await;
        self.shared.stop();
    }
}

/// Why a row cannot be given to another member.
pub(crate) enum NotServed {
    Unknown(u64),
    Damaged(String),
}

/// The first revision above the log index.
fn above(index: Option<u64>) -> u64 {
    index.map_or(0, |index| Revision::new(index.saturating_add(1), 0).0)
}

fn cost(row: &ContentRow) -> usize {
    ROW_OVERHEAD + row.content.as_ref().map_or(0, |content| content.text().len())
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the store of contents has stopped")
}
