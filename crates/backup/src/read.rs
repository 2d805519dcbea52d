//! Reads a backup, one block at a time, and checks everything on the way: no part of it is given out before its checksum fits.

use std::io::{self, Read};
use std::vec;

use dyad_config::{ContentRow, Revision};
use dyad_state::{CpState, LEVEL};
use sha2::{Digest, Sha256};
use zstd::bulk::Decompressor;

use crate::format::{BLOCK_HEAD, DATA_MAX, FORMAT, HEADER_MAX, Kind, MAGIC, PART_END, PREFIX, RAW_MAX};
use crate::header::Header;
use crate::write::Summary;

/// Why a file is not a whole backup that this build can read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// `offset` is where in the file it was noticed, in bytes.
    #[error("byte {offset}: {cause}")]
    Bad { offset: u64, cause: String },
    /// It is whole as far as it was read, and a newer version wrote it. `version` is empty if only that version can read it.
    #[error("{}", newer(*format, *level, version))]
    Newer { format: u16, level: u32, version: String },
}

fn newer(format: u16, level: u32, version: &str) -> String {
    if format != FORMAT {
        return format!("it has format {format}, and this build reads format {FORMAT}");
    }
    format!("dyad {version} wrote it, of a state of level {level}, and this build knows level {LEVEL}")
}

/// A row of contents.
#[derive(Clone, Debug)]
pub struct Row {
    pub revision: Revision,
    /// As the store has it.
    pub bytes: Vec<u8>,
    /// The same, decoded.
    pub row: ContentRow,
}

/// Reads a backup from its beginning to its end: first [`Reader::open`], then [`Reader::state`], then [`Reader::rows`] until it
/// gives none. Only what was read to the end is a whole backup.
pub struct Reader<R> {
    input: Input<R>,
    header: Header,
    part: Part,
    /// The revisions that the state relies on and that are still to come, in ascending order.
    needed: vec::IntoIter<u64>,
    summary: Summary,
    ended: bool,
}

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Reads a whole backup and keeps nothing of it but the state.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify(input: impl Read) -> Result<(Header, CpState, Summary), ReadError> {
    let mut reader = Reader::open(input)?;
    let state = reader.state()?;
    while reader.rows()?.is_some() {}
    let summary = reader.summary;
    Ok((reader.header, state, summary))
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is none, or one of a form that this build does not know.
    pub fn open(input: R) -> Result<Reader<R>, ReadError> {
        let mut input = Input {
            inner: input,
            sha: Sha256::new(),
            offset: 0,
            decompressor: Decompressor::new()?,
            data: Vec::new(),
        };
        let header = input.header()?;
        Ok(Reader {
            input,
            header,
            part: Part::new(Kind::State),
            needed: Vec::new().into_iter(),
            summary: Summary::default(),
            ended: false,
        })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the file that were read so far.
    pub fn offset(&self) -> u64 {
        self.input.offset
    }

    /// Reads the state, which comes first. To be called once.
    ///
    /// # Errors
    /// The part is damaged, or has a record that this build does not know.
    pub fn state(&mut self) -> Result<CpState, ReadError> {
        let mut records = Records { reader: self, raw: Vec::new(), at: 0, ended: false, failed: None };
        let state = CpState::restore(&mut records);
        let (failed, ended) = (records.failed, records.ended);
        if let Some(error) = failed {
            return Err(error);
        }
        let state = state.map_err(|e| self.input.bad(e.to_string()))?;
        if !ended {
            return Err(self.input.bad("records follow the last one of the state"));
        }
        (self.summary.records, self.summary.state_bytes) = (self.part.count, self.part.bytes);
        let mut needed: Vec<u64> = state.config().revisions().map(|revision| revision.0).collect();
        needed.sort_unstable();
        let counted = self.header.clone().counting(&state);
        if counted != self.header {
            return Err(self.input.bad("the counts of the header are not those of the state"));
        }
        self.needed = needed.into_iter();
        self.part = Part::new(Kind::Contents);
        Ok(state)
    }

    /// The next rows, about a megabyte of them, in the order of their revisions. `None` after the last one: then the digest of
    /// the file has been checked too.
    ///
    /// # Errors
    /// The part is damaged, or a row is not the one on which the state relies.
    pub fn rows(&mut self) -> Result<Option<Vec<Row>>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        let Some(raw) = self.block()? else {
            if let Some(missing) = self.needed.next() {
                return Err(self.missing(missing));
            }
            self.finish()?;
            return Ok(None);
        };
        let mut rows = Vec::new();
        let mut rest = &raw[..];
        while !rest.is_empty() {
            let Some((head, bytes)) = rest.split_first_chunk::<12>() else {
                return Err(self.input.bad("a torn row"));
            };
            let (revision, len) = (number(&head[..8]), number(&head[8..]) as usize);
            let Some((bytes, behind)) = bytes.split_at_checked(len) else {
                return Err(self.input.bad(format!("a row of {len} bytes in a shorter block")));
            };
            match self.needed.next() {
                Some(needed) if needed == revision => {}
                Some(needed) if needed < revision => return Err(self.missing(needed)),
                _ => {
                    return Err(self
                        .input
                        .bad(format!("content row {revision}, on which the state does not rely")));
                }
            }
            let revision = Revision(revision);
            let row = ContentRow::decode(revision, bytes).map_err(|e| self.input.bad(e.to_string()))?;
            rows.push(Row { revision, bytes: bytes.to_vec(), row });
            self.part.count += 1;
            rest = behind;
        }
        Ok(Some(rows))
    }

    /// What was read, after the last row.
    pub fn summary(&self) -> Option<Summary> {
        self.ended.then_some(self.summary)
    }

    fn missing(&self, revision: u64) -> ReadError {
        self.input.bad(format!("content row {revision}, on which the state relies, is missing"))
    }

    fn finish(&mut self) -> Result<(), ReadError> {
        let [kind] = self.input.array()?;
        if kind != Kind::End as u8 {
            return Err(self.input.bad(format!("kind {kind} where the end was expected")));
        }
        let digest: [u8; 32] = self.input.sha.clone().finalize().into();
        let stored: [u8; 32] = self.input.array()?;
        if digest != stored {
            return Err(self.input.bad("the digest of the file does not fit"));
        }
        if self.input.inner.read(&mut [0])? != 0 {
            return Err(self.input.bad("bytes follow the end"));
        }
        (self.summary.contents, self.summary.content_bytes) = (self.part.count, self.part.bytes);
        (self.summary.bytes, self.summary.sha256) = (self.input.offset, digest);
        self.ended = true;
        Ok(())
    }

    /// What the next block of the present part holds; `None` after its last one, whose summary fits then.
    fn block(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let (kind, raw) = self.input.block()?;
        if kind == self.part.kind && !raw.is_empty() {
            self.part.sha.update(&raw);
            self.part.bytes += raw.len() as u64;
            return Ok(Some(raw));
        }
        if kind != Kind::PartEnd {
            let cause = format!("a block of the {} within the {}", kind.word(), self.part.kind.word());
            return Err(self.input.bad(cause));
        }
        if raw.len() != PART_END || raw[0] != self.part.kind as u8 {
            return Err(self.input.bad(format!("this is no summary of the {}", self.part.kind.word())));
        }
        let digest: [u8; 32] = self.part.sha.clone().finalize().into();
        let (count, bytes) = (number(&raw[1..9]), number(&raw[9..17]));
        if (count, bytes) != (self.part.count, self.part.bytes) || raw[17..] != digest {
            let cause = format!(
                "the {} has {} entries with {} bytes, and its summary says {count} with {bytes}{}",
                self.part.kind.word(),
                self.part.count,
                self.part.bytes,
                if raw[17..] == digest { "" } else { " and another digest" },
            );
            return Err(self.input.bad(cause));
        }
        if self.part.kind == Kind::Contents {
            self.summary.contents_sha256 = digest;
        }
        Ok(None)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What was read of one part.
struct Part {
    kind: Kind,
    count: u64,
    bytes: u64,
    sha: Sha256,
}

impl Part {
    fn new(kind: Kind) -> Part {
        Part { kind, count: 0, bytes: 0, sha: Sha256::new() }
    }
}

struct Input<R> {
    inner: R,
    sha: Sha256,
    offset: u64,
    decompressor: Decompressor<'static>,
    /// The data of the last block, kept for its room.
    data: Vec<u8>,
}

impl<R: Read> Input<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ReadError> {
        self.inner.read_exact(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.bad("the file ends before a piece that begins here"),
            _ => ReadError::Io(e),
        })?;
        self.sha.update(&*bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bad(&self, cause: impl Into<String>) -> ReadError {
        ReadError::Bad { offset: self.offset, cause: cause.into() }
    }

    fn header(&mut self) -> Result<Header, ReadError> {
        let prefix: [u8; PREFIX] = self.array()?;
        if &prefix[..8] != MAGIC {
            return Err(ReadError::Bad { offset: 0, cause: "this is not a backup".into() });
        }
        let len = number(&prefix[12..16]) as usize;
        if len > HEADER_MAX {
            return Err(self.bad(format!("a header of {len} bytes; at most {HEADER_MAX} are one")));
        }
        let mut head = vec![0; len];
        self.fill(&mut head)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&prefix[..16]), &head);
        if u64::from(crc) != number(&prefix[16..]) {
            return Err(self.bad("the checksum of the header does not fit"));
        }
        // Only now: a damaged byte is not another format. Every format begins with this much.
        let format = u16::from_be_bytes([prefix[8], prefix[9]]);
        if format != FORMAT {
            return Err(ReadError::Newer { format, level: 0, version: String::new() });
        }
        let header = Header::decode(&head).map_err(|cause| self.bad(cause))?;
        if header.level > LEVEL {
            return Err(ReadError::Newer { format, level: header.level, version: header.version });
        }
        Ok(header)
    }

    /// A block, decompressed. Its checksum is compared first, so that zstd gets only what zstd made.
    fn block(&mut self) -> Result<(Kind, Vec<u8>), ReadError> {
        let at = self.offset;
        let bad = |cause: String| ReadError::Bad { offset: at, cause };
        let head: [u8; BLOCK_HEAD] = self.array()?;
        let (raw, len) = (number(&head[1..5]) as usize, number(&head[5..9]) as usize);
        let kind = Kind::of(head[0]).filter(|kind| *kind != Kind::End && raw <= RAW_MAX && len <= DATA_MAX);
        let kind = kind
            .ok_or_else(|| bad(format!("no block has kind {} with {len} bytes for {raw} bytes", head[0])))?;
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        data.resize(len, 0);
        self.fill(&mut data)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..9]), &data);
        if u64::from(crc) != number(&head[9..]) {
            return Err(bad(format!("the checksum of a block of the {} does not fit", kind.word())));
        }
        let unpacked = self.decompressor.decompress(&data, raw);
        self.data = data;
        match unpacked {
            Ok(bytes) if bytes.len() == raw => Ok((kind, bytes)),
            Ok(bytes) => Err(bad(format!("a block has {} bytes instead of {raw}", bytes.len()))),
            Err(error) => Err(bad(format!("a block cannot be decompressed: {error}"))),
        }
    }
}

/// The records of the state one by one; the first thing wrong ends them and is kept in `failed`.
struct Records<'a, R> {
    reader: &'a mut Reader<R>,
    raw: Vec<u8>,
    at: usize,
    ended: bool,
    failed: Option<ReadError>,
}

impl<R: Read> Records<'_, R> {
    fn record(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        if self.at == self.raw.len() {
            let Some(raw) = self.reader.block()? else {
                self.ended = true;
                return Ok(None);
            };
            (self.raw, self.at) = (raw, 0);
        }
        let Some((len, rest)) = self.raw[self.at..].split_first_chunk::<4>() else {
            return Err(self.reader.input.bad("a torn length of a record"));
        };
        let len = u32::from_be_bytes(*len) as usize;
        let Some(record) = rest.get(..len) else {
            return Err(self.reader.input.bad(format!("a record of {len} bytes in a shorter block")));
        };
        self.at += 4 + len;
        self.reader.part.count += 1;
        Ok(Some(record.to_vec()))
    }
}

impl<R: Read> Iterator for Records<'_, R> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.failed.is_some() {
            return None;
        }
        self.record().unwrap_or_else(|error| {
            self.failed = Some(error);
            None
        })
    }
}
