//! Follows the membership. What the replicated state says, or what other members tell of it, goes to the directory and to the
//! Distro core. Here a member finds out that it was removed, and that its list leads to two clusters.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dyad_cluster::{Directory, Entry, Found, Membership};
use dyad_distro::Input;
use dyad_raft::Standing;
use dyad_state::ports::{Knowledge, Linearize};
use dyad_types::MemberId;

use super::members::{drain_clients, undrain};
use super::parts::Parts;
use crate::removal::{self, Removal};

/// How often it is looked at, besides at each change of an answer or of the membership.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The same while a change of the membership is under way that is not committed yet.
const LOOK_SOON: Duration = Duration::from_millis(50);

/// Two clusters behind one list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this member belongs to cluster {ours:032x}, and {address} of its list of members belongs to cluster {theirs:032x}: neither \
     takes writes while one list leads to both. Mend the list, or keep the data of one cluster: stop the members of the other one \
     and let them begin anew with `dyad recover --discard`"
)]
struct Foreign {
    ours: u128,
    theirs: u128,
    address: String,
}

/// Runs until `parts.stop`.
pub(super) async fn run(parts: Arc<Parts>, directory: Arc<Directory>) {
    let mut changed = directory.subscribe();
    let mut known = Known::at_start(&parts);
    loop {
        let members = parts.raft.on_members();
        look(&parts, &directory, &mut known).await;
        let pause = if parts.raft.members().is_some() { LOOK_AGAIN } else { LOOK_SOON };
        tokio::select! {
            change = changed.changed() => if change.is_err() { return },
            () = members => {}
            () = tokio::time::sleep(pause) => {}
            () = parts.stop.cancelled() => return,
        }
    }
}

/// What this member knows of its own place, whoever answers.
struct Known {
    /// Whether it was ever a member. One that is being taken in has entries of the cluster already, while others still tell the
    /// membership of before.
    belongs: bool,
    /// The last membership by its own state. While a change of it is under way, others may still tell an older one.
    own: Option<Membership>,
    /// A newer membership than the own one that others told while this member was the only voter of its own.
    overtaken: Option<u64>,
    /// Its removal. It stays true while nobody answers who could tell it again.
    removal: Option<Removal>,
}

impl Known {
    fn at_start(parts: &Parts) -> Known {
        let removal = removal::read(&parts.settings.data_dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "{} cannot be read: only the other members know whether this one was removed", removal::FILE);
            None
        });
        Known { belongs: parts.raft.knowledge() == Knowledge::Known, own: None, overtaken: None, removal }
    }
}

async fn look(parts: &Arc<Parts>, directory: &Directory, known: &mut Known) {
    let cluster_id = parts.raft.cluster_id().await;
    directory.set_cluster(cluster_id);
    let fresh = directory.fresh();
    let told = fresh.values().filter(|found| !found.me);
    let told = told.filter_map(|found| Some((found.cluster_id?, found.membership.as_ref()?)));
    let removal = known.removal.clone().filter(|removal| cluster_id == Some(removal.cluster_id));
    let told = told.chain(removal.as_ref().map(|removal| (removal.cluster_id, &removal.membership)));
    let own = own_membership(parts);
    if let Some(own) = &own {
        let of_ours = told.clone().filter(|(id, _)| Some(*id) == cluster_id);
        let newest = of_ours.map(|(_, membership)| membership.index).max();
        known.overtaken = overtaken(parts, own, known.overtaken.max(newest));
    }
    known.own = own.or(known.own.take());
    known.belongs |= known.own.as_ref().is_some_and(|own| own.members.contains_key(&parts.me));
    if let Some(newest) = Membership::newest(cluster_id, known.own.clone(), told) {
        let own = directory.own_entry();
        let address = own.as_ref().map(|own| own.address.as_str());
        let removed = newest.removed(parts.me, address, known.belongs);
        remember(&parts.settings.data_dir, &mut known.removal, cluster_id, removed.then_some(&newest));
        directory.follow(newest, removed);
    }
    let rows = directory.members();
    let mut ids: Vec<MemberId> = rows.iter().filter_map(|row| row.id).collect();
    if !directory.is_removed() {
        ids.push(parts.me);
    }
    ids.sort_unstable();
    ids.dedup();
    let configured = rows.len().max(ids.len());
    parts.ap.input(Input::Members { configured, known: ids });
    stand(parts, directory, cluster_id, &fresh, known.overtaken);
}

/// The index of a membership that is newer than the own one, if by the own one nobody else votes. Such a member needs nobody to lead, and
/// the membership of a sole voter is always the newest: this is a copy of its data from before others joined.
fn overtaken(parts: &Parts, own: &Membership, told: Option<u64>) -> Option<u64> {
    let alone = parts.raft.status().voters.iter().all(|voter| voter.member == parts.me);
    told.filter(|newer| alone && *newer > own.index)
}

/// Keeps a removal on the disk until this is a member again.
fn remember(
    dir: &Path,
    removal: &mut Option<Removal>,
    cluster_id: Option<u128>,
    without: Option<&Membership>,
) {
    let now = match (cluster_id.filter(|id| *id != 0), without) {
        (Some(cluster_id), Some(without)) => Some(Removal { cluster_id, membership: without.clone() }),
        _ => None,
    };
    if *removal == now {
        return;
    }
    let done = now.as_ref().map_or_else(|| removal::forget(dir), |now| removal::write(dir, now));
    if let Err(error) = done {
        tracing::warn!(%error, "{} cannot be written: a restart asks the other members again", removal::FILE);
    }
    *removal = now;
}

/// The membership by the state of this member. `None` while it knows of none.
fn own_membership(parts: &Parts) -> Option<Membership> {
    let (index, peers) = parts.raft.members()?;
    let members = peers.into_iter().map(|peer| {
        let entry = Entry { address: peer.node.address, cluster_address: peer.node.cluster_address };
        (peer.member, entry)
    });
    let state = parts.raft.state();
    let excluded = state.cluster().excluded().map(str::to_owned);
    Some(Membership { index, members: members.collect(), excluded: excluded.collect() })
}

fn stand(
    parts: &Arc<Parts>,
    directory: &Directory,
    cluster_id: Option<u128>,
    fresh: &BTreeMap<String, Found>,
    overtaken: Option<u64>,
) {
    if directory.is_removed() {
        if parts.raft.stand(Standing::Removed) {
            tracing::warn!(
                "this member was removed from its cluster: its clients are sent to the other members"
            );
            let _nobody_else = drain_clients(parts);
        }
        return;
    }
    let asked: Vec<Entry> = directory.contacts().iter().map(|contact| contact.entry.clone()).collect();
    let foreign = cluster_id.filter(|id| *id != 0).and_then(|ours| foreign(ours, &asked, fresh));
    let old = overtaken.map(|newer| {
        format!(
            "the data directory of this member is an older copy, from before others joined its cluster (the membership of log index {newer} \
             has more members): stop it, make way with `dyad recover --discard`, and start it with a list that names another member"
        )
    });
    match foreign.map(|foreign| foreign.to_string()).or(old) {
        Some(why) => {
            if parts.raft.stand(Standing::Barred(why.clone())) {
                tracing::error!("{why}");
            }
        }
        // The first round of questions is not over.
        None if matches!(parts.raft.standing(), Standing::Barred(_)) && !parts.asked.is_cancelled() => {}
        None => {
            let was_removed = parts.raft.standing() == Standing::Removed;
            if parts.raft.stand(Standing::Member) {
                tracing::info!("this member speaks for its cluster");
            }
            if was_removed {
                // Its clients were sent away when it was removed.
                undrain(parts);
            }
        }
    }
}

/// The other cluster to which the addresses lead that this member asks: those of the members, and those that its list names besides. The
/// cluster to which more than half of them belong goes on: there is only one such cluster.
fn foreign(ours: u128, asked: &[Entry], fresh: &BTreeMap<String, Found>) -> Option<Foreign> {
    let answers = asked.iter().filter_map(|entry| Some((&entry.address, fresh.get(&entry.address)?)));
    let own = answers.clone().filter(|(_, found)| found.me || found.cluster_id == Some(ours)).count();
    if own * 2 > asked.len() {
        return None;
    }
    let mut others = answers.filter(|(_, found)| !found.me);
    others.find_map(|(address, found)| {
        let theirs = found.cluster_id.filter(|id| *id != 0 && *id != ours)?;
        Some(Foreign { ours, theirs, address: address.clone() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_behind_one_list() {
        let list = |names: &[&str]| -> Vec<Entry> {
            let entry = |n: &&str| Entry { address: (*n).to_owned(), cluster_address: format!("{n}:1") };
            names.iter().map(entry).collect()
        };
        let found = |cluster_id, me| Found {
            member: MemberId(1),
            incarnation: 1,
            cluster_id,
            members: Vec::new(),
            membership: None,
            version: String::new(),
            me,
        };
        // (the list, who answers with which cluster, the foreign address)
        for (names, answers, want) in [
            (&["a", "b"][..], &[("b", Some(8))][..], Some("b")),
            (&["a", "b"], &[("b", Some(7))], None),
            (&["a", "b"], &[("b", Some(0))], None),
            (&["a", "b"], &[("b", None)], None),
            (&["a", "b"], &[], None),
            (&["a", "b", "c"], &[("b", Some(7)), ("c", Some(8))], None),
            (&["a", "b", "c"], &[("c", Some(8))], Some("c")),
            (&["a", "b", "c"], &[("b", Some(8)), ("c", Some(8))], Some("b")),
            (&["a"], &[("d", Some(8))], None),
        ] {
            let mut fresh = BTreeMap::from([("a".to_owned(), found(None, true))]);
            fresh.extend(answers.iter().map(|(name, id)| ((*name).to_owned(), found(*id, false))));
            let got = foreign(7, &list(names), &fresh).map(|foreign| foreign.address);
            assert_eq!(got.as_deref(), want, "{names:?} {answers:?}");
        }
    }
}
