//! Through this the front ends read contents. A content has one copy in memory, however many clients read it at a time:
//! when a change is announced, all listeners come for it at once.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dyad_config::{ContentError, ContentRow, Contents, Revision, WeakContent};
use parking_lot::Mutex;

use super::ContentStore;
use crate::machine::Applied;

/// Damage is told to each reader, and this often to the log: one damaged row may be asked for all the time.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Rows that are remembered for further readers: rows of different slots are read at the same time.
const SLOTS: usize = 64;

pub(crate) struct Reader {
    store: ContentStore,
    applied: Arc<Applied>,
    /// The row that was read last, by revision.
    slots: [Mutex<Option<Held>>; SLOTS],
    told: Mutex<Option<Instant>>,
}

/// A row whose content is there while a reader has it.
struct Held {
    /// Without its content.
    row: ContentRow,
    content: WeakContent,
}

impl Held {
    fn of(row: &ContentRow) -> Option<Held> {
        let content = row.content.as_ref()?.downgrade();
        Some(Held { row: ContentRow { content: None, ..row.clone() }, content })
    }

    fn row(&self) -> Option<ContentRow> {
        Some(ContentRow { content: Some(self.content.upgrade()?), ..self.row.clone() })
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("file", &self.store.file()).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(store: ContentStore, applied: Arc<Applied>) -> Reader {
        Reader { store, applied, slots: [const { Mutex::new(None) }; SLOTS], told: Mutex::new(None) }
    }

    /// Of those who come for a row at once the first reads it, and the others wait and share it.
    fn get(&self, revision: Revision) -> Result<Option<ContentRow>, String> {
        let slot = revision.index().wrapping_add(revision.0) % SLOTS as u64;
        let mut held = self.slots[slot as usize].lock();
        let known = held.as_ref().filter(|held| held.row.revision == revision);
        if let Some(row) = known.and_then(Held::row) {
            return Ok(Some(row));
        }
        let row = self.store.get(revision)?;
        *held = row.as_ref().and_then(Held::of);
        Ok(row)
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
        match self.get(revision) {
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
