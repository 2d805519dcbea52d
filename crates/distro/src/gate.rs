//! What a front end must check before it leaves a heartbeat in a [`dyad_types::BeatSlot`] without a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dyad_types::Millis;

use crate::config::PAUSE_MS;

/// A gate that the core opens and closes, and that each heartbeat passes. The core and the front ends share it.
///
/// Safety: the core stores the time of each call. After a pause of the process that time is too old, so the heartbeats
/// that have piled up go through the core, which handles the pause first (rule 23).
#[derive(Debug, Default)]
pub struct Gate {
    serving: AtomicBool,
    last_entry: AtomicU64,
}

impl Gate {
    /// Whether a heartbeat may be noted without the core, because the member serves and was not paused.
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
