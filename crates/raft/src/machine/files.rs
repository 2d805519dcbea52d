//! The directory of snapshots. It has one current file, and the store names this file only after it is durable.
//!
//! Clients can take all descriptors that the process may have, and a member that cannot write a snapshot keeps its whole log.
//! What a snapshot needs is therefore open before it is needed: the directory, and two empty files, one to build into and one
//! to receive into.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dyad_state::CpState;
use parking_lot::Mutex;

use super::format::{self, Header, ReadError};
use crate::backend::MetaKey;
use crate::descriptors::patient;
use crate::error::{Fatal, FatalSlot, StartError};
use crate::log::LogStore;
use crate::record::{self, SnapshotRecord};
use crate::types::{LogId, SnapshotMeta, TypeConfig};

/// Empty files that are kept open: to build into, to receive into.
const BLANKS: usize = 2;

pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// A handle of a snapshot file. The descriptor keeps it readable after a newer snapshot has replaced it.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
    pub(crate) file: Arc<File>,
}

impl SnapshotFile {
    fn open(path: PathBuf) -> io::Result<SnapshotFile> {
        SnapshotFile::new(path.clone(), Arc::new(File::open(path)?))
    }

    /// An open file that is complete.
    pub(crate) fn new(path: PathBuf, file: Arc<File>) -> io::Result<SnapshotFile> {
        Ok(SnapshotFile { len: file.metadata()?.len(), file, path })
    }
}

/// An open file that becomes a snapshot, and goes if it does not.
pub(crate) struct Blank {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
}

impl Blank {
    fn is_there(&self) -> bool {
        let (Ok(opened), Ok(named)) = (self.file.metadata(), fs::metadata(&self.path)) else { return false };
        (opened.dev(), opened.ino()) == (named.dev(), named.ino())
    }
}

impl Drop for Blank {
    fn drop(&mut self) {
        // Renamed, it has another name.
        let _ = fs::remove_file(&self.path);
    }
}

/// A snapshot that was read, checked and decoded.
pub(crate) struct Loaded {
    pub(crate) header: Header,
    pub(crate) state: CpState,
    pub(crate) sha256: [u8; 32],
}

pub(crate) struct SnapshotDir {
    dir: PathBuf,
    /// The directory itself, to make a rename durable.
    opened: Arc<File>,
    log: LogStore,
    current: Mutex<Option<Snapshot>>,
    /// Makes one snapshot the current one at a time.
    turn: tokio::sync::Mutex<()>,
    blanks: Mutex<Vec<Blank>>,
    /// Numbers the blank files.
    made: AtomicU64,
}

impl SnapshotDir {
    /// Opens the directory, loads the current snapshot and deletes all other files.
    pub(crate) fn open(dir: PathBuf, log: LogStore) -> Result<(SnapshotDir, Option<Loaded>), StartError> {
        let io = |source| StartError::Io { file: dir.display().to_string(), source };
        fs::create_dir_all(&dir).map_err(io)?;
        let corrupt = |file: &Path, cause: String| StartError::Corrupt {
            file: file.display().to_string(),
            at: "the snapshot".into(),
            cause,
        };
        let meta = log.backend().get_meta(MetaKey::Snapshot).map_err(io)?;
        let record = meta.map(|bytes| record::decode_snapshot(&bytes)).transpose();
        let record = record.map_err(|e| corrupt(&dir, e.to_string()))?;
        let mut current = None;
        let mut loaded = None;
        if let Some(record) = &record {
            let path = dir.join(&record.file);
            let file = SnapshotFile::open(path.clone()).map_err(|e| corrupt(&path, e.to_string()))?;
            let content = load(&file).map_err(|e| corrupt(&path, e.to_string()))?;
            if content.sha256[..] != record.sha256[..] || file.len != record.length {
                return Err(corrupt(&path, "it is not the file that the store names".into()));
            }
            current = Some(Snapshot { meta: content.header.meta.clone(), snapshot: file });
            loaded = Some(content);
        }
        remove_others(&dir, record.as_ref().map(|r| r.file.as_str())).map_err(io)?;
        let opened = Arc::new(File::open(&dir).map_err(io)?);
        let snapshots = SnapshotDir {
            dir,
            opened,
            log,
            current: Mutex::new(current),
            turn: tokio::sync::Mutex::new(()),
            blanks: Mutex::default(),
            made: AtomicU64::new(0),
        };
        snapshots.refill();
        Ok((snapshots, loaded))
    }

    pub(crate) fn current(&self) -> Option<Snapshot> {
        self.current.lock().clone()
    }

    /// openraft stops when a snapshot cannot be written; this says which file it was.
    pub(crate) fn report(&self, fatal: &FatalSlot, error: &io::Error) {
        fatal.set(Fatal::Disk { file: self.dir.display().to_string(), cause: error.to_string() });
    }

    /// An empty file, one that is kept for this if there is any.
    pub(crate) fn blank(&self) -> io::Result<Blank> {
        // Who tidies up may have removed one.
        let kept = std::iter::from_fn(|| self.blanks.lock().pop()).find(Blank::is_there);
        let blank = kept.map_or_else(|| self.create(), Ok);
        self.refill();
        blank
    }

    /// As far as there are descriptors; what lacks is made when it is asked for.
    fn refill(&self) {
        let mut blanks = self.blanks.lock();
        while blanks.len() < BLANKS
            && let Ok(blank) = self.create()
        {
            blanks.push(blank);
        }
    }

    fn create(&self) -> io::Result<Blank> {
        let path = self.dir.join(format!("snap-blank-{}.tmp", self.made.fetch_add(1, Ordering::Relaxed)));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Blank { path, file: Arc::new(file) })
    }

    /// Writes a snapshot and makes it the current one. Waits while the process has no descriptor for it: that says nothing
    /// of the disk.
    pub(crate) async fn build(&self, header: Header, state: CpState) -> io::Result<Snapshot> {
        let blank = patient("a snapshot", || self.blank()).await?;
        let meta = header.meta.clone();
        let file = Arc::clone(&blank.file);
        let written = tokio::task::spawn_blocking(move || {
            let (_, sha256) = format::write(BufWriter::new(&*file), &header, &state)?;
            file.sync_all()?;
            Ok::<_, io::Error>(sha256)
        });
        let sha256 = written.await.map_err(io::Error::other)??;
        let file = SnapshotFile::new(blank.path.clone(), Arc::clone(&blank.file))?;
        self.publish(file, meta, sha256).await
    }

    /// Renames a complete, synced file to its name and makes it the current snapshot, unless one that has as much is.
    pub(crate) async fn publish(
        &self,
        file: SnapshotFile,
        meta: SnapshotMeta,
        sha256: [u8; 32],
    ) -> io::Result<Snapshot> {
        let _turn = self.turn.lock().await;
        let old = self.current();
        if let Some(old) = &old
            && old.meta.last_log_id >= meta.last_log_id
        {
            return Ok(old.clone());
        }
        let name = file_name(meta.last_log_id);
        let path = self.dir.join(&name);
        fs::rename(&file.path, &path)?;
        let dir = Arc::clone(&self.opened);
        tokio::task::spawn_blocking(move || dir.sync_all()).await.map_err(io::Error::other)??;
        let file = SnapshotFile { path: path.clone(), ..file };
        let record = SnapshotRecord { file: name, length: file.len, sha256: sha256.to_vec() };
        self.log.put_meta(MetaKey::Snapshot, record::encode_snapshot(&record)).await?;
        let snapshot = Snapshot { meta, snapshot: file };
        *self.current.lock() = Some(snapshot.clone());
        if let Some(old) = old.filter(|old| old.snapshot.path != path) {
            // A file that cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&old.snapshot.path);
        }
        self.refill();
        Ok(snapshot)
    }
}

/// Writes the first snapshot of a store that is made from a state, durably, and answers the record that names it.
pub(crate) fn write_first(dir: &Path, header: &Header, state: &CpState) -> io::Result<SnapshotRecord> {
    fs::create_dir_all(dir)?;
    let name = file_name(header.meta.last_log_id);
    let file = File::options().write(true).create_new(true).open(dir.join(&name))?;
    let (length, sha256) = format::write(BufWriter::new(&file), header, state)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(SnapshotRecord { file: name, length, sha256: sha256.to_vec() })
}

/// Reads a snapshot file from its beginning, whatever was read of it before.
pub(crate) fn load(file: &SnapshotFile) -> Result<Loaded, ReadError> {
    let input = FromStart { file: &file.file, offset: 0 };
    let (header, state, sha256) = format::read(BufReader::new(input))?;
    Ok(Loaded { header, state, sha256 })
}

/// Reads a file whatever its descriptor's position is, and without another descriptor.
struct FromStart<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

fn file_name(last: Option<LogId>) -> String {
    let (term, leader, index) =
        last.map_or((0, 0, 0), |id| (id.leader_id.term, id.leader_id.node_id, id.index));
    format!("snap-{term}-{leader:016x}-{index:020}.bin")
}

/// Whether there is a file with the name of a complete snapshot.
pub(crate) fn has_snapshot(dir: &Path) -> bool {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names
        .into_iter()
        .any(|name| name.to_str().is_some_and(|name| name.starts_with("snap-") && name.ends_with(".bin")))
}

/// Removes left-overs of our own making; other files are not ours to touch.
fn remove_others(dir: &Path, keep: Option<&str>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.starts_with("snap-") || name.starts_with("received-");
        if ours && Some(name.as_str()) != keep {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
