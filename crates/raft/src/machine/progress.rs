//! How far this member has applied the log, and who waits for an entry. An entry wakes those who wait for it and nobody else:
//! hundreds wait at a time, each for another one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// One past the last applied index.
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By what `next` must reach, and a number that makes the key unique.
    by_next: BTreeMap<(u64, u64), oneshot::Sender<()>>,
    numbers: u64,
}

impl Progress {
    pub(crate) fn new(next: u64) -> Progress {
        Progress { next: AtomicU64::new(next), waiting: Mutex::default() }
    }

    /// Everything below `next` was applied.
    pub(crate) fn reach(&self, next: u64) {
        self.next.store(next, Ordering::SeqCst);
        let mut waiting = self.waiting.lock();
        while let Some(first) = waiting.by_next.first_entry().filter(|first| first.key().0 <= next) {
            // Who waited may be gone.
            let _ = first.remove().send(());
        }
    }

    /// Waits until everything below `next` was applied.
    pub(crate) async fn until(&self, next: u64) {
        let (key, woken) = {
            let mut waiting = self.waiting.lock();
            // Under the lock: `reach` stores first, so it finds whoever does not see what it has stored.
            if self.next.load(Ordering::SeqCst) >= next {
                return;
            }
            waiting.numbers += 1;
            let key = (next, waiting.numbers);
            let (wake, woken) = oneshot::channel();
            waiting.by_next.insert(key, wake);
            (key, woken)
        };
        let _forgotten = Forgotten { progress: self, key };
        // The sender goes only when it has sent.
        let _ = woken.await;
    }
}

/// Takes who has stopped waiting off the list.
struct Forgotten<'a> {
    progress: &'a Progress,
    key: (u64, u64),
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.progress.waiting.lock().by_next.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn an_entry_wakes_those_who_wait_for_it_and_those_who_left_are_forgotten() {
        let progress = Progress::new(5);
        assert!(progress.until(5).now_or_never().is_some(), "it is there already");
        let (mut six, mut seven) = (Box::pin(progress.until(6)), Box::pin(progress.until(7)));
        assert!(six.as_mut().now_or_never().is_none());
        assert!(seven.as_mut().now_or_never().is_none());
        progress.reach(6);
        assert!(six.as_mut().now_or_never().is_some());
        assert!(seven.as_mut().now_or_never().is_none());
        drop((six, seven));
        assert!(progress.waiting.lock().by_next.is_empty());
    }
}
