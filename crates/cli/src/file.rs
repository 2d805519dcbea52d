//! Writes a file so that there is never half of one under its name: into `NAME.part`, which gets the name when it is whole and on
//! the disk.
//!
//! Safety: the part is always a file that this process made, with the mode that was asked for, and it has the lock of it while the
//! name `NAME.part` leads to it. What another process left there is removed, not written over: it may have another mode, or
//! be a file that has its final name already.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dyad_backup::PART_SUFFIX;
use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use crate::exit::{Exit, Failure};

/// What is written at a time.
const BUFFER: usize = 256 * 1024;
/// Bytes after which the disk is asked again how much is free.
pub const ASK_EVERY: u64 = 16 * 1024 * 1024;

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new one is not written.
    Kept,
    Replaced,
}

/// How a file is written.
pub struct Manner<'a> {
    pub existing: Existing,
    /// Of the new file, less the process's mask.
    pub mode: u32,
    /// Bytes that others need on a disk of so many bytes. The file ends with an error before it comes near them: at this mark a server
    /// refuses writes.
    pub reserve: &'a dyn Fn(u64) -> u64,
}

impl fmt::Debug for Manner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manner").field("existing", &self.existing).finish_non_exhaustive()
    }
}

/// What a new file is written to.
pub type Out<'a> = BufWriter<Roomy<'a>>;

/// Writes the file with what `fill` gives. Whatever goes wrong, and whenever the process ends, what had the name before has it
/// still.
///
/// # Errors
/// `Exit::Conflict` if there is one that has to stay, `Exit::InUse` if another process writes it, `Exit::Disk` and
/// `Exit::Settings` for those of the file system, and those of `fill`.
pub fn write_whole<T>(
    path: &Path,
    manner: &Manner<'_>,
    fill: impl FnOnce(&mut Out<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if manner.existing == Existing::Kept && fs::symlink_metadata(path).is_ok() {
        return Err(there(path));
    }
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(Failure::new(Exit::Settings, format!("{} is not a file", path.display())));
    }
    let part = part_of(path);
    let file = create(&part, manner.mode)?;
    let filled = write(path, &file, &part, manner, fill);
    if filled.is_err() {
        // Half of it is of no use. It is ours: we have its lock.
        let _ = fs::remove_file(&part);
    }
    filled
}

fn write<T>(
    path: &Path,
    file: &File,
    part: &Path,
    manner: &Manner<'_>,
    fill: impl FnOnce(&mut Out<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut out = BufWriter::with_capacity(BUFFER, Roomy { file, reserve: manner.reserve, left: 0 });
    let result = fill(&mut out)?;
    out.flush().and_then(|()| file.sync_all()).map_err(|error| Failure::io("write", part, &error))?;
    rename(part, path, manner.existing)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| Failure::io("write", dir, &error))?;
    Ok(result)
}

/// Makes the part. One that a dead process left goes first.
fn create(part: &Path, mode: u32) -> Result<File, Failure> {
    let failed = |error: io::Error| Failure::io("write", part, &error);
    let create = || File::options().write(true).create_new(true).mode(mode).open(part);
    let file = match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(part).is_ok_and(|left| !left.is_file()) {
                return Err(Failure::new(Exit::Settings, format!("{} is not a file", part.display())));
            }
            let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
            let left = File::options().write(true).custom_flags(nofollow).open(part).map_err(failed)?;
            lock(&left, part)?;
            fs::remove_file(part).and_then(|()| create())
        }
        created => created,
    };
    let file = file.map_err(failed)?;
    lock(&file, part)?;
    Ok(file)
}

/// Locks the file that is open, which must have its name still: whoever had the lock may have given it another one.
fn lock(file: &File, part: &Path) -> Result<(), Failure> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if has_name(file, part) => Ok(()),
        Ok(()) | Err(Errno::WOULDBLOCK) => {
            let message = format!("{} is being written by another process", part.display());
            Err(Failure::new(Exit::InUse, message))
        }
        Err(error) => Err(Failure::io("lock", part, &error.into())),
    }
}

/// Does the name still lead to the open file?
pub fn has_name(file: &File, path: &Path) -> bool {
    let (Ok(opened), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
    (opened.dev(), opened.ino()) == (named.dev(), named.ino())
}

/// The bytes that are free on the disk of an open file, and those of all of it.
///
/// # Errors
/// The file system does not say.
pub fn volume(file: &File) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstatvfs(file)?;
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

/// Writes to a file while its disk has room beside the reserve.
pub struct Roomy<'a> {
    file: &'a File,
    reserve: &'a dyn Fn(u64) -> u64,
    /// Bytes until the disk is asked.
    left: u64,
}

impl fmt::Debug for Roomy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roomy").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Roomy<'_> {
    fn ask(&mut self) -> io::Result<()> {
        let (free, total) = volume(self.file)?;
        let least = least((self.reserve)(total));
        if free < least {
            let what = format!("{} MiB are free on this disk, {} MiB stay free", free >> 20, least >> 20);
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        self.left = ASK_EVERY;
        Ok(())
    }
}

/// So many bytes stay free on a disk of which others need `reserve`. Between two questions so much is written, and with the data on
/// the same disk the server writes meanwhile too.
fn least(reserve: u64) -> u64 {
    if reserve == 0 { 0 } else { reserve.saturating_add(reserve / 4).saturating_add(ASK_EVERY) }
}

impl Write for Roomy<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.ask()?;
        }
        let n = self.file.write(bytes)?;
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn rename(part: &Path, path: &Path, existing: Existing) -> Result<(), Failure> {
    let renamed = match existing {
        Existing::Replaced => fs::rename(part, path),
        Existing::Kept => match renameat_with(CWD, part, CWD, path, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => return Err(there(path)),
            // The file system does not have it: then the look before has to do.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if fs::symlink_metadata(path).is_err() => {
                fs::rename(part, path)
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return Err(there(path)),
            renamed => renamed.map_err(io::Error::from),
        },
    };
    renamed.map_err(|error| Failure::io("write", path, &error))
}

fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(PART_SUFFIX);
    part.into()
}

fn there(path: &Path) -> Failure {
    Failure::new(Exit::Conflict, format!("{} exists already: nothing was written", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn manner(existing: Existing) -> Manner<'static> {
        Manner { existing, mode: 0o600, reserve: &|_| 0 }
    }

    fn put(path: &Path, existing: Existing, text: &str) -> Result<(), Failure> {
        write_whole(path, &manner(existing), |out| {
            out.write_all(text.as_bytes()).map_err(|error| Failure::io("write", path, &error))
        })
    }

    #[test]
    fn a_file_is_whole_or_what_was_there_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.backup");
        put(&path, Existing::Kept, "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = put(&path, Existing::Kept, "two").unwrap_err();
        assert_eq!(refused.exit, Exit::Conflict);
        put(&path, Existing::Replaced, "two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let broken = write_whole(&path, &manner(Existing::Replaced), |out| {
            out.write_all(b"half").unwrap();
            Err::<(), _>(Failure::new(Exit::Refused, "broken"))
        });
        assert_eq!(broken.unwrap_err().message, "broken");
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no part is left");
    }

    /// A device must not be replaced.
    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = put(dir.path(), Existing::Replaced, "x").unwrap_err();
        assert_eq!(refused.exit, Exit::Settings);
        assert!(refused.message.contains("is not a file"), "{refused}");
    }

    #[test]
    fn one_that_appears_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.backup");
        let late = write_whole(&path, &manner(Existing::Kept), |_| {
            fs::write(&path, "other").unwrap();
            Ok(())
        });
        assert_eq!(late.unwrap_err().exit, Exit::Conflict);
        assert_eq!(fs::read(&path).unwrap(), b"other");
    }

    #[test]
    fn two_do_not_write_the_same_and_what_a_dead_one_left_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.backup");
        fs::write(dir.path().join("a.backup.part"), "left of one that was killed").unwrap();
        write_whole(&path, &manner(Existing::Kept), |out| {
            assert_eq!(put(&path, Existing::Kept, "second").unwrap_err().exit, Exit::InUse);
            out.write_all(b"x").unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }

    /// Whoever may write to the directory must not choose what the part leads to, nor who may read it.
    #[test]
    fn what_is_there_under_the_name_of_the_part_is_neither_followed_nor_kept() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (path, part) = (dir.path().join("a.backup"), dir.path().join("a.backup.part"));
        let other = dir.path().join("other");
        fs::write(&other, "other").unwrap();
        symlink(&other, &part).unwrap();
        let refused = put(&path, Existing::Kept, "x").unwrap_err();
        assert!(refused.exit == Exit::Settings && refused.message.contains("is not a file"), "{refused}");
        assert_eq!(fs::read(&other).unwrap(), b"other");
        fs::remove_file(&part).unwrap();
        fs::write(&part, "left").unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o644)).unwrap();
        put(&path, Existing::Kept, "x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// The lock is free when the other one has finished, and the file has its final name then.
    #[test]
    fn a_part_that_another_process_finished_meanwhile_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (path, part) = (dir.path().join("a.backup"), dir.path().join("a.backup.part"));
        let opened = create(&part, 0o600).unwrap();
        fs::rename(&part, &path).unwrap();
        assert_eq!(lock(&opened, &part).unwrap_err().exit, Exit::InUse, "nobody has this name");
        fs::write(&part, "of a third one").unwrap();
        assert_eq!(lock(&opened, &part).unwrap_err().exit, Exit::InUse, "another file has it");
    }

    #[test]
    fn a_disk_that_is_nearly_full_takes_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.backup");
        let (free, _) = volume(&File::open(dir.path()).unwrap()).unwrap();
        let fill = |reserve: u64| {
            write_whole(&path, &Manner { reserve: &move |_| reserve, ..manner(Existing::Replaced) }, |out| {
                let written = out.write_all(b"x").and_then(|()| out.flush());
                written.map_err(|error| Failure::io("write", &path, &error))
            })
        };
        fill(1).unwrap();
        let refused = fill(u64::MAX).unwrap_err();
        assert!(refused.exit == Exit::Disk && refused.message.contains("stay free"), "{refused}");
        // The reserve itself is never touched: writes of clients would be refused.
        assert_eq!(fill(free / 20 * 19).unwrap_err().exit, Exit::Disk);
        assert_eq!(least(400 << 20), (500 << 20) + ASK_EVERY);
        assert_eq!(least(0), 0, "the check is switched off");
    }
}
