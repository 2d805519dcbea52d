//! The errors that keep a member from starting, and the errors that stop it while it runs. Each error names the file
//! and the remedy.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

/// Why raft could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{file} is in use by another process")]
    Locked { file: String },
    /// Nothing is repaired or wiped by itself.
    #[error(
        "the store is corrupt: {file} at {at}: {cause}; `dyad recover --discard` sets it aside: a member then joins its cluster anew, \
         and what a standalone server had comes back with `dyad restore`"
    )]
    Corrupt { file: String, at: String, cause: String },
    #[error("{file}: {source}")]
    Io { file: String, source: io::Error },
    #[error("{0}")]
    Overruled(String),
    #[error("raft: {0}")]
    Raft(String),
}

impl StartError {
    /// The exit code of the process: 3 for a store in use, 4 for a corrupt one, 5 for an error of the disk.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Locked { .. } => 3,
            StartError::Corrupt { .. } | StartError::Overruled(_) => 4,
            StartError::Io { .. } | StartError::Raft(_) => 5,
        }
    }
}

/// Why raft stopped while it ran. The process must end, because a failed fsync must never be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    #[error("disk error on {file}: {cause}")]
    Disk { file: String, cause: String },
    #[error(
        "the store is corrupt: {file} at {at}: {cause}; `dyad recover --discard` sets it aside: a member then joins its cluster anew, \
         and what a standalone server had comes back with `dyad restore`"
    )]
    Corrupt { file: String, at: String, cause: String },
    /// The other members have lost acknowledged writes, and this one has them.
    #[error(
        "{file}: the entries up to {committed} were committed here, but {leader}: other members run on older copies of their \
         data directories. Keep this directory, because it has what they lack, and stop all members before more is written"
    )]
    Overruled { file: String, committed: String, leader: String },
    /// This member has less than others have seen of it.
    #[error(
        "{file} was set back to an older copy: member {by:016x} has seen {seen} here, and now there is {now}. This member has \
         forgotten what it acknowledged and must not take part; `dyad recover --discard` sets the copy aside, and it joins anew"
    )]
    SetBack { file: String, seen: String, by: u64, now: String },
    /// Another process runs on a copy of this data directory.
    #[error(
        "{file} is a copy: the server at {address} is this very member and runs; stop that one, or give this one an empty data \
         directory"
    )]
    Twin { file: String, address: String },
    #[error("raft stopped: {0}")]
    Raft(String),
}

impl Fatal {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Fatal::Corrupt { .. } | Fatal::Overruled { .. } | Fatal::SetBack { .. } | Fatal::Twin { .. } => 4,
            Fatal::Disk { .. } | Fatal::Raft(_) => 5,
        }
    }
}

impl From<Fatal> for StartError {
    fn from(fatal: Fatal) -> StartError {
        match fatal {
            Fatal::Disk { file, cause } => StartError::Io { file, source: io::Error::other(cause) },
            Fatal::Corrupt { file, at, cause } => StartError::Corrupt { file, at, cause },
            Fatal::Raft(cause) => StartError::Raft(cause),
            stop @ (Fatal::Overruled { .. } | Fatal::SetBack { .. } | Fatal::Twin { .. }) => {
                StartError::Overruled(stop.to_string())
            }
        }
    }
}

/// Where the first fatal error is put; later ones follow from it.
#[derive(Clone, Debug)]
pub(crate) struct FatalSlot(Arc<watch::Sender<Option<Fatal>>>);

impl FatalSlot {
    pub(crate) fn new() -> FatalSlot {
        FatalSlot(Arc::new(watch::Sender::new(None)))
    }

    pub(crate) fn set(&self, fatal: Fatal) {
        self.0.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                tracing::error!("{fatal}");
                *slot = Some(fatal);
            }
            first
        });
    }

    pub(crate) fn get(&self) -> Option<Fatal> {
        self.0.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Fatal>> {
        self.0.subscribe()
    }
}
