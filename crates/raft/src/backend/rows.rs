//! The rows of contents, in a sled database of their own.
//!
//! Each row has a small value beside it, whose key is only the revision: the bytes of the row, or nothing where a build before 0.7
//! wrote it. A list of these keys shows which rows exist, at a hundredth of the cost of a walk over the rows. The small value is
//! written after the row and removed after it. After a crash sled has the first N of its writes, so a row that is listed is whole, or
//! it was being removed because nobody relied on it: then it is listed without being there, and the next removal goes on.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::ContentBackend;
use super::disk::{Disk, io_error, let_go};
use super::parts;
use crate::error::StartError;

/// sled's page cache. Small contents are in the state, so that only large ones and old versions are read here.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// A key is a letter and a revision, big-endian.
const KEY_LEN: usize = 9;
const LISTED: u8 = b'i';
const ROW: u8 = b'r';

/// A store of contents in a sled directory.
#[derive(Debug)]
pub struct SledContents {
    disk: Disk,
    rows: sled::Tree,
}

impl SledContents {
    /// Opens the store in the directory `path`, or creates it.
    ///
    /// # Errors
    /// The same as those of [`super::SledBackend::open`].
    pub fn open(path: &Path) -> Result<SledContents, StartError> {
        let disk = Disk::open(path, CACHE_BYTES)?;
        let rows = disk.tree("rows")?;
        parts::drop_unbegun(&rows, KEY_LEN).map_err(|source| StartError::Io { file: disk.file(), source })?;
        Ok(SledContents { rows, disk })
    }
}

impl SledContents {
    fn listed(&self, from: u64, limit: usize) -> impl Iterator<Item = io::Result<(u64, sled::IVec)>> {
        let items = self.rows.range(key(LISTED, from)..=key(LISTED, u64::MAX)).take(limit);
        items.map(|item| {
            let (key, len) = item.map_err(io_error)?;
            let revision = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
            let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("a key of {} bytes", key.len()));
            Ok((revision.ok_or_else(bad)?, len))
        })
    }
}

fn key(letter: u8, revision: u64) -> [u8; KEY_LEN] {
    let mut key = [letter; KEY_LEN];
    key[1..].copy_from_slice(&revision.to_be_bytes());
    key
}

impl ContentBackend for SledContents {
    fn put(&self, rows: &[(u64, Bytes)]) -> io::Result<()> {
        for (revision, row) in rows {
            parts::put(&self.rows, &key(ROW, *revision), row)?;
            let len = u32::try_from(row.len()).unwrap_or(u32::MAX);
            self.rows.insert(key(LISTED, *revision), &len.to_be_bytes()).map_err(io_error)?;
        }
        Ok(())
    }

    fn get(&self, revision: u64) -> io::Result<Option<Bytes>> {
        let key = key(ROW, revision);
        let Some(first) = self.rows.get(key).map_err(io_error)? else { return Ok(None) };
        parts::read(&self.rows, &key, &first).map(Some)
    }

    fn remove(&self, revisions: &[u64]) -> io::Result<()> {
        for revision in revisions {
            parts::remove(&self.rows, &key(ROW, *revision))?;
            self.rows.remove(key(LISTED, *revision)).map_err(io_error)?;
        }
        Ok(())
    }

    fn list(&self, from: u64, limit: usize) -> io::Result<Vec<u64>> {
        self.listed(from, limit).map(|item| Ok(item?.0)).collect()
    }

    fn sizes(&self, from: u64, limit: usize) -> io::Result<Vec<(u64, u64)>> {
        let size = |item: io::Result<(u64, sled::IVec)>| {
            let (revision, len) = item?;
            let bytes = match <[u8; 4]>::try_from(&*len) {
                Ok(len) => u32::from_be_bytes(len).into(),
                Err(_) => parts::len(&self.rows, &key(ROW, revision))?,
            };
            Ok((revision, bytes))
        };
        self.listed(from, limit).map(size).collect()
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    /// By accesses to rows: their pages are large, so that the many small ones of the list have to go.
    fn let_go(&self, rows: &[u64]) -> io::Result<()> {
        let keys: Vec<[u8; KEY_LEN]> = rows.iter().map(|revision| key(ROW, *revision)).collect();
        let_go(&self.rows, &keys)
    }

    fn disk_bytes(&self) -> io::Result<u64> {
        self.disk.size()
    }

    fn file(&self) -> String {
        self.disk.file()
    }
}
