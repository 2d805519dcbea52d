//! Monotonic time as a value, so that no state machine ever reads a clock.

use std::fmt;
use std::ops::{Add, Sub};

/// When and where an entry was put into the raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Wall-clock milliseconds since the epoch. The leader writes them into the entry just before it proposes it.
    pub now_ms: u64,
    /// The index of the entry in the raft log.
    pub index: u64,
}

/// Milliseconds on a monotonic clock whose zero is the start of the process (or of the simulation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds since `earlier`, or 0 if `earlier` is later than this moment.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `ms` before this one, or zero if that would be before zero.
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

/// The two clocks that a shell needs. The server gives the real ones, tests give their own; the pure crates are handed the
/// moments that were read from them.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time; its zero is the start of the process.
    fn now(&self) -> Millis;
    /// Wall-clock milliseconds since the epoch: shown to clients, never compared.
    fn wall_ms(&self) -> u64;
}
