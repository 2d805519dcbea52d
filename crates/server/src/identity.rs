//! The identity of this member: the file `DATA/identity`.
//!
//! The id is drawn once, and the incarnation only grows. Each is on the disk before it is used for the first time. A
//! disk that was emptied therefore makes a new member, and never an old id with an empty log, and no two logs of a
//! member have the same incarnation. For this reason Distro can treat (member, incarnation) as the only writer of a
//! log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use dyad_cli::file::has_name;
use dyad_cli::{Exit, Failure};
use dyad_types::{MemberId, Origin};

/// The file's name in the data directory.
pub const FILE: &str = "identity";
/// First line: what the file is, and the version of its form.
const HEADER: &str = "dyad identity 1";
/// No identity file is larger; the rest of a larger one need not be read to refuse it.
pub(crate) const SIZE_MAX: u64 = 256;

/// The next text, until it takes the file's name.
const NEXT: &str = "identity.tmp";
/// The directories in which a restore or a recovery makes the stores of a new member: while it makes them, and when they are
/// whole. Between them and an identity there is no server.
pub(crate) const UNDER_WAY: &str = "refound.part";
pub(crate) const WHOLE: &str = "refound";

/// The member's id and incarnation, with the file that holds them.
#[derive(Debug)]
pub struct Identity {
    place: Place,
    member: MemberId,
    incarnation: u64,
}

impl Identity {
    /// Reads `dir/identity`. If it does not exist, draws a new id with the incarnation 0 and writes the file. The
    /// caller must have the lock of the data directory.
    ///
    /// # Errors
    /// `Exit::Corrupt` if the file is not whole, or if it is missing and there is a store: a new id must never open the
    /// log that another id has written.
    pub fn load_or_create(dir: &Path) -> Result<Identity, Failure> {
        let path = dir.join(FILE);
        match read(&path, SIZE_MAX) {
            Ok(text) => {
                let (member, incarnation) = decode(&text).map_err(|why| Failure::corrupt(&path, &why))?;
                let place = Place::open(dir).map_err(|error| Failure::file("open", dir, &error))?;
                Ok(Identity { place, member, incarnation })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Identity::create(dir),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Failure::corrupt(&path, &error.to_string()))
            }
            Err(error) => Err(Failure::file("read", &path, &error)),
        }
    }

    fn create(dir: &Path) -> Result<Identity, Failure> {
        if let Some(made) =
            [UNDER_WAY, WHOLE].map(|name| dir.join(name)).into_iter().find(|made| made.exists())
        {
            let message = format!(
                "a `dyad restore` or `dyad recover --new-cluster` was cut off here ({} is there): give the command again",
                made.display()
            );
            return Err(Failure::new(Exit::Refused, message));
        }
        for store in ["raft", "contents", "snapshots"] {
            let store = dir.join(store);
            if fs::read_dir(&store).is_ok_and(|mut entries| entries.next().is_some()) {
                let why = format!("it is missing, but {} is not empty", store.display());
                return Err(Failure::corrupt(&dir.join(FILE), &why));
            }
        }
        let member = draw();
        let place = Place::open(dir).map_err(|error| Failure::file("open", dir, &error))?;
        let mut identity = Identity { place, member, incarnation: 0 };
        identity.write(0)?;
        Ok(identity)
    }

    pub fn member(&self) -> MemberId {
        self.member
    }

    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The log that this member writes now.
    pub fn origin(&self) -> Origin {
        Origin { member: self.member, incarnation: self.incarnation }
    }

    /// Raises the incarnation by one, as each start does. It is on the disk when this returns.
    ///
    /// # Errors
    /// The disk fails. The incarnation is unchanged then.
    pub fn advance(&mut self) -> Result<u64, Failure> {
        let next = self.incarnation.checked_add(1);
        let next = next
            .ok_or_else(|| Failure::corrupt(&self.place.dir.join(FILE), "its incarnation is at its end"))?;
        self.persist(next)?;
        Ok(next)
    }

    /// Raises the incarnation to `incarnation`, which a refutation has chosen. It is on the disk when this returns. If
    /// it is not above the present one, nothing changes, because incarnations never go back.
    ///
    /// # Errors
    /// The disk fails. The incarnation is unchanged then.
    pub fn persist(&mut self, incarnation: u64) -> Result<(), Failure> {
        if incarnation > self.incarnation {
            self.write(incarnation)?;
            self.incarnation = incarnation;
        }
        Ok(())
    }

    fn write(&mut self, incarnation: u64) -> Result<(), Failure> {
        let written = self.place.write_durably(&encode(self.member, incarnation));
        written.map_err(|error| Failure::file("write", &self.place.dir.join(FILE), &error))
    }
}

/// The directory of the file. It and the next file are open already: a refutation must not fail because clients hold all
/// descriptors that the process may have.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    opened: File,
    next: Option<File>,
}

impl Place {
    fn open(dir: &Path) -> io::Result<Place> {
        Ok(Place { dir: dir.to_path_buf(), opened: File::open(dir)?, next: Some(open_next(dir)?) })
    }

    /// New file, fsync, rename, fsync of the directory: after a crash at any point there is the old text or the new one.
    fn write_durably(&mut self, text: &str) -> io::Result<()> {
        // Who tidies up may have removed it.
        let kept = self.next.take().filter(|next| has_name(next, &self.dir.join(NEXT)));
        let mut next = kept.map_or_else(|| open_next(&self.dir), Ok)?;
        next.write_all(text.as_bytes())?;
        next.sync_all()?;
        fs::rename(self.dir.join(NEXT), self.dir.join(FILE))?;
        self.opened.sync_all()?;
        // What has the name now is closed first. Without a descriptor the next write asks for one.
        drop(next);
        self.next = open_next(&self.dir).ok();
        Ok(())
    }
}

fn open_next(dir: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(dir.join(NEXT))
}

/// The id in the file, if the file is whole. The messages of operator commands show it.
pub fn peek(dir: &Path) -> Option<MemberId> {
    decode_file(&dir.join(FILE))
}

/// The same of a file that may have another name.
pub(crate) fn decode_file(path: &Path) -> Option<MemberId> {
    decode(&read(path, SIZE_MAX).ok()?).ok().map(|(member, _)| member)
}

fn draw() -> MemberId {
    loop {
        let id = rand::random::<u64>();
        if id != 0 {
            return MemberId(id);
        }
    }
}

/// Reads a small file of text. Of one with more than `limit` bytes only one byte more is read, so that it is not whole.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<String> {
    use io::Read;
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text"))
}

fn encode(member: MemberId, incarnation: u64) -> String {
    sealed(format!("{HEADER}\nmember {member}\nincarnation {incarnation}\n"))
}

/// Reads a small file that need not be there. `decode` gives what is in a whole file, and that is the one whose text is the one that
/// `encode` writes; `header` is the first line of such a file.
pub(crate) fn read_if_there<T>(
    path: &Path,
    limit: u64,
    header: &str,
    decode: impl FnOnce(&str) -> Option<T>,
    encode: impl FnOnce(&T) -> String,
) -> io::Result<Option<T>> {
    let text = match read(path, limit) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match decode(&text) {
        Some(value) if text == encode(&value) => Ok(Some(value)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is not a whole {header:?}"))),
    }
}

/// Writes a small file of the data directory anew: after a crash at any point there is the old text or the new one. It is on the disk
/// when this returns.
pub(crate) fn replace(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let next = dir.join(format!("{name}.tmp"));
    let mut file = File::create(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&next, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// The lines with a checksum behind them.
pub(crate) fn sealed(body: String) -> String {
    let sum = crc32c::crc32c(body.as_bytes());
    body + &format!("crc32c {sum:08x}\n")
}

/// Accepts exactly what `encode` writes; the error says what is not as written.
fn decode(text: &str) -> Result<(MemberId, u64), String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    if header != HEADER {
        return match header.strip_prefix("dyad identity ") {
            Some(version) => Err(format!("its format {version:?} is not one this version reads")),
            None => Err("it does not begin as an identity file does".to_owned()),
        };
    }
    let mut field = |name: &str| {
        let value = lines.next().and_then(|line| line.strip_prefix(name)).map(str::trim_start);
        value.ok_or_else(|| format!("its line {name:?} is missing"))
    };
    let member =
        field("member ")?.parse::<MemberId>().map_err(|_| "its member id is no number".to_owned())?;
    let incarnation =
        field("incarnation ")?.parse().map_err(|_| "its incarnation is no number".to_owned())?;
    field("crc32c ")?;
    if text != encode(member, incarnation) {
        return Err("its checksum does not match".to_owned());
    }
    if member.0 == 0 {
        return Err("its member id is zero".to_owned());
    }
    Ok((member, incarnation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dyad_cli::Exit;

    fn load(dir: &Path) -> Identity {
        Identity::load_or_create(dir).expect("a good identity")
    }

    #[test]
    fn drawn_once_and_counted_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut identity = load(dir.path());
        let member = identity.member();
        assert_ne!(member.0, 0);
        assert_eq!(identity.incarnation(), 0);
        assert_eq!(load(dir.path()).incarnation(), 0, "written before the first use");
        assert_eq!(identity.advance().unwrap(), 1);
        identity.persist(7).unwrap();
        identity.persist(3).unwrap();
        let again = load(dir.path());
        assert_eq!(again.origin(), Origin { member, incarnation: 7 });
        let other = tempfile::tempdir().unwrap();
        assert_ne!(load(other.path()).member(), member, "another directory is another member");
        assert_eq!(peek(dir.path()), Some(member));
    }

    #[test]
    fn a_next_file_that_somebody_removed_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut identity = load(dir.path());
        fs::remove_file(dir.path().join(NEXT)).unwrap();
        assert_eq!(identity.advance().unwrap(), 1);
        fs::write(dir.path().join(NEXT), "another").unwrap();
        assert_eq!(identity.advance().unwrap(), 2);
        assert_eq!(load(dir.path()).incarnation(), 2);
    }

    /// Set in the process that has no descriptor left: the limit is a process's.
    const CHILD: &str = "DYAD_TEST_DESCRIPTORS";

    #[test]
    fn an_incarnation_is_written_without_a_descriptor_left() {
        let Some(dir) = std::env::var_os(CHILD) else {
            let dir = tempfile::tempdir().unwrap();
            let name = "identity::tests::an_incarnation_is_written_without_a_descriptor_left";
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args([name, "--exact"])
                .env(CHILD, dir.path())
                .output()
                .unwrap();
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
            assert_eq!(load(dir.path()).incarnation(), 9);
            return;
        };
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let mut identity = load(Path::new(&dir));
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
        let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        assert!(!taken.is_empty());
        for incarnation in 7..=9 {
            identity.persist(incarnation).unwrap();
        }
    }

    #[test]
    fn golden_file() {
        let text = encode(MemberId(0x00ff_0000_0000_0001), 3);
        let want = "dyad identity 1\nmember 00ff000000000001\nincarnation 3\ncrc32c ";
        assert_eq!(&text[..want.len()], want);
        assert_eq!(decode(&text), Ok((MemberId(0x00ff_0000_0000_0001), 3)));
    }

    /// Every single damaged byte and every cut is noticed; nothing is drawn again and the file stays as it is.
    #[test]
    fn damage_is_an_error_and_changes_nothing() {
        let good = encode(MemberId(0x1234_5678_9abc_def0), 42);
        let mut cases: Vec<Vec<u8>> = (0..good.len()).map(|cut| good.as_bytes()[..cut].to_vec()).collect();
        for at in 0..good.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut bytes = good.as_bytes().to_vec();
                bytes[at] ^= bit;
                cases.push(bytes);
            }
        }
        cases.push(format!("{good}\n").into_bytes());
        cases.push(format!("{good}{good}").into_bytes());
        cases.push(good.replace('\n', "\r\n").into_bytes());
        cases.push(vec![b'a'; 1 << 16]);
        for bytes in cases {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(FILE);
            fs::write(&path, &bytes).unwrap();
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let failure = Identity::load_or_create(dir.path()).expect_err(&shown);
            assert_eq!(failure.exit, Exit::Corrupt, "{shown:?}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn messages_name_the_file_and_the_remedy() {
        let zero = encode(MemberId(0), 1);
        let cases = [
            ("", "it is empty"),
            ("hello\n", "it does not begin as an identity file does"),
            ("dyad identity 2\n", "its format \"2\" is not one this version reads"),
            ("dyad identity 1\n", "its line \"member \" is missing"),
            ("dyad identity 1\nmember x\n", "its member id is no number"),
            ("dyad identity 1\nmember 1\nincarnation -1\n", "its incarnation is no number"),
            ("dyad identity 1\nmember 1\nincarnation 1\ncrc32c 0\n", "its checksum does not match"),
            (zero.as_str(), "its member id is zero"),
        ];
        for (text, why) in cases {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), text).unwrap();
            let failure = Identity::load_or_create(dir.path()).unwrap_err();
            let file = dir.path().join(FILE);
            let want = format!("{} is corrupt: {why}; ", file.display());
            assert!(failure.message.starts_with(&want), "{failure}");
            assert!(failure.message.contains("`dyad recover --discard`"), "{failure}");
        }
    }

    #[test]
    fn a_store_without_an_identity_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("raft")).unwrap();
        load(dir.path());
        fs::remove_file(dir.path().join(FILE)).unwrap();
        fs::write(dir.path().join("raft/db"), "x").unwrap();
        let failure = Identity::load_or_create(dir.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Corrupt);
        assert!(!dir.path().join(FILE).exists());
    }

    #[test]
    fn a_left_over_tmp_file_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("identity.tmp"), "torn").unwrap();
        let member = load(dir.path()).member();
        assert_eq!(load(dir.path()).member(), member);
    }
}
