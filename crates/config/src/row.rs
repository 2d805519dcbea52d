//! The row of one write in the content store: a format byte, a protobuf message, and the crc32c of both, big-endian.

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

/// Which kind of request a version came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    #[default]
    Publish,
    Remove,
    Import,
    Clone,
    /// Back to the version of this number.
    Rollback(Revision),
}

/// Everything about one write, as it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentRow {
    /// Its key, repeated: a row in another's place is found out.
    pub revision: Revision,
    pub key: ConfigKey,
    pub op: Op,
    /// The gray release's name and, unless it was removed, its rule; `None` for the formal release.
    pub gray: Option<(Box<str>, Option<Arc<GrayRule>>)>,
    /// `None` when the release was removed.
    pub content: Option<Content>,
    pub kind: ConfigType,
    pub extra: Option<Arc<Extra>>,
    pub cause: Cause,
    /// See [`crate::Source`].
    pub user: Box<str>,
    pub ip: Box<str>,
    pub reason: Box<str>,
    /// When the release was created; milliseconds since the epoch.
    pub created_ms: u64,
    /// When this write was made; milliseconds since the epoch.
    pub modified_ms: u64,
}

/// A version as the history shows it: for an update or a removal the content is the one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownVersion {
    /// The write: number, operation, cause, source, time.
    pub write: ContentRow,
    /// The row whose content, type and texts are shown; `None` when that is the write's own.
    pub before: Option<ContentRow>,
}

impl ShownVersion {
    /// The row that content, md5, type and texts are shown of.
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
    /// When the bytes are damaged, of another format, or of another revision.
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
