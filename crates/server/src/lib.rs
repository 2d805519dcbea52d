//! The parts of the binary `dyad`: settings, identity, the data directory, operator commands and the wiring of a
//! server. A library so that tests and `main.rs` use the same parts; nothing else depends on it.

pub mod admin;
pub mod cli;
pub mod commands;
pub mod datadir;
pub mod exit;
pub mod health;
pub mod identity;
pub mod panics;
pub mod settings;
pub mod status;
pub mod telemetry;
pub mod wire;
