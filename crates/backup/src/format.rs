//! The container: a header, blocks that are compressed one by one, and the digest of everything before it.
//!
//! ```text
//! "DYADBKUP" format:u16 0:u16 len:u32 crc:u32 header[len]
//! ( kind:u8 raw:u32 len:u32 crc:u32 data[len] )*      data is zstd of `raw` bytes
//! 4:u8 sha256[32]                                     over everything before the digest
//! ```
//! Numbers are big-endian. The checksum of the header covers the 16 bytes before it and the header; that of a block covers the 9
//! bytes before it and the data. First come the blocks of the state and the summary of that part, then the blocks of the
//! contents and theirs.

/// The first bytes of every backup.
pub(crate) const MAGIC: &[u8; 8] = b"DYADBKUP";
/// The format that this build writes, and the only one that it reads.
pub const FORMAT: u16 = 1;
/// The end of the name of a file that is not complete yet.
pub const PART_SUFFIX: &str = ".part";
/// Magic, format, reserved, length, checksum.
pub(crate) const PREFIX: usize = 20;
/// Kind, raw length, length, checksum.
pub(crate) const BLOCK_HEAD: usize = 13;
/// The header holds the members: some hundred of them fit many times.
pub(crate) const HEADER_MAX: usize = 256 * 1024;
/// A block is closed when it has so many bytes. More would compress hardly better, and is what both sides hold in memory.
pub(crate) const BLOCK_FULL: usize = 1024 * 1024;
/// The most bytes of a block before compression: one row with the largest content, which is a command of the log, and its head.
pub(crate) const RAW_MAX: usize = BLOCK_FULL + dyad_types::limits::COMMAND_MAX + 64 * 1024;
/// The most bytes of its data: zstd adds less than a 128th to what cannot be compressed.
pub(crate) const DATA_MAX: usize = RAW_MAX + RAW_MAX / 128;
/// zstd's own default: a higher level costs several times the time for a few percent.
pub(crate) const ZSTD_LEVEL: i32 = 3;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// `(len:u32 record)+`: records of the state, as a snapshot has them.
    State = 1,
    /// `(revision:u64 len:u32 row)+`: rows of the store of contents, in the order of their revisions.
    Contents = 2,
    /// `part:u8 count:u64 bytes:u64 sha256[32]`: how many records or rows the part has, and the bytes and the digest of what its
    /// blocks hold before compression.
    PartEnd = 3,
    /// No block: the digest follows.
    End = 4,
}

impl Kind {
    pub(crate) fn of(byte: u8) -> Option<Kind> {
        [Kind::State, Kind::Contents, Kind::PartEnd, Kind::End].into_iter().find(|kind| *kind as u8 == byte)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::State => "state",
            Kind::Contents => "contents",
            Kind::PartEnd => "summary of a part",
            Kind::End => "end",
        }
    }
}

/// Bytes of the summary of a part.
pub(crate) const PART_END: usize = 1 + 8 + 8 + 32;
