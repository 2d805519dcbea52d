//! Changes of the membership, with crashes and cuts in the middle of them: no acknowledged write is lost, no two sides acknowledge, and
//! in the end all members agree on who they are.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and prints how to repeat it")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use common::{Cluster, Member, Plain, eventually, register};
use dyad_naming::cp::NamingReply;
use dyad_proto::raft as pb;
use dyad_proto::raft::raft_client::RaftClient;
use dyad_raft::{Dial, MemberChange, Role, SledBackend, SledContents, Standing};
use dyad_types::MemberId;

/// How long a member that joins waits for the answer here.
const ASKED: Duration = Duration::from_secs(1);

/// A generator of its own, so that a failure can be repeated by its seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

fn change(via: &Member, change: MemberChange) -> Result<String, String> {
    via.block_on(via.handle().change_members(change)).map_err(|error| error.to_string())
}

fn voters(member: &Member) -> Vec<MemberId> {
    member.voters()
}

fn agree(cluster: &Cluster, on: &[usize]) {
    let mut want: Vec<MemberId> = on.iter().map(|at| cluster.members[*at].id).collect();
    want.sort();
    for at in on {
        eventually("the members agree", || (voters(&cluster.members[*at]) == want).then_some(()));
    }
}

#[test]
fn a_member_is_removed_and_added_again() {
    let cluster = Cluster::new(3, |_| {});
    let leader = &cluster.members[cluster.leader().unwrap()];
    let other = &cluster.members[cluster.a_follower()];
    let removed = change(other, MemberChange::Remove(leader.node.address.clone())).unwrap();
    assert!(removed.contains("was removed"), "{removed}");
    let left: Vec<usize> = (0..3).filter(|at| cluster.members[*at].id != leader.id).collect();
    agree(&cluster, &left);
    let state = other.handle().state();
    assert!(state.cluster().is_excluded(&leader.node.address));
    // It would come back by itself, if it was not excluded.
    let via = other.node.cluster_address.clone();
    let refused = leader.block_on(leader.handle().join(&via, leader.node.clone())).unwrap_err().to_string();
    assert!(refused.contains("was removed from the cluster"), "{refused}");
    other.register(1);
    change(other, MemberChange::Add(leader.node.clone())).unwrap();
    agree(&cluster, &[0, 1, 2]);
    eventually("it has what it missed", || leader.has(1).then_some(()));
    assert!(!other.handle().state().cluster().is_excluded(&leader.node.address));
}

#[test]
fn what_would_cost_the_majority_is_refused() {
    let mut cluster = Cluster::new(3, |_| {});
    let dead = cluster.a_follower();
    cluster.members[dead].crash();
    let leader = cluster.leader().unwrap();
    let live = (0..3).find(|at| ![dead, leader].contains(at)).unwrap();
    let address = |at: usize| cluster.members[at].node.address.clone();
    let via = &cluster.members[leader];
    for (what, why) in [
        (MemberChange::Remove(address(live)), "no majority"),
        (MemberChange::Demote(address(live)), "no majority"),
        (MemberChange::Remove(address(leader)), "no majority"),
        (MemberChange::Transfer(Some("x:1".into())), "no member has the address or id x:1"),
        (MemberChange::Promote("0000000000009999".into()), "no member has the address or id"),
        (MemberChange::Add(dyad_raft::Node::new("a", "b")), "each as host:port"),
    ] {
        let refused = change(via, what.clone()).unwrap_err();
        assert!(refused.contains(why), "{what:?}: {refused}");
    }
    assert_eq!(voters(via).len(), 3);
    change(via, MemberChange::Remove(address(dead))).unwrap();
    agree(&cluster, &[leader, live]);
    let last = change(via, MemberChange::Remove(address(live)));
    assert!(last.is_ok(), "{last:?}");
    let refused = change(via, MemberChange::Remove(address(leader))).unwrap_err();
    assert!(refused.contains("it is the only voter"), "{refused}");
}

/// A learner has no say: two voters of which one is dead write nothing, however many learners there are.
#[test]
fn a_learner_does_not_count() {
    let mut cluster = Cluster::new(4, |_| {});
    let leader = cluster.leader().unwrap();
    let followers: Vec<usize> = (0..4).filter(|at| *at != leader).collect();
    for at in &followers[..2] {
        change(&cluster.members[leader], MemberChange::Demote(cluster.members[*at].node.address.clone()))
            .unwrap();
    }
    agree(&cluster, &[leader, followers[2]]);
    cluster.members[followers[2]].crash();
    let refused = cluster.members[leader].propose(register(1));
    assert!(refused.is_err(), "{refused:?}");
    assert!(followers[..2].iter().all(|at| cluster.members[*at].role() != Role::Leader));
    cluster.members[followers[2]].start();
    cluster.members[leader].register(2);
    change(
        &cluster.members[leader],
        MemberChange::Promote(cluster.members[followers[0]].node.address.clone()),
    )
    .unwrap();
    agree(&cluster, &[leader, followers[2], followers[0]]);
}

/// A learner takes the place of a voter while the leader reaches only the learner. The new members would be a majority, the old ones
/// are none: the two others go on, and the change does not happen behind their backs.
#[test]
fn a_replacement_needs_a_majority_of_the_old_members() {
    let cluster = Cluster::new(4, |_| {});
    let leader = cluster.leader().unwrap();
    let [learner, b, c] = [1, 2, 3].map(|n| (leader + n) % 4);
    let node = |at: usize| cluster.members[at].node.clone();
    change(&cluster.members[leader], MemberChange::Demote(node(learner).address)).unwrap();
    agree(&cluster, &[leader, b, c]);
    cluster.converged();
    for one in [leader, learner] {
        for other in [b, c] {
            cluster.links.cut(&node(one).cluster_address, &node(other).cluster_address);
        }
    }
    let replaced = std::thread::scope(|scope| {
        let old = &cluster.members[leader];
        let what = MemberChange::Replace { old: node(c).address, node: node(learner) };
        let replaced = scope.spawn(move || change(old, what));
        let leads = |at: usize| cluster.members[at].role() == Role::Leader;
        eventually("the two others go on", || (leads(b) || leads(c)).then_some(()));
        cluster.members[b].register(1);
        let refused = old.propose(register(2));
        assert!(refused.is_err(), "two truths: {refused:?}");
        assert!(
            voters(&cluster.members[b]).contains(&cluster.members[c].id),
            "a member is gone behind its back"
        );
        cluster.links.heal();
        replaced.join().unwrap()
    });
    // The next leader may have been asked for the change when the ways were open again.
    let left = if replaced.is_ok() { [leader, b, learner] } else { [leader, b, c] };
    agree(&cluster, &left);
    let caught_up = || left.iter().all(|at| cluster.members[*at].has(1)).then_some(());
    eventually("they have what was acknowledged", caught_up);
    assert!(left.iter().all(|at| !cluster.members[*at].has(2)));
}

/// The leader is cut off while it changes the membership. Its successor decides, and nothing is half done in the end.
#[test]
fn a_change_of_a_leader_that_is_cut_off() {
    let cluster = Cluster::new(5, |_| {});
    for port in 1..=8 {
        let leader = cluster.leader().unwrap();
        let old = &cluster.members[leader];
        let gone = cluster.members[(leader + 1) % 5].node.address.clone();
        // Who is demoted stays a member, whatever happens in between.
        let demotes = port % 2 == 0;
        let what = if demotes { MemberChange::Demote(gone) } else { MemberChange::Remove(gone) };
        let handle = Arc::clone(old.handle());
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(|| old.block_on(handle.change_members(what)));
            std::thread::sleep(Duration::from_millis(u64::from(port) * 2));
            cluster.cut_off(leader);
            let other = (0..5).find(|at| ![leader, (leader + 1) % 5].contains(at)).unwrap();
            // The first one may be on its way to the leader that is cut off, so that its outcome is not known.
            eventually("a write is taken", || cluster.members[other].propose(register(port)).ok());
            cluster.links.heal();
            asked.join().unwrap()
        });
        // Whatever became of it, all say the same, and it can be taken back.
        eventually("one membership", || {
            let all: Vec<Vec<MemberId>> = (0..5).map(|at| voters(&cluster.members[at])).collect();
            let now = &all[cluster.leader()?];
            let id = cluster.members[(leader + 1) % 5].id;
            let status = cluster.members[cluster.leader()?].handle().status();
            let joint = status.joint;
            if demotes {
                assert!(
                    status.voters.iter().chain(&status.learners).any(|peer| peer.member == id),
                    "it is gone"
                );
            }
            let agreed = now.iter().all(|member| {
                let at = cluster.members.iter().position(|m| m.id == *member).unwrap();
                all[at] == *now
            });
            (!joint && agreed && (now.len() == 5 || !now.contains(&id))).then_some(())
        });
        let via = &cluster.members[cluster.leader().unwrap()];
        let back = cluster.members[(leader + 1) % 5].node.clone();
        let added = eventually("it is back", || {
            let added = change(via, MemberChange::Add(back.clone())).ok()?;
            change(via, MemberChange::Promote(back.address.clone())).ok().map(|_| added)
        });
        assert!(added.contains("is a member"), "{added}, after {asked:?}");
        agree(&cluster, &[0, 1, 2, 3, 4]);
    }
    cluster.settled();
    assert!((1..=8).all(|port| cluster.members[cluster.leader().unwrap()].has(port)));
}

/// A member with an empty disk takes the place of the one that had its address, although the leader dies in between and nobody asks again.
#[test]
fn who_lost_its_disk_is_replaced_by_whichever_leader() {
    for round in 0..4_u64 {
        let mut cluster = Cluster::new(3, |_| {});
        cluster.members[0].register(1);
        cluster.converged();
        let leader = cluster.leader().unwrap();
        let (lost, third) = ((leader + 1) % 3, (leader + 2) % 3);
        cluster.members[lost].crash();
        let old = cluster.members[lost].id;
        let mut new = Member::new(0x9999, cluster.dir.path().join("new"), |_| {});
        (new.node, new.links) = (cluster.members[lost].node.clone(), Arc::clone(&cluster.links));
        new.start();
        let via = cluster.members[third].node.cluster_address.clone();
        std::thread::scope(|scope| {
            // Whoever carried the question to the leader may wait for its answer far longer.
            let join = async { tokio::time::timeout(ASKED, new.handle().join(&via, new.node.clone())).await };
            let joined = scope.spawn(|| new.block_on(join));
            std::thread::sleep(Duration::from_millis(round * 4));
            cluster.cut_off(leader);
            let _whatever = joined.join().unwrap();
        });
        cluster.links.heal();
        let status = || cluster.members[third].handle().status();
        // Who is in no membership yet asks again.
        if status().voters.iter().chain(&status().learners).any(|peer| peer.member == new.id) {
            eventually("it has taken the place", || {
                let voters = cluster.members[third].voters();
                (voters.contains(&new.id) && !voters.contains(&old) && voters.len() == 3).then_some(())
            });
        }
    }
}

/// Two members that come back with each other's address are members still.
#[test]
fn members_that_swap_their_addresses_stay_members() {
    let mut cluster = Cluster::new(5, |_| {});
    cluster.members[0].register(1);
    cluster.converged();
    let leader = cluster.leader().unwrap();
    let [a, b, via] = [1, 2, 3].map(|n| (leader + n) % 5);
    let via = cluster.members[via].node.cluster_address.clone();
    cluster.members[a].crash();
    cluster.members[b].crash();
    let node = cluster.members[a].node.clone();
    cluster.members[a].node = std::mem::replace(&mut cluster.members[b].node, node);
    for at in [a, b] {
        cluster.members[at].start();
        let member = &cluster.members[at];
        eventually("it moves", || member.block_on(member.handle().join(&via, member.node.clone())).ok());
    }
    agree(&cluster, &[0, 1, 2, 3, 4]);
    cluster.members[a].register(2);
    cluster.converged();
    assert!(cluster.members.iter().all(|member| member.has(2)));
}

/// A leader that must not speak for its cluster lets another member lead.
#[test]
fn a_barred_leader_hands_over() {
    let cluster = Cluster::new(3, |_| {});
    let leader = cluster.leader().unwrap();
    cluster.members[leader].handle().stand(Standing::Barred("two clusters".into()));
    let next = eventually("another member leads", || cluster.leader().filter(|next| *next != leader));
    cluster.members[next].register(1);
    assert!(cluster.members[leader].propose(register(2)).is_err());
    cluster.members[leader].handle().stand(Standing::Member);
    cluster.members[leader].register(3);
}

/// Members that must not speak for their cluster do not lead where another one can, and do not pass the leadership around where none can.
#[test]
fn barred_members_do_not_hand_over_to_each_other() {
    let cluster = Cluster::new(3, |_| {});
    let leader = cluster.leader().unwrap();
    let (second, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let bar = |at: usize| cluster.members[at].handle().stand(Standing::Barred("two clusters".into()));
    bar(second);
    cluster.members[leader].register(1);
    let knows = || {
        let others = cluster.members[leader].handle().others();
        others.iter().any(|other| other.member == cluster.members[second].id && other.barred)
    };
    eventually("the leader knows whom it cannot choose", || knows().then_some(()));
    bar(leader);
    eventually("the third leads", || (cluster.leader() == Some(third)).then_some(()));
    bar(third);
    let term = cluster.members[third].handle().status().term;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert!(cluster.members[third].propose(register(2)).is_err());
        assert!(cluster.members[third].handle().status().term <= term + 1, "the leadership goes around");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A member that has just started votes for nobody, does not lead and takes no entries before it has asked what others have seen of its
/// store.
#[test]
fn nobody_votes_before_asking_what_was_seen() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    cluster.converged();
    let at = cluster.a_follower();
    let candidate = cluster.members[(at + 1) % 3].id.0;
    cluster.members[at].crash();
    cluster.cut_off(at);
    cluster.members[at].start();
    let member = &cluster.members[at];
    let cluster_id = member.handle().status().cluster_id.unwrap();
    let head = || pb::Head {
        from: candidate,
        to: member.id.0,
        cluster_id: cluster_id.to_be_bytes().to_vec().into(),
        level: 1,
        seen: None,
    };
    let vote = || {
        let vote = pb::Vote { term: 99, member: candidate, committed: false };
        let last = Some(pb::LogId { term: 98, leader: candidate, index: 1_000 });
        let request = pb::VoteRequest {
            head: Some(head()),
            vote: Some(vote),
            last,
            pre_vote: true,
            ..Default::default()
        };
        member.block_on(async {
            RaftClient::new(Plain.channel(&member.node.cluster_address)).vote(request).await
        })
    };
    let entries = || {
        let head = head();
        let vote = Some(pb::Vote { term: 99, member: candidate, committed: true });
        let entries = vec![bytes::Bytes::from_static(b"any")];
        let request = pb::AppendRequest { head: Some(head), vote, entries, ..Default::default() };
        member.block_on(async {
            let requests = futures::stream::iter([request]);
            let replies = RaftClient::new(Plain.channel(&member.node.cluster_address)).append(requests).await;
            replies.unwrap().into_inner().message().await
        })
    };
    let lead = || {
        let vote = Some(pb::Vote { term: 99, member: candidate, committed: true });
        let request =
            pb::TransferRequest { head: Some(head()), from_leader: vote, to: member.id.0, last: None };
        member.block_on(async {
            RaftClient::new(Plain.channel(&member.node.cluster_address)).transfer_leader(request).await
        })
    };
    for refused in [vote().unwrap_err(), entries().unwrap_err(), lead().unwrap_err()] {
        assert!(refused.message().contains("asks first"), "{refused}");
    }
    cluster.links.heal();
    eventually("it votes", || vote().ok());
    cluster.settled();
}

/// Members come and go while ways between them are cut and healed, and somebody writes all the time.
#[test]
fn changes_while_ways_are_cut() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(13);
    println!("SEED={seed}");
    let mut random = Seeded(seed);
    let cluster = Cluster::new(5, |_| {});
    let (over, next) = (AtomicBool::new(false), AtomicU16::new(1));
    let (over, next) = (&over, &next);
    let acknowledged = std::thread::scope(|scope| {
        // One at each member: those that are removed answer nothing for seconds.
        let write = |member: &Member| {
            let mut acknowledged = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let port = next.fetch_add(1, Ordering::Relaxed);
                if member.propose(register(port)) == Ok(NamingReply::Done.into()) {
                    acknowledged.push(port);
                }
            }
            acknowledged
        };
        let writers: Vec<_> =
            cluster.members.iter().map(|member| scope.spawn(move || write(member))).collect();
        for _ in 0..12 {
            let (one, other) = (random.below(5), random.below(5));
            if one != other {
                let at = |at: usize| &cluster.members[at].node.cluster_address;
                cluster.links.cut(at(one), at(other));
            }
            let member = &cluster.members[random.below(5)];
            let via = &cluster.members[random.below(5)];
            let what = match random.below(4) {
                0 => MemberChange::Remove(member.node.address.clone()),
                1 => MemberChange::Demote(member.node.address.clone()),
                2 => MemberChange::Promote(member.node.address.clone()),
                _ => MemberChange::Add(member.node.clone()),
            };
            let said = change(via, what.clone());
            println!("{what:?}: {said:?}");
            cluster.links.heal();
        }
        over.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<u16>>()
    });
    println!("{} writes acknowledged", acknowledged.len());
    assert!(acknowledged.len() > 50, "the writer was at work");
    // Everybody is taken in again, and has everything.
    for member in &cluster.members {
        eventually("it is a voter", || {
            let via = &cluster.members[cluster.leader()?];
            change(via, MemberChange::Add(member.node.clone())).ok()?;
            change(via, MemberChange::Promote(member.node.address.clone())).ok()
        });
    }
    agree(&cluster, &[0, 1, 2, 3, 4]);
    cluster.converged();
    for member in &cluster.members {
        let lost: Vec<u16> = acknowledged.iter().copied().filter(|port| !member.has(*port)).collect();
        assert!(lost.is_empty(), "SEED={seed}: {lost:?}");
    }
}

/// Two processes on copies of one store: the one that is not at the member's address ends, although it has all that the other one has.
#[test]
fn a_copy_at_another_address_is_told_that_it_is_one() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    cluster.converged();
    let at = cluster.a_follower();
    cluster.members[at].crash();
    // Its threads end in their own time, and write until then.
    let dir = &cluster.members[at].dir;
    drop(eventually("the log is left alone", || SledBackend::open(&dir.join("raft")).ok()));
    drop(eventually("the contents are left alone", || SledContents::open(&dir.join("contents")).ok()));
    let mut copy = Member::new(cluster.members[at].id.0, cluster.dir.path().join("copy"), |_| {});
    copy.links = Arc::clone(&cluster.links);
    for directory in ["raft", "contents", "snapshots"] {
        let to = copy.dir.join(directory);
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(cluster.members[at].dir.join(directory)).into_iter().flatten() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    }
    cluster.members[at].start();
    cluster.settled();
    copy.start();
    let fatal = eventually("the copy ends", || copy.handle().status().fatal);
    assert!(fatal.to_string().contains("is a copy"), "{fatal}");
    assert_eq!(cluster.members[at].handle().status().fatal, None);
    cluster.members[at].register(2);
}
