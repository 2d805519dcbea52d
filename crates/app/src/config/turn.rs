//! Turns of heavy requests: how many of them run at a time, for how long, and that they end when nobody waits for them.
//!
//! A thread cannot be ended from outside. So a turn lasts until its thread has ended, whatever became of the request, and
//! the thread asks often whether it should go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::write::blocking;
use crate::Fault;

/// Requests at a time that go through the whole list, read many contents or hold many in memory: searches, histories,
/// archives. Each can take seconds and 100 MiB, and the machine has other work.
const AT_ONCE: usize = 4;
/// How long one waits for its turn. Then the answer is 503, as in Nacos.
const WAIT: Duration = Duration::from_secs(8);
/// How long the work of one request may take in all. Then the answer is 503, and says to ask for less.
pub(crate) const WORK_MAX: Duration = Duration::from_secs(10);

/// Bytes of large contents that are read from the store at a time.
const READING_MAX: usize = 64 * 1024 * 1024;
/// A content of up to so many bytes is not counted in that.
const READ_FREELY: usize = 256 * 1024;
/// How often a content is in memory while it is read: the bytes of its row, the message in them, and the text.
const READ_COPIES: usize = 3;
/// The unit of the semaphore.
const UNIT: usize = 1024;

/// The turns of one process.
#[derive(Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    wait: Duration,
    work: Duration,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns::new(AT_ONCE, WAIT, WORK_MAX)
    }
}

impl Turns {
    fn new(at_once: usize, wait: Duration, work: Duration) -> Turns {
        let reading = Arc::new(Semaphore::new(READING_MAX / UNIT));
        Turns { free: Arc::new(Semaphore::new(at_once)), reading, wait, work }
    }

    /// Waits until contents of so many bytes in all may be read from the store: large ones are read a few at a time, and those
    /// of the largest size one after the other. What is given back ends the reading when it is dropped.
    pub(crate) async fn reading(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= READ_FREELY {
            return None;
        }
        let units = bytes.saturating_mul(READ_COPIES).min(READING_MAX) / UNIT;
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        // It is never closed.
        Arc::clone(&self.reading).acquire_many_owned(units).await.ok()
    }

    /// The same as [`Turns::reading`], on a thread that may block.
    pub fn reading_here(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= READ_FREELY { None } else { Handle::current().block_on(self.reading(bytes)) }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// It did not come in time.
    pub async fn next(&self) -> Result<Turn, Fault> {
        let free = Arc::clone(&self.free).acquire_owned();
        let permit = tokio::time::timeout(self.wait, free).await.map_err(|_| Fault::Overloaded)?;
        let permit = permit.map_err(|_| Fault::Stopping)?;
        let shared =
            Shared { _permit: permit, gone: AtomicBool::new(false), until: Instant::now() + self.work };
        Ok(Turn(Arc::new(shared)))
    }
}

#[derive(Debug)]
struct Shared {
    _permit: OwnedSemaphorePermit,
    gone: AtomicBool,
    until: Instant,
}

/// The turn of a request that has it. The request drops it at its end, also when its client has gone; the work then ends.
#[derive(Debug)]
pub struct Turn(Arc<Shared>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Relaxed);
    }
}

impl Turn {
    /// Runs work on a thread where it may take its time, and that keeps the turn until it has ended.
    ///
    /// # Errors
    /// What the work fails with, or the process stops.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Stop) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let stop = Stop(Arc::clone(&self.0));
        blocking(move || work(&stop)).await?
    }
}

/// Says to the work of a turn whether it must end.
#[derive(Debug)]
pub struct Stop(Arc<Shared>);

impl Stop {
    /// True when nobody waits for the result any more, or the time is up.
    pub fn is_due(&self) -> bool {
        self.0.gone.load(Ordering::Relaxed) || Instant::now() >= self.0.until
    }

    /// For work that is done piece by piece: asked before each piece.
    ///
    /// # Errors
    /// The work must end.
    pub fn check(&self) -> Result<(), Fault> {
        if self.is_due() { Err(Fault::TooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::sync::mpsc;

    use super::*;

    fn turns(wait: Duration, work: Duration) -> Turns {
        Turns::new(1, wait, work)
    }

    #[tokio::test]
    async fn a_turn_lasts_until_its_thread_ends_and_the_thread_is_told_that_nobody_waits() {
        let turns = turns(Duration::from_secs(60), Duration::from_secs(60));
        let turn = turns.next().await.unwrap();
        let (started, has_started) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let request = tokio::spawn(async move {
            turn.run(move |stop| {
                started.send(stop.is_due()).unwrap();
                may_go_on.recv().unwrap();
                ended.send(stop.is_due()).unwrap();
                Ok(())
            })
            .await
        });
        let has_started = tokio::task::spawn_blocking(move || has_started.recv().unwrap());
        assert!(!has_started.await.unwrap(), "the client waits");
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled(), "the client has hung up");
        assert_eq!(turns.free.available_permits(), 0, "the thread goes on");
        go_on.send(()).unwrap();
        let told = tokio::task::spawn_blocking(move || has_ended.recv().unwrap());
        assert!(told.await.unwrap(), "nobody waits");
        turns.next().await.unwrap();
    }

    #[tokio::test]
    async fn work_whose_time_is_up_ends_with_what_to_do() {
        let turns = turns(Duration::from_secs(60), Duration::ZERO);
        let turn = turns.next().await.unwrap();
        let fault = turn.run(|stop| stop.check()).await.unwrap_err();
        assert_eq!(fault, Fault::TooLong);
        assert!(fault.to_string().contains("10 s"), "{fault}");
    }

    #[tokio::test]
    async fn the_largest_contents_are_read_one_after_the_other_and_small_ones_meanwhile() {
        let turns = turns(Duration::ZERO, Duration::ZERO);
        let largest = turns.reading(READING_MAX).await;
        let mut second = std::pin::pin!(turns.reading(2 * READ_FREELY));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(turns.reading(READ_FREELY).await.is_none(), "it need not wait");
        drop(largest);
        assert!(second.await.is_some());
        let both = (turns.reading(10 << 20).await, turns.reading(10 << 20).await);
        assert!(both.0.is_some() && both.1.is_some(), "two of 10 MiB at a time");
    }

    #[tokio::test]
    async fn who_gets_no_turn_in_time_is_refused() {
        let turns = turns(Duration::ZERO, Duration::from_secs(60));
        let turn = turns.next().await.unwrap();
        assert_eq!(turns.next().await.map(|_| ()), Err(Fault::Overloaded));
        drop(turn);
        assert!(turns.next().await.is_ok());
    }
}
