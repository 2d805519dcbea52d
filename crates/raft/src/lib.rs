//! The CP half's consensus: openraft over a log in sled, member-to-member calls over tonic, the CP state machine with
//! snapshot files. The only crate that names openraft and sled.

mod backend;
mod error;
mod log;
mod machine;
mod record;
mod types;

pub use backend::{LogBackend, MemBackend, MetaKey, SledBackend};
pub use error::{Fatal, StartError};
pub use log::{FSYNC_BOUNDS_US, FsyncStats};
pub use types::Node;

#[cfg(test)]
mod tests;
