//! What a measurement is given: the server, the times, and a name of its own.

use std::time::Duration;

use crate::error::BenchError;
use crate::target::Side;

/// One round at one server, and where to say what goes on.
pub(crate) struct Bench<'a> {
    pub(crate) side: &'a Side,
    pub(crate) warmup: Duration,
    pub(crate) time: Duration,
    /// Part of every service's name, another one in each round: what an earlier one left behind is not seen.
    pub(crate) tag: String,
    pub(crate) note: &'a (dyn Fn(&str) + Send + Sync),
}

impl Bench<'_> {
    pub(crate) fn refused(&self, why: impl std::fmt::Display) -> BenchError {
        BenchError::Server { server: self.side.name(), why: why.to_string() }
    }
}
