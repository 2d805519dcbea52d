//! How the process ends: there is one code for each kind of cause, and only this file maps causes to codes.

use std::fmt;
use std::io;
use std::path::Path;

/// Exit codes. Supervisors and runbooks act on them, so a code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Stopped as asked.
    Clean = 0,
    /// An operator command was refused: for example the server is not ready, or nobody answers. A server ends with this
    /// code when a port cannot be served any more.
    Refused = 1,
    /// A setting is bad or contradicts another one. A restart does not help.
    Settings = 2,
    /// A port or the data directory is in use.
    InUse = 3,
    /// The disk does not have what was written to it. A restart does not help.
    Corrupt = 4,
    /// The disk failed or is full.
    Disk = 5,
    /// Something for which an operator command asked does not exist.
    Missing = 6,
    /// Something else exists than an operator command expected: in a CAS, an import or a namespace.
    Conflict = 7,
    /// Two things that were compared are not the same. Only `--exit-code` leads to this code.
    Differs = 8,
    /// A newer version wrote it: only a version that knows this form can read it.
    Newer = 9,
}

/// Why the process ends: the code, what was wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// A port could not be opened. `setting` is the name of the setting that changes it.
    pub fn listen(what: &str, address: &str, setting: &str, error: &io::Error) -> Failure {
        let exit = match error.kind() {
            io::ErrorKind::AddrInUse => Exit::InUse,
            _ => Exit::Settings,
        };
        Failure::new(
            exit,
            format!("cannot listen on {address} for {what}: {error}; choose another {setting}"),
        )
    }

    /// A file or directory could not be used.
    pub fn io(doing: &str, path: &Path, error: &io::Error) -> Failure {
        Failure::new(exit_of(error.kind()), format!("cannot {doing} {}: {error}", path.display()))
    }

    /// The same, of the data directory.
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Failure {
        let remedy = match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => "data_dir must be on a writable file system",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some disk space",
            kind if exit_of(kind) == Exit::Settings => "check data_dir and its owner",
            _ => "check the disk",
        };
        let Failure { exit, message } = Failure::io(doing, path, error);
        Failure::new(exit, format!("{message}; {remedy}"))
    }

    /// A file does not hold what was written to it. It is never repaired or replaced by itself.
    pub fn corrupt(path: &Path, why: &str) -> Failure {
        let remedy = "restore it from a backup, or give up this member's data with `dyad recover --discard`";
        Failure::new(Exit::Corrupt, format!("{} is corrupt: {why}; {remedy}", path.display()))
    }
}

/// Wrong place or rights: a setting, or an argument; anything else: the disk.
fn exit_of(kind: io::ErrorKind) -> Exit {
    use io::ErrorKind as Kind;
    match kind {
        Kind::NotFound
        | Kind::PermissionDenied
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::AlreadyExists
        | Kind::InvalidFilename
        | Kind::ReadOnlyFilesystem => Exit::Settings,
        _ => Exit::Disk,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> std::process::ExitCode {
        std::process::ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_map_to_codes() {
        use io::ErrorKind as Kind;
        let listen = |kind: Kind| Failure::listen("HTTP", "127.0.0.1:1", "port", &kind.into()).exit;
        let file = |kind: Kind| Failure::file("write", Path::new("x"), &kind.into()).exit;
        assert_eq!(listen(Kind::AddrInUse), Exit::InUse);
        assert_eq!(listen(Kind::AddrNotAvailable), Exit::Settings);
        assert_eq!(listen(Kind::PermissionDenied), Exit::Settings);
        assert_eq!(file(Kind::PermissionDenied), Exit::Settings);
        assert_eq!(file(Kind::AlreadyExists), Exit::Settings);
        assert_eq!(file(Kind::ReadOnlyFilesystem), Exit::Settings);
        assert_eq!(file(Kind::StorageFull), Exit::Disk);
        assert_eq!(file(Kind::Other), Exit::Disk);
        assert_eq!(Failure::corrupt(Path::new("x"), "y").exit, Exit::Corrupt);
        assert_eq!([Exit::Clean as u8, Exit::Refused as u8, Exit::Settings as u8], [0, 1, 2]);
        assert_eq!([Exit::InUse as u8, Exit::Corrupt as u8, Exit::Disk as u8], [3, 4, 5]);
        assert_eq!([Exit::Missing as u8, Exit::Conflict as u8, Exit::Differs as u8], [6, 7, 8]);
        assert_eq!(Exit::Newer as u8, 9);
        let io = |kind: Kind| Failure::io("write", Path::new("x"), &kind.into()).exit;
        for kind in [Kind::NotFound, Kind::ReadOnlyFilesystem, Kind::StorageFull, Kind::Other] {
            assert_eq!(io(kind), file(kind), "{kind:?}");
        }
    }
}
