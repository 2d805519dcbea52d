//! The parts of the binary `dyad`: the command line, settings, identity, the data directory and the wiring of a
//! server. A library so that tests and `main.rs` use the same parts; nothing else depends on it.

pub mod admin;
pub mod cli;
pub mod datadir;
pub mod identity;
pub mod panics;
pub mod recover;
pub mod settings;
pub mod telemetry;
pub mod wire;
