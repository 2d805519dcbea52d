//! The part of the replicated state that is about the cluster itself: its identity, and which incarnations of members
//! are gone for good.

use dyad_types::{MemberId, Origin};
use imbl::OrdMap;

/// A change of the cluster itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterCommand {
    /// Sets the identity of the cluster. The member that founded the cluster proposes this once. Reply: Done, or Exists if
    /// the cluster has another id already.
    Found { cluster_id: u128 },
    /// Says, by decision of a majority, that this incarnation of the member and all earlier ones are gone. Reply: Done.
    Retire { origin: Origin },
}

impl ClusterCommand {
    /// A short name of the command, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            ClusterCommand::Found { .. } => "found",
            ClusterCommand::Retire { .. } => "retire",
        }
    }
}

/// The reply of `apply` to a [`ClusterCommand`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterReply {
    Done,
    Exists,
}

/// The identity of the cluster, and its retired members. Clones are O(1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterState {
    pub(crate) id: Option<u128>,
    /// For each member its highest retired incarnation.
    pub(crate) retired: OrdMap<MemberId, u64>,
}

impl ClusterState {
    /// The identity of the cluster. `None` until [`ClusterCommand::Found`] was applied.
    pub fn id(&self) -> Option<u128> {
        self.id
    }

    /// The highest retired incarnation of each member.
    pub fn retired(&self) -> impl Iterator<Item = Origin> {
        self.retired.iter().map(|(&member, &incarnation)| Origin { member, incarnation })
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
