//! What a seed did, and what it violated.

use std::collections::BTreeMap;

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// H1, I2, … as in docs/reliability.md.
    pub invariant: &'static str,
    /// Simulated milliseconds.
    pub at: u64,
    pub detail: String,
}

/// What one seed did.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub violation: Option<Violation>,
    /// How often each fault and each rule happened.
    pub counts: BTreeMap<&'static str, u64>,
    pub events: u64,
    /// Lines of the trace, when asked for.
    pub trace: Vec<String>,
}
