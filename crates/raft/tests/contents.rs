//! Contents in a cluster: large ones, crashes, snapshots that bring them, reads that miss nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use common::{Cluster, LIMIT, Member, eventually};
use dyad_config::{Change, ConfigCommand, ConfigReply, Draft, Prune, Publish, Source};
use dyad_raft::{Fatal, StartError};
use dyad_state::ports::{Linearize, ProposeError};
use dyad_state::{CpCommand, CpReply};
use dyad_types::ConfigKey;

fn key(n: usize) -> ConfigKey {
    ConfigKey::new("", "G", &format!("c{n}"))
}

fn change(change: Change) -> CpCommand {
    CpCommand::Config(ConfigCommand { source: Source::default(), change })
}

fn publish(member: &Member, n: usize, content: &str) {
    let publish = Publish { key: key(n), draft: Draft::text(content), cas: None, enforce: false };
    let reply = member.propose(change(Change::Publish(publish)));
    assert!(matches!(reply, Ok(CpReply::Config(ConfigReply::Done { .. }))), "{reply:?}");
}

/// The content as this member has it: its md5 in the state and its text in the store.
fn content(member: &Member, n: usize) -> Option<String> {
    let state = member.handle().state();
    let release = state.config().item(&key(n))?.formal()?.clone();
    let row = member.handle().contents().read(release.revision).unwrap();
    let content = row.content.unwrap();
    assert_eq!(content.md5(), release.md5);
    Some(content.text().to_string())
}

/// Every row that the state relies on can be read; answers how many.
fn readable(member: &Member) -> usize {
    let (state, contents) = (member.handle().state(), member.handle().contents());
    state.config().revisions().inspect(|revision| drop(contents.read(*revision).unwrap())).count()
}

fn text(n: usize, version: usize) -> String {
    format!("{n}/{version} {}", "z".repeat(n * 700))
}

/// Two tests that write much would starve each other's members until their leaders are not heard.
static MUCH: Mutex<()> = Mutex::new(());

#[test]
fn the_largest_content_goes_through_any_member_and_survives_a_crash_of_all() {
    let _alone = MUCH.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = Cluster::new(3, |_| {});
    let large = "ä".repeat(5 * 1024 * 1024);
    for (n, member) in cluster.members.iter().enumerate() {
        publish(member, n, &large);
        assert_eq!(content(member, n).as_deref(), Some(&*large), "as soon as it is answered");
    }
    let over = Publish { key: key(9), draft: Draft::text(&large.repeat(2)), cas: None, enforce: false };
    let refused = cluster.members[0].propose(change(Change::Publish(over)));
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    for member in &mut cluster.members {
        member.crash();
    }
    for member in &mut cluster.members {
        member.start();
    }
    for member in &cluster.members {
        assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
        // A leader read these from the disk and from memory to send them once more.
        assert!((0..3).all(|n| content(member, n).as_deref() == Some(&*large)));
    }
}

#[test]
fn a_member_far_behind_fetches_the_rows_of_the_snapshot() {
    let mut cluster = Cluster::new(3, |config| {
        config.snapshot_every = 60;
        config.keep_entries = 10;
    });
    for n in 0..20 {
        publish(&cluster.members[0], n, &text(n, 0));
    }
    cluster.converged();
    let late = cluster.a_follower();
    cluster.members[late].crash();
    let writer = cluster.a_follower();
    for version in 1..8 {
        for n in 0..20 {
            publish(&cluster.members[writer], n, &text(n, version));
        }
    }
    let prune = Prune { until_ms: 0, keep: 3, from: None };
    cluster.members[writer].propose(change(Change::Prune(prune))).unwrap();
    let leader = &cluster.members[cluster.leader().unwrap()];
    eventually("the log is purged", || leader.handle().status().purged.filter(|purged| *purged > 100));
    cluster.members[late].start();
    cluster.settled();
    cluster.converged();
    let member = &cluster.members[late];
    assert!(member.handle().status().snapshot.is_some(), "it came by snapshot");
    assert!((0..20).all(|n| content(member, n) == Some(text(n, 7))));
    // Three versions, and the base of the oldest.
    assert_eq!(readable(member), 20 * 4);
    cluster.members[late].crash();
    cluster.members[late].start();
    cluster.settled();
    assert_eq!(readable(&cluster.members[late]), 20 * 4);
}

/// Entries are few here and their bytes are many: openraft alone would keep all of them.
#[test]
fn large_entries_bring_a_snapshot_and_leave_the_log() {
    let _alone = MUCH.lock().unwrap_or_else(PoisonError::into_inner);
    const MEBIBYTE: u64 = 1024 * 1024;
    let mut cluster = Cluster::new(3, |config| {
        config.snapshot_bytes = 4 * MEBIBYTE;
        config.keep_bytes = MEBIBYTE;
    });
    let late = cluster.a_follower();
    cluster.members[late].crash();
    let writer = cluster.a_follower();
    let large = |version: u64| format!("{version}{}", "x".repeat(500_000));
    for version in 0..24 {
        publish(&cluster.members[writer], 0, &large(version));
    }
    for member in cluster.running() {
        let status = || member.handle().status();
        eventually("a snapshot of many bytes", || status().snapshot.filter(|snapshot| *snapshot > 10));
        // 4 MiB between two snapshots, 1 MiB below the last, and one more of each for what is counted by the mebibyte.
        eventually("the log is short", || {
            let status = status();
            let entries = status.last_log? - status.purged?;
            (entries * 500_000 < 9 * MEBIBYTE && status.log_bytes < 10 * MEBIBYTE).then_some(())
        });
    }
    cluster.members[late].start();
    cluster.settled();
    cluster.converged();
    assert!(cluster.members[late].handle().status().snapshot.is_some(), "it came by snapshot");
    assert!(cluster.running().all(|member| content(member, 0) == Some(large(23))));
    for member in &mut cluster.members {
        member.crash();
    }
    for member in &mut cluster.members {
        member.start();
    }
    cluster.settled();
    for member in cluster.running() {
        assert_eq!(readable(member), 24, "history is whole");
        assert!(member.handle().status().log_bytes < 10 * MEBIBYTE, "counted anew");
    }
}

#[test]
fn an_empty_member_fetches_all_rows_and_the_pruned_ones_go() {
    let mut cluster = Cluster::new(3, |config| {
        config.snapshot_every = 40;
        config.keep_entries = 5;
    });
    for version in 0..5 {
        for n in 0..20 {
            publish(&cluster.members[0], n, &text(n, version));
        }
    }
    let leader = &cluster.members[cluster.leader().unwrap()];
    eventually("the log is purged", || leader.handle().status().purged.filter(|purged| *purged > 60));
    let victim = cluster.a_follower();
    cluster.members[victim].crash();
    let mut fresh = Member::new(0xabcd, cluster.dir.path().join("fresh"), |_| {});
    fresh.node = cluster.members[victim].node.clone();
    fresh.start();
    let via = cluster.running().next().unwrap().node.cluster_address.clone();
    cluster.members[victim] = fresh;
    let fresh = &cluster.members[victim];
    eventually("the member is admitted", || {
        fresh.block_on(fresh.handle().join(&via, fresh.node.clone())).ok()
    });
    cluster.settled();
    cluster.converged();
    let fresh = &cluster.members[victim];
    assert!(fresh.handle().status().snapshot.is_some(), "it came by snapshot");
    assert_eq!(readable(fresh), 100);
    assert!((0..20).all(|n| content(fresh, n) == Some(text(n, 4))));
}

#[test]
fn a_store_of_contents_that_was_deleted_is_missed_at_the_start() {
    let mut cluster = Cluster::new(1, |config| config.snapshot_every = 1_000_000);
    for n in 0..5 {
        publish(&cluster.members[0], n, &text(n, 0));
    }
    let contents = cluster.members[0].dir.join("contents");
    cluster.members[0].crash();
    // No snapshot relies on it: the log brings everything back.
    std::fs::remove_dir_all(&contents).unwrap();
    cluster.members[0].start();
    let member = &cluster.members[0];
    assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
    assert_eq!(readable(member), 5);
    member.block_on(member.handle().snapshot()).unwrap();
    eventually("a snapshot", || member.handle().status().snapshot);
    cluster.members[0].crash();
    std::fs::remove_dir_all(&contents).unwrap();
    let refused = eventually("the lock is free", || match cluster.members[0].try_start() {
        Err(StartError::Locked { .. }) => None,
        result => Some(result),
    });
    let error = refused.unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("5 rows that the configurations rely on are missing"), "{error}");
}

#[test]
fn a_linearizable_read_sees_what_any_member_acknowledged() {
    let mut cluster = Cluster::new(3, |_| {});
    for round in 0..30 {
        let writer = &cluster.members[round % 3];
        publish(writer, 0, &text(1, round));
        for reader in &cluster.members {
            reader.block_on(reader.handle().linearize()).unwrap();
            assert_eq!(content(reader, 0), Some(text(1, round)), "round {round}");
        }
    }
    let leader = cluster.leader().unwrap();
    cluster.members[leader].crash();
    let survivor = cluster.a_follower();
    let reader = &cluster.members[survivor];
    reader.block_on(reader.handle().linearize()).expect("once another leads");
    assert_eq!(content(reader, 0), Some(text(1, 29)));
    let other = cluster.members.iter().position(|m| m.is_running() && m.id != reader.id).unwrap();
    cluster.members[other].crash();
    let reader = &cluster.members[survivor];
    let refused = reader.block_on(reader.handle().linearize());
    assert!(
        matches!(refused, Err(ProposeError::NoLeader(_))),
        "without a majority nobody knows: {refused:?}"
    );
    assert_eq!(reader.handle().on_fatal().borrow().clone(), None::<Fatal>);
}

/// Set in the process that is killed.
const CHILD: &str = "DYAD_TEST_KILLED_DIR";

/// A process of its own, since in this one sled would write what it holds when it is dropped.
#[test]
fn what_was_acknowledged_is_readable_after_a_kill() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return publish_until_killed(dir.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["what_was_acknowledged_is_readable_after_a_kill", "--exact", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Some rounds end in the midst of a snapshot, some between two.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let numbers = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<usize>().ok());
        let last = numbers.take(70 + round * 33).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged += 70 + round * 33;
        assert!(last + 1 >= acknowledged, "round {round}: {last} after {acknowledged}");
        let mut member = Member::new(1, dir.path().into(), |_| {});
        member.start();
        assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
        let found = readable(&member);
        assert!(found > last, "round {round}: {found} rows, {} were acknowledged", last + 1);
        assert!(content(&member, last % 7).is_some());
        member.crash();
    }
}

fn publish_until_killed(dir: std::path::PathBuf) {
    let mut member = Member::new(1, dir, |config| {
        config.snapshot_every = 40;
        config.keep_entries = 5;
    });
    member.start();
    let voters = BTreeMap::from([(member.id, member.node.clone())]);
    member.block_on(member.handle().initialize(voters)).unwrap();
    assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
    let mut out = std::io::stdout();
    for n in readable(&member).. {
        publish(&member, n % 7, &text(n % 7, n));
        writeln!(out, "acknowledged {n}").unwrap();
    }
}
