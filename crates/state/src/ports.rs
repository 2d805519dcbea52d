//! The ports between the use cases and the CP core. Implemented by the raft shell, tested by one suite each.

use std::future::Future;
use std::pin::Pin;

use dyad_types::MemberId;

use crate::{CpChanges, CpCommand, CpReply, CpState};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub use dyad_types::limits::COMMAND_MAX;

/// The CP half: proposes a command and answers after it was applied on this member.
pub trait Propose: Send + Sync + 'static {
    /// Answers within 5 s, and within 1 s when no leader has been heard for an election timeout: SDKs give up after 3 s.
    fn propose(&self, command: CpCommand) -> BoxFuture<'_, Result<CpReply, ProposeError>>;
    /// The leader as this member knows it; `None` during an election or without a quorum.
    fn leader(&self) -> Option<Leader>;
}

/// Reads that miss nothing: what this member has applied is compared with the leader's commit index first.
pub trait Linearize: Send + Sync + 'static {
    /// After it, reads of this member's applied state see every write that was acknowledged, by any member, before the call.
    /// Costs a round to a majority; many calls at a time share one.
    ///
    /// # Errors
    /// `NoLeader` when no leader could confirm that it still leads, or this member did not get as far as that leader, within
    /// 5 s, or within 1 s when no leader has been heard for an election timeout; `Storage` when this member's store has
    /// failed. The read can be tried again.
    fn linearize(&self) -> BoxFuture<'_, Result<(), ProposeError>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub member: MemberId,
    pub term: u64,
    /// Advertised `host:http_port`.
    pub address: String,
}

/// Why a command was not acknowledged. After `Timeout` and `Lost` its outcome is unknown; commands are idempotent.
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
}

/// Told of every applied entry, on the apply path: it must be quick.
pub trait CpSink: Send + Sync + 'static {
    fn applied(&self, state: &CpState, changes: &CpChanges);
    /// The whole state was replaced (start, installed snapshot).
    fn installed(&self, state: &CpState);
}
