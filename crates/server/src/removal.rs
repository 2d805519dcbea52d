//! `DATA/removed`: that this member was removed from its cluster, and who the members were then.
//!
//! The log of a removed member need not tell that: it often ends before the change that removed it. The member learns it from the
//! others, and must know it still when none of them answers.

use std::fs;
use std::io;
use std::path::Path;

use dyad_cluster::{Entry, Membership};
use dyad_types::MemberId;

use crate::identity;

/// The file's name in the data directory.
pub(crate) const FILE: &str = "removed";
/// First line: what the file is, and the version of its form.
const HEADER: &str = "dyad removed 1";

/// More than 1,024 members and as many excluded addresses need, which is what others can tell.
const SIZE_MAX: u64 = 1024 * 1024;

/// A membership without this member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) cluster_id: u128,
    pub(crate) membership: Membership,
}

/// What the file says. `None` without a file.
///
/// # Errors
/// The file cannot be read, or is not whole.
pub(crate) fn read(dir: &Path) -> io::Result<Option<Removal>> {
    identity::read_if_there(&dir.join(FILE), SIZE_MAX, HEADER, decode, encode)
}

/// Writes it down. It is on the disk when this returns.
///
/// # Errors
/// The disk fails.
pub(crate) fn write(dir: &Path, removal: &Removal) -> io::Result<()> {
    identity::replace(dir, FILE, &encode(removal))
}

/// The member is one again.
///
/// # Errors
/// The disk fails.
pub(crate) fn forget(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn encode(removal: &Removal) -> String {
    let Removal { cluster_id, membership } = removal;
    let mut text = format!("{HEADER}\ncluster {cluster_id:032x}\nindex {}\n", membership.index);
    for (id, entry) in &membership.members {
        text += &format!("member {id} {} {}\n", entry.address, entry.cluster_address);
    }
    for address in &membership.excluded {
        text += &format!("excluded {address}\n");
    }
    identity::sealed(text)
}

fn decode(text: &str) -> Option<Removal> {
    let mut lines = text.lines().skip(1);
    let cluster_id = u128::from_str_radix(lines.next()?.strip_prefix("cluster ")?, 16).ok()?;
    let index = lines.next()?.strip_prefix("index ")?.parse().ok()?;
    let mut membership = Membership { index, ..Membership::default() };
    for line in lines {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["member", id, address, cluster_address] => {
                let entry =
                    Entry { address: address.to_owned(), cluster_address: cluster_address.to_owned() };
                membership.members.insert(id.parse::<MemberId>().ok()?, entry);
            }
            ["excluded", address] => {
                membership.excluded.insert(address.to_owned());
            }
            _ => {}
        }
    }
    Some(Removal { cluster_id, membership })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(read(dir).unwrap(), None);
        let entry = |n: u64| {
            let host = "h".repeat(253);
            (MemberId(n), Entry { address: format!("{host}:{n}"), cluster_address: format!("{host}:2{n}") })
        };
        let membership = Membership {
            index: 9,
            members: (1..=1_024).map(entry).collect(),
            excluded: (1..=1_024).map(|n| format!("{}:{n}", "x".repeat(253))).collect(),
        };
        let removal = Removal { cluster_id: 0xab, membership };
        write(dir, &removal).unwrap();
        assert_eq!(read(dir).unwrap(), Some(removal));
        let text = fs::read_to_string(dir.join(FILE)).unwrap();
        for bad in
            [text.replacen("h:1", "h:3", 1), text.replace("d 1", "d 2"), String::new(), text[..40].to_owned()]
        {
            fs::write(dir.join(FILE), &bad).unwrap();
            assert!(read(dir).is_err(), "{bad:?}");
        }
        forget(dir).unwrap();
        forget(dir).unwrap();
        assert_eq!(read(dir).unwrap(), None);
    }
}
