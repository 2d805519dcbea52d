//! The simulator: the Distro core of every member, a network, clients and faults in one deterministic event loop. A seed
//! is one run; a violated invariant ends it.

mod actions;
mod checks;
mod clients;
mod faults;
mod names;
mod outcome;
mod profile;
mod raft;
mod rng;
mod sdk;
mod world;

pub use outcome::{Run, Violation};
pub use profile::{PROFILES, Profile};
pub use rng::Rng;

/// Runs one seed of a profile.
pub fn run(profile: Profile, seed: u64, trace: bool) -> Run {
    world::World::new(profile, seed, trace).run()
}
