//! The log in sled 0.34, made durable by our own fdatasync: sled's flush only pushes pages to the device
//! (`sync_file_range`), which neither flushes the device's cache nor file metadata.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{LogBackend, MetaKey};
use crate::error::StartError;

/// sled's page cache. The log's tail is cached above, decoded; this only serves cold reads. Real use is a few times it.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// A log in a sled directory.
pub struct SledBackend {
    db: sled::Db,
    log: sled::Tree,
    meta: sled::Tree,
    /// A second descriptor of sled's one data file, for fdatasync.
    data: File,
    data_path: PathBuf,
}

impl std::fmt::Debug for SledBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledBackend").field("data", &self.data_path).finish_non_exhaustive()
    }
}

impl SledBackend {
    /// Opens or creates the store in directory `path`.
    ///
    /// # Errors
    /// `Locked` while another process has it, `Corrupt` when sled cannot read it, `Io` for the rest.
    pub fn open(path: &Path) -> Result<SledBackend, StartError> {
        let io = |source| StartError::Io { file: path.display().to_string(), source };
        fs::create_dir_all(path).map_err(io)?;
        let data_path = path.join("db");
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(|e| open_error(&data_path, e))?;
        let log = db.open_tree("log").map_err(|e| open_error(&data_path, e))?;
        let meta = db.open_tree("meta").map_err(|e| open_error(&data_path, e))?;
        let data = File::open(&data_path).map_err(io)?;
        // The descriptor that is synced must be the file that sled writes: one name, one inode.
        let (ours, named) = (data.metadata().map_err(io)?, fs::metadata(&data_path).map_err(io)?);
        if (ours.dev(), ours.ino()) != (named.dev(), named.ino()) {
            return Err(io(io::Error::other("the data file was replaced while it was opened")));
        }
        // The new file's directory entries must survive a power failure too.
        data.sync_all().map_err(io)?;
        sync_dir(path).map_err(io)?;
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent).map_err(io)?;
        }
        Ok(SledBackend { db, log, meta, data, data_path })
    }
}

/// Makes created and renamed entries of a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn open_error(data: &Path, error: sled::Error) -> StartError {
    let file = data.display().to_string();
    match error {
        sled::Error::Corruption { at, .. } => StartError::Corrupt {
            file,
            at: at.map_or_else(|| "unknown offset".into(), |ptr| format!("offset {ptr:?}")),
            cause: "sled's checksum does not fit".into(),
        },
        sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => StartError::Locked { file },
        sled::Error::Io(source) => StartError::Io { file, source },
        other => StartError::Corrupt { file, at: "unknown offset".into(), cause: other.to_string() },
    }
}

fn io_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(e) => e,
        other => io::Error::other(other.to_string()),
    }
}

impl LogBackend for SledBackend {
    fn append(&self, records: &[(u64, Bytes)]) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for (index, record) in records {
            batch.insert(&index.to_be_bytes(), record.as_ref());
        }
        self.log.apply_batch(batch).map_err(io_error)
    }

    fn truncate_from(&self, index: u64) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for key in self.log.range(index.to_be_bytes()..).keys() {
            batch.remove(key.map_err(io_error)?);
        }
        self.log.apply_batch(batch).map_err(io_error)
    }

    fn purge_to(&self, index: u64, limit: usize) -> io::Result<bool> {
        let mut batch = sled::Batch::default();
        let mut more = false;
        for (n, key) in self.log.range(..=index.to_be_bytes()).keys().take(limit + 1).enumerate() {
            let key = key.map_err(io_error)?;
            if n == limit {
                more = true;
            } else {
                batch.remove(key);
            }
        }
        self.log.apply_batch(batch).map_err(io_error)?;
        Ok(more)
    }

    fn put_meta(&self, key: MetaKey, value: &[u8]) -> io::Result<()> {
        self.meta.insert(key.name(), value).map(drop).map_err(io_error)
    }

    fn get_meta(&self, key: MetaKey) -> io::Result<Option<Bytes>> {
        Ok(self.meta.get(key.name()).map_err(io_error)?.map(|v| Bytes::copy_from_slice(&v)))
    }

    fn range(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let mut bytes = 0;
        let mut out = Vec::new();
        if from >= to {
            return Ok(out);
        }
        for item in self.log.range(from.to_be_bytes()..to.to_be_bytes()) {
            let (key, value) = item.map_err(io_error)?;
            let key: [u8; 8] = key.as_ref().try_into().map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, format!("a log key of {} bytes", key.len()))
            })?;
            bytes += value.len();
            out.push((u64::from_be_bytes(key), Bytes::copy_from_slice(&value)));
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(out)
    }

    fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(io_error)?;
        self.data.sync_data()
    }

    fn file(&self) -> String {
        self.data_path.display().to_string()
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let stat = rustix::fs::statvfs(&self.data_path)?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
}
