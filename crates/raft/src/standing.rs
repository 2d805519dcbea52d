//! Whether a member may speak for its cluster.

/// What a member may do. Whoever knows the other servers says so ([`crate::RaftHandle::stand`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Member,
    /// It takes no writes and answers no consistent reads, for this reason.
    Barred(String),
    /// It is no member any more: besides, it asks nobody for a vote, and what it has is not read.
    Removed,
}

impl Standing {
    /// Why it takes no writes.
    pub(crate) fn why_not(&self) -> Option<String> {
        match self {
            Standing::Member => None,
            Standing::Barred(why) => Some(why.clone()),
            Standing::Removed => {
                Some("this member was removed from its cluster: ask another member".to_owned())
            }
        }
    }
}
