//! What the front ends read contents through.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dyad_config::{ContentError, ContentRow, Contents, Revision};
use parking_lot::Mutex;

use super::ContentStore;
use crate::machine::Applied;

/// Damage is told to each reader, and this often to the log: one damaged row may be asked for all the time.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Reader {
    store: ContentStore,
    applied: Arc<Applied>,
    told: Mutex<Option<Instant>>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("file", &self.store.file()).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(store: ContentStore, applied: Arc<Applied>) -> Reader {
        Reader { store, applied, told: Mutex::new(None) }
    }

    fn damaged(&self, what: String) -> ContentError {
        let mut told = self.told.lock();
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::error!(
                "the store of contents is damaged: {what}; `dyad recover --discard` sets it aside"
            );
        }
        ContentError::Damaged(what)
    }
}

impl Contents for Reader {
    fn read(&self, revision: Revision) -> Result<ContentRow, ContentError> {
        match self.store.get(revision) {
            Ok(Some(row)) => Ok(row),
            Ok(None) => {
                // Rows go after the state that needed them.
                let config = self.applied.state.read().config().clone();
                if config.revisions().any(|needed| needed == revision) {
                    let what = format!("{}: content row {revision} is missing", self.store.file());
                    return Err(self.damaged(what));
                }
                Err(ContentError::Gone(revision))
            }
            Err(what) => Err(self.damaged(what)),
        }
    }
}
