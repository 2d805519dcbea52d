//! Members with wrong clocks: whose time counts, and what the leader writes into the log.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Cluster, Member, eventually};
use dyad_types::MemberId;

const NOW_MS: u64 = 1_700_000_000_000;
const MONTH_MS: u64 = 31 * 86_400_000;

#[test]
fn one_clock_that_is_ahead_does_not_decide_what_time_it_is() {
    let mut cluster = Cluster::new(3, |config| config.wall_clock = || NOW_MS);
    let ahead = |member: &Member| member.handle().ahead_ms(Duration::from_millis(MONTH_MS));
    has_time(&cluster.members[0], Some(NOW_MS), "three equal clocks");
    assert_eq!(ahead(&cluster.members[0]), 0);
    cluster.members[0].crash();
    cluster.members[0].tune = |config| config.wall_clock = || NOW_MS + MONTH_MS;
    cluster.members[0].start();
    cluster.settled();
    has_time(&cluster.members[0], Some(NOW_MS), "its own clock is one of three");
    eventually("asked", || (ahead(&cluster.members[1]) == MONTH_MS).then_some(()));
    assert_eq!(ahead(&cluster.members[0]), 0);
    assert_eq!(cluster.members[1].handle().ahead_ms(Duration::from_secs(60)), 0, "a wrong clock");
    for member in &cluster.members {
        // Each asks once a second.
        eventually("all clocks are known", || {
            let all = member.handle().clock_differences();
            let right = |(id, ms): &(MemberId, i64)| {
                let want = if *id == cluster.members[0].id { MONTH_MS } else { 0 };
                ms.abs_diff(want as i64) < ANSWERED_MS
            };
            (all.len() == 3 && all.iter().all(right)).then_some(())
        });
    }
    cluster.members[1].crash();
    silent(&cluster.members[0], &[1], &cluster);
    has_time(&cluster.members[0], Some(NOW_MS), "nor if one of three is away");
    cluster.members[2].crash();
    silent(&cluster.members[0], &[1, 2], &cluster);
    has_time(&cluster.members[0], None, "one of three is no majority");

    let alone = Cluster::new(1, |config| config.wall_clock = || NOW_MS + MONTH_MS);
    has_time(&alone.members[0], Some(NOW_MS + MONTH_MS), "there is no other clock");
}

/// What the members tell each other is older by this at most; the clocks of these tests stand still.
const ANSWERED_MS: u64 = 5_000;

fn has_time(member: &Member, want: Option<u64>, why: &str) {
    let time = || member.handle().time_of_majority();
    let near = || match (time(), want) {
        (Some(time), Some(want)) => time.abs_diff(want) < ANSWERED_MS,
        (None, None) => true,
        _ => false,
    };
    eventually(why, || near().then_some(()));
}

/// Waits until these and no others do not answer `member`.
fn silent(member: &Member, which: &[usize], cluster: &Cluster) {
    let want: Vec<MemberId> = which.iter().map(|at| cluster.members[*at].id).collect();
    eventually("silence is noticed", || {
        let others = member.handle().others().into_iter().filter(|other| other.silence.is_some());
        let mut found: Vec<MemberId> = others.map(|other| other.member).collect();
        found.sort();
        (found == want).then_some(())
    });
    for other in member.handle().others() {
        if let Some(silence) = other.silence {
            assert!(silence.answered_before, "{silence:?}");
            assert!(silence.why.contains("refused"), "{silence:?}");
        }
    }
}

/// The stamp of the newest entry that the member has applied; stamps of the state itself never go back.
fn stamp(member: &Member) -> u64 {
    member.handle().state().now_ms()
}

#[test]
fn a_leader_whose_clock_is_wrong_stamps_by_the_clocks_of_the_others() {
    let mut cluster = Cluster::new(3, |config| config.wall_clock = || NOW_MS);
    cluster.members[0].crash();
    cluster.members[0].tune = |config| config.wall_clock = || NOW_MS + MONTH_MS;
    cluster.members[0].start();
    cluster.settled();
    let wrong = cluster.members[0].id;
    for port in 1.. {
        let leader = &cluster.members[cluster.leader().unwrap()];
        if leader.id == wrong {
            break;
        }
        assert!(port < 50, "the leadership never went to member 0");
        assert!(leader.block_on(leader.handle().transfer_leader()));
        cluster.settled();
    }
    let knows = || cluster.members[0].handle().clock_differences().len() == 3;
    eventually("the other clocks are known", || knows().then_some(()));
    cluster.members[0].register(1);
    assert!(stamp(&cluster.members[0]).abs_diff(NOW_MS) < ANSWERED_MS, "{}", stamp(&cluster.members[0]));
    // One of the two that are left says this, the other one says that: what was known of the third decides.
    cluster.members[1].crash();
    silent(&cluster.members[0], &[1], &cluster);
    cluster.members[0].register(2);
    let late = 60_000;
    assert!(stamp(&cluster.members[0]).abs_diff(NOW_MS) < late, "{}", stamp(&cluster.members[0]));
}
