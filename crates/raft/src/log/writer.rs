//! The one thread that writes the log. Its queue gives the order of all writes, so an append can neither overtake a
//! vote nor be overtaken by one. The thread takes everything that has gathered in the queue, writes it, makes it
//! durable with one sync, and only then answers, in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use bytes::Bytes;
use openraft::storage::IOFlushed;
use parking_lot::RwLock;
use tokio::sync::oneshot;

use super::cache::Cache;
use crate::backend::{LogBackend, MetaKey};
use crate::error::{Fatal, FatalSlot};
use crate::stats::IoStats;
use crate::types::TypeConfig;

/// Most operations that wait for the writer. A semaphore admits at most 512 proposals, so writes alone never fill the queue.
pub const QUEUE_MAX: usize = 1024;
/// Operations made durable by one sync: bounds how long the first of them waits for the others to be written.
const BATCH_MAX: usize = 1024;
/// Keys removed at a time: deleting 5,000 takes 30-130 ms, this many a few, and appends go in between.
const PURGE_CHUNK: usize = 512;
/// A large record has a key for at least so many bytes.
const KEY_BYTES: usize = 1_000;

pub(super) enum Op {
    Append {
        records: Vec<(u64, Bytes)>,
        done: IOFlushed<TypeConfig>,
    },
    Truncate {
        from: u64,
        done: oneshot::Sender<io::Result<()>>,
    },
    /// Removes records at or below the index, bit by bit; `LastPurged` was queued before.
    Purge {
        upto: u64,
    },
    /// Without `done` the value goes with the next sync and asks for none.
    Meta {
        key: MetaKey,
        value: Bytes,
        done: Option<oneshot::Sender<io::Result<()>>>,
    },
    Stop {
        done: oneshot::Sender<io::Result<()>>,
    },
}

impl Op {
    /// About how many keys of the store it takes.
    fn keys(&self) -> usize {
        match self {
            Op::Append { records, .. } => {
                records.iter().map(|(_, record)| 1 + record.len() / KEY_BYTES).sum()
            }
            _ => 0,
        }
    }
}

pub(super) struct Writer {
    pub(super) backend: Arc<dyn LogBackend>,
    pub(super) queue: Receiver<Op>,
    pub(super) cache: Arc<RwLock<Cache>>,
    pub(super) stats: Arc<IoStats>,
    pub(super) fatal: FatalSlot,
    pub(super) purge_upto: Option<u64>,
    /// What the first failure said; nothing is written after it.
    pub(super) poisoned: Option<String>,
}

impl Writer {
    pub(super) fn run(mut self) {
        loop {
            let first = if self.purge_upto.is_some() && self.poisoned.is_none() {
                match self.queue.try_recv() {
                    Ok(op) => op,
                    Err(TryRecvError::Empty) => {
                        self.purge_some();
                        continue;
                    }
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match self.queue.recv() {
                    Ok(op) => op,
                    Err(_) => return,
                }
            };
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(op) = self.queue.try_recv()
            {
                batch.push(op);
            }
            self.stats.queued.fetch_sub(batch.len(), Ordering::Relaxed);
            let stop = batch.iter().any(|op| matches!(op, Op::Stop { .. }));
            let written: usize = batch.iter().map(Op::keys).sum();
            self.write(batch);
            if stop {
                return;
            }
            // At least as much as was written, or the log would grow as long as the queue is never empty.
            for _ in 0..=written / PURGE_CHUNK {
                if self.purge_upto.is_some() {
                    self.purge_some();
                }
            }
        }
    }

    fn write(&mut self, mut batch: Vec<Op>) {
        let result = match &self.poisoned {
            Some(cause) => Err(io::Error::other(cause.clone())),
            None => self.write_durably(&mut batch),
        };
        if let Err(error) = &result {
            self.poison(error);
        }
        for op in batch {
            let answer = match &self.poisoned {
                Some(cause) => Err(io::Error::other(cause.clone())),
                None => Ok(()),
            };
            match op {
                Op::Append { records, done } => {
                    if let (Ok(()), Some((last, _))) = (&answer, records.last()) {
                        self.cache.write().flushed(*last);
                    }
                    done.io_completed(answer);
                }
                Op::Truncate { done, .. } | Op::Stop { done } | Op::Meta { done: Some(done), .. } => {
                    // The asker may have gone; its write stands.
                    let _ = done.send(answer);
                }
                Op::Purge { upto } => self.purge_upto = self.purge_upto.max(Some(upto)),
                Op::Meta { done: None, .. } => {}
            }
        }
    }

    fn write_durably(&self, batch: &mut [Op]) -> io::Result<()> {
        let mut sync = false;
        let mut entries = 0;
        // Neighbouring appends become one write.
        let mut pending: Vec<(u64, Bytes)> = Vec::new();
        for op in batch {
            if !matches!(op, Op::Append { .. }) && !pending.is_empty() {
                self.backend.append(&std::mem::take(&mut pending))?;
            }
            match op {
                Op::Append { records, .. } => {
                    entries += records.len() as u64;
                    pending.extend(records.iter().cloned());
                    sync = true;
                }
                Op::Truncate { from, .. } => {
                    self.backend.truncate_from(*from)?;
                    sync = true;
                }
                Op::Meta { key, value, done } => {
                    self.backend.put_meta(*key, value)?;
                    sync |= done.is_some();
                }
                Op::Stop { .. } => sync = true,
                Op::Purge { .. } => {}
            }
        }
        if !pending.is_empty() {
            self.backend.append(&pending)?;
        }
        if sync {
            let started = Instant::now();
            self.backend.sync()?;
            self.stats.record_sync(started.elapsed(), entries);
        }
        Ok(())
    }

    fn purge_some(&mut self) {
        let Some(upto) = self.purge_upto else { return };
        match self.backend.purge_to(upto, PURGE_CHUNK) {
            Ok(true) => {}
            Ok(false) => self.purge_upto = None,
            Err(error) => self.poison(&error),
        }
    }

    /// After a failed write or sync nobody knows what is on the disk, so nothing is tried again.
    fn poison(&mut self, error: &io::Error) {
        if self.poisoned.is_none() {
            let cause = error.to_string();
            self.fatal.set(Fatal::Disk { file: self.backend.file(), cause: cause.clone() });
            self.poisoned = Some(cause);
            self.purge_upto = None;
        }
    }
}
