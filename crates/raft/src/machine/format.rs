//! The snapshot file: a header, frames of records with a checksum each, and a trailer with the count and the sha256 of
//! everything before it.
//!
//! ```text
//! "DYADSNAP" format:u16 0:u16 len:u32 crc:u32 header[len]
//! ( len:u32 crc:u32 ( len:u32 record )+ )*            a frame is at most 1 MiB
//! 0:u32 count:u64 sha256[32]                          the digest covers everything before it
//! ```
//! Numbers are big-endian. The checksum of the header covers the bytes before it and the header.

use std::io::{self, Read, Write};

use dyad_state::CpState;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::record::{LogIdRecord, StoredMembershipRecord};
use crate::types::{SnapshotMeta, StoredMembership};

pub(crate) const MAGIC: &[u8; 8] = b"DYADSNAP";
/// Format number that this build writes, and the only one it reads.
pub(crate) const FORMAT: u16 = 1;
/// Magic, format, reserved, length, checksum.
const PREFIX: usize = 20;
/// Bounds what one frame makes a reader allocate.
const FRAME_MAX: usize = 1024 * 1024;
/// A frame is closed when it has this much; a record is at most 256 KiB, so that it never grows past the maximum.
const FRAME_FULL: usize = FRAME_MAX - 300 * 1024;
/// The header holds the membership: 64 KiB are hundreds of members.
const HEADER_MAX: usize = 64 * 1024;

/// Why a file is not a snapshot that this build can read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("offset {offset}: {cause}")]
    Bad { offset: u64, cause: String },
}

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    /// `None` when it was built before the cluster had an identity.
    pub(crate) cluster_id: Option<u128>,
    pub(crate) meta: SnapshotMeta,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderRecord {
    #[prost(bytes = "vec", tag = "1")]
    cluster_id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    last_log_id: Option<LogIdRecord>,
    #[prost(message, optional, tag = "3")]
    membership: Option<StoredMembershipRecord>,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let record = HeaderRecord {
            cluster_id: self.cluster_id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            last_log_id: self.meta.last_log_id.as_ref().map(Into::into),
            membership: Some((&self.meta.last_membership).into()),
        };
        record.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Header, String> {
        let record = HeaderRecord::decode(bytes).map_err(|e| e.to_string())?;
        let cluster_id = match record.cluster_id.len() {
            0 => None,
            _ => {
                let id = record.cluster_id.try_into().map_err(|_| "a cluster id is 16 bytes".to_string())?;
                Some(u128::from_be_bytes(id))
            }
        };
        let membership = record.membership.map(StoredMembership::try_from).transpose();
        let meta = SnapshotMeta {
            last_log_id: record.last_log_id.map(Into::into),
            last_membership: membership.map_err(|e| e.to_string())?.unwrap_or_default(),
        };
        Ok(Header { cluster_id, meta })
    }
}

/// Writes a snapshot; answers its length and digest.
pub(crate) fn write(out: impl Write, header: &Header, state: &CpState) -> io::Result<(u64, [u8; 32])> {
    let mut out = Hashed { inner: out, sha: Sha256::new(), bytes: 0 };
    let head = header.encode();
    let mut prefix = Vec::with_capacity(PREFIX);
    prefix.extend_from_slice(MAGIC);
    prefix.extend_from_slice(&FORMAT.to_be_bytes());
    prefix.extend_from_slice(&[0, 0]);
    prefix.extend_from_slice(&be32(head.len())?);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&prefix), &head);
    prefix.extend_from_slice(&crc.to_be_bytes());
    out.write_all(&prefix)?;
    out.write_all(&head)?;
    let mut frame = Vec::with_capacity(FRAME_MAX);
    let mut count = 0_u64;
    for record in state.snapshot() {
        frame.extend_from_slice(&be32(record.len())?);
        frame.extend_from_slice(&record);
        count += 1;
        if frame.len() >= FRAME_FULL {
            write_frame(&mut out, &mut frame)?;
        }
    }
    write_frame(&mut out, &mut frame)?;
    out.write_all(&0_u32.to_be_bytes())?;
    out.write_all(&count.to_be_bytes())?;
    let digest: [u8; 32] = out.sha.finalize().into();
    out.inner.write_all(&digest)?;
    out.inner.flush()?;
    Ok((out.bytes + digest.len() as u64, digest))
}

fn be32(len: usize) -> io::Result<[u8; 4]> {
    let len = u32::try_from(len).map_err(|_| io::Error::other("a snapshot record over 4 GiB"))?;
    Ok(len.to_be_bytes())
}

fn write_frame(out: &mut impl Write, frame: &mut Vec<u8>) -> io::Result<()> {
    if frame.is_empty() {
        return Ok(());
    }
    if frame.len() > FRAME_MAX {
        return Err(io::Error::other(format!("a snapshot frame of {} bytes", frame.len())));
    }
    out.write_all(&be32(frame.len())?)?;
    out.write_all(&crc32c::crc32c(frame).to_be_bytes())?;
    out.write_all(frame)?;
    frame.clear();
    Ok(())
}

/// Reads and checks a whole snapshot; answers its digest too.
pub(crate) fn read(input: impl Read) -> Result<(Header, CpState, [u8; 32]), ReadError> {
    let mut input = Input { inner: input, sha: Sha256::new(), offset: 0 };
    let header = read_header(&mut input)?;
    let mut records = Records { input, frame: Vec::new(), at: 0, count: 0, ended: false, failed: None };
    let state = CpState::restore(&mut records);
    if let Some(error) = records.failed {
        return Err(error);
    }
    let (mut input, count) = (records.input, records.count);
    let state = state.map_err(|e| input.bad(e.to_string()))?;
    if !records.ended {
        return Err(input.bad("records follow the last one".into()));
    }
    let expected = u64::from_be_bytes(input.array()?);
    if expected != count {
        return Err(input.bad(format!("{count} records, the trailer says {expected}")));
    }
    let digest: [u8; 32] = input.sha.clone().finalize().into();
    let stored: [u8; 32] = input.array()?;
    if digest != stored {
        return Err(input.bad("the digest does not fit".into()));
    }
    if input.inner.read(&mut [0])? != 0 {
        return Err(input.bad("bytes follow the trailer".into()));
    }
    Ok((header, state, digest))
}

fn read_header<R: Read>(input: &mut Input<R>) -> Result<Header, ReadError> {
    let prefix: [u8; PREFIX] = input.array()?;
    if &prefix[..8] != MAGIC {
        return Err(ReadError::Bad { offset: 0, cause: "not a snapshot".into() });
    }
    let format = u16::from_be_bytes([prefix[8], prefix[9]]);
    if format != FORMAT {
        let cause = format!("format {format}, this build knows {FORMAT}");
        return Err(ReadError::Bad { offset: 8, cause });
    }
    let len = u32::from_be_bytes([prefix[12], prefix[13], prefix[14], prefix[15]]) as usize;
    if len > HEADER_MAX {
        return Err(input.bad(format!("a header of {len} bytes")));
    }
    let crc = u32::from_be_bytes([prefix[16], prefix[17], prefix[18], prefix[19]]);
    let head = input.take(len)?;
    if crc32c::crc32c_append(crc32c::crc32c(&prefix[..16]), &head) != crc {
        return Err(input.bad("the header's checksum does not fit".into()));
    }
    Header::decode(&head).map_err(|cause| input.bad(cause))
}

struct Hashed<W> {
    inner: W,
    sha: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Input<R> {
    inner: R,
    sha: Sha256,
    offset: u64,
}

impl<R: Read> Input<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ReadError> {
        self.inner.read_exact(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.bad("the file ends here".into()),
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

    fn take(&mut self, len: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bad(&self, cause: String) -> ReadError {
        ReadError::Bad { offset: self.offset, cause }
    }
}

/// The records one by one; the first thing wrong ends them and is kept in `failed`.
struct Records<R> {
    input: Input<R>,
    frame: Vec<u8>,
    at: usize,
    count: u64,
    ended: bool,
    failed: Option<ReadError>,
}

impl<R: Read> Records<R> {
    fn next_record(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        if self.at == self.frame.len() {
            let len = u32::from_be_bytes(self.input.array()?) as usize;
            if len == 0 {
                self.ended = true;
                return Ok(None);
            }
            if len > FRAME_MAX {
                return Err(self.input.bad(format!("a frame of {len} bytes")));
            }
            let crc = u32::from_be_bytes(self.input.array()?);
            self.frame = self.input.take(len)?;
            self.at = 0;
            if crc32c::crc32c(&self.frame) != crc {
                return Err(self.input.bad("the frame's checksum does not fit".into()));
            }
        }
        let rest = &self.frame[self.at..];
        let Some((len, rest)) = rest.split_first_chunk::<4>() else {
            return Err(self.input.bad("a torn record length".into()));
        };
        let len = u32::from_be_bytes(*len) as usize;
        let Some(record) = rest.get(..len) else {
            return Err(self.input.bad(format!("a record of {len} bytes in a shorter frame")));
        };
        self.at += 4 + len;
        self.count += 1;
        Ok(Some(record.to_vec()))
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.failed.is_some() {
            return None;
        }
        self.next_record().unwrap_or_else(|error| {
            self.failed = Some(error);
            None
        })
    }
}
