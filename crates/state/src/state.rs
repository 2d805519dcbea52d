//! The whole replicated state, and the one function that changes it.

use dyad_config::ConfigState;
use dyad_naming::cp::NamingState;
use dyad_types::Stamp;

use crate::cluster::ClusterState;
use crate::command::{CpChanges, CpCommand, CpReply};

/// The whole replicated state. The same commands and stamps give the same state on every member, byte for byte. Clones are
/// O(1), so a snapshot is made from a clone while further entries are applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpState {
    /// Milliseconds since the epoch: the highest stamp applied.
    pub(crate) now_ms: u64,
    pub(crate) cluster: ClusterState,
    pub(crate) naming: NamingState,
    pub(crate) config: ConfigState,
}

impl CpState {
    /// The highest time of all stamps that were applied so far, in milliseconds since the epoch. It never goes back.
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

    /// Applies one command. Only this function changes the state. Every committed entry gets a reply, even one that is
    /// rejected. The result depends on nothing but the state, the command and the stamp.
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
