//! `DATA/logged`: at which start the log of this member was last opened.
//!
//! The log remembers its last start, and this file remembers it outside of the log. A member whose log is gone, or was
//! replaced by an older copy, has forgotten what it acknowledged and for whom it voted. It must not take part as if nothing
//! had happened, and the comparison of the two shows it. The file is one of its own, since versions before 0.6 read the
//! identity and take no other form of it.

use std::io;
use std::path::Path;

use dyad_cli::Failure;
use dyad_types::MemberId;

use crate::identity::{self, Identity};

/// The file's name in the data directory.
pub const FILE: &str = "logged";
/// First line: what the file is, and the version of its form.
const HEADER: &str = "dyad logged 1";

/// The last start of the member that is known to be in its log. `None` if there was none, or if the file is that of another
/// member: then this member's identity is a new one, and has no log yet.
///
/// # Errors
/// `Exit::Corrupt` if the file is not whole, or is newer than the identity. The identity is not changed then, so that a restart
/// says the same.
pub fn read(dir: &Path, identity: &Identity) -> Result<Option<u64>, Failure> {
    let (member, last) = (identity.member(), identity.incarnation());
    let path = dir.join(FILE);
    let text = match identity::read(&path, identity::SIZE_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(Failure::corrupt(&path, &error.to_string()));
        }
        Err(error) => return Err(Failure::file("read", &path, &error)),
    };
    let (owner, start) = decode(&text).map_err(|why| Failure::corrupt(&path, &why))?;
    if owner != member {
        return Ok(None);
    }
    if start > last {
        let why = format!(
            "the last start that it knows is {last}, and the file `{FILE}` knows start {start}: files of two times are mixed in \
             this directory"
        );
        return Err(Failure::corrupt(&dir.join(identity::FILE), &why));
    }
    Ok(Some(start))
}

/// Notes that the log of `member` remembers `start`. It is on the disk when this returns.
///
/// # Errors
/// The disk fails.
pub fn write(dir: &Path, member: MemberId, start: u64) -> Result<(), Failure> {
    let written = identity::replace(dir, FILE, &encode(member, start));
    written.map_err(|error| Failure::file("write", &dir.join(FILE), &error))
}

fn encode(member: MemberId, start: u64) -> String {
    identity::sealed(format!("{HEADER}\nmember {member}\nstart {start}\n"))
}

/// Accepts exactly what `encode` writes.
fn decode(text: &str) -> Result<(MemberId, u64), String> {
    let mut lines = text.lines();
    match lines.next() {
        Some(HEADER) => {}
        Some(other) => return Err(format!("it begins with {other:?}, and this version reads {HEADER:?}")),
        None => return Err("it is empty".to_owned()),
    }
    let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)).unwrap_or_default();
    let member = field("member ").parse::<MemberId>();
    let start = field("start ").parse::<u64>();
    match (member, start) {
        (Ok(member), Ok(start)) if text == encode(member, start) => Ok((member, start)),
        _ => Err("its checksum does not match".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use dyad_cli::Exit;

    const MEMBER: MemberId = MemberId(0x00ff_0000_0000_0001);

    fn started(dir: &Path, starts: u64) -> Identity {
        let mut identity = Identity::load_or_create(dir).unwrap();
        identity.persist(starts).unwrap();
        identity
    }

    #[test]
    fn remembers_the_start_of_one_member() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let identity = started(dir, 4);
        assert_eq!(read(dir, &identity).unwrap(), None);
        write(dir, identity.member(), 3).unwrap();
        write(dir, identity.member(), 4).unwrap();
        assert_eq!(read(dir, &identity).unwrap(), Some(4));
        write(dir, MEMBER, 9).unwrap();
        assert_eq!(read(dir, &identity).unwrap(), None, "a member that was drawn anew has no log");
    }

    /// Each refusal would raise the incarnation until the next start is accepted, if it was compared after it.
    #[test]
    fn an_older_identity_is_refused_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let identity = started(dir, 4);
        write(dir, identity.member(), 5).unwrap();
        for _ in 0..3 {
            let failure = read(dir, &Identity::load_or_create(dir).unwrap()).unwrap_err();
            assert_eq!(failure.exit, Exit::Corrupt);
            assert!(failure.message.contains("files of two times are mixed"), "{}", failure.message);
        }
    }

    #[test]
    fn golden_file() {
        let text = encode(MEMBER, 4);
        assert_eq!(text, "dyad logged 1\nmember 00ff000000000001\nstart 4\ncrc32c 5d761af5\n");
        assert_eq!(decode(&text), Ok((MEMBER, 4)));
    }

    /// A damaged byte or a cut is noticed, and the file stays as it is.
    #[test]
    fn damage_is_an_error_and_changes_nothing() {
        let good = encode(MEMBER, 42).into_bytes();
        let mut cases: Vec<Vec<u8>> = (0..good.len()).map(|cut| good[..cut].to_vec()).collect();
        for at in 0..good.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut bytes = good.clone();
                bytes[at] ^= bit;
                cases.push(bytes);
            }
        }
        cases.push([good.as_slice(), b"\n"].concat());
        cases.push(vec![b'a'; 1 << 16]);
        for bytes in cases {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(FILE);
            fs::write(&path, &bytes).unwrap();
            let identity = started(dir.path(), 1);
            let failure = read(dir.path(), &identity).expect_err(&String::from_utf8_lossy(&bytes));
            assert_eq!(failure.exit, Exit::Corrupt, "{bytes:?}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
}
