//! The ports between the front ends and the AP core. The shells implement them, and each port has one suite of tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use dyad_types::limits::PUBLICATION_MAX;
use dyad_types::{ClientId, MemberId, Publication, PublicationKey};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The AP half, as the front ends see it. It works without a leader of raft.
pub trait Ephemeral: Send + Sync + 'static {
    /// Registers or replaces the publication of a client. Rule 8 of docs/distro.md says when the answer comes.
    fn register(
        &self,
        key: PublicationKey,
        publication: Arc<Publication>,
    ) -> BoxFuture<'_, Result<(), EphemeralError>>;
    fn deregister(&self, key: PublicationKey) -> BoxFuture<'_, Result<(), EphemeralError>>;
    /// Takes a heartbeat. This never waits.
    ///
    /// # Errors
    /// The member does not serve at present.
    fn beat(&self, key: &PublicationKey) -> Result<BeatOutcome, EphemeralError>;
    /// Whether naming requests may be answered now. `known` says whether the service is in the registry: a member that is ALONE
    /// answers only for such services (rule 20).
    ///
    /// # Errors
    /// The member is JOINING or RESUMING, or it is ALONE and the service is unknown.
    fn admit(&self, known: bool) -> Result<(), EphemeralError>;
    /// Says that a connection of this member has ended. Its publications end by rule 18, and it cannot register any
    /// more. This never waits. It may be called twice, and for a connection that published nothing.
    fn ended(&self, client: &ClientId, ending: Ending);
    /// Takes the answer to [`Connections::probe`]. If `alive` is false, the connection ends as with
    /// [`Ending::Abnormal`]. This never waits.
    fn probed(&self, client: &ClientId, alive: bool);
}

/// How a connection came to its end (rule 18 of docs/distro.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client closed it in order. Its publications go at once.
    Orderly,
    /// The connection was reset, timed out, did not answer a probe, or was closed by this server (drain, rebalance, stop). Its
    /// publications stay for 10 s, in which the client registers elsewhere.
    Abnormal,
}

/// The connections of this member, as the AP core sees them (rule 17). The id of a connection is the [`ClientId`] of
/// its client.
pub trait Connections: Send + Sync + std::fmt::Debug + 'static {
    /// Asks the client whether it is alive, and tells the result to [`Ephemeral::probed`] within a few seconds. It is
    /// called while the core is locked, so it must return at once and must not call back before it has returned.
    fn probe(&self, client: &ClientId);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatOutcome {
    Known,
    /// The instance is not known. The answer is code 20404, after which the client registers again.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EphemeralError {
    /// The member does not serve yet. The message has the words of Nacos, after which SDKs go to the next server.
    #[error("server is STARTING now, please try again later!")]
    Starting,
    #[error("too many requests are waiting (limit {0}); try again")]
    Busy(usize),
    /// The client's mistake (400).
    #[error(
        "the names of this registration, or its instances with their metadata, are longer than what members send \
         each other ({PUBLICATION_MAX} bytes)"
    )]
    TooLong,
}

/// One member of the group of servers, for `/core/cluster/nodes`, the status page and `dyad cluster status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    pub id: Option<MemberId>,
    /// Its advertised address, `host:http_port`.
    pub address: String,
    pub raft_port: u16,
    /// The word of Nacos for its state: `UP`, `SUSPICIOUS`, `DOWN` or `STARTING`.
    pub state: &'static str,
    pub me: bool,
    pub leader: bool,
}

/// The table of members, as this member sees it.
pub trait Members: Send + Sync + 'static {
    fn members(&self) -> Vec<MemberView>;
    /// Asks all other members at once what only they know: `target` is the path and query of a GET route that each answers
    /// about itself alone. Gives the bodies of the answers; a member that does not answer within 2 s is left out.
    fn ask(&self, target: &str) -> BoxFuture<'static, Vec<bytes::Bytes>>;
    /// Whether this member is READY (rule 20), which is what the readiness check answers.
    ///
    /// # Errors
    /// It is not; the text says what it waits for.
    fn ready(&self) -> Result<(), String>;
}
