//! Puts the stores of a new cluster into a data directory, so that a crash at any moment leaves either what was there before, or
//! something that a server refuses and that the same command completes.
//!
//! Everything is made in `DATA/refound.part`, which becomes `DATA/refound` when it is whole and on the disk. Until then nothing
//! of the directory was touched. Then the identity goes aside, and from here on a server finds a directory without an identity
//! that is not empty: it refuses. Store by store the old one goes aside and the new one takes its name, and the new identity
//! comes last. Each rename is on the disk before the next. A run that finds `DATA/refound` and no identity goes on with this.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use dyad_cli::{Exit, Failure};
use dyad_raft::{Founding, Node};
use dyad_types::MemberId;
use serde::{Deserialize, Serialize};

use crate::datadir::DataDir;
use crate::identity::{self, Identity, UNDER_WAY, WHOLE};
use crate::logged;

/// The file with the [`Work`].
const WHAT: &str = "what";
/// Bytes of it at most: two addresses, and a line.
const WHAT_MAX: u64 = 4 * 1024;
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

/// What a run makes, as a run that completes it needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// One line that names what the stores are made of.
    pub(crate) what: String,
    /// What the names of everything that goes aside end with: the same, however often the run is cut off.
    suffix: String,
    /// The addresses that the stores have for the member.
    address: String,
    cluster_address: String,
}

impl Work {
    pub(crate) fn new(what: String, suffix: &str, node: &Node) -> Work {
        let (address, cluster_address) = (node.address.clone(), node.cluster_address.clone());
        Work { what, suffix: suffix.to_owned(), address, cluster_address }
    }

    /// Whether this is the same work, for a member with the addresses of `node`; `None` if the command does not name any.
    ///
    /// # Errors
    /// `Exit::Refused` if it is not: nobody completes the work of another command.
    pub(crate) fn check(&self, data: &DataDir, what: &str, node: Option<&Node>) -> Result<(), Failure> {
        let same =
            |node: &Node| (&node.address, &node.cluster_address) == (&self.address, &self.cluster_address);
        let found = match node {
            _ if self.what != what => self.what.clone(),
            Some(node) if !same(node) => format!("{}, with the address {}", self.what, self.address),
            _ => return Ok(()),
        };
        let message = format!(
            "in {} another command was cut off, which was making this: {found}: give that command again, or take an empty directory",
            data.path().display()
        );
        Err(Failure::new(Exit::Refused, message))
    }

    fn read(made: &Path) -> io::Result<Work> {
        let mut text = Vec::new();
        File::open(made.join(WHAT))?.take(WHAT_MAX).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// What an earlier run was making, if it was cut off when everything was made, and the names were being given.
pub(crate) fn half_done(data: &DataDir) -> Option<Work> {
    let (dir, whole) = (data.path(), data.path().join(WHOLE));
    let is_half_done = !dir.join(identity::FILE).exists() && whole.join(identity::FILE).exists();
    is_half_done.then(|| {
        // What cannot be read is the work of no command.
        Work::read(&whole)
            .unwrap_or_else(|_| Work::new("something unknown".to_owned(), "", &Node::new("", "")))
    })
}

/// Makes the stores with `make`, which gets the directory for them and the new member.
///
/// # Errors
/// Those of `make` and of the disk. The stores that were there are untouched, and nothing is left of the new ones.
pub(crate) fn build(
    data: &DataDir,
    work: &Work,
    make: impl FnOnce(&Path, &Founding) -> Result<(), Failure>,
    node: Node,
) -> Result<(), Failure> {
    let dir = data.path();
    let (part, whole) = (dir.join(UNDER_WAY), dir.join(WHOLE));
    for left in [&part, &whole] {
        remove(left)?;
    }
    let built = build_in(&part, work, make, node).and_then(|()| {
        let named = fs::rename(&part, &whole).and_then(|()| File::open(dir)?.sync_all());
        named.map_err(|error| Failure::file("write", &part, &error))
    });
    if built.is_err() {
        // It may have filled the disk. If it cannot be removed, a server refuses it, and the next run tries again.
        let _ = remove(&part);
    }
    built
}

fn build_in(
    part: &Path,
    work: &Work,
    make: impl FnOnce(&Path, &Founding) -> Result<(), Failure>,
    node: Node,
) -> Result<(), Failure> {
    DirBuilder::new().mode(0o700).create(part).map_err(|error| Failure::file("create", part, &error))?;
    let mut identity = Identity::load_or_create(part)?;
    identity.persist(START)?;
    let member = identity.member();
    drop(identity);
    let founding = Founding { cluster_id: rand::random::<u128>().max(1), member, node, start: START };
    make(part, &founding)?;
    logged::write(part, member, START)?;
    let written = || -> io::Result<()> {
        File::create(part.join(WHAT))?.write_all(&serde_json::to_vec(work)?)?;
        sync_tree(part)
    };
    written().map_err(|error| Failure::file("write", part, &error))
}

/// Gives the stores that were made their names. What has these names goes aside.
///
/// # Errors
/// The disk fails. The next run goes on.
pub(crate) fn take_over(data: &DataDir) -> Result<Done, Failure> {
    let dir = data.path();
    let whole = dir.join(WHOLE);
    let suffix = Work::read(&whole).map_err(|error| Failure::file("read", &whole.join(WHAT), &error))?.suffix;
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

    fn work(suffix: &str) -> Work {
        Work::new("x".to_owned(), suffix, &node())
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
        build(&data, &work(".old-1"), make, node()).unwrap();
        assert_eq!(identity::peek(dir), Some(old), "nothing was touched so far");
        assert!(!is_new(dir) && half_done(&data).is_none());
        let done = take_over(&data).unwrap();
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
            build(&data, &work(".o"), make, node()).unwrap();
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
                assert_eq!(half_done(&data), Some(work(".o")), "{cut}");
            }
            take_over(&data).unwrap();
            assert!(is_new(dir) && !dir.join(WHOLE).exists(), "{cut}");
            for name in NAMES {
                assert!(
                    dir.join(format!("{name}.o")).exists(),
                    "{cut}: all that is old is in one place: {name}"
                );
            }
            assert!(Identity::load_or_create(dir).is_ok(), "{cut}");
        }
    }

    #[test]
    fn nobody_completes_the_work_of_another_command() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::lock(root.path()).unwrap();
        let found = work(".o");
        let other = Node::new("a:1", "a:3");
        for (what, node, good) in [
            ("x", None, true),
            ("x", Some(node()), true),
            ("x", Some(other), false),
            ("y", None, false),
            ("y", Some(node()), false),
        ] {
            assert_eq!(found.check(&data, what, node.as_ref()).is_ok(), good, "{what} {node:?}");
        }
    }

    fn entries(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn what_fails_leaves_the_directory_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::lock(root.path()).unwrap();
        let before = entries(root.path());
        let failed = build(
            &data,
            &work(".o"),
            |dir, founding| make(dir, founding).and(Err(Failure::new(Exit::Corrupt, "no"))),
            node(),
        );
        assert_eq!(failed.unwrap_err().message, "no");
        assert_eq!(entries(root.path()), before);
        Identity::load_or_create(root.path()).unwrap();
    }

    #[test]
    fn a_server_does_not_start_in_a_directory_that_is_being_made() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::lock(root.path()).unwrap();
        // The process ended.
        fs::create_dir(root.path().join(UNDER_WAY)).unwrap();
        let refused = Identity::load_or_create(root.path()).unwrap_err();
        assert_eq!(refused.exit, Exit::Refused);
        assert!(refused.message.contains("give the command again"), "{refused}");
        build(&data, &work(".o"), make, node()).unwrap();
        take_over(&data).unwrap();
        assert!(is_new(root.path()));
    }
}
