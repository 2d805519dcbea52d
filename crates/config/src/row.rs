//! The row of one write in the store of contents: a format byte, a protobuf message, and the crc32c of both in
//! big-endian order.

use std::sync::Arc;

use dyad_types::ConfigKey;
use prost::Message;

use crate::BadRecord;
use crate::codec::row_of;
use crate::content::{ConfigType, Content, Revision};
use crate::gray::GrayRule;
use crate::history::Op;
use crate::item::Extra;
use crate::record::RowRecord;

/// The one format that this build writes and reads.
const FORMAT: u8 = 1;
const CRC_LEN: usize = 4;

/// The kind of request that made a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    #[default]
    Publish,
    Remove,
    Import,
    Clone,
    /// A rollback to the version with this number.
    Rollback(Revision),
}

/// Everything about one write, as it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentRow {
    /// The key of the row, which is repeated here so that a row in the place of another one is noticed.
    pub revision: Revision,
    pub key: ConfigKey,
    pub op: Op,
    /// The name of the gray release and, unless it was removed, its rule. `None` for the formal release.
    pub gray: Option<(Box<str>, Option<Arc<GrayRule>>)>,
    /// The published content. `None` if the release was removed.
    pub content: Option<Content>,
    pub kind: ConfigType,
    pub extra: Option<Arc<Extra>>,
    pub cause: Cause,
    /// See [`crate::Source`].
    pub user: Box<str>,
    pub ip: Box<str>,
    pub reason: Box<str>,
    /// When the release was created, in milliseconds since the epoch.
    pub created_ms: u64,
    /// When this write was made, in milliseconds since the epoch.
    pub modified_ms: u64,
}

/// A version as the history shows it. For an update or a removal, the shown content is the one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownVersion {
    /// The write, which gives the number, the operation, the cause, the source and the time.
    pub write: ContentRow,
    /// The row whose content, type and texts are shown. `None` if it is the row of the write itself.
    pub before: Option<ContentRow>,
}

impl ShownVersion {
    /// The row whose content, md5, type and texts are shown.
    pub fn shown(&self) -> &ContentRow {
        self.before.as_ref().unwrap_or(&self.write)
    }
}

impl ContentRow {
    /// The bytes of the row.
    pub fn encode(&self) -> Vec<u8> {
        let message = RowRecord::from(self);
        let mut bytes = Vec::with_capacity(1 + message.encoded_len() + CRC_LEN);
        bytes.push(FORMAT);
        message.encode(&mut bytes).expect("a Vec grows to any size");
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads the row that was stored under `revision`.
    ///
    /// # Errors
    /// The bytes are damaged, have another format, or are the row of another revision.
    pub fn decode(revision: Revision, bytes: &[u8]) -> Result<ContentRow, BadRecord> {
        let bad = |what: String| BadRecord(format!("content row {revision}: {what}"));
        let split = bytes.len().checked_sub(CRC_LEN).filter(|at| *at > 0);
        let (body, crc) =
            bytes.split_at(split.ok_or_else(|| bad(format!("{} bytes are too few", bytes.len())))?);
        if crc32c::crc32c(body).to_be_bytes() != *crc {
            return Err(bad("its checksum is wrong".into()));
        }
        if body[0] != FORMAT {
            return Err(bad(format!("format {}; this build reads format {FORMAT}", body[0])));
        }
        let record = RowRecord::decode(&body[1..]).map_err(|e| bad(e.to_string()))?;
        let row = row_of(record).map_err(|e| bad(e.0))?;
        if row.revision != revision {
            return Err(bad(format!("it is the row of {}", row.revision)));
        }
        Ok(row)
    }
}
