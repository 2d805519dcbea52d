//! Members whose disks are nearly full: who refuses what, and that nobody is elected for it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Cluster, LIMIT, Member, eventually, register, service};
use dyad_naming::cp::{NamingCommand, NamingReply};
use dyad_proto::raft as pb;
use dyad_proto::raft::raft_client::RaftClient;
use dyad_proto::raft::snapshot_part::Part;
use dyad_raft::{Dial, DiskRoom, MemberChange, RaftConfig};
use dyad_state::CpCommand;
use dyad_state::ports::{Linearize, ProposeError};
use dyad_types::{Instance, MemberId};

/// Longer than several elections would take.
const QUIET: Duration = Duration::from_secs(3);

/// Everything is refused.
fn full(config: &mut RaftConfig) {
    config.min_free_bytes = Some(u64::MAX);
}

/// Half of the reserve is free.
fn nearly_full(config: &mut RaftConfig) {
    config.min_free_bytes = Some(2 * free(&config.data_dir));
}

fn free(directory: &Path) -> u64 {
    let stat = rustix::fs::statvfs(directory).unwrap();
    stat.f_bavail * stat.f_frsize
}

fn deregister(port: u16) -> CpCommand {
    let address = Instance::new("10.0.0.1", port).address();
    NamingCommand::Deregister { service: service(), address }.into()
}

/// Starts the member again with these settings.
fn restart(member: &mut Member, tune: fn(&mut RaftConfig)) {
    member.crash();
    member.tune = tune;
    member.start();
}

fn refused(member: &Member, port: u16, words: &str) {
    let refused = member.propose(register(port)).unwrap_err();
    assert!(matches!(&refused, ProposeError::Storage(why) if why.contains(words)), "{refused}");
}

#[test]
fn below_the_reserve_only_removals_are_taken() {
    let mut cluster = Cluster::new(1, |_| {});
    for port in 1..=2 {
        cluster.members[0].register(port);
    }
    restart(&mut cluster.members[0], nearly_full);
    let member = &cluster.members[0];
    assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
    assert_eq!(member.handle().status().disk.room, DiskRoom::NoWrites);
    refused(member, 3, "are free on this disk");
    assert!(member.has(1) && !member.has(3), "reads go on");
    assert_eq!(member.propose(deregister(1)), Ok(NamingReply::Done.into()));
    assert!(!member.has(1) && member.has(2));

    restart(&mut cluster.members[0], full);
    let member = &cluster.members[0];
    assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
    assert_eq!(member.handle().status().disk.room, DiskRoom::NoEntries);
    let refused = member.propose(deregister(2)).unwrap_err();
    assert!(matches!(refused, ProposeError::Storage(_)), "{refused}");
    assert!(member.has(2));
}

#[test]
fn a_full_follower_refuses_entries_and_causes_no_election() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    cluster.converged();
    let leader = cluster.leader().unwrap();
    let (follower, third) = ((leader + 1) % 3, (leader + 2) % 3);
    restart(&mut cluster.members[follower], full);
    cluster.settled();
    let id = cluster.members[follower].id;
    let term = cluster.members[leader].handle().status().term;
    let shown = || {
        let others = cluster.members[leader].handle().others();
        others.iter().find(|other| other.member == id).is_some_and(|other| other.refuses_entries())
    };
    eventually("the leader knows", || shown().then_some(()));
    let began = Instant::now();
    let mut port = 1;
    while began.elapsed() < QUIET {
        port += 1;
        cluster.members[leader].register(port);
    }
    let status = cluster.members[leader].handle().status();
    assert_eq!((status.term, status.leader), (term, Some(cluster.members[leader].id)), "no election");
    assert!(cluster.members[third].has(port) || cluster.members[leader].has(port));
    assert!(!cluster.members[follower].has(port), "it took entries");
    refused(&cluster.members[follower], port + 1, "takes no entries of the log");
    let read = cluster.members[follower].block_on(cluster.members[follower].handle().linearize());
    assert!(
        matches!(&read, Err(ProposeError::Storage(why)) if why.contains("takes no entries of the log")),
        "{read:?}"
    );
    assert_eq!(cluster.members[follower].handle().status().leader, status.leader, "it hears the leader");

    // Two of three: what would not be committed is refused before it is written.
    restart(&mut cluster.members[third], full);
    let two = || cluster.members[leader].handle().others().iter().all(|other| other.refuses_entries());
    eventually("the leader knows of both", || two().then_some(()));
    refused(&cluster.members[leader], port + 1, "the disks of 2 of 3 members are nearly full");

    for at in [follower, third] {
        restart(&mut cluster.members[at], |config| config.min_free_bytes = Some(0));
    }
    cluster.settled();
    let none = || cluster.members[leader].handle().others().iter().all(|other| !other.refuses_entries());
    eventually("the leader knows that there is room", || none().then_some(()));
    cluster.members[leader].register(port + 2);
    cluster.converged();
    assert!(cluster.members.iter().all(|member| member.has(port + 2) && !member.has(port + 1)));
    assert_eq!(cluster.members[follower].id, MemberId(id.0), "by itself, without a new identity");
}

#[test]
fn a_full_leader_lets_a_member_with_room_lead() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    cluster.converged();
    let first = cluster.leader().unwrap();
    let (second, third) = ((first + 1) % 3, (first + 2) % 3);
    // Only the third one has room.
    restart(&mut cluster.members[second], nearly_full);
    cluster.settled();
    restart(&mut cluster.members[first], nearly_full);
    cluster.settled();
    let wanted = cluster.members[third].id;
    let leads = |at: usize| cluster.members[at].handle().status().leader == Some(wanted);
    eventually("the member with room leads", || (0..3).all(leads).then_some(()));
    let term = cluster.members[third].handle().status().term;
    let back = MemberChange::Transfer(Some(cluster.members[first].node.address.clone()));
    cluster.members[third].block_on(cluster.members[third].handle().change_members(back)).unwrap();
    let later = || cluster.members[third].handle().status().term >= term + 2;
    eventually("it leads again", || ((0..3).all(leads) && later()).then_some(()));
    cluster.members[first].register(2);
    cluster.converged();
    assert!(cluster.members.iter().all(|member| member.has(2)), "whoever is asked, writes are taken");

    let term = cluster.members[first].handle().status().term;
    let began = Instant::now();
    while began.elapsed() < QUIET {
        cluster.members[first].register(2);
    }
    assert_eq!(cluster.members[first].handle().status().term, term, "it goes on leading");
}

/// More than fits into 32 bits.
const LARGE: u64 = 5 << 30;

/// A gibibyte is left above the mark.
fn little_room(config: &mut RaftConfig) {
    config.min_free_bytes = Some(4 * free(&config.data_dir).saturating_sub(1 << 30));
}

/// What a snapshot may have depends on the disk alone; this one ends after its beginning.
#[test]
fn a_snapshot_of_any_size_is_taken_if_the_disk_has_room() {
    for (tune, says) in [
        (None, format!("0 bytes of {LARGE} announced")),
        (Some(little_room as fn(&mut RaftConfig)), "are free on this disk".to_owned()),
    ] {
        let mut cluster = Cluster::new(1, |_| {});
        if let Some(tune) = tune {
            restart(&mut cluster.members[0], tune);
        }
        let member = &cluster.members[0];
        let begin = pb::SnapshotBegin {
            head: Some(pb::Head { from: 99, to: member.id.0, level: 1, ..pb::Head::default() }),
            vote: Some(pb::Vote::default()),
            length: LARGE,
        };
        let part = pb::SnapshotPart { part: Some(Part::Begin(begin)) };
        let answer = member.block_on(async {
            let mut client = RaftClient::new(common::Plain.channel(&member.node.cluster_address));
            client.snapshot(tokio_stream::iter([part])).await
        });
        let refused = answer.unwrap_err();
        assert!(refused.message().contains(&says), "{refused}");
    }
}
