//! The consensus of the CP half: openraft over a log in sled, calls between members over tonic, and the CP state
//! machine with its snapshot files. Only this crate names openraft and sled.

mod backend;
pub mod bootstrap;
mod clocks;
mod compact;
mod config;
mod contact;
mod contents;
mod descriptors;
mod error;
mod export;
mod handle;
mod join;
mod log;
mod machine;
mod members;
mod network;
mod opening;
mod outlook;
mod ping;
mod position;
mod propose;
mod read;
mod record;
mod refound;
mod retain;
mod seen;
mod space;
mod standing;
mod stats;
mod status;
mod steward;
mod survey;
mod types;
mod wire;

pub use backend::{
    ContentBackend, LogBackend, MemBackend, MemContents, MetaKey, SledBackend, SledContents, Volume,
};
pub use clocks::CLOCK_OFF_MS;
pub use compact::log_disk_max;
pub use config::{Claim, MIN_FREE_BYTES, PROPOSE_DEADLINE, READ_DEADLINE, RaftConfig};
pub use error::{Fatal, StartError};
pub use export::{Export, HOLD_MAX};
pub use handle::RaftHandle;
pub use join::JoinError;
pub use log::QUEUE_MAX;
pub use members::MemberChange;
pub use network::{Dial, Service};
pub use position::Position;
pub use propose::PROPOSALS_MAX;
pub use refound::{Found, Founding, RowsOf, last_state, refound};
pub use space::{Disk, DiskRoom, reserve_bytes};
pub use standing::Standing;
pub use stats::{BOUNDS_US, ContentStats, FsyncStats, Timings};
pub use status::{Peer, RaftStatus, Recovery, Role};
pub use survey::{Other, Silence};
pub use types::Node;

#[cfg(test)]
mod tests;
