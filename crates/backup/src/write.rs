//! Writes a backup, one block at a time.

use std::io::{self, Write};

use bytes::Bytes;
use dyad_state::CpState;
use sha2::{Digest, Sha256};
use zstd::bulk::Compressor;

use crate::format::{
    BLOCK_FULL, BLOCK_HEAD, FORMAT, HEADER_MAX, Kind, MAGIC, PART_END, PREFIX, RAW_MAX, ZSTD_LEVEL,
};
use crate::header::Header;

/// Rows that are asked for at a time. Those that come are written, and the rest is asked for again.
const ASK: usize = 256;

/// Where the rows of contents come from.
pub trait Rows {
    /// The bytes of some of the first of these rows, as the store has them: at least one, and together hardly more than a
    /// megabyte unless one row has more.
    ///
    /// # Errors
    /// A row is not there, or cannot be read.
    fn take(&mut self, revisions: &[u64]) -> io::Result<Vec<Bytes>>;
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records of the state, and their bytes before compression.
    pub records: u64,
    pub state_bytes: u64,
    /// Rows of contents, and their bytes before compression.
    pub contents: u64,
    pub content_bytes: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The digest of the rows with their revisions: it is the same for the same contents.
    pub contents_sha256: [u8; 32],
    /// The digest at the end of the file.
    pub sha256: [u8; 32],
}

/// Writes the backup of a state. The counts of the header must be those of [`Header::counting`]. In memory are one block, twice,
/// and 8 bytes for each version of a configuration.
///
/// # Errors
/// The output fails, or a row on which the state relies cannot be had: the output is of no use then.
pub fn write(out: impl Write, header: &Header, state: &CpState, rows: &mut impl Rows) -> io::Result<Summary> {
    let mut revisions: Vec<u64> = state.config().revisions().map(|revision| revision.0).collect();
    revisions.sort_unstable();
    let mut out = Blocks {
        out,
        sha: Sha256::new(),
        bytes: 0,
        compressor: Compressor::new(ZSTD_LEVEL)?,
        data: Vec::new(),
    };
    out.head(header)?;
    let mut part = Part::new(Kind::State);
    for record in state.snapshot() {
        part.push(&mut out, &[&be32(record.len())?, &record])?;
    }
    let (records, state_bytes, _) = part.end(&mut out)?;
    let mut part = Part::new(Kind::Contents);
    let mut rest = &revisions[..];
    while !rest.is_empty() {
        let asked = &rest[..rest.len().min(ASK)];
        let taken = rows.take(asked)?;
        if taken.is_empty() || taken.len() > asked.len() {
            return Err(io::Error::other(format!("{} content rows for {}", taken.len(), asked.len())));
        }
        for (revision, row) in asked.iter().zip(&taken) {
            part.push(&mut out, &[&revision.to_be_bytes(), &be32(row.len())?, row])?;
        }
        rest = &rest[taken.len()..];
    }
    let (contents, content_bytes, contents_sha256) = part.end(&mut out)?;
    out.put(&[Kind::End as u8])?;
    let sha256: [u8; 32] = out.sha.clone().finalize().into();
    out.put(&sha256)?;
    out.out.flush()?;
    let bytes = out.bytes;
    Ok(Summary { records, state_bytes, contents, content_bytes, bytes, contents_sha256, sha256 })
}

fn be32(len: usize) -> io::Result<[u8; 4]> {
    let len = u32::try_from(len).map_err(|_| io::Error::other("more than 4 GiB in one piece"))?;
    Ok(len.to_be_bytes())
}

/// The output with its digest.
struct Blocks<W> {
    out: W,
    sha: Sha256,
    bytes: u64,
    compressor: Compressor<'static>,
    /// The data of the last block, kept for its room.
    data: Vec<u8>,
}

impl<W: Write> Blocks<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.sha.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn head(&mut self, header: &Header) -> io::Result<()> {
        let head = header.encode();
        if head.len() > HEADER_MAX {
            return Err(io::Error::other(format!("a header of {} bytes", head.len())));
        }
        let mut prefix = Vec::with_capacity(PREFIX);
        prefix.extend_from_slice(MAGIC);
        prefix.extend_from_slice(&FORMAT.to_be_bytes());
        prefix.extend_from_slice(&[0, 0]);
        prefix.extend_from_slice(&be32(head.len())?);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&prefix), &head);
        prefix.extend_from_slice(&crc.to_be_bytes());
        self.put(&prefix)?;
        self.put(&head)
    }

    fn block(&mut self, kind: Kind, raw: &[u8]) -> io::Result<()> {
        if raw.len() > RAW_MAX {
            return Err(io::Error::other(format!("a block of {} bytes", raw.len())));
        }
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        data.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.compressor.compress_to_buffer(raw, &mut data)?;
        let mut head = Vec::with_capacity(BLOCK_HEAD);
        head.push(kind as u8);
        head.extend_from_slice(&be32(raw.len())?);
        head.extend_from_slice(&be32(data.len())?);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), &data);
        head.extend_from_slice(&crc.to_be_bytes());
        self.put(&head)?;
        self.put(&data)?;
        self.data = data;
        Ok(())
    }
}

/// The blocks of one part.
struct Part {
    kind: Kind,
    raw: Vec<u8>,
    count: u64,
    bytes: u64,
    sha: Sha256,
}

impl Part {
    fn new(kind: Kind) -> Part {
        Part { kind, raw: Vec::new(), count: 0, bytes: 0, sha: Sha256::new() }
    }

    /// One record or row, from its pieces.
    fn push(&mut self, out: &mut Blocks<impl Write>, pieces: &[&[u8]]) -> io::Result<()> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        // A large one gets a block of its own.
        if self.raw.len() + len > BLOCK_FULL && !self.raw.is_empty() {
            self.close(out)?;
        }
        for piece in pieces {
            self.raw.extend_from_slice(piece);
        }
        self.count += 1;
        Ok(())
    }

    fn close(&mut self, out: &mut Blocks<impl Write>) -> io::Result<()> {
        self.sha.update(&self.raw);
        self.bytes += self.raw.len() as u64;
        out.block(self.kind, &self.raw)?;
        self.raw.clear();
        // The room of a large row is not kept.
        self.raw.shrink_to(BLOCK_FULL);
        Ok(())
    }

    fn end(mut self, out: &mut Blocks<impl Write>) -> io::Result<(u64, u64, [u8; 32])> {
        if !self.raw.is_empty() {
            self.close(out)?;
        }
        let digest: [u8; 32] = self.sha.finalize().into();
        let mut raw = Vec::with_capacity(PART_END);
        raw.push(self.kind as u8);
        raw.extend_from_slice(&self.count.to_be_bytes());
        raw.extend_from_slice(&self.bytes.to_be_bytes());
        raw.extend_from_slice(&digest);
        out.block(Kind::PartEnd, &raw)?;
        Ok((self.count, self.bytes, digest))
    }
}
