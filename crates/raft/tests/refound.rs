//! A state is copied while its member goes on, and becomes a new cluster that has nothing to do with the old one.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, LIMIT, Member, eventually, has};
use dyad_config::{
    Change, ConfigCommand, ConfigReply, ContentError, Draft, Prune, Publish, Revision, Source,
};
use dyad_raft::{
    Claim, ContentBackend, Export, Founding, JoinError, RaftConfig, RowsOf, SledContents, last_state, refound,
};
use dyad_state::ports::Propose;
use dyad_state::{CpCommand, CpReply, CpState};
use dyad_types::{ConfigKey, MemberId};

fn change(change: Change) -> CpCommand {
    CpCommand::Config(ConfigCommand { source: Source::default(), change })
}

fn publish(member: &Member, n: usize, content: &str) {
    let key = ConfigKey::new("", "G", &format!("c{n}"));
    let publish = Publish { key, draft: Draft::text(content), cas: None, enforce: false };
    let reply = member.propose(change(Change::Publish(publish)));
    assert!(matches!(reply, Ok(CpReply::Config(ConfigReply::Done { .. }))), "{reply:?}");
}

fn prune(member: &Member, keep: u32) {
    member.propose(change(Change::Prune(Prune { until_ms: 0, keep, from: None }))).unwrap();
}

/// A snapshot of everything that was applied, with the removal that follows it.
fn snapshot(member: &Member) {
    // The status may not tell of the last entry yet.
    let applied = member.block_on(member.handle().export_for(Duration::ZERO)).unwrap().at.index;
    // One that is being made already is of less.
    eventually("a snapshot", || {
        let done = member.handle().status().snapshot >= Some(applied);
        if !done {
            member.block_on(member.handle().snapshot()).unwrap();
        }
        done.then_some(())
    });
}

fn revisions(state: &CpState) -> Vec<u64> {
    let mut revisions: Vec<u64> = state.config().revisions().map(|revision| revision.0).collect();
    revisions.sort_unstable();
    revisions
}

fn all_rows(export: &Export) -> io::Result<BTreeMap<u64, Bytes>> {
    let mut rest = &revisions(&export.state)[..];
    let mut rows = BTreeMap::new();
    while !rest.is_empty() {
        let some = export.rows(rest)?;
        let (got, left) = rest.split_at(some.len());
        rows.extend(got.iter().copied().zip(some));
        rest = left;
    }
    Ok(rows)
}

fn is_gone(member: &Member, revision: u64) -> bool {
    matches!(member.handle().contents().read(Revision(revision)), Err(ContentError::Gone(_)))
}

fn one() -> Cluster {
    let cluster = Cluster::new(1, |_| {});
    for version in 0..6 {
        for n in 0..10 {
            publish(&cluster.members[0], n, &format!("{n}/{version}"));
        }
    }
    snapshot(&cluster.members[0]);
    cluster
}

#[test]
fn what_an_export_relies_on_stays_until_it_ends_and_goes_then() {
    let cluster = one();
    let member = &cluster.members[0];
    let export = member.block_on(member.handle().export()).unwrap();
    let before = revisions(&export.state);
    assert_eq!(before.len(), 60);
    prune(member, 1);
    snapshot(member);
    let after = revisions(&member.handle().state());
    assert!(after.len() < before.len());
    assert_eq!(
        all_rows(&export).unwrap().len(),
        before.len(),
        "the member has forgotten them, and they are there"
    );
    publish(member, 99, "goes on");
    snapshot(member);
    assert_eq!(all_rows(&export).unwrap().len(), before.len());

    drop(export);
    publish(member, 99, "and on");
    snapshot(member);
    let dropped: Vec<u64> = before.into_iter().filter(|revision| !after.contains(revision)).collect();
    eventually("what nobody needs is removed", || {
        dropped.iter().all(|revision| is_gone(member, *revision)).then_some(())
    });
    assert!(after.iter().all(|revision| !is_gone(member, *revision)));
}

/// A reader that hangs must not keep the disk full.
#[test]
fn a_hold_ends_by_itself() {
    let cluster = one();
    let member = &cluster.members[0];
    let export = member.block_on(member.handle().export_for(Duration::ZERO)).unwrap();
    prune(member, 1);
    snapshot(member);
    eventually("rows are removed", || all_rows(&export).is_err().then_some(()));
    let error = all_rows(&export).unwrap_err();
    assert!(error.kind() == io::ErrorKind::NotFound && error.to_string().contains("60 minutes"), "{error}");
}

struct FromMap(BTreeMap<u64, Bytes>);

impl RowsOf for FromMap {
    fn next(&mut self) -> io::Result<Option<Vec<(u64, Bytes)>>> {
        Ok(self.0.pop_first().map(|row| vec![row]))
    }
}

const NEW: u64 = 0x9999;
const CLUSTER: u128 = 0xfeed;

/// As at the second start of the member of a directory that was made.
fn second_start(config: &mut RaftConfig) {
    config.claim = Some(Claim { start: 2, logged: Some(1) });
}

/// A member that is not started yet, and what it takes to found its cluster.
fn new_member(dir: &Path) -> (Member, Founding) {
    std::fs::create_dir_all(dir).unwrap();
    let member = Member::new(NEW, dir.to_owned(), second_start);
    let node = member.node.clone();
    (member, Founding { cluster_id: CLUSTER, member: MemberId(NEW), node, start: 1 })
}

fn same_data(left: &CpState, right: &CpState) {
    assert_eq!(left.naming(), right.naming());
    assert_eq!(left.config(), right.config());
    assert_eq!(left.cluster().level(), right.cluster().level());
}

#[test]
fn a_state_becomes_a_new_cluster_that_others_join_and_that_members_of_the_old_one_do_not() {
    let mut old = Cluster::new(3, |_| {});
    for n in 0..40 {
        publish(&old.members[n % 3], n % 20, &"x".repeat(n * 400));
        old.members[n % 3].register(n as u16 + 1);
    }
    old.converged();
    let giver = old.a_follower();
    let export = old.members[giver].block_on(old.members[giver].handle().export()).unwrap();
    assert!(export.in_quorum && export.voters.len() == 3 && export.learners.is_empty());
    assert_eq!(Some(export.at.index), old.members[giver].handle().status().applied);

    let dir = old.dir.path().join("new");
    let (mut member, founding) = new_member(&dir);
    let mut rows = FromMap(all_rows(&export).unwrap());
    refound(&dir, &founding, (export.state.clone(), export.at), &mut rows).unwrap();
    member.links = Arc::clone(&old.links);
    member.start();
    let status = || member.handle().status();
    assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
    same_data(&member.handle().state(), &export.state);
    assert_eq!(status().cluster_id, Some(CLUSTER));
    assert_eq!(member.voters(), [MemberId(NEW)]);
    assert!(status().term > export.at.term && status().applied >= Some(export.at.index));
    let again = member.block_on(member.handle().export()).unwrap();
    assert_eq!(all_rows(&again).unwrap(), all_rows(&export).unwrap());
    // A write has a revision above all that were restored.
    publish(&member, 99, "new");
    member.register(1_000);

    let mut joins = Member::new(0x8888, old.dir.path().join("joins"), |_| {});
    joins.links = Arc::clone(&old.links);
    joins.start();
    eventually("an empty member joins", || {
        joins.block_on(joins.handle().join(&member.node.cluster_address, joins.node.clone())).ok()
    });
    eventually("the state is there", || (joins.handle().state() == member.handle().state()).then_some(()));
    assert!(has(&joins.handle().state(), 1_000));

    for former in &old.members {
        let refused =
            former.block_on(former.handle().join(&member.node.cluster_address, former.node.clone()));
        let Err(JoinError::Refused(why) | JoinError::Unreachable(_, why)) = refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains(&format!("{CLUSTER:032x}")), "{why}");
    }
    assert_eq!(member.voters().len(), 2);
    publish(&old.members[0], 5, "the old cluster goes on");
    for member in &mut old.members {
        member.crash();
    }
}

/// A row that is missing or one too many must not become a cluster that fails later.
#[test]
fn a_store_that_would_not_be_whole_is_not_made() {
    let cluster = one();
    let export = cluster.members[0].block_on(cluster.members[0].handle().export()).unwrap();
    let rows = all_rows(&export).unwrap();
    let mut fewer = rows.clone();
    let (first, row) = fewer.pop_first().unwrap();
    let mut more = rows.clone();
    more.insert(first - 1, row);
    for (n, rows, want) in [(0, fewer, "rely on are missing"), (1, more, "does not rely on it")] {
        let dir = cluster.dir.path().join(format!("bad{n}"));
        let (_, founding) = new_member(&dir);
        let error =
            refound(&dir, &founding, (export.state.clone(), export.at), &mut FromMap(rows)).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains(want), "{error}");
    }
}

#[test]
fn what_one_member_has_after_the_others_are_lost_becomes_a_new_cluster() {
    let mut old = Cluster::new(3, |_| {});
    for n in 0..30 {
        publish(&old.members[n % 3], n % 10, &format!("{n}"));
        old.members[n % 3].register(n as u16 + 1);
    }
    old.converged();
    let left = old.a_follower();
    let state = old.members[left].handle().state();
    let id = old.members[left].handle().status().cluster_id;
    for member in &mut old.members {
        member.crash();
    }
    let (dir, member) = (old.members[left].dir.clone(), old.members[left].id);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = eventually("the crashed member lets go of its store", || {
        runtime.block_on(last_state(&dir, member, None)).ok()
    });
    assert_eq!(found.cluster_id, id);
    same_data(&found.state, &state);
    assert_eq!(found.voters.len(), 3);
    assert!(found.committed <= Some(found.position.index));

    let new_dir = old.dir.path().join("new");
    let (mut member, founding) = new_member(&new_dir);
    let mut rows = found.rows();
    refound(&new_dir, &founding, (found.state.clone(), found.position), &mut rows).unwrap();
    member.start();
    assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
    same_data(&member.handle().state(), &state);
    publish(&member, 0, "goes on");
}

/// What the store of contents of a member that does not run has.
fn stored(dir: &Path) -> BTreeMap<u64, Bytes> {
    let contents = eventually("the store is free", || SledContents::open(&dir.join("contents")).ok());
    let revisions = contents.list(0, usize::MAX).unwrap();
    revisions.into_iter().map(|revision| (revision, contents.get(revision).unwrap().unwrap())).collect()
}

/// The others may commit another entry at the same index, whose row has the same revision: a row that was left here would stay in its
/// place when this member comes back.
#[test]
fn a_look_at_what_a_member_has_leaves_no_row_of_an_entry_that_may_be_replaced() {
    let mut old = Cluster::new(3, |_| {});
    for n in 0..5 {
        publish(&old.members[0], n, &format!("{n}"));
    }
    old.converged();
    let leader = old.leader().unwrap();
    old.cut_off(leader);
    let handle = Arc::clone(old.members[leader].handle());
    let key = ConfigKey::new("", "G", "cut-off");
    let publish = Publish { key, draft: Draft::text("of the old leader"), cas: None, enforce: false };
    let proposed = old.members[leader].block_on(async {
        let answer = tokio::spawn({
            let handle = Arc::clone(&handle);
            async move { handle.propose(change(Change::Publish(publish))).await }
        });
        while handle.status().last_log <= handle.status().committed {
            assert!(!answer.is_finished(), "{:?}", answer.await);
            tokio::task::yield_now().await;
        }
        handle.status()
    });
    drop(handle);
    let (dir, member) = (old.members[leader].dir.clone(), old.members[leader].id);
    for member in &mut old.members {
        member.crash();
    }
    let before = stored(&dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = eventually("the store is free", || runtime.block_on(last_state(&dir, member, None)).ok());
    assert!(Some(found.position.index) >= proposed.last_log && found.committed < proposed.last_log);
    let mut rows = BTreeMap::new();
    let mut all = found.rows();
    while let Some(some) = all.next().unwrap() {
        rows.extend(some);
    }
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), revisions(&found.state));
    assert_eq!(rows.len(), 6, "the new cluster would have all that this member has");
    drop((found, all));
    assert_eq!(stored(&dir), before);
}

#[test]
fn a_member_without_a_state_gives_none() {
    let root = tempfile::tempdir().unwrap();
    let mut member = Member::new(1, root.path().join("m"), |_| {});
    member.start();
    let error = member.block_on(member.handle().export()).unwrap_err();
    assert!(error.to_string().contains("has no state yet"), "{error}");
}
