//! Monotonic time as a value, so that no state machine ever reads a clock.

use std::fmt;
use std::ops::{Add, Sub};

/// When and where an entry was put into the raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Wall-clock milliseconds since the epoch, written into the entry by the leader just before proposing.
    pub now_ms: u64,
    /// The raft log index.
    pub index: u64,
}

/// Milliseconds on a monotonic clock whose zero is the start of the process (or of the simulation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds since `earlier`, or 0 when `earlier` lies in the future.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment moved back by `ms`, not before zero.
    pub fn back(self, ms: u64) -> Millis {
        Millis(self.0.saturating_sub(ms))
    }
}

impl Add<u64> for Millis {
    type Output = Millis;

    fn add(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }
}

impl Sub for Millis {
    type Output = u64;

    fn sub(self, earlier: Millis) -> u64 {
        self.since(earlier)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
