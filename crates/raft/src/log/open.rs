//! Opening the log. Every record is read and checked, and must follow the record before it.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use parking_lot::{Mutex, RwLock};

use super::LogStore;
use super::cache::Cache;
use super::writer::{QUEUE_MAX, Writer};
use crate::backend::{LogBackend, MetaKey};
use crate::config::Claim;
use crate::error::{FatalSlot, StartError};
use crate::record::{self, BadRecord};
use crate::stats::IoStats;

/// Bytes read at a time while opening.
const SCAN_BYTES: usize = 4 * 1024 * 1024;

/// Whose log it must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) member: u64,
    pub(crate) claim: Option<Claim>,
}

impl LogStore {
    /// Opens the log of `owner` and starts its writer thread.
    pub(crate) fn open(
        backend: Arc<dyn LogBackend>,
        owner: Owner,
        fatal: FatalSlot,
    ) -> Result<LogStore, StartError> {
        let opening = Opening { backend: &*backend };
        opening.check_claim(owner.claim)?;
        opening.check_format(owner.member)?;
        let cache = Arc::new(RwLock::new(opening.load()?));
        backend.let_go().map_err(|e| opening.io(e))?;
        opening.take(owner.claim)?;
        let purged = cache.read().purged.map(|id| id.index);
        let stats = Arc::new(IoStats::default());
        let (queue, receiver) = sync_channel(QUEUE_MAX);
        let writer = Writer {
            backend: Arc::clone(&backend),
            queue: receiver,
            cache: Arc::clone(&cache),
            stats: Arc::clone(&stats),
            fatal: fatal.clone(),
            // Goes on with a purge that a crash interrupted.
            purge_upto: purged,
            poisoned: None,
        };
        let thread = std::thread::Builder::new()
            .name("raft-log".into())
            .spawn(move || writer.run())
            .map_err(|source| StartError::Io { file: backend.file(), source })?;
        Ok(LogStore { backend, queue, cache, stats, fatal, thread: Arc::new(Mutex::new(Some(thread))) })
    }
}

struct Opening<'a> {
    backend: &'a dyn LogBackend,
}

impl Opening<'_> {
    /// A member that has voted or acknowledged must not go on with an empty log, or with one from before: it would vote for
    /// a second leader of a term, or let a leader be elected that lacks what was acknowledged.
    fn check_claim(&self, claim: Option<Claim>) -> Result<(), StartError> {
        let Some(Claim { start, logged }) = claim else { return Ok(()) };
        let found = self.meta(MetaKey::Start, record::decode_number)?;
        let cause = match (found, logged) {
            (None, Some(logged)) => {
                format!("it is empty, or not the log of this member, which had one at its start {logged}")
            }
            (Some(found), Some(logged)) if found < logged => {
                format!(
                    "it is an older copy: its last start is {found}, and this member has had a log of start {logged}"
                )
            }
            (Some(found), _) if found >= start => {
                format!(
                    "its last start is {found}, and by the file `identity` this is start {start}: that file is an older copy"
                )
            }
            _ => return Ok(()),
        };
        Err(self.corrupt("start", cause))
    }

    /// Remembers this start, once everything was found to be whole.
    fn take(&self, claim: Option<Claim>) -> Result<(), StartError> {
        let Some(claim) = claim else { return Ok(()) };
        let number = record::encode_number(claim.start);
        self.backend
            .put_meta(MetaKey::Start, &number)
            .and_then(|()| self.backend.sync())
            .map_err(|e| self.io(e))
    }

    /// The format number and the owner are written before anything else.
    fn check_format(&self, member: u64) -> Result<(), StartError> {
        let format = self.meta(MetaKey::Format, record::decode_number)?;
        match format {
            Some(found) if found != u64::from(record::VERSION) => {
                return Err(
                    self.corrupt("format", format!("format {found}, this build knows {}", record::VERSION))
                );
            }
            Some(_) => {}
            None if self.first_index()?.is_some() => {
                return Err(self.corrupt("format", "it is missing although there is a log".into()));
            }
            None => self
                .backend
                .put_meta(MetaKey::Format, &record::encode_number(u64::from(record::VERSION)))
                .map_err(|e| self.io(e))?,
        }
        match self.meta(MetaKey::Member, record::decode_number)? {
            Some(owner) if owner != member => {
                let cause = format!("the store belongs to member {owner:016x}, not {member:016x}");
                Err(self.corrupt("member", cause))
            }
            Some(_) => Ok(()),
            None => {
                let number = record::encode_number(member);
                self.backend.put_meta(MetaKey::Member, &number).map_err(|e| self.io(e))?;
                self.backend.sync().map_err(|e| self.io(e))
            }
        }
    }

    fn load(&self) -> Result<Cache, StartError> {
        let mut cache = Cache::default();
        cache.vote = self.meta(MetaKey::Vote, record::decode_vote)?;
        cache.committed = self.meta(MetaKey::Committed, record::decode_log_id)?;
        cache.purged = self.meta(MetaKey::LastPurged, record::decode_log_id)?;
        cache.last = cache.purged;
        let mut next = cache.start();
        loop {
            let records = self.backend.range(next, u64::MAX, SCAN_BYTES).map_err(|e| self.io(e))?;
            if records.is_empty() {
                return Ok(cache);
            }
            for (index, bytes) in records {
                let at = format!("log index {index}");
                let entry = record::decode_entry(&bytes).map_err(|e| self.corrupt(&at, e.to_string()))?;
                if entry.log_id.index != index {
                    let cause = format!("it holds the entry of index {}", entry.log_id.index);
                    return Err(self.corrupt(&at, cause));
                }
                if index != next || cache.last > Some(entry.log_id) {
                    let last = cache.last.map_or_else(|| "the start".into(), |id| id.to_string());
                    return Err(self.corrupt(&at, format!("it does not follow {last}")));
                }
                cache.push_flushed(entry);
                next = index + 1;
            }
        }
    }

    fn first_index(&self) -> Result<Option<u64>, StartError> {
        let first = self.backend.range(0, u64::MAX, 1).map_err(|e| self.io(e))?;
        Ok(first.first().map(|(index, _)| *index))
    }

    fn meta<T>(
        &self,
        key: MetaKey,
        decode: impl FnOnce(&bytes::Bytes) -> Result<T, BadRecord>,
    ) -> Result<Option<T>, StartError> {
        let value = self.backend.get_meta(key).map_err(|e| self.io(e))?;
        value.map(|v| decode(&v)).transpose().map_err(|e| self.corrupt(key.name(), e.to_string()))
    }

    fn corrupt(&self, at: &str, cause: String) -> StartError {
        StartError::Corrupt { file: self.backend.file(), at: at.into(), cause }
    }

    fn io(&self, source: std::io::Error) -> StartError {
        if source.kind() == std::io::ErrorKind::InvalidData || source.kind() == std::io::ErrorKind::Other {
            return self.corrupt("unknown offset", source.to_string());
        }
        StartError::Io { file: self.backend.file(), source }
    }
}
