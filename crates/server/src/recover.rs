//! `dyad recover`: what an operator can do with the data directory of a member that has no use any more as it is.
//!
//! `--discard` gives up this member's log, so that it can join its cluster as a new member. `--new-cluster` makes a new cluster
//! of what this member has, after a majority was lost.
//!
//! Safety of `--discard`: a member that comes back under its old id with an empty log could vote away writes that it had acknowledged.
//! The identity is therefore set aside first. A crash at any later point leaves a directory without an identity. A
//! server refuses to open such a directory while there is a store in it, and this command can complete its work there.
//! Nothing is deleted.
//!
//! Safety of `--new-cluster`: the member gets a new id too, and not only its cluster. Members of the old cluster know the old id
//! with what it acknowledged and for whom it voted. If they come back, they are of another cluster and dial a member that is
//! not there any more, so no majority is ever made of both. `dyad_raft::refound` and [`crate::refound`] have the rest.

mod anew;
mod leader;

use std::fs::{self, File};
use std::io;

use dyad_cli::{Exit, Failure};

use crate::cli::RecoverFlags;
use crate::datadir::DataDir;
use crate::identity::{self, Identity};
use crate::logged;
use crate::refound;
use crate::settings::{MemberAddr, place};

/// What goes aside, in this order: the identity first.
const ASIDE: [&str; 7] =
    [identity::FILE, "raft", "contents", "snapshots", logged::FILE, identity::UNDER_WAY, identity::WHOLE];

/// `dyad recover --discard`. The returned text says what was set aside, and where.
///
/// # Errors
/// `Exit::InUse` while a server runs, `Exit::Refused` without `--discard` or without a leader elsewhere.
pub fn recover(flags: RecoverFlags) -> Result<String, Failure> {
    let (data_dir, members, own) = place::data_dir_and_own(&flags.settings.inputs())?;
    let members: Vec<String> = members.iter().map(MemberAddr::http).collect();
    if flags.new_cluster {
        return anew::new_cluster(&data_dir, (&members, own.as_ref()), flags.the_others_are_lost);
    }
    if !flags.discard {
        let message = "this gives up the member's log and identity: say --discard if that is meant, or --new-cluster to go on \
                       alone with what this member has";
        return Err(Failure::new(Exit::Refused, message));
    }
    // First, so that the cluster is asked while no server of this directory can run.
    let data = DataDir::lock(&data_dir)?;
    let why = if flags.i_have_a_backup {
        "no other member was asked for a leader (--i-have-a-backup)".to_owned()
    } else {
        let leader = leader::elsewhere(&members)?;
        format!("the cluster goes on without this member, its leader is {leader}")
    };
    Ok(format!("{why}\n{}", discard(&data, members.is_empty())?))
}

/// Sets the files aside and draws a new identity; the text says what became of what.
fn discard(data: &DataDir, standalone: bool) -> Result<String, Failure> {
    let dir = data.path();
    let suffix = refound::free_suffix(dir, &ASIDE, "discarded")?;
    let old = identity::peek(dir);
    let mut report = String::new();
    for name in ASIDE {
        let (from, to) = (dir.join(name), dir.join(format!("{name}{suffix}")));
        match fs::rename(&from, &to) {
            Ok(()) => report += &format!("{name} is now {}\n", to.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::file("set aside", &from, &error)),
        }
        // Each name is gone for good before the next one goes: the order is what makes a crash harmless.
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| Failure::file("write", dir, &error))?;
    }
    let new = Identity::load_or_create(dir)?.member();
    let old = old.map_or_else(|| "unreadable".to_owned(), |old| old.to_string());
    // A standalone server has nobody to join.
    let next = if standalone {
        "start the server and it begins with nothing, or restore a backup into an empty directory"
    } else {
        "start the server, it joins as a new member"
    };
    report += &format!("the member's id was {old} and is now {new}; {next}\n");
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::path::Path;

    use super::*;
    use crate::cli::SettingFlags;

    fn names(dir: &Path) -> BTreeSet<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn used(dir: &Path) {
        Identity::load_or_create(dir).unwrap();
        for store in ["raft", "contents", "snapshots"] {
            fs::create_dir(dir.join(store)).unwrap();
            fs::write(dir.join(store).join("db"), store).unwrap();
        }
    }

    fn flags(dir: &Path, members: &str, discard: bool, i_have_a_backup: bool) -> RecoverFlags {
        let given = [("data_dir", dir.to_str().unwrap()), ("members", members)];
        let settings = SettingFlags::new(given.map(|(key, text)| (key, text.to_owned())).into());
        RecoverFlags { discard, i_have_a_backup, new_cluster: false, the_others_are_lost: false, settings }
    }

    #[test]
    fn sets_all_aside_and_draws_a_new_id() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        used(dir);
        let old = identity::peek(dir).unwrap();
        let refused = recover(flags(dir, "", true, false)).unwrap_err();
        assert_eq!(refused.exit, Exit::Refused, "standalone always needs the backup");
        assert_eq!(recover(flags(dir, "", false, true)).unwrap_err().exit, Exit::Refused);
        assert_eq!(identity::peek(dir), Some(old), "a refusal changes nothing");
        let report = recover(flags(dir, "", true, true)).unwrap();
        let new = identity::peek(dir).unwrap();
        assert_ne!(new, old);
        assert!(
            report.contains(&format!(
                "the member's id was {old} and is now {new}; start the server and it begins with nothing"
            )),
            "{report}"
        );
        let want = [
            "contents.discarded-1",
            "identity",
            "identity.discarded-1",
            // Where the next one will be written: kept open by who has the directory.
            "identity.tmp",
            "lock",
            "raft.discarded-1",
            "snapshots.discarded-1",
        ];
        assert_eq!(names(dir), want.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(fs::read(dir.join("raft.discarded-1/db")).unwrap(), b"raft");
        recover(flags(dir, "", true, true)).unwrap();
        assert!(dir.join("identity.discarded-2").exists());
    }

    #[test]
    fn completes_an_interrupted_run_and_a_corrupt_identity() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        used(dir);
        fs::rename(dir.join("identity"), dir.join("identity.discarded-1")).unwrap();
        assert_eq!(Identity::load_or_create(dir).unwrap_err().exit, Exit::Corrupt);
        recover(flags(dir, "", true, true)).unwrap();
        assert!(dir.join("raft.discarded-2").exists());
        fs::write(dir.join("identity"), "torn").unwrap();
        recover(flags(dir, "", true, true)).unwrap();
        assert!(identity::peek(dir).is_some());
    }

    #[test]
    fn what_a_restore_left_goes_aside_too() {
        let root = tempfile::tempdir().unwrap();
        for (n, made) in [(1, identity::UNDER_WAY), (2, identity::WHOLE)] {
            fs::create_dir(root.path().join(made)).unwrap();
            assert_eq!(Identity::load_or_create(root.path()).unwrap_err().exit, Exit::Refused);
            recover(flags(root.path(), "", true, true)).unwrap();
            assert!(root.path().join(format!("{made}.discarded-{n}")).exists());
            fs::remove_file(root.path().join(identity::FILE)).unwrap();
        }
    }

    #[test]
    fn refuses_while_a_server_runs_or_without_a_directory() {
        let root = tempfile::tempdir().unwrap();
        used(root.path());
        let before = names(root.path());
        let held = DataDir::open(root.path()).unwrap();
        assert_eq!(recover(flags(root.path(), "", true, true)).unwrap_err().exit, Exit::InUse);
        drop(held);
        assert!(before.is_subset(&names(root.path())));
        let missing = root.path().join("missing");
        assert_eq!(recover(flags(&missing, "", true, true)).unwrap_err().exit, Exit::Settings);
    }

    /// A member that answers every request with `answer`, until the process ends.
    fn member(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    request.push(byte[0]);
                }
                let _gone = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    fn in_a_cluster_a_leader_elsewhere_allows_it() {
        let leads = "HTTP/1.1 200 OK\r\n\r\n{\"leader\":\"{\\\"ip\\\":\\\"dyad-2:8848\\\",\\\"state\\\":\\\"LEADER\\\",\\\"term\\\":3}\"}";
        let follows =
            "HTTP/1.1 200 OK\r\n\r\n{\"leader\":\"{\\\"ip\\\":\\\"a\\\",\\\"state\\\":\\\"FOLLOWER\\\"}\"}";
        let none = "HTTP/1.1 503 Service Unavailable\r\n\r\nno leader";
        let (leads, follows, none) = (member(leads), member(follows), member(none));
        let root = tempfile::tempdir().unwrap();
        used(root.path());
        let old = identity::peek(root.path());
        let failure = recover(flags(root.path(), &format!("{follows},{none}"), true, false)).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains(&format!("({follows}: knows no leader; {none}: 503)")), "{failure}");
        assert_eq!(identity::peek(root.path()), old);
        recover(flags(root.path(), &format!("{none},{leads}"), true, false)).unwrap();
        assert_ne!(identity::peek(root.path()), old);
    }
}
