//! Puts the stores of a new cluster into a data directory, so that a crash at any moment leaves either what was there before, or
//! something that a server refuses and that the same command completes.
//!
//! Everything is made in `DATA/refound.part`, which becomes `DATA/refound` when it is whole and on the disk. Until then nothing
//! of the directory was touched. Then the identity goes aside, and from here on a server finds a directory without an identity
//! that is not empty: it refuses. Store by store the old one goes aside and the new one takes its name, and the new identity
//! comes last. Each rename is on the disk before the next. A run that finds `DATA/refound` and no identity goes on with this.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use dyad_cli::{Exit, Failure};
use dyad_raft::{Founding, Node};
use dyad_types::MemberId;

use crate::datadir::DataDir;
use crate::identity::{self, Identity, UNDER_WAY, WHOLE};
use crate::logged;

/// What is there says what it is made of, so that nobody completes the work of another command.
const WHAT: &str = "what";
/// The stores, in the order in which they take their names. The identity comes behind them.
const STORES: [&str; 4] = ["raft", "contents", "snapshots", logged::FILE];
/// Everything that goes aside.
pub(crate) const NAMES: [&str; 5] = [identity::FILE, "raft", "contents", "snapshots", logged::FILE];
/// Attempts to find a free suffix; a directory with so many old stores needs a person.
const SUFFIX_MAX: u32 = 1_000;
/// The start that counts as the one which made the log: the first start of a server on it is the second, and it finds a log
/// that is emptied before then.
const START: u64 = 1;

/// The address under which a cluster of one knows itself; nobody dials it.
pub(crate) const STANDALONE: &str = "standalone";

/// What became of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// The new id of the member.
    pub(crate) member: MemberId,
    /// Each thing that was set aside, with its new name.
    pub(crate) aside: Vec<(String, PathBuf)>,
}

/// Whether an earlier run was cut off when everything was made, and the names were being given.
pub(crate) fn is_half_done(data: &DataDir) -> bool {
    let dir = data.path();
    !dir.join(identity::FILE).exists() && dir.join(WHOLE).join(identity::FILE).exists()
}

/// What an earlier run, which was cut off, was making.
pub(crate) fn under_way(data: &DataDir) -> Option<String> {
    identity::read(&data.path().join(WHOLE).join(WHAT)).ok()
}

/// Makes the stores with `make`, which gets the directory for them and the new member. `what` is one line that names what they
/// are made of.
///
/// # Errors
/// Those of `make` and of the disk. The stores that were there are untouched.
pub(crate) fn build(
    data: &DataDir,
    what: &str,
    make: impl FnOnce(&Path, &Founding) -> Result<(), Failure>,
    node: Node,
) -> Result<(), Failure> {
    let dir = data.path();
    let (part, whole) = (dir.join(UNDER_WAY), dir.join(WHOLE));
    for left in [&part, &whole] {
        remove(left)?;
    }
    DirBuilder::new().mode(0o700).create(&part).map_err(|error| Failure::file("create", &part, &error))?;
    let mut identity = Identity::load_or_create(&part)?;
    identity.persist(START)?;
    let member = identity.member();
    drop(identity);
    let founding = Founding { cluster_id: rand::random::<u128>().max(1), member, node, start: START };
    make(&part, &founding)?;
    logged::write(&part, member, START)?;
    let written = File::create(part.join(WHAT)).and_then(|mut file| file.write_all(what.as_bytes()));
    written
        .and_then(|()| sync_tree(&part))
        .and_then(|()| fs::rename(&part, &whole))
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(|error| Failure::file("write", &part, &error))
}

/// Gives the stores that were made their names. What has these names goes aside, with `suffix`.
///
/// # Errors
/// The disk fails. The next run goes on.
pub(crate) fn take_over(data: &DataDir, suffix: &str) -> Result<Done, Failure> {
    let dir = data.path();
    let whole = dir.join(WHOLE);
    let mut aside = Vec::new();
    let mut set_aside = |name: &str| -> Result<(), Failure> {
        let to = dir.join(format!("{name}{suffix}"));
        if rename(dir, &dir.join(name), &to)? {
            aside.push((name.to_owned(), to));
        }
        Ok(())
    };
    set_aside(identity::FILE)?;
    for name in STORES {
        // Without it, the one in the directory is the new one already.
        if whole.join(name).exists() {
            set_aside(name)?;
            rename(dir, &whole.join(name), &dir.join(name))?;
        }
    }
    rename(dir, &whole.join(identity::FILE), &dir.join(identity::FILE))?;
    let member = identity::peek(dir)
        .ok_or_else(|| Failure::corrupt(&dir.join(identity::FILE), "it cannot be read any more"))?;
    remove(&whole)?;
    Ok(Done { member, aside })
}

/// False if there is nothing of this name. The rename is on the disk when this returns.
fn rename(dir: &Path, from: &Path, to: &Path) -> Result<bool, Failure> {
    match fs::rename(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Failure::file("rename", from, &error)),
    }
    let from = from.parent().unwrap_or(dir);
    let synced = File::open(dir).and_then(|dir| dir.sync_all()).and_then(|()| File::open(from)?.sync_all());
    synced.map_err(|error| Failure::file("write", dir, &error))?;
    Ok(true)
}

/// Only for what this file has made.
fn remove(made: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(made) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("remove", made, &error)),
        _ => Ok(()),
    }
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

/// The first suffix that none of the names has yet, such as `.discarded-1` for the word `discarded`.
///
/// # Errors
/// `Exit::Refused` if there are very many.
pub(crate) fn free_suffix(dir: &Path, names: &[&str], word: &str) -> Result<String, Failure> {
    let mut suffixes = (1..=SUFFIX_MAX).map(|n| format!(".{word}-{n}"));
    let is_free = |suffix: &String| names.iter().all(|name| !dir.join(format!("{name}{suffix}")).exists());
    suffixes.find(is_free).ok_or_else(|| {
        let message = format!("{} holds {SUFFIX_MAX} {word} stores: remove some", dir.display());
        Failure::new(Exit::Refused, message)
    })
}

/// A store in a directory that should have none.
pub(crate) fn store_in(data: &DataDir) -> Option<PathBuf> {
    NAMES.into_iter().map(|name| data.path().join(name)).find(|path| fs::symlink_metadata(path).is_ok())
}

/// The refusal of a directory in which another command was cut off.
pub(crate) fn other_work(data: &DataDir, found: &str) -> Failure {
    let message = format!(
        "in {} another command was cut off, which was making this: {found}: give that command again, or take an empty directory",
        data.path().display()
    );
    Failure::new(Exit::Refused, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "new";

    fn make(dir: &Path, _: &Founding) -> Result<(), Failure> {
        for store in ["raft", "contents", "snapshots"] {
            fs::create_dir(dir.join(store)).unwrap();
            fs::write(dir.join(store).join("db"), NEW).unwrap();
        }
        Ok(())
    }

    fn used(dir: &Path) {
        Identity::load_or_create(dir).unwrap();
        for store in ["raft", "contents", "snapshots"] {
            fs::create_dir(dir.join(store)).unwrap();
            fs::write(dir.join(store).join("db"), "old").unwrap();
        }
        fs::write(dir.join(logged::FILE), "old").unwrap();
    }

    fn node() -> Node {
        Node::new("a:1", "a:2")
    }

    fn is_new(dir: &Path) -> bool {
        ["raft", "contents", "snapshots"]
            .iter()
            .all(|store| fs::read(dir.join(store).join("db")).is_ok_and(|text| text == NEW.as_bytes()))
    }

    #[test]
    fn a_directory_becomes_that_of_a_new_member_and_nothing_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        used(dir);
        let old = identity::peek(dir).unwrap();
        let data = DataDir::lock(dir).unwrap();
        build(&data, "x", make, node()).unwrap();
        assert_eq!(identity::peek(dir), Some(old), "nothing was touched so far");
        assert!(!is_new(dir) && !is_half_done(&data));
        let done = take_over(&data, ".old-1").unwrap();
        assert_eq!(identity::peek(dir), Some(done.member));
        assert_ne!(done.member, old);
        assert!(is_new(dir) && !dir.join(WHOLE).exists());
        let aside: Vec<&str> = done.aside.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(aside, ["identity", "raft", "contents", "snapshots", "logged"]);
        assert_eq!(fs::read(dir.join("raft.old-1/db")).unwrap(), b"old");
        assert_eq!(identity::decode_file(&dir.join("identity.old-1")), Some(old));
        let identity = Identity::load_or_create(dir).unwrap();
        assert_eq!(identity.incarnation(), START);
        assert_eq!(logged::read(dir, &identity).unwrap(), Some(START));
    }

    /// After each rename, and before each.
    #[test]
    fn whenever_it_is_cut_off_a_server_refuses_and_the_next_run_completes() {
        for cut in 0..12 {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path();
            used(dir);
            let data = DataDir::lock(dir).unwrap();
            build(&data, "x", make, node()).unwrap();
            // The steps of `take_over`, up to the cut.
            let whole = dir.join(WHOLE);
            let mut steps: Vec<(PathBuf, PathBuf)> = vec![(dir.join("identity"), dir.join("identity.o"))];
            for name in STORES {
                steps.push((dir.join(name), dir.join(format!("{name}.o"))));
                steps.push((whole.join(name), dir.join(name)));
            }
            for (from, to) in steps.iter().take(cut) {
                fs::rename(from, to).unwrap();
            }
            if cut > 0 {
                let refused = Identity::load_or_create(dir).unwrap_err();
                assert_eq!(refused.exit, Exit::Refused, "{cut}: {refused}");
                assert!(is_half_done(&data) && under_way(&data).as_deref() == Some("x"), "{cut}");
            }
            take_over(&data, ".o2").unwrap();
            assert!(is_new(dir) && !dir.join(WHOLE).exists(), "{cut}");
            assert!(Identity::load_or_create(dir).is_ok(), "{cut}");
        }
    }

    #[test]
    fn a_server_does_not_start_in_a_directory_that_is_being_made() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::lock(root.path()).unwrap();
        let failed = build(&data, "x", |_, _| Err(Failure::new(Exit::Corrupt, "no")), node());
        assert_eq!(failed.unwrap_err().message, "no");
        let refused = Identity::load_or_create(root.path()).unwrap_err();
        assert_eq!(refused.exit, Exit::Refused);
        assert!(refused.message.contains("give the command again"), "{refused}");
        build(&data, "x", make, node()).unwrap();
        take_over(&data, ".o").unwrap();
        assert!(is_new(root.path()));
    }
}
