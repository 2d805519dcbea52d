//! Writes. Their number and bytes are limited, the leader puts them into the log, and they are answered after they were
//! applied here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dyad_config::Change;
use dyad_naming::cp::NamingCommand;
use dyad_naming::ports::BoxFuture;
use dyad_proto::raft as pb;
use dyad_state::ports::{COMMAND_MAX, Leader, Propose, ProposeError};
use dyad_state::{CpCommand, CpReply, Envelope, Part, RequestId};
use dyad_types::MemberId;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Code;

use crate::config::PROPOSE_DEADLINE;
use crate::contact::Wait;
use crate::handle::{Inner, RaftHandle};
use crate::space::Purpose;
use crate::types::{Node, Proposal};

/// Most writes under way at a time. The queue of the log has 1,024 places, so writes alone cannot fill it.
pub const PROPOSALS_MAX: usize = 512;
/// Bytes of commands under way at once: five of the largest.
const PROPOSAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pause before a write that nobody took is tried again.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// How long a shutting-down member waits for the writes under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Bounds the writes under way.
pub(crate) struct Admission {
    count: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Admission {
    pub(crate) fn new() -> Admission {
        Admission {
            count: Arc::new(Semaphore::new(PROPOSALS_MAX)),
            bytes: Arc::new(Semaphore::new(PROPOSAL_BYTES_MAX)),
        }
    }

    fn enter(&self, bytes: usize) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let count = Arc::clone(&self.count).try_acquire_owned().ok()?;
        let bytes = u32::try_from(bytes).ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        Some((count, bytes))
    }

    /// Writes under way.
    pub(crate) fn under_way(&self) -> usize {
        PROPOSALS_MAX - self.count.available_permits()
    }

    /// Takes no more writes and waits for those under way.
    pub(crate) async fn drain(&self) {
        let all = u32::try_from(PROPOSALS_MAX).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(DRAIN_LIMIT, self.count.acquire_many(all)).await;
        self.count.close();
    }
}

/// A write that is in the log, committed and applied by the leader.
pub(crate) struct Written {
    pub(crate) index: u64,
    pub(crate) reply: CpReply,
}

/// Why one attempt did not end in an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nothing was written; try again elsewhere or later.
    NotLeader(String),
    /// Whether it was or will be written is unknown.
    Lost(String),
    /// As `Lost`; the time is up.
    Timeout,
    /// Final.
    Error(ProposeError),
}

impl Refused {
    pub(crate) fn to_wire(&self) -> pb::Refusal {
        use pb::refusal::Kind;
        let (kind, message) = match self {
            Refused::NotLeader(why) => (Kind::NotLeader, why.clone()),
            Refused::Lost(why) => (Kind::Lost, why.clone()),
            Refused::Timeout => (Kind::Timeout, String::new()),
            Refused::Error(ProposeError::Busy(_)) => (Kind::Busy, String::new()),
            Refused::Error(ProposeError::Storage(why)) => (Kind::Storage, why.clone()),
            Refused::Error(ProposeError::TooLarge { .. }) => (Kind::TooLarge, String::new()),
            Refused::Error(other) => (Kind::Lost, other.to_string()),
        };
        pb::Refusal { kind: kind.into(), message }
    }

    fn from_wire(refusal: pb::Refusal, len: usize) -> Refused {
        use pb::refusal::Kind;
        match refusal.kind() {
            Kind::NotLeader => Refused::NotLeader(refusal.message),
            Kind::Timeout => Refused::Timeout,
            Kind::Busy => Refused::Error(ProposeError::Busy(PROPOSALS_MAX)),
            Kind::Storage => Refused::Error(ProposeError::Storage(refusal.message)),
            Kind::TooLarge => Refused::Error(ProposeError::TooLarge { len, max: COMMAND_MAX }),
            Kind::Lost | Kind::Unknown => Refused::Lost(refusal.message),
        }
    }
}

/// May a second try find the first one's work and call it somebody else's? From level 2 on it is known for its own.
fn needs_its_id(command: &CpCommand) -> bool {
    let CpCommand::Naming(command) = command else { return false };
    matches!(command, NamingCommand::CreateService { .. } | NamingCommand::DeleteService { .. })
}

/// What ends something is taken while a reserve of the disk is left: it is small, and later less is stored. So are the cluster's own
/// commands, without which a dead member's clients would stay.
fn purpose(command: &CpCommand) -> Purpose {
    let ends = match command {
        CpCommand::Cluster(_) => true,
        CpCommand::Naming(command) => matches!(
            command,
            NamingCommand::Deregister { .. }
                | NamingCommand::DeleteService { .. }
                | NamingCommand::Expire { .. }
        ),
        CpCommand::Config(command) => matches!(
            command.change,
            Change::Remove { .. }
                | Change::RemoveBatch { .. }
                | Change::DeleteNamespace { .. }
                | Change::Prune(_)
        ),
    };
    if ends { Purpose::Last } else { Purpose::Write }
}

/// A write of a front end of this member.
struct Request {
    part: Part,
    purpose: Purpose,
    bytes: Bytes,
    /// Whether it may be tried again after its outcome became unknown.
    safe: bool,
}

/// Why the write is to be tried again.
///
/// # Errors
/// It is not: the answer to who asked for it.
fn go_on(refused: Refused, safe: bool, in_doubt: &mut bool) -> Result<String, ProposeError> {
    match refused {
        // An earlier try may still take effect, so that this is no refusal of the write.
        Refused::Error(ProposeError::Busy(max)) if *in_doubt => Ok(ProposeError::Busy(max).to_string()),
        Refused::Error(error) => Err(error),
        Refused::NotLeader(why) => Ok(why),
        Refused::Lost(why) if !safe => Err(ProposeError::Lost(why)),
        Refused::Lost(why) => {
            *in_doubt = true;
            Ok(why)
        }
        Refused::Timeout => {
            *in_doubt = true;
            Ok("no answer in time".into())
        }
    }
}

impl Inner {
    /// A write by a front end of this member: here if it leads, else one hop to the leader, again while time is left. All
    /// tries have one id, so that the write takes effect once.
    pub(crate) async fn propose(&self, command: CpCommand) -> Result<CpReply, ProposeError> {
        let envelope = Envelope { request: RequestId(rand::random()), command };
        let bytes = Bytes::from(envelope.encode());
        let command = envelope.command;
        if bytes.len() > COMMAND_MAX {
            return Err(ProposeError::TooLarge { len: bytes.len(), max: COMMAND_MAX });
        }
        if self.stopping() {
            return Err(ProposeError::NoLeader("this member is shutting down".into()));
        }
        if let Some(why) = self.barred() {
            return Err(ProposeError::Barred(why));
        }
        // Another member would take it, and this one could not show it.
        self.takes_entries()?;
        let _permit = self.admission.enter(bytes.len()).ok_or(ProposeError::Busy(PROPOSALS_MAX))?;
        let wait = Wait::new(PROPOSE_DEADLINE);
        let safe = !needs_its_id(&command) || self.level() > 1;
        let request = Request { part: command.part(), purpose: purpose(&command), bytes, safe };
        drop(command);
        tokio::select! {
            biased;
            answer = self.tries(&request, &wait) => answer,
            () = self.leader_hears_nothing() => Err(timed_out(&wait)),
        }
    }

    /// Would this member take an entry of the log?
    ///
    /// # Errors
    /// Its disk is nearly full.
    pub(crate) fn takes_entries(&self) -> Result<(), ProposeError> {
        let full = |why| ProposeError::Storage(format!("this member takes no entries of the log: {why}"));
        self.space.take(Purpose::Last, 0).map_err(full)
    }

    async fn tries(&self, request: &Request, wait: &Wait) -> Result<CpReply, ProposeError> {
        let mut why = "no member has been elected yet".to_string();
        let mut in_doubt = false;
        loop {
            if let Some(fatal) = self.fatal.get() {
                return Err(ProposeError::Storage(fatal.to_string()));
            }
            let refused = match self.attempt(request, wait, &why).await {
                Ok(written) => return self.until_applied(written, wait).await,
                Err(refused) => refused,
            };
            let nobody_took = matches!(refused, Refused::NotLeader(_));
            why = go_on(refused, request.safe, &mut in_doubt)?;
            if self.too_late(wait, RETRY_PAUSE, nobody_took) {
                return Err(if in_doubt { timed_out(wait) } else { ProposeError::NoLeader(why) });
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(&self, request: &Request, wait: &Wait, why: &str) -> Result<Written, Refused> {
        let bytes = &request.bytes;
        match self.known_leader() {
            Some((id, _)) if id == self.me.id => self.write(bytes.clone(), request.purpose, wait).await,
            // Sent to it now, the write might take effect after it was refused.
            Some(_) if self.out_of_contact() => Err(Refused::NotLeader(self.unheard())),
            Some((id, node)) => self.forward((id, &node), request.part, bytes, wait).await,
            None => Err(Refused::NotLeader(why.to_owned())),
        }
    }

    /// A write that another member forwarded: here or nowhere.
    pub(crate) async fn propose_here(&self, command: Bytes, limit: Duration) -> Result<Written, Refused> {
        if command.len() > COMMAND_MAX {
            return Err(Refused::Error(ProposeError::TooLarge { len: command.len(), max: COMMAND_MAX }));
        }
        // What does not decode here would stop every member when it is applied.
        let envelope = Envelope::decode(&command);
        let envelope = envelope.map_err(|e| Refused::Error(ProposeError::Lost(e.to_string())))?;
        let purpose = purpose(&envelope.command);
        drop(envelope);
        if self.stopping() {
            return Err(Refused::NotLeader("the leader is shutting down".into()));
        }
        if let Some(why) = self.barred() {
            return Err(Refused::NotLeader(why));
        }
        let permit = self.admission.enter(command.len());
        let _permit = permit.ok_or(Refused::Error(ProposeError::Busy(PROPOSALS_MAX)))?;
        self.write(command, purpose, &Wait::new(limit.min(PROPOSE_DEADLINE))).await
    }

    async fn write(&self, command: Bytes, purpose: Purpose, wait: &Wait) -> Result<Written, Refused> {
        let full = |why| Refused::Error(ProposeError::Storage(why));
        self.room_elsewhere().map_err(full)?;
        self.space.take(purpose, command.len()).map_err(full)?;
        let proposal = Proposal { now_ms: self.stamp_ms(), command };
        let answer = self.in_contact(wait, self.raft.client_write(proposal)).await;
        match answer.ok_or(Refused::Timeout)? {
            Ok(response) => match response.data.0 {
                Some(reply) => Ok(Written { index: response.log_id.index, reply }),
                None => Err(Refused::Lost("the entry was applied without a reply".into())),
            },
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(e))) => {
                Err(Refused::NotLeader(format!("not the leader: {:?}", e.reason)))
            }
            Err(RaftError::APIError(e)) => Err(Refused::Lost(e.to_string())),
            Err(RaftError::Fatal(e)) => Err(Refused::Error(ProposeError::Storage(e.to_string()))),
        }
    }

    /// One hop. Given up when another leader is elected meanwhile: the asked one may be paused, not dead.
    async fn forward(
        &self,
        (leader, node): (u64, &Node),
        part: Part,
        bytes: &Bytes,
        wait: &Wait,
    ) -> Result<Written, Refused> {
        let request = pb::ProposeRequest {
            head: Some(self.me.head(leader)),
            command: bytes.clone(),
            deadline_ms: u32::try_from(wait.left().as_millis()).unwrap_or(u32::MAX),
        };
        let mut client = self.peers.client(&node.cluster_address);
        let reply = tokio::select! {
            reply = self.in_contact(wait, client.propose(request)) => reply.ok_or(Refused::Timeout)?,
            () = self.leader_is_not(leader) => return Err(Refused::Lost("another leader was elected".into())),
        };
        let name = &node.address;
        let reply = reply.map_err(|status| match status.code() {
            // Refused before it was looked at, or never sent.
            Code::FailedPrecondition => Refused::NotLeader(format!("{name}: {}", status.message())),
            Code::Unavailable if never_sent(&status) => Refused::NotLeader(format!("{name} is unreachable")),
            _ => Refused::Lost(format!("{name}: {status}")),
        })?;
        match reply.into_inner().result {
            Some(pb::propose_reply::Result::Applied(applied)) => {
                match CpReply::decode(part, &applied.reply) {
                    Ok(reply) => Ok(Written { index: applied.index, reply }),
                    Err(e) => Err(Refused::Error(ProposeError::Lost(format!("{name}: {e}")))),
                }
            }
            Some(pb::propose_reply::Result::Refused(refusal)) => {
                Err(Refused::from_wire(refusal, bytes.len()))
            }
            None => Err(Refused::Lost(format!("{name}: an empty reply"))),
        }
    }

    /// Read your writes: the front end's next read here must see it. The leader answers when it has applied the entry.
    async fn until_applied(&self, written: Written, wait: &Wait) -> Result<CpReply, ProposeError> {
        let applied = self.me.applied.progress.until(written.index + 1);
        match self.in_contact(wait, applied).await {
            Some(()) => Ok(written.reply),
            None => Err(timed_out(wait)),
        }
    }

    /// The leader as openraft knows it, dead or alive.
    pub(crate) fn known_leader(&self) -> Option<(u64, Node)> {
        self.metrics(|m| {
            let id = m.current_leader?;
            Some((id, m.membership_config.get_node(&id)?.clone()))
        })
    }

    pub(crate) async fn leader_is_not(&self, leader: u64) {
        let mut metrics = self.raft.server_metrics();
        loop {
            let now = metrics.borrow_and_update().current_leader;
            if now.is_some_and(|now| now != leader) {
                return;
            }
            if metrics.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

fn timed_out(wait: &Wait) -> ProposeError {
    ProposeError::Timeout(wait.elapsed_ms())
}

/// Did the connection fail before the request could have been sent?
pub(crate) fn never_sent(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(e) = error.downcast_ref::<std::io::Error>()
            && e.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        source = error.source();
    }
    false
}

impl Propose for RaftHandle {
    fn propose(&self, command: CpCommand) -> BoxFuture<'_, Result<CpReply, ProposeError>> {
        Box::pin(self.inner.propose(command))
    }

    fn leader(&self) -> Option<Leader> {
        let inner = &self.inner;
        let (id, node) = inner.known_leader()?;
        let alive = if id == inner.me.id { inner.has_quorum() } else { inner.hears(id) };
        let term = inner.metrics(|m| m.current_term);
        alive.then_some(Leader { member: MemberId(id), term, address: node.address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_in_doubt_is_not_called_refused() {
        let busy = || Refused::Error(ProposeError::Busy(1));
        let lost = || Refused::Lost("gone".into());
        // (what came before, safe to repeat, the last refusal, tried again, in doubt)
        for (before, safe, last, again, doubt) in [
            (None, true, busy(), false, false),
            (Some(Refused::NotLeader("old".into())), true, busy(), false, false),
            (Some(lost()), true, busy(), true, true),
            (Some(Refused::Timeout), true, busy(), true, true),
            (Some(Refused::Timeout), true, Refused::NotLeader("old".into()), true, true),
            (Some(Refused::Timeout), true, Refused::Error(ProposeError::Storage("s".into())), false, true),
            (None, true, lost(), true, true),
            (None, false, lost(), false, false),
        ] {
            let mut in_doubt = false;
            if let Some(before) = before.clone() {
                assert!(go_on(before, safe, &mut in_doubt).is_ok());
            }
            let answer = go_on(last.clone(), safe, &mut in_doubt);
            assert_eq!((answer.is_ok(), in_doubt), (again, doubt), "{before:?}, {last:?}: {answer:?}");
        }
    }
}
