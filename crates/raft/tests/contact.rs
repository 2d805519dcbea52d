//! What a member answers that has lost contact: soon, and never that a write failed which may take effect.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Cluster, Member, eventually, register};
use dyad_naming::cp::NamingReply;
use dyad_raft::Role;
use dyad_state::ports::{CpSink, Linearize, Propose, ProposeError};
use dyad_state::{CpChanges, CpState, LEVEL};

/// An election timeout and a second: when an answer must be there that was asked for at the moment of the cut.
const FIRST: Duration = Duration::from_millis(1600);
/// Once contact has been lost for an election timeout.
const LATER: Duration = Duration::from_millis(1000);
/// A busy machine.
const SLACK: Duration = Duration::from_millis(600);

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    (work(), begun.elapsed())
}

fn read(member: &Member) -> Result<(), ProposeError> {
    member.block_on(member.handle().linearize())
}

/// Writes and reads of a member that lost contact longer ago than an election timeout.
fn refuses_soon(member: &Member, port: u16) {
    let (written, took) = timed(|| member.propose(register(port)));
    assert!(matches!(written, Err(ProposeError::NoLeader(_))), "nobody took it: {written:?}");
    assert!(took < LATER + SLACK, "a write: {took:?}");
    let (read, took) = timed(|| read(member));
    assert!(matches!(read, Err(ProposeError::NoLeader(_))), "{read:?}");
    assert!(took < LATER + SLACK, "a read: {took:?}");
}

#[test]
fn a_follower_that_is_cut_off_refuses_soon() {
    let cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    let lonely = cluster.a_follower();
    let member = &cluster.members[lonely];
    cluster.cut_off(lonely);
    // The leader may still get this one: its outcome is not known.
    let (written, took) = timed(|| member.propose(register(2)));
    assert!(matches!(written, Err(ProposeError::Timeout(_))), "{written:?}");
    assert!(took < FIRST + SLACK, "{took:?}");
    refuses_soon(member, 3);
    cluster.links.heal();
    eventually("contact again", || member.propose(register(4)).ok());
    assert!(!cluster.members.iter().any(|m| m.has(3)), "what was refused has no effect");
}

#[test]
fn a_leader_that_lost_its_majority_refuses_soon() {
    let cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    let lonely = cluster.leader().unwrap();
    let member = &cluster.members[lonely];
    cluster.cut_off(lonely);
    // In the leader's own log, and so in doubt.
    let (written, took) = timed(|| member.propose(register(2)));
    assert!(matches!(written, Err(ProposeError::Timeout(_))), "{written:?}");
    assert!(took < FIRST + SLACK, "{took:?}");
    assert_eq!(member.role(), Role::Leader, "it does not know better");
    refuses_soon(member, 3);
    let (_, others) = (0..3).partition::<Vec<usize>, _>(|at| *at == lonely);
    eventually("the others elect", || cluster.members[others[0]].propose(register(4)).ok());
    cluster.links.heal();
    cluster.settled();
    cluster.converged();
    assert!(!cluster.members.iter().any(|m| m.has(3)), "what was refused has no effect");
}

/// The members that hear a leader which has lost its majority learn it from its refusals.
#[test]
fn followers_of_a_leader_without_a_majority_are_refused_soon() {
    let mut cluster = Cluster::new(5, |_| {});
    let (leader, follower) = (cluster.leader().unwrap(), cluster.a_follower());
    for at in (0..5).filter(|at| *at != leader && *at != follower) {
        cluster.members[at].crash();
    }
    let member = &cluster.members[follower];
    eventually("the leader's lease ends", || {
        matches!(member.propose(register(1)), Err(ProposeError::NoLeader(_))).then_some(())
    });
    let (written, took) = timed(|| member.propose(register(2)));
    assert!(matches!(written, Err(ProposeError::NoLeader(_))), "{written:?}");
    assert!(took < FIRST + SLACK, "{took:?}");
    let (read, took) = timed(|| read(member));
    assert!(matches!(read, Err(ProposeError::NoLeader(_))), "{read:?}");
    assert!(took < FIRST + SLACK, "{took:?}");
}

/// A firewall may have one direction only: the leader's connections arrive here, those to the leader do not.
#[test]
fn a_leader_that_is_heard_but_cannot_be_reached_is_given_up_soon() {
    let cluster = Cluster::new(3, |_| {});
    cluster.members[0].register(1);
    let (leader, follower) = (cluster.leader().unwrap(), cluster.a_follower());
    let member = &cluster.members[follower];
    let address = |at: usize| &cluster.members[at].node.cluster_address;
    cluster.links.cut_way(address(follower), address(leader));
    for port in 2..4 {
        let (written, took) = timed(|| member.propose(register(port)));
        assert!(matches!(written, Err(ProposeError::Timeout(_))), "it may have arrived: {written:?}");
        assert!(took < LATER + SLACK, "a write: {took:?}");
        let (read, took) = timed(|| read(member));
        assert!(matches!(read, Err(ProposeError::NoLeader(_))), "{read:?}");
        assert!(took < LATER + SLACK, "a read: {took:?}");
        assert!(member.handle().leader().is_some(), "the leader is heard");
    }
    cluster.links.heal();
    eventually("the way to the leader", || member.propose(register(4)).ok());
}

/// Longer than any wait that ends because nobody answers.
const SLOW: Duration = Duration::from_millis(1700);

/// Takes long for each command while it is told to.
#[derive(Default)]
struct SlowSink(AtomicBool);

impl CpSink for SlowSink {
    fn applied(&self, _: &CpState, _: &CpChanges) {
        if self.0.load(Ordering::Relaxed) {
            tokio::task::block_in_place(|| std::thread::sleep(SLOW));
        }
    }

    fn installed(&self, _: &CpState) {}
}

#[test]
fn a_leader_that_is_slow_is_not_given_up() {
    let sink = Arc::new(SlowSink::default());
    let cluster = Cluster::with_sink(3, |_| {}, Arc::<SlowSink>::clone(&sink));
    cluster.members[0].register(1);
    let member = &cluster.members[cluster.a_follower()];
    // The entry that raises it is to be over.
    let level = |m: &Member| m.handle().state().cluster().level();
    eventually("the level is raised", || cluster.running().all(|m| level(m) == LEVEL).then_some(()));
    sink.0.store(true, Ordering::Relaxed);
    let (written, took) = timed(|| member.propose(register(2)));
    sink.0.store(false, Ordering::Relaxed);
    assert_eq!(written, Ok(NamingReply::Done.into()));
    assert!(took >= SLOW, "{took:?}");
}

/// What comes while a dead leader is replaced waits for the next one: clients that were refused by all members in turn would
/// have to report a failure.
#[test]
fn writes_outlast_an_ordinary_election() {
    let mut outlasted = 0;
    // Three elections, since a vote that is split on a busy machine takes a second round.
    for _ in 0..3 {
        let mut cluster = Cluster::new(3, |_| {});
        cluster.members[0].register(1);
        let dead = cluster.leader().unwrap();
        cluster.members[dead].crash();
        let survivor = &cluster.members[cluster.a_follower()];
        let writes = (2..8).map(async |port| {
            tokio::time::sleep(Duration::from_millis(u64::from(port) * 150)).await;
            survivor.handle().propose(register(port)).await
        });
        let answers = survivor.block_on(futures::future::join_all(writes));
        outlasted += u32::from(answers.iter().all(|answer| *answer == Ok(NamingReply::Done.into())));
    }
    assert!(outlasted >= 2, "{outlasted} of 3");
}
