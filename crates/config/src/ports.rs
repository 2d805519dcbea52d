//! The ports between the configuration core, the store of contents and the front ends.

use std::fmt;

use crate::content::Revision;
use crate::row::ContentRow;

/// The store of the contents that are not in the state, and of the contents of all versions.
pub trait Contents: Send + Sync + fmt::Debug + 'static {
    /// Reads the row of a write on which the state relies, from memory or from the disk. This may block for some
    /// milliseconds, so front ends call it where blocking is allowed. A row that should exist never yields an empty
    /// answer.
    ///
    /// # Errors
    /// See [`ContentError`].
    fn read(&self, revision: Revision) -> Result<ContentRow, ContentError>;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The row was deleted between the look at the state and the read. Look at the state again.
    #[error("version {0} is not stored any more")]
    Gone(Revision),
    /// The row is damaged, or the disk cannot be read. The operator of this member must act; the log says so too.
    #[error("the store of contents is damaged: {0}")]
    Damaged(String),
}

/// Hears of every applied change. It is called while the entry is applied, so it must be quick and must not block.
pub trait ConfigWatcher: Send + Sync + fmt::Debug + 'static {
    /// The releases of these configurations changed. The [`crate::Catalog`] has them already.
    fn changed(&self, changed: &[crate::ChangedConfig]);
    /// Everything may have changed, after a start or when a snapshot was installed.
    fn reloaded(&self);
}
