//! The data directory and its lock, which one process has at a time. Only the process that has the lock writes anything in the
//! directory.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dyad_cli::{Exit, Failure};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// How often the directory is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// The locked data directory. The lock ends with this value or with the process, however that ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock.
    lock: File,
}

impl DataDir {
    /// Creates the directory (mode 0700) if it is missing, and locks it.
    ///
    /// # Errors
    /// `Exit::InUse` if another process has it, `Exit::Settings` or `Exit::Disk` if it cannot be used.
    pub fn open(path: &Path) -> Result<DataDir, Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| Failure::file("create the data directory", path, &error))?;
        DataDir::lock(path)
    }

    /// Locks a directory that must exist already. Commands of operators use this.
    ///
    /// # Errors
    /// The same as those of [`DataDir::open`].
    pub fn lock(path: &Path) -> Result<DataDir, Failure> {
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(|error| Failure::file("open", &file, &error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(in_use(path, &mut lock)),
            Err(error) => return Err(Failure::file("lock", &file, &error.into())),
        }
        note_pid(&mut lock).map_err(|error| Failure::file("write", &file, &error))?;
        Ok(DataDir { path: path.to_path_buf(), lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Completes when somebody has deleted or replaced the directory. What is written from then on is in files without a name.
    ///
    /// # Errors
    /// This is what it completes with.
    pub async fn gone(&self) -> Failure {
        let mut told = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let replaced = self.is_replaced().unwrap_or_else(|error| {
                // A disk that fails ends the process where something is to be written.
                if !told {
                    tracing::warn!(%error, "the data directory {} cannot be looked at", self.path.display());
                }
                told = true;
                false
            });
            if replaced {
                let what =
                    "was deleted or replaced while the server ran: what is in its place is not this member's";
                return Failure::new(
                    Exit::Disk,
                    format!("the data directory {} {what}", self.path.display()),
                );
            }
        }
    }

    fn is_replaced(&self) -> io::Result<bool> {
        let found = |path: PathBuf| match fs::metadata(path) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let (held, lock, raft) = (self.lock.metadata()?, found(self.path.join("lock"))?, found(self.raft())?);
        let is_held = |lock: &Metadata| (lock.dev(), lock.ino()) == (held.dev(), held.ino());
        Ok(!lock.is_some_and(|lock| is_held(&lock)) || !raft.is_some_and(|raft| raft.is_dir()))
    }

    /// `DATA/raft`: the log store.
    pub fn raft(&self) -> PathBuf {
        self.path.join("raft")
    }

    /// `DATA/snapshots`.
    pub fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }
}

/// The pid is only for the message of the next process; the lock is what counts.
fn note_pid(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn in_use(path: &Path, lock: &mut File) -> Failure {
    let mut text = String::new();
    let read = lock.take(32).read_to_string(&mut text).is_ok();
    let holder = match text.trim().parse::<u32>() {
        Ok(pid) if read => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    let message = format!(
        "the data directory {} is in use by {holder}: stop it, or give this one another --data-dir",
        path.display()
    );
    Failure::new(Exit::InUse, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn creates_locks_and_releases() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let second = DataDir::open(&path).unwrap_err();
        assert_eq!(second.exit, Exit::InUse);
        let pid = std::process::id();
        let want = format!(
            "the data directory {} is in use by process {pid}: stop it, or give this one another --data-dir",
            path.display()
        );
        assert_eq!(second.message, want);
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_is_deleted_or_replaced_is_noticed() {
        for replaced in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("data");
            let held = DataDir::open(&path).unwrap();
            std::fs::create_dir(held.raft()).unwrap();
            let still = tokio::time::timeout(5 * LOOK, held.gone()).await;
            assert!(still.is_err(), "it is there: {still:?}");
            std::fs::rename(&path, root.path().join("away")).unwrap();
            if replaced {
                std::fs::create_dir_all(path.join("raft")).unwrap();
                std::fs::write(path.join("lock"), "").unwrap();
            }
            let failure = held.gone().await;
            assert_eq!(failure.exit, Exit::Disk);
            assert!(failure.message.contains("was deleted or replaced"), "{failure}");
        }
    }

    #[test]
    fn an_unreadable_holder_is_another_process() {
        let root = tempfile::tempdir().unwrap();
        let _held = DataDir::open(root.path()).unwrap();
        std::fs::write(root.path().join("lock"), b"\xff\xff").unwrap();
        let failure = DataDir::open(root.path()).unwrap_err();
        assert!(failure.message.contains("in use by another process"), "{failure}");
    }

    #[test]
    fn bad_places_are_bad_settings() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(DataDir::open(&file.join("x")).unwrap_err().exit, Exit::Settings);
        let missing = DataDir::lock(&root.path().join("missing")).unwrap_err();
        assert_eq!(missing.exit, Exit::Settings, "{missing}");
    }
}
