//! The whole replicated state, and the one function that changes it.

use dyad_config::{ConfigReply, ConfigState, Revision};
use dyad_naming::cp::{NamingChanges, NamingReply, NamingState};
use dyad_types::Stamp;

use crate::cluster::{ClusterReply, ClusterState};
use crate::command::{CpChanges, CpCommand, CpReply};
use crate::envelope::Envelope;
use crate::requests::{Remembered, RequestId, Requests};

/// The whole replicated state. The same commands and stamps give the same state on every member, byte for byte. Clones are
/// O(1), so a snapshot is made from a clone while further entries are applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpState {
    /// Milliseconds since the epoch: the highest stamp applied.
    pub(crate) now_ms: u64,
    pub(crate) cluster: ClusterState,
    pub(crate) naming: NamingState,
    pub(crate) config: ConfigState,
    /// Of all parts.
    pub(crate) requests: Requests,
}

impl CpState {
    /// The highest time of all stamps that were applied so far, in milliseconds since the epoch. It never goes back, and is ahead for
    /// as long as a clock was ahead once.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The identity of the cluster, and its retired members.
    pub fn cluster(&self) -> &ClusterState {
        &self.cluster
    }

    /// The persistent instances, service records, overrides and switches.
    pub fn naming(&self) -> &NamingState {
        &self.naming
    }

    /// The configurations, namespaces and capacities.
    pub fn config(&self) -> &ConfigState {
        &self.config
    }

    /// The same state as that of a new cluster with this identity: no member of the new cluster was ever retired. It is for the
    /// founding of a cluster from a state, before any member has it; the state of a cluster is changed only by
    /// [`CpState::apply`].
    #[must_use]
    pub fn founded_anew(&self, cluster_id: u128) -> CpState {
        CpState { cluster: self.cluster.founded_anew(cluster_id), ..self.clone() }
    }

    /// Applies one command. Only this function changes the state. Every committed entry gets a reply, even one that is
    /// rejected. The result depends on nothing but the state, the envelope and the stamp. A request that took effect before
    /// gets its reply again, and nothing happens.
    pub fn apply(&mut self, envelope: &Envelope, stamp: Stamp) -> (CpReply, CpChanges) {
        self.now_ms = self.now_ms.max(stamp.now_ms);
        // The order is that of the indexes, at every level. From level 3 on the times need not be in that order.
        let stamp = if self.cluster.level > 2 { stamp } else { Stamp { now_ms: self.now_ms, ..stamp } };
        let command = &envelope.command;
        let remembers = self.cluster.level > 1 || matches!(command, CpCommand::Config(_));
        let request = if remembers { envelope.request } else { RequestId::NONE };
        if remembers {
            self.requests.expire(stamp.now_ms, self.cluster.level);
        }
        if let Some(done) = self.requests.get(request) {
            return (repeated(done, command), CpChanges::default());
        }
        let (reply, changes) = self.carry_out(command, stamp);
        let outcomes = match &reply {
            CpReply::Naming(NamingReply::Done) if changes.naming != NamingChanges::default() => None,
            CpReply::Config(ConfigReply::Done { .. }) => None,
            CpReply::Config(ConfigReply::Report(outcomes)) if outcomes.iter().any(|o| o.is_done()) => {
                Some(outcomes.clone())
            }
            // The cluster's commands only ever raise something: repeating them is harmless.
            _ => return (reply, changes),
        };
        let revision = Revision::new(stamp.index, 0);
        self.requests.insert(request, Remembered { at_ms: stamp.now_ms, revision, outcomes });
        (reply, changes)
    }

    fn carry_out(&mut self, command: &CpCommand, stamp: Stamp) -> (CpReply, CpChanges) {
        match command {
            CpCommand::Cluster(command) => {
                let (reply, retired) = self.cluster.apply(command);
                (CpReply::Cluster(reply), CpChanges { retired, ..CpChanges::default() })
            }
            CpCommand::Naming(command) => {
                let (reply, naming) = if self.cluster.level > 1 {
                    self.naming.apply(command, stamp)
                } else {
                    self.naming.apply_keeping_overrides(command, stamp)
                };
                (CpReply::Naming(reply), CpChanges { naming, ..CpChanges::default() })
            }
            CpCommand::Config(command) => {
                let (reply, config) = self.config.apply(command, stamp);
                (CpReply::Config(reply), CpChanges { config, ..CpChanges::default() })
            }
        }
    }
}

/// The reply to a request that took effect before.
fn repeated(done: &Remembered, command: &CpCommand) -> CpReply {
    match command {
        CpCommand::Config(command) => CpReply::Config(command.repeated(done.revision, done.outcomes.clone())),
        CpCommand::Naming(_) => CpReply::Naming(NamingReply::Done),
        CpCommand::Cluster(_) => CpReply::Cluster(ClusterReply::Done),
    }
}
