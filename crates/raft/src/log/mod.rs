//! The log store for openraft, on top of a [`LogBackend`]: it has the decoded tail of the log in memory, and one writer
//! thread behind a queue.

mod cache;
mod open;
mod sizes;
mod writer;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::backend::{LogBackend, MetaKey};
use crate::error::{Fatal, FatalSlot};
use crate::record::{self, RECORD_MAX};
use crate::stats::IoStats;
use crate::types::{Entry, LeaderId, LogId, NOBODY, TypeConfig, Vote};
use cache::Cache;
pub(crate) use open::Owner;
use writer::Op;
pub use writer::QUEUE_MAX;

/// Bytes of entries in one replication message, and of those that wait to be applied, but for one larger entry; with it
/// the message stays below its limit.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Pause before trying a full queue again. It is full only while the disk hangs.
const QUEUE_RETRY: Duration = Duration::from_millis(1);

/// Handle of the log. Clones share it; openraft holds the one that writes.
#[derive(Clone)]
pub(crate) struct LogStore {
    backend: Arc<dyn LogBackend>,
    queue: SyncSender<Op>,
    cache: Arc<RwLock<Cache>>,
    stats: Arc<IoStats>,
    fatal: FatalSlot,
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl LogStore {
    pub(crate) fn stats(&self) -> &IoStats {
        &self.stats
    }

    pub(crate) fn backend(&self) -> &Arc<dyn LogBackend> {
        &self.backend
    }

    pub(crate) fn cached_bytes(&self) -> usize {
        self.cache.read().bytes()
    }

    /// The bytes of the entries from `index` on, or up to a mebibyte and one entry more.
    pub(crate) fn bytes_from(&self, index: u64) -> u64 {
        let cache = self.cache.read();
        cache.sizes.from(index.max(cache.start()))
    }

    /// For whom was voted, and the last entry, on the disk. `None` also where the last entry on the disk is not at hand.
    pub(crate) fn durable(&self) -> (LeaderId, Option<LogId>) {
        let cache = self.cache.read();
        (cache.vote.map_or(NOBODY, |vote| vote.leader_id), cache.flushed_id())
    }

    /// The last entry, on the disk or on its way there.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.cache.read().last
    }

    /// Whether there is no entry, and none was purged.
    pub(crate) fn is_empty(&self) -> bool {
        self.cache.read().last.is_none()
    }

    /// Whether the entry is in the log.
    pub(crate) fn has(&self, index: u64) -> bool {
        let cache = self.cache.read();
        (cache.start()..cache.end()).contains(&index)
    }

    /// The entry up to which the log can be purged so that at most `bytes` are left below the entry `end`. `None` if nothing
    /// has to go.
    pub(crate) fn surplus(&self, bytes: u64, end: u64) -> Option<u64> {
        let cache = self.cache.read();
        let upto = cache.sizes.keeping(bytes, end)?.checked_sub(1)?;
        (upto >= cache.start()).then_some(upto)
    }

    /// Shrinks the tail in memory when nothing was added to the log since the last call.
    pub(crate) fn rest(&self) {
        self.cache.write().rest();
    }

    /// Leaves in memory only what is nowhere else.
    #[cfg(test)]
    pub(crate) fn evict(&self) {
        self.cache.write().evict(0);
    }

    /// Stores a value durably.
    pub(crate) async fn put_meta(&self, key: MetaKey, value: Bytes) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(Op::Meta { key, value, done: Some(done) }).await?;
        answer.await.map_err(|_| stopped())?
    }

    /// Writes what is queued, makes it durable and ends the writer thread. A second call does nothing.
    pub(crate) async fn stop(&self) {
        let (done, answer) = oneshot::channel();
        if self.send(Op::Stop { done }).await.is_ok() {
            let _ = answer.await;
        }
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn send(&self, op: Op) -> io::Result<()> {
        let mut op = op;
        loop {
            self.stats.queued.fetch_add(1, Ordering::Relaxed);
            match self.queue.try_send(op) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.stats.queued.fetch_sub(1, Ordering::Relaxed);
                    let TrySendError::Full(back) = error else { return Err(stopped()) };
                    op = back;
                    tokio::time::sleep(QUEUE_RETRY).await;
                }
            }
        }
    }

    /// All entries that the log has in `from..to`, or the first of them up to `max_bytes`.
    async fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (from, to, first_cached, tail) = {
            let cache = self.cache.read();
            let (from, to) = (from.max(cache.start()), to.min(cache.end()));
            if from >= to {
                return Ok(Vec::new());
            }
            let (first, tail) = cache.tail(from, to, max_bytes);
            (from, to, first, tail)
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        if from < first_cached {
            let backend = Arc::clone(&self.backend);
            let cold = tokio::task::spawn_blocking(move || backend.range(from, first_cached, max_bytes));
            for (index, record) in cold.await.map_err(io::Error::other)?? {
                bytes += record.len();
                entries.push(self.decode(index, &record)?);
            }
        }
        let cut = entries.last().is_some_and(|e| e.log_id.index + 1 < first_cached);
        if !cut {
            // The bound is for both together: a message holds one entry above it, not two.
            entries.extend(tail.into_iter().take_while(|entry| {
                let room = bytes < max_bytes;
                bytes += cache::cost(entry);
                room
            }));
        }
        self.check_whole(&entries, from, to, max_bytes)?;
        Ok(entries)
    }

    fn decode(&self, index: u64, bytes: &Bytes) -> io::Result<Entry> {
        let entry = record::decode_entry(bytes).map_err(|e| self.corrupt(index, &e.to_string()))?;
        if entry.log_id.index != index {
            return Err(self.corrupt(index, &format!("it holds the entry of index {}", entry.log_id.index)));
        }
        Ok(entry)
    }

    /// A hole, or an early end where nothing was purged meanwhile, would make openraft skip entries.
    fn check_whole(&self, entries: &[Entry], from: u64, to: u64, max_bytes: usize) -> io::Result<()> {
        let start = self.cache.read().start();
        let mut expected = entries.first().map_or(to, |e| e.log_id.index);
        if expected > from && expected > start {
            return Err(self.corrupt(from, "the entry is missing"));
        }
        for entry in entries {
            if entry.log_id.index != expected {
                return Err(self.corrupt(expected, "the entry is missing"));
            }
            expected += 1;
        }
        if expected < to && max_bytes == usize::MAX {
            return Err(self.corrupt(expected, "the entry is missing"));
        }
        Ok(())
    }

    fn corrupt(&self, index: u64, cause: &str) -> io::Error {
        let fatal = Fatal::Corrupt {
            file: self.backend.file(),
            at: format!("log index {index}"),
            cause: cause.into(),
        };
        let error = io::Error::new(io::ErrorKind::InvalidData, fatal.to_string());
        self.fatal.set(fatal);
        error
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log's writer has stopped")
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX).await
    }

    /// Apply reads here: a long run of large entries must not be in memory as a whole.
    async fn entries_stream<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend {
        let (from, to) = bounds(&range);
        let chunks = stream::try_unfold((self.clone(), from), move |(log, from)| async move {
            let entries = log.read(from, to, PAYLOAD_BYTES_MAX).await?;
            let next = entries.last().map(|last| last.log_id.index + 1);
            Ok::<_, io::Error>(next.map(|next| (stream::iter(entries.into_iter().map(Ok)), (log, next))))
        });
        chunks.try_flatten().boxed()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.cache.read().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, PAYLOAD_BYTES_MAX).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let cache = self.cache.read();
        Ok(LogState { last_purged_log_id: cache.purged, last_log_id: cache.last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.put_meta(MetaKey::Vote, record::encode_vote(vote)).await?;
        self.cache.write().vote = Some(*vote);
        Ok(())
    }

    /// Goes with the next sync: never durable ahead of the log, and asks for no sync of its own.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        self.cache.write().committed = Some(committed);
        let value = record::encode_log_id(&committed);
        self.send(Op::Meta { key: MetaKey::Committed, value, done: None }).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let cache = self.cache.read();
        Ok(cache.committed.min(cache.last))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut records = Vec::with_capacity(entries.len());
        for entry in &entries {
            let bytes = record::encode_entry(entry);
            if bytes.len() > RECORD_MAX {
                let what =
                    format!("log record {} of {} bytes, limit {RECORD_MAX}", entry.log_id, bytes.len());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            records.push((entry.log_id.index, bytes));
        }
        {
            let mut cache = self.cache.write();
            for entry in entries {
                if cache.last.is_some_and(|last| last.index + 1 != entry.log_id.index) {
                    let what = format!("append of {} leaves a hole in the log", entry.log_id);
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
                }
                cache.push(entry);
            }
        }
        self.send(Op::Append { records, done: callback }).await
    }

    /// A log is truncated where a leader has other entries. It never has others where an entry was committed, unless voters
    /// have forgotten what they acknowledged. What this member applied cannot be taken back, so it must not go on.
    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let committed = self.cache.read().committed;
        if let Some(committed) = committed
            && last.is_none_or(|last| last.index < committed.index)
        {
            let leader = match last {
                Some(last) => format!("the log of the leader agrees with them only up to {last}"),
                None => "the log of the leader agrees with none of them".into(),
            };
            let fatal =
                Fatal::Overruled { file: self.backend.file(), committed: committed.to_string(), leader };
            let error = io::Error::new(io::ErrorKind::InvalidData, fatal.to_string());
            self.fatal.set(fatal);
            return Err(error);
        }
        let (done, answer) = oneshot::channel();
        self.send(Op::Truncate { from: last.map_or(0, |id| id.index + 1), done }).await?;
        answer.await.map_err(|_| stopped())??;
        self.cache.write().truncate(last);
        Ok(())
    }

    /// `LastPurged` is queued first, so that a crash between the two leaves records below it, which nobody reads.
    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.cache.write().purge(upto);
        let value = record::encode_log_id(&upto);
        self.send(Op::Meta { key: MetaKey::LastPurged, value, done: None }).await?;
        self.send(Op::Purge { upto: upto.index }).await
    }
}
