//! Holds: while one is there, no row is removed. Whoever reads the rows of a state one after another takes a hold before it
//! takes the state; a row that no later state relies on would otherwise go after the next snapshot.
//!
//! Safety: a removal is of rows on which neither the snapshot that was just declared nor any later state relies. A state that
//! is taken while a hold is there is either older than that snapshot, and then the removal finds the hold, or it is at least as
//! new, and then it does not rely on these rows. What was not removed is remembered as dropped, so that the next snapshot
//! finds it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The holds that there are, by number, with their ends. After its end a hold is as good as gone: a reader that hangs must
/// not fill the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(Arc<Mutex<Ends>>);

#[derive(Debug, Default)]
struct Ends {
    ends: BTreeMap<u64, Instant>,
    numbers: u64,
}

impl Holds {
    pub(super) fn any(&self) -> bool {
        let now = Instant::now();
        self.0.lock().ends.values().any(|end| *end > now)
    }

    pub(super) fn take(&self, limit: Duration) -> Hold {
        let mut holds = self.0.lock();
        holds.numbers += 1;
        let number = holds.numbers;
        holds.ends.insert(number, Instant::now() + limit);
        drop(holds);
        Hold { holds: self.clone(), number }
    }
}

/// Ends when it is dropped, or when its time is over.
pub(crate) struct Hold {
    holds: Holds,
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.0.lock().ends.remove(&self.number);
    }
}
