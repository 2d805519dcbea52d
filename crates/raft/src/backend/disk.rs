//! A sled database with durable syncs. sled's flush only hands pages to the device (`sync_file_range`). It flushes
//! neither the cache of the device nor the metadata of the file, so our own fdatasync follows it. This fdatasync
//! reaches only the one data file; values are therefore cut into parts, so that sled never makes another file
//! ([`super::parts`]).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Volume;
use crate::error::StartError;

/// Accesses to the pages of one of the 256 shards of sled's cache that gather before it looks how large the shard is.
const GATHERED: usize = 64;
/// Keys that are spread over a tree and so over the shards: of these, one in fifty has no page of so many.
const SPREAD: usize = 1_024;

pub(super) struct Disk {
    pub(super) db: sled::Db,
    /// A second descriptor of sled's one data file, for fdatasync.
    data: File,
    data_path: PathBuf,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("data", &self.data_path).finish_non_exhaustive()
    }
}

impl Disk {
    /// Opens or creates the database in directory `path`; sled's page cache takes a few times `cache` bytes.
    pub(super) fn open(path: &Path, cache: u64) -> Result<Disk, StartError> {
        let io = |source| StartError::Io { file: path.display().to_string(), source };
        fs::create_dir_all(path).map_err(io)?;
        let data_path = path.join("db");
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(cache)
            .flush_every_ms(None)
            .open()
            .map_err(|e| open_error(&data_path, e))?;
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
        Ok(Disk { db, data, data_path })
    }

    pub(super) fn tree(&self, name: &str) -> Result<sled::Tree, StartError> {
        self.db.open_tree(name).map_err(|e| open_error(&self.data_path, e))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(io_error)?;
        self.data.sync_data()
    }

    pub(super) fn file(&self) -> String {
        self.data_path.display().to_string()
    }

    /// Of the one data file.
    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.data.metadata()?.len())
    }

    pub(super) fn volume(&self) -> io::Result<Volume> {
        let stat = rustix::fs::statvfs(&self.data_path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Volume { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }
}

/// Has sled's cache let go of pages that were read once, by as many accesses to each shard as it takes. Without them a start keeps the
/// last 16,384 pages that it has read, whatever the capacity of the cache: up to 150 MB for as long as nothing is written.
pub(super) fn let_go<K: AsRef<[u8]>>(tree: &sled::Tree, keys: &[K]) -> io::Result<()> {
    if keys.len() < SPREAD {
        return Ok(());
    }
    for key in keys.iter().step_by(keys.len() / SPREAD) {
        for _ in 0..=GATHERED {
            tree.get(key).map_err(io_error)?;
        }
    }
    Ok(())
}

/// Makes created and renamed entries of a directory durable.
fn sync_dir(path: &Path) -> io::Result<()> {
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

pub(super) fn io_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(e) => e,
        other => io::Error::other(other.to_string()),
    }
}
