//! The replicated state of a cluster: what the raft log changes, and nothing else does.
//!
//! [`CpState`] is made of the naming part, the configuration part and the cluster's own part, each with commands and an
//! `apply` of its own. This crate holds them together: one command type for the log, its bytes, the snapshot, and the ports
//! that the raft shell implements. No tokio, no clock, no randomness: time enters with the stamp of a log entry.

mod cluster;
mod codec;
mod command;
pub mod ports;
mod snapshot;
mod state;

pub use cluster::{ClusterCommand, ClusterReply, ClusterState};
pub use command::{CpChanges, CpCommand, CpReply, Part};
pub use dyad_types::{BadRecord, Stamp};
pub use state::CpState;

#[cfg(test)]
mod tests;
