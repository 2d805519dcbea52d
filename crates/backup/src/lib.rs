//! The backup file: the replicated state at one index of the log, with the contents of all versions on which it relies.
//!
//! The file is written and read as a stream, one block at a time, and every byte of it is under a checksum and under the
//! digest at its end. The records of the state and the rows of the contents are those of the snapshot and of the store of
//! contents; only the container is of its own. docs/backup.md describes it for other readers.

mod digest;
mod format;
mod header;
mod read;
mod write;

pub use digest::{Digests, hex};
pub use format::{FORMAT, PART_SUFFIX};
pub use header::{Header, HeldMember};
pub use read::{ReadError, Reader, Row, verify};
pub use write::{Rows, Summary, write};

#[cfg(test)]
mod tests;
