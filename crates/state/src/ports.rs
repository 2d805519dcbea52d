//! The ports between the use cases and the CP core. The raft shell implements them, and each port has one suite of tests.

use std::future::Future;
use std::pin::Pin;

use dyad_types::MemberId;

use crate::{CpChanges, CpCommand, CpReply, CpState};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub use dyad_types::limits::COMMAND_MAX;

/// The CP half. It proposes a command and answers after the command was applied on this member.
pub trait Propose: Send + Sync + 'static {
    /// Proposes the command. The answer comes within 5 s. It comes within 1 s if no leader was heard for an election time-out, or if
    /// the leader is heard and answers this member nothing, because SDKs give up after 3 s.
    fn propose(&self, command: CpCommand) -> BoxFuture<'_, Result<CpReply, ProposeError>>;
    /// The leader that this member knows. `None` during an election, or without a majority.
    fn leader(&self) -> Option<Leader>;
}

/// Reads that miss no acknowledged write: they first wait until this member has applied as much as the leader has committed.
pub trait Linearize: Send + Sync + 'static {
    /// After this call, a read of the state that this member has applied sees every write that any member acknowledged before
    /// the call. It costs one round to a majority; calls at the same time share a round.
    ///
    /// # Errors
    /// `NoLeader` if within 5 s no leader could confirm that it still leads, or this member did not catch up with that
    /// leader. It comes within 1 s if no leader was heard for an election time-out, or if the leader is heard and answers this
    /// member nothing. `Storage` if the store of this member has failed. The read can be tried again.
    fn linearize(&self) -> BoxFuture<'_, Result<(), ProposeError>>;
    /// Whether what is missing from the state that this member has applied can be called absent.
    fn knowledge(&self) -> Knowledge;
    /// Why this member takes no writes and answers no consistent reads, whatever its leader. `None` almost always.
    fn barred(&self) -> Option<String>;
}

/// What a member knows of the state of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// It had the state once, or it has it now.
    Known,
    /// It has never had it, and no other member said that there is a cluster: one has still to be founded.
    NoCluster,
    /// It has never had it, and another member has it: this one waits to be taken in, with an empty disk.
    Joining,
    /// It had it, and was removed from the cluster: what it has grows old.
    Removed,
}

/// The leader that a member knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub member: MemberId,
    pub term: u64,
    /// Its advertised address, `host:http_port`.
    pub address: String,
}

/// Why a command was not acknowledged. After `Timeout` and `Lost` its outcome is unknown: it took effect once, or not at all, or it will.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    #[error("no raft leader is known; {0}")]
    NoLeader(String),
    #[error("the write was not acknowledged by a majority within {0} ms")]
    Timeout(u64),
    #[error("too many writes are waiting (limit {0}); try again")]
    Busy(usize),
    #[error("the leader changed while the write was under way: {0}")]
    Lost(String),
    #[error("the command of {len} bytes is over the limit of {max}")]
    TooLarge { len: usize, max: usize },
    #[error("the store refuses writes: {0}")]
    Storage(String),
    /// This member may not speak for its cluster at present. The text says why, and what to do.
    #[error("{0}")]
    Barred(String),
}

/// Hears of every applied entry. It is called while the entry is applied, so it must be quick.
pub trait CpSink: Send + Sync + 'static {
    fn applied(&self, state: &CpState, changes: &CpChanges);
    /// The whole state was replaced, at a start or because a snapshot was installed.
    fn installed(&self, state: &CpState);
}
