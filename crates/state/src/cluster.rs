//! The part of the replicated state that is about the cluster itself: its identity, which incarnations of members are
//! gone for good, and by which rules commands are applied.
//!
//! Members of different builds must make the same state of the same log. So a new rule of `apply` does not hold from the day
//! on which a member is upgraded, but from an entry of the log on: [`ClusterCommand::Raise`], which the leader proposes when
//! every member has a build that knows the rule. A build without it stops at that entry instead of going its own way.

use dyad_types::{MemberId, Origin};
use imbl::{OrdMap, OrdSet};

/// The highest level that this build knows.
///
/// - 1: the rules of 0.5.0. The configurations' requests are remembered, and forgotten by their age alone.
/// - 2: the requests of every part are remembered ([`crate::RequestId`]), the newest 4,096 whatever their age. An override
///   ends in the entry that ends its persistent instance.
/// - 3: the addresses of removed members are remembered ([`ClusterCommand::Exclude`]). What an entry writes has the entry's own
///   stamp. At lower levels it has the highest stamp so far, so that after one entry of a clock that was ahead all later times
///   stayed ahead.
pub const LEVEL: u32 = 3;

/// Addresses that are remembered as excluded: each is one removal in the life of a cluster. Further ones are not remembered.
pub const EXCLUDED_MAX: usize = 256;

/// A change of the cluster itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterCommand {
    /// Sets the identity of the cluster. The member that founded the cluster proposes this once. Reply: Done, or Exists if
    /// the cluster has another id already.
    Found { cluster_id: u128 },
    /// Says, by decision of a majority, that this incarnation of the member and all earlier ones are gone. Reply: Done.
    Retire { origin: Origin },
    /// Says that every member knows the rules of this level, which hold from this entry on. Reply: Done.
    Raise { level: u32 },
    /// Says that whoever comes back at this address (`host:http_port`) is no member, until it is admitted. Level 3. Reply: Done, or
    /// Full if [`EXCLUDED_MAX`] addresses are excluded.
    Exclude { address: String },
    /// Takes an [`ClusterCommand::Exclude`] back. Level 3. Reply: Done.
    Admit { address: String },
}

impl ClusterCommand {
    /// A short name of the command, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            ClusterCommand::Found { .. } => "found",
            ClusterCommand::Retire { .. } => "retire",
            ClusterCommand::Raise { .. } => "raise",
            ClusterCommand::Exclude { .. } => "exclude",
            ClusterCommand::Admit { .. } => "admit",
        }
    }
}

/// The reply of `apply` to a [`ClusterCommand`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterReply {
    Done,
    Exists,
    Full,
}

/// The identity of the cluster, its retired members and its level. Clones are O(1).
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterState {
    pub(crate) id: Option<u128>,
    /// For each member its highest retired incarnation.
    pub(crate) retired: OrdMap<MemberId, u64>,
    pub(crate) level: u32,
    pub(crate) excluded: OrdSet<String>,
}

impl Default for ClusterState {
    fn default() -> ClusterState {
        ClusterState { id: None, retired: OrdMap::new(), level: 1, excluded: OrdSet::new() }
    }
}

impl ClusterState {
    /// By the rules of which level commands are applied; at most [`LEVEL`].
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The identity of the cluster. `None` until [`ClusterCommand::Found`] was applied.
    pub fn id(&self) -> Option<u128> {
        self.id
    }

    /// The highest retired incarnation of each member.
    pub fn retired(&self) -> impl Iterator<Item = Origin> {
        self.retired.iter().map(|(&member, &incarnation)| Origin { member, incarnation })
    }

    /// The addresses of members that were removed and not admitted again.
    pub fn excluded(&self) -> impl Iterator<Item = &str> {
        self.excluded.iter().map(String::as_str)
    }

    /// Whether this address was removed from the cluster.
    pub fn is_excluded(&self, address: &str) -> bool {
        self.excluded.contains(address)
    }

    /// Of a new cluster that goes on by the same rules. Nobody was ever retired or removed there.
    pub(crate) fn founded_anew(&self, id: u128) -> ClusterState {
        ClusterState { id: Some(id), level: self.level, ..ClusterState::default() }
    }

    /// The only mutator. The flag tells whether a retirement was new.
    pub(crate) fn apply(&mut self, command: &ClusterCommand) -> (ClusterReply, bool) {
        match command {
            ClusterCommand::Found { cluster_id } => {
                let present = *self.id.get_or_insert(*cluster_id);
                let reply = if present == *cluster_id { ClusterReply::Done } else { ClusterReply::Exists };
                (reply, false)
            }
            ClusterCommand::Retire { origin } => (ClusterReply::Done, self.retire(*origin)),
            ClusterCommand::Raise { level } => {
                self.level = self.level.max(*level);
                (ClusterReply::Done, false)
            }
            ClusterCommand::Exclude { address } => {
                if self.excluded.len() >= EXCLUDED_MAX && !self.excluded.contains(address) {
                    return (ClusterReply::Full, false);
                }
                self.excluded.insert(address.clone());
                (ClusterReply::Done, false)
            }
            ClusterCommand::Admit { address } => {
                self.excluded.remove(address);
                (ClusterReply::Done, false)
            }
        }
    }

    fn retire(&mut self, origin: Origin) -> bool {
        let known = self.retired.get(&origin.member).copied();
        let higher = known.is_none_or(|incarnation| incarnation < origin.incarnation);
        if higher {
            self.retired.insert(origin.member, origin.incarnation);
        }
        higher
    }
}
