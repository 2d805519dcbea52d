//! The two clocks of the process. Only this file reads them.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dyad_distro::CLOCK_START;
use dyad_types::Millis;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Monotonic time. Starts an hour in, so that the ages which peers tell right after the start do not underflow.
pub(crate) fn monotonic() -> Millis {
    CLOCK_START + START.elapsed().as_millis() as u64
}

/// Wall-clock milliseconds since the epoch; 0 when the clock is set before it.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The clocks as the front end takes them.
#[derive(Debug)]
pub(crate) struct ProcessClock;

impl dyad_types::Clock for ProcessClock {
    fn now(&self) -> Millis {
        monotonic()
    }

    fn wall_ms(&self) -> u64 {
        wall_ms()
    }
}
