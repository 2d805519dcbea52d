//! One and three members: writes, forwards, crashes, joins, snapshots.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Cluster, LIMIT, Member, eventually, register};
use dyad_naming::cp::{NamingCommand, NamingReply};
use dyad_proto::raft as pb;
use dyad_proto::raft::raft_client::RaftClient;
use dyad_raft::{Dial, MemBackend, MemContents, Node, RaftConfig, RaftHandle, Recovery, Role};
use dyad_state::ports::{Knowledge, Linearize, Propose, ProposeError};
use dyad_state::{CpReply, Envelope, LEVEL, Part, RequestId};
use dyad_types::{Instance, MemberId};

#[test]
fn one_member_keeps_what_it_acknowledged() {
    let mut cluster = Cluster::new(1, |_| {});
    for port in 1..=200 {
        cluster.members[0].register(port);
    }
    cluster.members[0].crash();
    cluster.members[0].start();
    let member = &cluster.members[0];
    assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
    assert!((1..=200).all(|port| member.has(port)));
    assert_eq!(member.handle().recovery(), Recovery::Done);
    member.register(201);
}

#[test]
fn a_sole_voter_is_ready_at_once() {
    let mut cluster = Cluster::new(1, |_| {});
    cluster.members[0].register(1);
    cluster.members[0].crash();
    // The best of three: the machine may be busy.
    let took = (0..3).map(|_| {
        eventually("the lock is free", || {
            let begun = Instant::now();
            cluster.members[0].try_start().ok()?;
            let member = &cluster.members[0];
            assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
            let took = begun.elapsed();
            cluster.members[0].crash();
            Some(took)
        })
    });
    let best = took.min().unwrap();
    assert!(best < Duration::from_millis(300), "{best:?}");
}

#[test]
fn writes_go_through_any_member() {
    let cluster = Cluster::new(3, |_| {});
    for (n, member) in cluster.members.iter().enumerate() {
        let handle = member.handle().clone();
        member.block_on(common::conformance::check(handle, |h| h.state(), n as u16 * 1000 + 1));
    }
    cluster.converged();
    let leader = cluster.members[cluster.leader().unwrap()].id;
    for member in &cluster.members {
        assert_eq!(member.handle().leader().map(|l| l.member), Some(leader));
    }
}

#[test]
fn writes_through_a_sole_member() {
    let cluster = Cluster::new(1, |_| {});
    let member = &cluster.members[0];
    member.block_on(common::conformance::check(member.handle().clone(), |h| h.state(), 1));
}

#[test]
fn a_dead_leader_is_replaced() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    let dead = cluster.leader().unwrap();
    let survivor = cluster.a_follower();
    cluster.members[dead].crash();
    let begun = Instant::now();
    cluster.members[survivor].register(2);
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    cluster.settled();
    cluster.members[dead].start();
    cluster.settled();
    let back = &cluster.members[dead];
    assert!(back.has(1) && back.has(2));
    cluster.converged();
}

#[test]
fn nothing_acknowledged_is_lost_when_all_crash() {
    let mut cluster = Cluster::new(3, |_| {});
    let mut acknowledged = Vec::new();
    for round in 0..4_u16 {
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3_u16)
                .map(|n| {
                    let member = &cluster.members[usize::from(n)];
                    scope.spawn(move || {
                        let ports = (0..40).map(|k| 1 + round * 1000 + n * 100 + k);
                        ports
                            .filter(|port| member.propose(register(*port)) == Ok(NamingReply::Done.into()))
                            .collect()
                    })
                })
                .collect();
            for writer in writers {
                let done: Vec<u16> = writer.join().unwrap();
                acknowledged.extend(done);
            }
        });
        for member in &mut cluster.members {
            member.crash();
        }
        for member in &mut cluster.members {
            member.start();
        }
        for member in &cluster.members {
            assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
            let lost: Vec<u16> = acknowledged.iter().copied().filter(|port| !member.has(*port)).collect();
            assert_eq!(lost, Vec::<u16>::new(), "round {round}, member {}", member.id);
        }
        cluster.settled();
    }
    assert_eq!(acknowledged.len(), 4 * 120);
}

#[test]
fn an_emptied_disk_joins_under_a_new_id() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    let victim = cluster.a_follower();
    let old = cluster.members[victim].id;
    cluster.members[victim].crash();
    let node = cluster.members[victim].node.clone();
    let mut fresh = Member::new(0xabcd, cluster.dir.path().join("fresh"), |_| {});
    fresh.node = node;
    fresh.start();
    assert_eq!(fresh.block_on(fresh.handle().cluster_id()), None, "an empty member says so");
    let via = cluster.running().next().unwrap().node.cluster_address.clone();
    cluster.members[victim] = fresh;
    let fresh = &cluster.members[victim];
    eventually("the member is admitted", || {
        fresh.block_on(fresh.handle().join(&via, fresh.node.clone())).ok()
    });
    assert!(fresh.block_on(fresh.handle().wait_recovered(LIMIT)));
    assert!(fresh.has(1));
    cluster.settled();
    for member in &cluster.members {
        eventually("three voters, the old id not among them", || {
            let voters = member.voters();
            (voters.len() == 3 && voters.contains(&MemberId(0xabcd)) && !voters.contains(&old)).then_some(())
        });
        assert_eq!(
            member.handle().state().cluster().retired().count(),
            0,
            "that is the Distro cores' to decide"
        );
    }
    fresh.register(2);
    // Asking again changes nothing.
    fresh.block_on(fresh.handle().join(&via, fresh.node.clone())).unwrap();
}

#[test]
fn an_address_that_answers_is_not_given_away() {
    let cluster = Cluster::new(3, |_| {});
    let mut thief = Member::new(0xbad, cluster.dir.path().join("thief"), |_| {});
    thief.node.address = cluster.members[2].node.address.clone();
    thief.start();
    let via = cluster.members[cluster.leader().unwrap()].node.cluster_address.clone();
    let refused = thief.block_on(thief.handle().join(&via, thief.node.clone())).unwrap_err().to_string();
    assert!(refused.contains("which answers"), "{refused}");
    assert_eq!(cluster.members[0].voters().len(), 3);
}

/// A dead member must not cost the living: it is tried again after pauses, not as fast as a connection can fail.
#[test]
fn a_dead_member_is_not_called_without_a_pause() {
    const WRITES: Duration = Duration::from_millis(1_500);
    let mut cluster = Cluster::new(3, |_| {});
    let dead = cluster.a_follower();
    let address = cluster.members[dead].node.cluster_address.clone();
    cluster.members[dead].crash();
    // In its place somebody who hangs up at once, and counts.
    let listener = eventually("bind", || TcpListener::bind(&*address).ok());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let writer = cluster.a_follower();
    let begun = Instant::now();
    let mut port = 0;
    while begun.elapsed() < WRITES {
        port += 1;
        cluster.members[writer].register(port);
    }
    // Heartbeats and votes go on, some ten a second.
    let calls = calls.load(Ordering::Relaxed);
    assert!((1..200).contains(&calls), "{calls} calls in {WRITES:?}");
}

#[test]
fn a_follower_far_behind_gets_a_snapshot() {
    let mut cluster = Cluster::new(3, |config| {
        config.snapshot_every = 100;
        config.keep_entries = 20;
    });
    let late = cluster.a_follower();
    cluster.members[late].crash();
    let writer = cluster.a_follower();
    for port in 1..=400 {
        cluster.members[writer].register(port);
    }
    let leader = &cluster.members[cluster.leader().unwrap()];
    eventually("the log is purged", || leader.handle().status().purged.filter(|purged| *purged > 200));
    cluster.members[late].start();
    cluster.settled();
    let member = &cluster.members[late];
    assert!(member.handle().status().snapshot.is_some(), "it came by snapshot");
    assert!((1..=400).all(|port| member.has(port)));
    cluster.converged();
    // And it starts from that snapshot.
    cluster.members[late].crash();
    cluster.members[late].start();
    cluster.settled();
    assert!((1..=400).all(|port| cluster.members[late].has(port)));
}

#[test]
fn a_leader_hands_over_and_leaves() {
    let cluster = Cluster::new(3, |_| {});
    let leader = &cluster.members[cluster.leader().unwrap()];
    assert!(leader.block_on(leader.handle().transfer_leader()));
    cluster.settled();
    let leader = &cluster.members[cluster.leader().unwrap()];
    let begun = Instant::now();
    leader.block_on(leader.handle().shutdown());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(leader.handle().on_fatal().borrow().clone(), None, "a clean end is no error");
    assert!(matches!(leader.propose(register(1)), Err(ProposeError::NoLeader(_))));
    let other = cluster.members.iter().find(|m| m.id != leader.id).unwrap();
    other.register(2);
}

#[test]
fn without_a_majority_writes_are_refused_and_no_leader_is_shown() {
    let mut cluster = Cluster::new(3, |_| {});
    let leader = cluster.leader().unwrap();
    cluster.members[leader].crash();
    let next = cluster.a_follower();
    cluster.members[next].crash();
    let last = &cluster.members[cluster.a_follower()];
    eventually("no leader is shown", || last.handle().leader().is_none().then_some(()));
    let refused = last.propose(register(1));
    assert!(matches!(refused, Err(ProposeError::NoLeader(_) | ProposeError::Timeout(_))), "{refused:?}");
    assert!(!last.has(1));
}

/// Two disks of three are lost, and with them the majority. The empty members must not speak for the cluster.
#[test]
fn members_with_empty_disks_know_nothing_until_they_are_taken_in() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    cluster.converged();
    assert!(cluster.members.iter().all(|member| member.handle().knowledge() == Knowledge::Known));
    let survivor = cluster.leader().unwrap();
    let lost: Vec<usize> = (0..3).filter(|at| *at != survivor).collect();
    for at in &lost {
        cluster.members[*at].crash();
    }
    for at in lost {
        let mut fresh =
            Member::new(0xf000 + at as u64, cluster.dir.path().join(format!("fresh-{at}")), |_| {});
        fresh.node = cluster.members[at].node.clone();
        fresh.start();
        assert_eq!(fresh.handle().knowledge(), Knowledge::NoCluster);
        fresh.handle().will_join();
        assert_eq!(fresh.handle().knowledge(), Knowledge::Joining);
        cluster.members[at] = fresh;
    }
    assert_eq!(cluster.members[survivor].handle().knowledge(), Knowledge::Known, "it had the state once");
}

#[test]
fn messages_for_others_are_refused_by_name() {
    let cluster = Cluster::new(1, |_| {});
    let member = &cluster.members[0];
    let cluster_id = member.handle().status().cluster_id.unwrap();
    let head = |to: u64, cluster: u128, level: u32| pb::Head {
        from: 99,
        to,
        cluster_id: cluster.to_be_bytes().to_vec().into(),
        level,
        seen: None,
    };
    let me = member.id.0;
    let cases = [
        (head(me, cluster_id, 1), None),
        (head(0, cluster_id, 1), None),
        (head(5, cluster_id, 1), Some("this is member 0000000000001111, not 0000000000000005")),
        (head(me, 7, 1), Some("not 00000000000000000000000000000007")),
        (head(me, cluster_id, 2), Some("protocol level 2")),
        // A process on a copy of the store finds out that it is one.
        (pb::Head { from: me, ..head(me, cluster_id, 1) }, None),
    ];
    member.block_on(async {
        let mut client = RaftClient::new(common::Plain.channel(&member.node.cluster_address));
        for (head, refused) in cases {
            let answer =
                client.ping(pb::PingRequest { head: Some(head.clone()), own: None, process: 0 }).await;
            match (answer, refused) {
                (Ok(reply), None) => assert_eq!(reply.into_inner().member, me),
                (Err(status), Some(text)) => {
                    assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{head:?}");
                    assert!(status.message().contains(text), "{status}");
                }
                (answer, _) => panic!("{head:?}: {answer:?}"),
            }
        }
        for head in [head(5, cluster_id, 1), pb::Head { from: me, ..head(me, cluster_id, 1) }] {
            let vote = pb::VoteRequest { head: Some(head), ..pb::VoteRequest::default() };
            assert_eq!(client.vote(vote).await.unwrap_err().code(), tonic::Code::FailedPrecondition);
        }
    });
    assert_eq!(member.role(), Role::Leader);
}

#[test]
fn initializing_twice_changes_nothing() {
    let cluster = Cluster::new(1, |_| {});
    let member = &cluster.members[0];
    // How far each is may change meanwhile.
    let voters = || {
        member.handle().status().voters.into_iter().map(|peer| (peer.member, peer.node)).collect::<Vec<_>>()
    };
    let before = voters();
    let other = BTreeMap::from([(member.id, member.node.clone()), (MemberId(5), member.node.clone())]);
    member.block_on(member.handle().initialize(other)).unwrap();
    assert_eq!(voters(), before);
}

#[test]
fn a_broken_disk_stops_the_member_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let disk = Arc::new(MemBackend::new());
        let node = Node::new("a:8848", "127.0.0.1:1");
        let config = RaftConfig::new(MemberId(1), dir.path().into());
        let (dial, sink) = (Arc::new(common::Plain), Arc::new(common::NoSink));
        let handle = RaftHandle::start_on((disk.clone(), Arc::new(MemContents::new())), config, dial, sink)
            .await
            .unwrap();
        handle.initialize(BTreeMap::from([(MemberId(1), node)])).await.unwrap();
        assert_eq!(handle.propose(register(1)).await, Ok(NamingReply::Done.into()));
        let mut fatal = handle.on_fatal();
        disk.fail();
        assert!(handle.propose(register(2)).await.is_err());
        let fatal = fatal.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(fatal.exit_code(), 5);
        assert!(fatal.to_string().contains("memory: the disk is broken"), "{fatal}");
        let refused = handle.propose(register(3)).await;
        assert!(matches!(refused, Err(ProposeError::Storage(_))), "{refused:?}");
    });
}

/// The answer to a forwarded write may be lost, and the write forwarded again.
#[test]
fn a_write_that_is_forwarded_twice_takes_effect_once() {
    let cluster = Cluster::new(3, |_| {});
    let leader = &cluster.members[cluster.leader().unwrap()];
    eventually("the level is raised", || (leader.handle().state().cluster().level() == LEVEL).then_some(()));
    leader.register(1);
    let address = Instance::new("10.0.0.1", 1).address();
    let deregister = NamingCommand::Deregister { service: common::service(), address };
    let envelope = Envelope { request: RequestId(7), command: deregister.into() };
    let head = pb::Head {
        from: 99,
        to: leader.id.0,
        cluster_id: leader.handle().status().cluster_id.unwrap().to_be_bytes().to_vec().into(),
        level: 1,
        seen: None,
    };
    let request =
        pb::ProposeRequest { head: Some(head), command: envelope.encode().into(), deadline_ms: 5_000 };
    let mut client =
        leader.block_on(async { RaftClient::new(common::Plain.channel(&leader.node.cluster_address)) });
    let mut forward = || leader.block_on(client.propose(request.clone())).unwrap().into_inner().result;
    let applied = |result| match result {
        Some(pb::propose_reply::Result::Applied(applied)) => CpReply::decode(Part::Naming, &applied.reply),
        other => panic!("{other:?}"),
    };
    let first = applied(forward()).unwrap();
    assert!(!leader.has(1));
    leader.register(1);
    assert_eq!(applied(forward()).unwrap(), first);
    assert!(leader.has(1), "what was registered since stays");
    cluster.converged();
}

fn level(member: &Member) -> u32 {
    member.handle().state().cluster().level()
}

/// By new rules only when no member is left that would apply the log by the old ones.
#[test]
fn the_level_rises_when_every_member_knows_it() {
    let mut cluster = Cluster::new(3, |config| {
        if config.member == MemberId(0x3333) {
            config.state_level = 1;
        }
    });
    // Each new leader looks at once.
    for port in 1..=4 {
        let leader = &cluster.members[cluster.leader().unwrap()];
        assert!(leader.block_on(leader.handle().transfer_leader()));
        cluster.settled();
        cluster.members[0].register(port);
    }
    assert!(cluster.members.iter().all(|member| level(member) == 1));
    cluster.members[2].crash();
    cluster.members[2].tune = |_| {};
    cluster.members[2].start();
    for member in &cluster.members {
        eventually("the level is raised", || (level(member) == LEVEL).then_some(()));
    }
    let mut old = Member::new(0xabcd, cluster.dir.path().join("old"), |config| config.state_level = 1);
    old.start();
    let via = cluster.members[cluster.leader().unwrap()].node.cluster_address.clone();
    let refused = old.block_on(old.handle().join(&via, old.node.clone())).unwrap_err().to_string();
    assert!(
        refused.contains("of level 3, and the build of member 000000000000abcd knows level 1"),
        "{refused}"
    );
    assert_eq!(cluster.members[0].voters().len(), 3);
}
