//! The ports between the configuration core, the store of contents and the front ends.

use std::fmt;

use crate::content::Revision;
use crate::row::ContentRow;

/// The store of the contents that are not in the state, and of all versions.
pub trait Contents: Send + Sync + fmt::Debug + 'static {
    /// Reads the row of a write that the state relies on. From memory or the disk: it may block for some milliseconds, so
    /// front ends call it where blocking is allowed.
    ///
    /// # Errors
    /// See [`ContentError`]. Never an empty answer for a row that should be there.
    fn read(&self, revision: Revision) -> Result<ContentRow, ContentError>;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Pruned between the look at the state and the reading: look at the state again.
    #[error("version {0} is not stored any more")]
    Gone(Revision),
    /// The row is damaged, or the disk cannot be read. The member's operator must act: it is told in the log too.
    #[error("the store of contents is damaged: {0}")]
    Damaged(String),
}

/// Told after every applied change, on the apply path: it must be quick, and must not block.
pub trait ConfigWatcher: Send + Sync + fmt::Debug + 'static {
    /// The releases of these configurations changed. The [`crate::Catalog`] has them already.
    fn changed(&self, changed: &[crate::ChangedConfig]);
    /// Everything may have changed (start, installed snapshot).
    fn reloaded(&self);
}
