//! The clock that the server gives.

use dyad_types::Millis;

pub(crate) use dyad_types::date::{compact_date, http_date, timestamp};

/// The two clocks that a request needs. The server gives the real ones, tests give their own.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time; its zero is the start of the process.
    fn now(&self) -> Millis;
    /// Wall-clock milliseconds since the epoch: shown to clients, never compared.
    fn wall_ms(&self) -> u64;
}
