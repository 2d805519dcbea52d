//! The slot in which a heartbeat of a known instance leaves its time without taking a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::time::Millis;

/// The time of the last heartbeat of one instance. The Distro core, whose timers read it, and the front end, which writes it on
/// each heartbeat, share the slot.
///
/// Safety: `beat` may race with the core when it releases the slot. Then the time goes into a slot that nobody reads, and the
/// answer is the one that a heartbeat a moment earlier would have got. Two concurrent requests may have this order.
#[derive(Debug, Default)]
pub struct BeatSlot {
    last: AtomicU64,
    /// True while the core holds the record and the record is healthy: a heartbeat then only has to leave its time.
    open: AtomicBool,
}

impl BeatSlot {
    /// An open slot whose last heartbeat was at `now`.
    pub fn new(now: Millis) -> BeatSlot {
        BeatSlot { last: AtomicU64::new(now.0), open: AtomicBool::new(true) }
    }

    /// Notes a heartbeat. False if the core must decide, because the record is not held here or is unhealthy; nothing is
    /// noted then.
    pub fn beat(&self, now: Millis) -> bool {
        if !self.open.load(Ordering::Acquire) {
            return false;
        }
        self.last.fetch_max(now.0, Ordering::AcqRel);
        true
    }

    /// The time of the last heartbeat, or the time that the core set last.
    pub fn last(&self) -> Millis {
        Millis(self.last.load(Ordering::Acquire))
    }

    /// Sets the time. The core calls this when it adopts a record, and after a pause of the process.
    pub fn set_last(&self, at: Millis) {
        self.last.store(at.0, Ordering::Release);
    }

    /// Says whether heartbeats may be noted without the core; see [`BeatSlot::beat`].
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// Whether heartbeats may be noted without the core.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}
