//! The state at one index, with the contents on which it relies, for whoever copies it while the member goes on.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use dyad_state::CpState;

use crate::contents::{ContentStore, Hold, NotServed};
use crate::error::Fatal;
use crate::handle::RaftHandle;
use crate::position::{Position, members};
use crate::status::Peer;

/// The longest time for which rows stay that nobody needs but a copy. Four gigabytes at a slow disk's or network's ten
/// megabytes a second take seven minutes; a copy that takes longer than this fails when it comes to a row that is gone.
pub const HOLD_MAX: Duration = Duration::from_secs(3600);
/// The longest wait for the entry that is being applied.
const TAKE_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of rows that are read at a time, but for one larger row.
const READ_BYTES: usize = 1024 * 1024;

/// A state that does not change any more, and whose contents stay for [`HOLD_MAX`].
pub struct Export {
    pub state: CpState,
    /// The entry that the state ends with.
    pub at: Position,
    /// The members at this entry: the voters, then the others.
    pub voters: Vec<Peer>,
    pub learners: Vec<Peer>,
    /// Whether the member heard a leader of late, or led a majority.
    pub in_quorum: bool,
    contents: ContentStore,
    _hold: Hold,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("at", &self.at).finish_non_exhaustive()
    }
}

impl RaftHandle {
    /// Takes the applied state, whether this member is up to date or not.
    ///
    /// # Errors
    /// Nothing was ever applied here, raft has stopped, or an entry is being applied for long.
    pub async fn export(&self) -> Result<Export, Fatal> {
        self.export_for(HOLD_MAX).await
    }

    /// The same, with another limit of the hold. For tests.
    ///
    /// # Errors
    /// The same.
    pub async fn export_for(&self, limit: Duration) -> Result<Export, Fatal> {
        let inner = &self.inner;
        // First: see `contents::hold`.
        let hold = inner.contents.hold(limit);
        let view = inner.raft.with_state_machine(|machine| {
            let view = machine.view();
            Box::pin(async move { view })
        });
        let view = tokio::time::timeout(TAKE_LIMIT, view).await;
        let view = view.map_err(|_| Fatal::Raft("an entry is being applied for long: try again".into()))?;
        let (state, last, membership) = view.map_err(|error| Fatal::Raft(error.to_string()))?;
        let Some(last) = last else {
            return Err(Fatal::Raft("this member has no state yet: it belongs to no cluster".into()));
        };
        let (voters, learners) = members(&membership);
        Ok(Export {
            state,
            at: Position::of(&last),
            voters,
            learners,
            in_quorum: inner.has_quorum() || inner.known_leader().is_some_and(|(id, _)| inner.hears(id)),
            contents: inner.contents.clone(),
            _hold: hold,
        })
    }
}

impl Export {
    /// The encoded rows of the first of these revisions: at least one, and about a megabyte. Reads the disk.
    ///
    /// # Errors
    /// A row is damaged, or is gone because [`HOLD_MAX`] is over.
    pub fn rows(&self, revisions: &[u64]) -> io::Result<Vec<Bytes>> {
        self.contents.encoded(revisions, READ_BYTES).map_err(|error| match error {
            NotServed::Unknown(revision) => {
                let minutes = HOLD_MAX.as_secs() / 60;
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!(
                        "content row {revision} is not there any more: versions that were removed are kept for {minutes} minutes"
                    ),
                )
            }
            NotServed::Damaged(what) => io::Error::new(io::ErrorKind::InvalidData, what),
        })
    }
}
