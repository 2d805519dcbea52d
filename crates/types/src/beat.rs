//! The slot in which a beat of a known instance leaves its time without taking a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::time::Millis;

/// Shared by the Distro core (its timers read it) and the front end (a beat writes it).
///
/// Safety: `beat` may race with the core releasing the slot. Then the time is written into a slot that nobody reads and
/// the answer is that of a beat that came a moment earlier, which the order of two concurrent requests allows.
#[derive(Debug, Default)]
pub struct BeatSlot {
    last: AtomicU64,
    /// The core holds the record and it is healthy: a beat needs nothing but the time.
    open: AtomicBool,
}

impl BeatSlot {
    pub fn new(now: Millis) -> BeatSlot {
        BeatSlot { last: AtomicU64::new(now.0), open: AtomicBool::new(true) }
    }

    /// Notes a beat. False when the core must decide (not held here, or unhealthy).
    pub fn beat(&self, now: Millis) -> bool {
        if !self.open.load(Ordering::Acquire) {
            return false;
        }
        self.last.fetch_max(now.0, Ordering::AcqRel);
        true
    }

    /// The last beat, or what the core set.
    pub fn last(&self) -> Millis {
        Millis(self.last.load(Ordering::Acquire))
    }

    /// Sets the time (the core: adoption, pauses).
    pub fn set_last(&self, at: Millis) {
        self.last.store(at.0, Ordering::Release);
    }

    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}
