//! The simulator: the Distro core of every member, a network, clients and faults in one deterministic event loop. A seed
//! is one run; a violated invariant ends it.

mod actions;
mod checks;
mod clients;
mod faults;
mod names;
mod profile;
mod raft;
mod rng;
mod sdk;
mod world;

use std::collections::BTreeMap;

pub use profile::{PROFILES, Profile};
pub use rng::Rng;

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

/// Runs one seed of a profile.
pub fn run(profile: Profile, seed: u64, trace: bool) -> Run {
    world::World::new(profile, seed, trace).run()
}
