//! The one thread that writes contents. It writes staged rows in the order of their revisions, and does other jobs
//! between them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dyad_config::ContentRow;

use super::{Job, STAGED_BYTES_MAX, Shared, Staged, Work, cost};
use crate::error::Fatal;

/// Rows written at a time.
pub(super) const BATCH_ROWS: usize = 256;
/// Bytes of contents written at a time, but for one larger row.
pub(super) const BATCH_BYTES: usize = 1024 * 1024;
/// How long fewer rows wait for more, as nobody waits for them: readers have them already.
const LINGER: Duration = Duration::from_millis(100);
/// How long rows are removed at a time, but for one row.
const REMOVE_FOR: Duration = Duration::from_millis(10);

/// Starts the thread. It ends when the store is stopped, or dropped.
pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<()> {
    std::thread::Builder::new().name("contents".into()).spawn(move || run(&shared)).map(drop)
}

enum Step {
    Rows(Vec<Arc<ContentRow>>),
    Job(Job),
    End,
}

fn run(shared: &Shared) {
    loop {
        match next(shared) {
            Step::Rows(rows) => {
                let encoded: Vec<(u64, Bytes)> =
                    rows.iter().map(|row| (row.revision.0, row.encode().into())).collect();
                shared.surplus.wrote(encoded.iter().map(|(_, row)| row.len() as u64).sum());
                match shared.backend.put(&encoded) {
                    Ok(()) => shared.written(&rows),
                    Err(error) => shared.poison(&error),
                }
            }
            Step::Job(mut job) => {
                let result = shared.perform(&mut job.what);
                if result.is_ok() && job.what.goes_on() {
                    shared.again(job);
                } else {
                    // The asker may have gone; what was done stands.
                    let _ = job.done.send(result);
                }
            }
            Step::End => return,
        }
    }
}

fn next(shared: &Shared) -> Step {
    let mut staged = shared.staged.lock();
    let mut lingered = false;
    loop {
        if let Some(step) = take(&mut staged, lingered) {
            return step;
        }
        if staged.rows.is_empty() || staged.poisoned.is_some() {
            shared.work.wait(&mut staged);
        } else {
            lingered = shared.work.wait_for(&mut staged, LINGER).timed_out();
        }
    }
}

/// A job goes first once the rows staged before it are written: rows that come all the time must not keep it waiting.
fn take(staged: &mut Staged, lingered: bool) -> Option<Step> {
    if staged.stopped {
        return Some(Step::End);
    }
    let failed = staged.poisoned.is_some();
    let first = staged.rows.first_key_value().map(|(revision, _)| *revision);
    let is_due = |job: &Job| failed || first.is_none_or(|first| first > job.after);
    if staged.jobs.front().is_some_and(is_due) {
        return staged.jobs.pop_front().map(Step::Job);
    }
    if failed || staged.rows.is_empty() || !(lingered || staged.is_due()) {
        return None;
    }
    let mut bytes = 0;
    let rows = staged.rows.values().take(BATCH_ROWS).take_while(|row| {
        let before = bytes;
        bytes += cost(row);
        before < BATCH_BYTES
    });
    Some(Step::Rows(rows.cloned().collect()))
}

impl Shared {
    pub(super) fn stop(&self) {
        let mut staged = self.staged.lock();
        staged.stopped = true;
        self.work.notify_one();
    }

    fn written(&self, rows: &[Arc<ContentRow>]) {
        let mut staged = self.staged.lock();
        let was_full = staged.bytes >= STAGED_BYTES_MAX;
        for row in rows {
            let key = row.revision.0;
            // Staged again meanwhile, it is written again.
            if staged.rows.get(&key).is_some_and(|present| Arc::ptr_eq(present, row)) {
                staged.rows.remove(&key);
                staged.bytes -= cost(row);
            }
        }
        if was_full {
            self.room.notify_waiters();
        }
    }

    /// What was staged and asked for meanwhile goes first.
    fn again(&self, job: Job) {
        let mut staged = self.staged.lock();
        let after = staged.last();
        staged.jobs.push_back(Job { after, ..job });
    }

    /// Does the work, or a piece of it.
    fn perform(&self, work: &mut Work) -> io::Result<()> {
        let poisoned = self.staged.lock().poisoned.clone();
        if let Some(cause) = poisoned {
            return Err(io::Error::other(cause));
        }
        let result = match work {
            Work::Sync => self.backend.sync(),
            Work::Remove(revisions) => self.remove_some(revisions),
        };
        result.inspect_err(|e| self.poison(e))
    }

    /// Removes rows for a while: one can have thousands of parts, and rows that are staged wait.
    fn remove_some(&self, revisions: &mut Vec<u64>) -> io::Result<()> {
        let began = Instant::now();
        while let Some(revision) = revisions.pop() {
            self.backend.remove(&[revision])?;
            if began.elapsed() >= REMOVE_FOR {
                break;
            }
        }
        Ok(())
    }

    /// After a failed write or sync nobody knows what is on the disk, so nothing is tried again.
    fn poison(&self, error: &io::Error) {
        let cause = error.to_string();
        self.fatal.set(Fatal::Disk { file: self.backend.file(), cause: cause.clone() });
        let mut staged = self.staged.lock();
        staged.poisoned.get_or_insert(cause);
        self.room.notify_waiters();
    }
}
