//! `DATA/retention`: how far the time of the retention was when the process ended.

use std::io;
use std::path::Path;

use crate::identity;

/// The file's name in the data directory.
pub(super) const FILE: &str = "retention";
/// First line: what the file is, and the version of its form.
const HEADER: &str = "dyad retention 1";

/// The time in the file, in milliseconds since the epoch. `None` without a file.
///
/// # Errors
/// The file cannot be read, or is not whole.
pub(super) fn read(dir: &Path) -> io::Result<Option<u64>> {
    let decode = |text: &str| text.lines().nth(1)?.strip_prefix("time ")?.parse().ok();
    identity::read_if_there(&dir.join(FILE), identity::SIZE_MAX, HEADER, decode, |ms| encode(*ms))
}

/// Writes the time down. It is on the disk when this returns.
///
/// # Errors
/// The disk fails.
pub(super) fn write(dir: &Path, ms: u64) -> io::Result<()> {
    identity::replace(dir, FILE, &encode(ms))
}

fn encode(ms: u64) -> String {
    identity::sealed(format!("{HEADER}\ntime {ms}\n"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(read(dir).unwrap(), None);
        write(dir, 7).unwrap();
        write(dir, 1_700_000_000_000).unwrap();
        assert_eq!(read(dir).unwrap(), Some(1_700_000_000_000));
        let text = fs::read_to_string(dir.join(FILE)).unwrap();
        assert!(text.starts_with("dyad retention 1\ntime 1700000000000\n"), "{text:?}");
        for bad in
            [text.replace("17", "18"), text.replace("n 1", "n 2"), String::new(), text[..20].to_owned()]
        {
            fs::write(dir.join(FILE), &bad).unwrap();
            assert!(read(dir).is_err(), "{bad:?}");
        }
    }
}
