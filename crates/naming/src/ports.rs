//! The ports between the front ends and the two consistency cores. Implemented by the shells, tested by one suite each.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use dyad_types::{ClientId, MemberId, Publication, PublicationKey};

use crate::cp::{CpChanges, CpCommand, CpReply, CpState};

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

/// The AP half as the front ends see it. Works without a raft leader.
pub trait Ephemeral: Send + Sync + 'static {
    /// Registers or replaces the client's publication. Answered by rule 8 of docs/distro.md.
    fn register(
        &self,
        key: PublicationKey,
        publication: Arc<Publication>,
    ) -> BoxFuture<'_, Result<(), EphemeralError>>;
    fn deregister(&self, key: PublicationKey) -> BoxFuture<'_, Result<(), EphemeralError>>;
    /// A heartbeat; never waits.
    ///
    /// # Errors
    /// While the member does not serve.
    fn beat(&self, key: &PublicationKey) -> Result<BeatOutcome, EphemeralError>;
    /// May naming requests be answered now? `known` = the service is in the registry (rule 20: ALONE answers only these).
    ///
    /// # Errors
    /// While the member is joining or resuming, or alone and the service unknown.
    fn admit(&self, known: bool) -> Result<(), EphemeralError>;
    /// A connection of this member is over: its publications end by rule 18, and it cannot register any more. Never
    /// waits; telling it twice, or of a connection that published nothing, is fine.
    fn ended(&self, client: &ClientId, ending: Ending);
    /// The answer to [`Connections::probe`]. `alive: false` ends the connection as [`Ending::Abnormal`]. Never waits.
    fn probed(&self, client: &ClientId, alive: bool);
}

/// How a connection came to its end (rule 18 of docs/distro.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client closed it, or said goodbye: its publications go at once.
    Orderly,
    /// Reset, time-out, dead probe, or closed by this server (drain, rebalance, stop): its publications stay for 10 s, in
    /// which the client registers elsewhere.
    Abnormal,
}

/// The connections of this member, as the AP core sees them (rule 17). Their ids are the publishers' [`ClientId`]s.
pub trait Connections: Send + Sync + std::fmt::Debug + 'static {
    /// Find out whether the client still answers, and tell [`Ephemeral::probed`] within a few seconds. Called with the core
    /// locked: must return at once, and must not call back before it has returned.
    fn probe(&self, client: &ClientId);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatOutcome {
    Known,
    /// Answered with code 20404: the client registers again.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EphemeralError {
    /// Nacos's words; SDKs go to the next server.
    #[error("server is STARTING now, please try again later!")]
    Starting,
    #[error("too many requests are waiting (limit {0}); try again")]
    Busy(usize),
}

/// One member of the server cluster, for `/core/cluster/nodes`, the console page and `cluster status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    pub id: Option<MemberId>,
    /// Advertised `host:http_port`.
    pub address: String,
    pub raft_port: u16,
    /// `UP`, `SUSPICIOUS`, `DOWN` or `STARTING`.
    pub state: &'static str,
    pub me: bool,
    pub leader: bool,
}

/// The member table as this member sees it.
pub trait Members: Send + Sync + 'static {
    fn members(&self) -> Vec<MemberView>;
    /// Is this member warm (rule 20)? Readiness.
    fn ready(&self) -> bool;
}
