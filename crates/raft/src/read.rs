//! Linearizable reads. The leader confirms with a majority that it still leads, and says how far it has committed. This
//! member then waits until it has applied as much.

use std::pin::pin;

use dyad_naming::ports::BoxFuture;
use dyad_proto::raft as pb;
use dyad_state::ports::{Knowledge, Linearize, ProposeError};
use futures::FutureExt;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tonic::Code;

use crate::config::READ_DEADLINE;
use crate::contact::Wait;
use crate::handle::{Inner, RaftHandle};
use crate::propose::{RETRY_PAUSE, Refused};
use crate::types::Node;

impl Inner {
    async fn linearize(&self) -> Result<(), ProposeError> {
        if let Some(why) = self.barred() {
            return Err(ProposeError::Barred(why));
        }
        let wait = Wait::new(READ_DEADLINE);
        tokio::select! {
            biased;
            done = self.caught_up(&wait) => done,
            () = self.leader_hears_nothing() => {
                Err(ProposeError::NoLeader("the leader is heard, but does not answer this member".into()))
            }
        }
    }

    async fn caught_up(&self, wait: &Wait) -> Result<(), ProposeError> {
        let mut why = "no member has been elected yet".to_string();
        let next = loop {
            if let Some(fatal) = self.fatal.get() {
                return Err(ProposeError::Storage(fatal.to_string()));
            }
            let answer = match self.known_leader() {
                Some((id, _)) if id == self.me.id => self.read_index_here(wait).await,
                Some(_) if self.out_of_contact() => Err(Refused::NotLeader(self.unheard())),
                Some((id, node)) => self.ask_read_index(id, &node, wait).await,
                None => Err(Refused::NotLeader(why.clone())),
            };
            // Asking changed nothing, so that every refusal may be tried again.
            match answer {
                Ok(next) => break next,
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::NotLeader(cause) | Refused::Lost(cause)) => why = cause,
                Err(Refused::Timeout) => why = "no majority confirmed the leader".into(),
            }
            if self.too_late(wait, RETRY_PAUSE, true) {
                return Err(ProposeError::NoLeader(why));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        };
        let applied = pin!(self.me.applied.progress.until(next));
        if let Err(full) = self.takes_entries() {
            return applied.now_or_never().ok_or(full);
        }
        match self.in_contact(wait, applied).await {
            Some(()) => Ok(()),
            None => Err(ProposeError::NoLeader("this member has not caught up with the leader".into())),
        }
    }

    /// One past the last index that a read must see; `NotLeader` unless this member leads.
    pub(crate) async fn read_index_here(&self, wait: &Wait) -> Result<u64, Refused> {
        if self.stopping() {
            return Err(Refused::NotLeader("this member is shutting down".into()));
        }
        if let Some(why) = self.barred() {
            return Err(Refused::NotLeader(why));
        }
        let asked = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match self.in_contact(wait, asked).await.ok_or(Refused::Timeout)? {
            Ok(linearizer) => Ok(linearizer.read_log_id().index() + 1),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(e))) => {
                Err(Refused::NotLeader(format!("not the leader: {:?}", e.reason)))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(e))) => {
                Err(Refused::NotLeader(e.to_string()))
            }
            Err(RaftError::Fatal(e)) => Err(Refused::Error(ProposeError::Storage(e.to_string()))),
        }
    }

    /// Given up when another leader is elected meanwhile.
    async fn ask_read_index(&self, leader: u64, node: &Node, wait: &Wait) -> Result<u64, Refused> {
        use pb::read_index_reply::Result as Reply;
        let request = pb::ReadIndexRequest {
            head: Some(self.me.head(leader)),
            deadline_ms: u32::try_from(wait.left().as_millis()).unwrap_or(u32::MAX),
        };
        let mut client = self.peers.client(&node.cluster_address);
        let reply = tokio::select! {
            reply = self.in_contact(wait, client.read_index(request)) => reply.ok_or(Refused::Timeout)?,
            () = self.leader_is_not(leader) => return Err(Refused::NotLeader("another leader was elected".into())),
        };
        let name = &node.address;
        let reply = reply.map_err(|status| match status.code() {
            Code::FailedPrecondition => Refused::NotLeader(format!("{name}: {}", status.message())),
            _ => Refused::NotLeader(format!("{name}: {status}")),
        })?;
        match reply.into_inner().result {
            Some(Reply::Next(next)) => Ok(next),
            // Also when its store failed: another one will lead.
            Some(Reply::Refused(refusal)) => Err(Refused::NotLeader(format!("{name}: {}", refusal.message))),
            None => Err(Refused::NotLeader(format!("{name}: an empty reply"))),
        }
    }
}

impl Linearize for RaftHandle {
    fn linearize(&self) -> BoxFuture<'_, Result<(), ProposeError>> {
        Box::pin(self.inner.linearize())
    }

    fn knowledge(&self) -> Knowledge {
        self.inner.knowledge()
    }

    fn barred(&self) -> Option<String> {
        self.inner.barred()
    }
}
