//! The replicated state of a cluster. Only the raft log changes it.
//!
//! [`CpState`] consists of the naming part, the configuration part, and the part of the cluster itself. Each part has its own
//! commands and its own `apply`. This crate holds the parts together: it has the one type of commands for the log, their
//! bytes, the snapshot, and the ports that the raft shell implements. It uses no tokio, no clock and no randomness; the time
//! comes with the stamp of a log entry.

mod cluster;
mod codec;
mod command;
mod envelope;
pub mod ports;
mod requests;
mod snapshot;
mod state;

pub use cluster::{ClusterCommand, ClusterReply, ClusterState, EXCLUDED_MAX, LEVEL};
pub use command::{CpChanges, CpCommand, CpReply, Part};
pub use dyad_types::{BadRecord, Stamp};
pub use envelope::Envelope;
pub use requests::RequestId;
pub use state::CpState;

#[cfg(test)]
mod tests;
