//! The whole replicated state and its only mutator.

use dyad_config::ConfigState;
use dyad_naming::cp::NamingState;
use dyad_types::Stamp;

use crate::cluster::ClusterState;
use crate::command::{CpChanges, CpCommand, CpReply};

/// The whole replicated state. The same commands and stamps give the same state, byte for byte, on every member. Clones
/// are O(1): a snapshot is built from a clone while apply goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpState {
    /// Milliseconds since the epoch: the highest stamp applied.
    pub(crate) now_ms: u64,
    pub(crate) cluster: ClusterState,
    pub(crate) naming: NamingState,
    pub(crate) config: ConfigState,
}

impl CpState {
    /// Milliseconds since the epoch: the highest stamp applied so far. Never goes back.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The cluster's identity and its retired members.
    pub fn cluster(&self) -> &ClusterState {
        &self.cluster
    }

    /// Persistent instances, service records, overrides and switches.
    pub fn naming(&self) -> &NamingState {
        &self.naming
    }

    /// The configurations, namespaces and capacities.
    pub fn config(&self) -> &ConfigState {
        &self.config
    }

    /// The only mutator. Total: every committed entry yields a reply, a rejected one too, and it looks at nothing but
    /// the state, the command and the stamp.
    pub fn apply(&mut self, command: &CpCommand, stamp: Stamp) -> (CpReply, CpChanges) {
        self.now_ms = self.now_ms.max(stamp.now_ms);
        match command {
            CpCommand::Cluster(command) => {
                let (reply, retired) = self.cluster.apply(command);
                (CpReply::Cluster(reply), CpChanges { retired, ..CpChanges::default() })
            }
            CpCommand::Naming(command) => {
                let (reply, naming) = self.naming.apply(command, stamp);
                (CpReply::Naming(reply), CpChanges { naming, ..CpChanges::default() })
            }
            CpCommand::Config(command) => {
                // The configurations see the state's time, which never goes back, instead of the stamp's.
                let stamp = Stamp { now_ms: self.now_ms, ..stamp };
                let (reply, config) = self.config.apply(command, stamp);
                (CpReply::Config(reply), CpChanges { config, ..CpChanges::default() })
            }
        }
    }
}
