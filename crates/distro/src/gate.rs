//! What the lock-free beat path of the front end must see before it trusts a [`dyad_types::BeatSlot`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dyad_types::Millis;

use crate::config::PAUSE_MS;

/// Shared by the core and the front end.
///
/// Safety: the core stores the time of each of its entries. A process that was stopped finds that time too old, so its
/// backlog of beats goes through the core, which handles the pause first (rule 23).
#[derive(Debug, Default)]
pub struct Gate {
    serving: AtomicBool,
    last_entry: AtomicU64,
}

impl Gate {
    /// True when a beat may be noted without the core: the member serves and has not been paused.
    pub fn is_open(&self, now: Millis) -> bool {
        self.serving.load(Ordering::Acquire)
            && now.0.saturating_sub(self.last_entry.load(Ordering::Acquire)) <= PAUSE_MS
    }

    pub(crate) fn enter(&self, now: Millis) {
        self.last_entry.store(now.0, Ordering::Release);
    }

    pub(crate) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }
}
