//! The parts of the binary `dyad`: the command line, the settings, the identity, the data directory and the wiring of a
//! server. It is a library so that the tests and `main.rs` use the same parts; nothing else depends on it.

pub mod admin;
pub(crate) mod backup;
pub mod cli;
pub mod datadir;
pub mod identity;
pub mod logged;
pub mod panics;
pub mod recover;
pub(crate) mod refound;
pub(crate) mod removal;
pub mod restore;
pub mod settings;
pub mod telemetry;
pub mod wire;
