//! Writes a file so that there is never half of one under its name: into `NAME.part` with mode 0600, which gets the name when it
//! is whole and on the disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use dyad_backup::PART_SUFFIX;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use crate::exit::{Exit, Failure};

/// What is written at a time.
const BUFFER: usize = 256 * 1024;

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new one is not written.
    Kept,
    Replaced,
}

/// Writes the file with what `fill` gives. Whatever goes wrong, and whenever the process ends, what had the name before has it
/// still.
///
/// # Errors
/// `Exit::Conflict` if there is one that has to stay, `Exit::InUse` if another process writes it, `Exit::Disk` and
/// `Exit::Settings` for those of the file system, and those of `fill`.
pub fn write_whole<T>(
    path: &Path,
    existing: Existing,
    fill: impl FnOnce(&mut BufWriter<&File>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if existing == Existing::Kept && fs::symlink_metadata(path).is_ok() {
        return Err(there(path));
    }
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(Failure::new(Exit::Settings, format!("{} is not a file", path.display())));
    }
    let part = part_of(path);
    let file = open(&part)?;
    let filled = write(path, &file, &part, existing, fill);
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
    existing: Existing,
    fill: impl FnOnce(&mut BufWriter<&File>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut out = BufWriter::with_capacity(BUFFER, file);
    let result = fill(&mut out)?;
    out.flush().and_then(|()| file.sync_all()).map_err(|error| failed("write", part, &error))?;
    rename(part, path, existing)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| failed("write", dir, &error))?;
    Ok(result)
}

/// A part that another process left is written over, but not one that is being written.
fn open(part: &Path) -> Result<File, Failure> {
    let opened = File::options().write(true).create(true).truncate(false).mode(0o600).open(part);
    let file = opened.map_err(|error| failed("write", part, &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let message = format!("{} is being written by another process", part.display());
            return Err(Failure::new(Exit::InUse, message));
        }
        Err(error) => return Err(failed("lock", part, &error.into())),
    }
    file.set_len(0).map_err(|error| failed("write", part, &error))?;
    Ok(file)
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
    renamed.map_err(|error| failed("write", path, &error))
}

fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(PART_SUFFIX);
    part.into()
}

fn there(path: &Path) -> Failure {
    Failure::new(Exit::Conflict, format!("{} exists already: nothing was written", path.display()))
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    let exit = match error.kind() {
        Kind::NotFound | Kind::PermissionDenied | Kind::NotADirectory | Kind::IsADirectory => Exit::Settings,
        _ => Exit::Disk,
    };
    Failure::new(exit, format!("cannot {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn put(path: &Path, existing: Existing, text: &str) -> Result<(), Failure> {
        write_whole(path, existing, |out| {
            out.write_all(text.as_bytes()).map_err(|error| failed("write", path, &error))
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
        let broken = write_whole(&path, Existing::Replaced, |out| {
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
        let late = write_whole(&path, Existing::Kept, |_| {
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
        write_whole(&path, Existing::Kept, |out| {
            assert_eq!(put(&path, Existing::Kept, "second").unwrap_err().exit, Exit::InUse);
            out.write_all(b"x").unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }
}
