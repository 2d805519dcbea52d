//! Who the members are: what the replicated state says, in the form in which members tell it each other.

use std::collections::{BTreeMap, BTreeSet};

use dyad_proto::cluster as pb;
use dyad_types::MemberId;

/// Members and excluded addresses that are taken from an answer; a cluster has far fewer of each.
const TOLD_MAX: usize = 1_024;

/// The addresses of a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `host:http_port`. This is the name of the member in lists and answers.
    pub address: String,
    /// `host:cluster_port`.
    pub cluster_address: String,
}

/// The last answer of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub member: MemberId,
    pub incarnation: u64,
    /// The raft cluster to which the member belongs, if any. 0 means that the member does not know the identity of its
    /// cluster yet.
    pub cluster_id: Option<u128>,
    /// The setting `members` of that member, sorted.
    pub members: Vec<String>,
    /// The members of its cluster as that member knows them.
    pub membership: Option<Membership>,
    pub version: String,
    pub me: bool,
}

/// One member, or one that is about to become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `None` for a configured address from which nobody has answered.
    pub id: Option<MemberId>,
    pub entry: Entry,
}

/// The members of a cluster after one committed change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The index of the change in the log. Of two memberships of one cluster the one with the higher index is the newer one.
    pub index: u64,
    pub members: BTreeMap<MemberId, Entry>,
    /// Addresses of members that were removed. Who comes back there is no member until it is added again.
    pub excluded: BTreeSet<String>,
}

impl Membership {
    /// The newest membership of this member's own cluster, out of its own and what others told. A member without a cluster takes
    /// what any cluster says, since it will join it; it takes none while they say different things.
    pub fn newest<'a>(
        own_cluster: Option<u128>,
        own: Option<Membership>,
        told: impl Iterator<Item = (u128, &'a Membership)> + Clone,
    ) -> Option<Membership> {
        let mut clusters: Vec<u128> = told.clone().map(|(id, _)| id).collect();
        clusters.sort_unstable();
        clusters.dedup();
        let cluster = match (own_cluster.filter(|id| *id != 0), &clusters[..]) {
            (Some(own), _) => own,
            (None, [only]) => *only,
            (None, _) => return own,
        };
        let theirs = told.filter(|(id, _)| *id == cluster).map(|(_, membership)| membership);
        own.iter().chain(theirs).max_by_key(|membership| membership.index).cloned()
    }

    /// Whether a member with this id and address, which belongs to the cluster, has been removed from it.
    pub fn removed(&self, me: MemberId, address: Option<&str>, belongs: bool) -> bool {
        let excluded = address.is_some_and(|address| self.excluded.contains(address));
        !self.members.contains_key(&me) && (belongs || excluded)
    }

    /// Every address that is worth asking: the members', and the ones that the setting names besides.
    pub(crate) fn contacts(&self, configured: &[Entry]) -> Vec<Entry> {
        let mut entries: Vec<Entry> =
            self.members.values().filter(|entry| entry.is_dialed()).cloned().collect();
        for entry in configured {
            if !entries.iter().any(|known| known.address == entry.address) {
                entries.push(entry.clone());
            }
        }
        entries
    }

    /// The members, and those that the setting names, answer, belong to no cluster yet and are not excluded: they are about to join.
    /// Where somebody without a cluster answers at a member's address, the disk of that member was emptied.
    pub(crate) fn rows<'a>(
        &self,
        configured: &[Entry],
        found: impl Fn(&str) -> Option<&'a Found>,
    ) -> Vec<Row> {
        let joining = |address: &str| found(address).filter(|f| f.cluster_id.is_none()).map(|f| f.member);
        let known = |id: MemberId| self.members.contains_key(&id);
        let mut rows: Vec<Row> = self
            .members
            .iter()
            .map(|(id, entry)| {
                let new = joining(&entry.address).filter(|new| !known(*new));
                Row { id: Some(new.unwrap_or(*id)), entry: entry.clone() }
            })
            .collect();
        for entry in configured {
            let is_row = rows.iter().any(|row| row.entry.address == entry.address);
            let id = joining(&entry.address).filter(|id| !known(*id));
            if let (false, false, Some(id)) = (is_row, self.excluded.contains(&entry.address), id) {
                rows.push(Row { id: Some(id), entry: entry.clone() });
            }
        }
        rows
    }

    pub(crate) fn from_wire(told: pb::Membership) -> Membership {
        let members = told.members.into_iter().take(TOLD_MAX).map(|node| {
            let entry = Entry { address: node.address, cluster_address: node.cluster_address };
            (MemberId(node.member), entry)
        });
        let excluded = told.excluded.into_iter().take(TOLD_MAX);
        Membership { index: told.index, members: members.collect(), excluded: excluded.collect() }
    }

    pub(crate) fn to_wire(&self) -> pb::Membership {
        let members = self.members.iter().map(|(id, entry)| pb::Node {
            member: id.0,
            address: entry.address.clone(),
            cluster_address: entry.cluster_address.clone(),
        });
        pb::Membership {
            index: self.index,
            members: members.collect(),
            excluded: self.excluded.iter().cloned().collect(),
        }
    }
}

impl Entry {
    /// A server that was founded alone and has no address yet is never dialed.
    fn is_dialed(&self) -> bool {
        self.cluster_address.contains(':')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry { address: format!("{name}:8848"), cluster_address: format!("{name}:9849") }
    }

    fn membership(index: u64, members: &[(u64, &str)]) -> Membership {
        let members = members.iter().map(|(id, name)| (MemberId(*id), entry(name))).collect();
        Membership { index, members, excluded: BTreeSet::new() }
    }

    fn found(member: u64, cluster_id: Option<u128>) -> Found {
        Found {
            member: MemberId(member),
            incarnation: 1,
            cluster_id,
            members: Vec::new(),
            membership: None,
            version: String::new(),
            me: false,
        }
    }

    #[test]
    fn the_newest_of_the_own_cluster_counts() {
        let (old, new, other) =
            (membership(1, &[(1, "a")]), membership(5, &[(1, "a"), (2, "b")]), membership(9, &[(3, "c")]));
        let told = [(7, &new), (8, &other)];
        let newest = |own, held: Option<&Membership>, told: &[(u128, &Membership)]| {
            Membership::newest(own, held.cloned(), told.iter().copied())
        };
        assert_eq!(newest(Some(7), Some(&old), &told), Some(new.clone()));
        assert_eq!(
            newest(Some(7), Some(&new), &[(7, &old)]),
            Some(new.clone()),
            "an older one changes nothing"
        );
        assert_eq!(newest(None, None, &told), None, "two clusters: which one will it join?");
        assert_eq!(newest(None, None, &[(8, &other)]), Some(other.clone()));
        assert_eq!(newest(Some(0), Some(&old), &[(8, &other)]), Some(other));
        assert_eq!(newest(Some(7), Some(&old), &[]), Some(old));
        assert_eq!(newest(None, None, &[]), None);
    }

    #[test]
    fn who_is_no_member_any_more_was_removed() {
        let mut now = membership(5, &[(1, "a"), (2, "b")]);
        now.excluded.insert("c:8848".to_owned());
        // (id, address, belongs to the cluster, removed)
        for (id, address, belongs, removed) in [
            (1, Some("a:8848"), true, false),
            (3, Some("d:8848"), true, true),
            (3, None, true, true),
            (3, Some("d:8848"), false, false),
            (3, Some("c:8848"), false, true),
            (2, Some("c:8848"), true, false),
        ] {
            assert_eq!(now.removed(MemberId(id), address, belongs), removed, "{id} {address:?} {belongs}");
        }
    }

    #[test]
    fn rows_and_contacts() {
        let mut now = membership(5, &[(1, "a"), (2, "b"), (3, "standalone")]);
        now.members.insert(
            MemberId(3),
            Entry { address: "standalone".into(), cluster_address: "standalone".into() },
        );
        now.excluded.insert("x:8848".to_owned());
        let configured: Vec<Entry> = ["a", "d", "e", "x", "f"].map(entry).into();
        let contacts: Vec<String> = now.contacts(&configured).into_iter().map(|e| e.address).collect();
        assert_eq!(contacts, ["a:8848", "b:8848", "d:8848", "e:8848", "x:8848", "f:8848"]);
        let answers = BTreeMap::from([
            ("a:8848", found(1, Some(7))),
            ("b:8848", found(22, None)),
            ("d:8848", found(4, None)),
            ("e:8848", found(5, Some(8))),
            ("x:8848", found(6, None)),
            ("f:8848", found(1, None)),
        ]);
        let rows: Vec<(u64, String)> = now
            .rows(&configured, |address| answers.get(address))
            .into_iter()
            .map(|row| (row.id.unwrap().0, row.entry.address))
            .collect();
        let want = [(1, "a:8848"), (22, "b:8848"), (3, "standalone"), (4, "d:8848")];
        assert_eq!(rows, want.map(|(id, address)| (id, address.to_owned())));
    }

    #[test]
    fn told_and_read_again() {
        let mut now = membership(5, &[(1, "a"), (2, "b")]);
        now.excluded.insert("x:8848".to_owned());
        assert_eq!(Membership::from_wire(now.to_wire()), now);
    }
}
