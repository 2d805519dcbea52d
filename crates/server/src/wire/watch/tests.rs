//! What the watch says, by tables: at which second what is observed, and which lines follow.

use dyad_raft::{Disk, DiskRoom};
use dyad_types::{MemberId, Millis};

use super::lines::{Line, Observed, Seat, Silent, Watch};

const ME: MemberId = MemberId(1);
const B: MemberId = MemberId(2);
const C: MemberId = MemberId(3);
const NAME_B: &str = "member b:8848 (0000000000000002)";

fn seat(member: MemberId, address: &str, voter: bool) -> Seat {
    Seat { member, address: address.into(), voter }
}

fn calm() -> Observed {
    Observed {
        seats: vec![seat(ME, "a:8848", true), seat(B, "b:8848", true), seat(C, "c:8848", true)],
        silent: Vec::new(),
        removed: false,
        rooms: vec![(B, DiskRoom::All)],
        leader: Some((ME, 4)),
        clocks: vec![(ME, 0), (B, 3), (C, -3)],
        disk: Disk {
            free_bytes: Some(700 << 20),
            reserve_bytes: 512 << 20,
            room: DiskRoom::All,
            file: "/data/raft/db".into(),
        },
    }
}

fn silent(member: MemberId, for_ms: u64) -> Observed {
    let why = "Connection refused (os error 111)".to_owned();
    Observed { silent: vec![Silent { member, for_ms, answered_before: true, why }], ..calm() }
}

/// A watch that has seen that all is well.
fn watching() -> Watch {
    let mut watch = Watch::new(ME);
    let first = watch.look(&calm(), Millis(0));
    assert_eq!(first, [Line::Info("this member leads from now on, in term 4".into())]);
    watch
}

fn at(watch: &mut Watch, second: u64, seen: &Observed) -> Vec<Line> {
    watch.look(seen, Millis(second * 1_000))
}

fn info(text: &str) -> Vec<Line> {
    vec![Line::Info(text.into())]
}

#[test]
fn a_member_that_stops_is_told_once_and_then_once_a_minute_until_it_is_back() {
    let mut watch = watching();
    let mut told = Vec::new();
    for second in 1..=130 {
        let seen = silent(B, second * 1_000);
        told.extend(at(&mut watch, second, &seen).into_iter().map(|line| (second, line)));
    }
    let line = |last: &str| {
        Line::Warn(format!("{NAME_B} does not answer: Connection refused (os error 111) (for {last})"))
    };
    assert_eq!(told, [(3, line("3 s")), (63, line("63 s")), (123, line("2 min"))]);
    assert_eq!(at(&mut watch, 131, &calm()), info(&format!("{NAME_B} answers again, after 2 min")));
    assert_eq!(at(&mut watch, 132, &calm()), []);
}

#[test]
fn what_is_over_within_three_seconds_is_not_told() {
    let mut watch = watching();
    let mut everything = silent(B, 1_000);
    everything.leader = None;
    everything.disk.room = DiskRoom::NoEntries;
    everything.rooms = vec![(C, DiskRoom::NoEntries)];
    everything.clocks = vec![(ME, 0), (B, 60_000), (C, 0)];
    for (second, seen) in [(1, &everything), (2, &calm()), (3, &everything), (5, &calm())] {
        assert_eq!(at(&mut watch, second, seen), [], "second {second}");
    }
    let mut told = at(&mut watch, 6, &everything);
    told.extend(at(&mut watch, 9, &everything));
    assert_eq!(told.len(), 6, "{told:?}");
    let over = at(&mut watch, 10, &calm());
    assert_eq!(over.len(), 6, "{over:?}");
    assert!(over.iter().all(|line| matches!(line, Line::Info(_))), "{over:?}");
}

/// What is told while this is seen for 4 s, and when it is over.
fn is_told(seen: &Observed, bad: &[&str], over: &[&str]) {
    let mut watch = watching();
    let told: Vec<Line> = (10..=14).flat_map(|second| at(&mut watch, second, seen)).collect();
    let want: Vec<Line> = bad.iter().map(|text| Line::Warn((*text).into())).collect();
    assert_eq!(told, want);
    let want: Vec<Line> = over.iter().map(|text| Line::Info((*text).into())).collect();
    assert_eq!(at(&mut watch, 14, &calm()), want);
}

#[test]
fn each_trouble_has_words_of_its_own() {
    let never =
        Silent { member: C, for_ms: 0, answered_before: false, why: "no answer within 500 ms".into() };
    let cut_off =
        Observed { leader: None, silent: vec![Silent { answered_before: true, ..never.clone() }], ..calm() };
    for (seen, bad, over) in [
        (
            Observed { silent: vec![never], ..calm() },
            &["member c:8848 (0000000000000003) has never answered: no answer within 500 ms (for 3 s)"][..],
            &["member c:8848 (0000000000000003) answers again, after 4 s"][..],
        ),
        (
            cut_off,
            &[
                "member c:8848 (0000000000000003) does not answer: no answer within 500 ms (for 3 s)",
                "no leader is heard, and 2 of 3 voters answer: writes of configurations and of persistent instances are refused, \
                 and reads are served from the last state (for 3 s)",
            ],
            &[
                "member c:8848 (0000000000000003) answers again, after 4 s",
                "there is a majority with a leader again, after 4 s",
            ],
        ),
    ] {
        is_told(&seen, bad, over);
    }
}

#[test]
fn a_leader_without_its_reserve_stops_the_writes_of_all() {
    let seen = Observed { rooms: vec![(B, DiskRoom::NoWrites)], leader: Some((B, 4)), ..calm() };
    let text = "the reserve of the disk of member b:8848 (0000000000000002) is reached: it leads, and only removals are taken";
    assert_eq!(Watch::of_machines(ME, &seen), [text]);
}

#[test]
fn so_have_disks_and_clocks() {
    let disk = |room, free| Observed { disk: Disk { room, free_bytes: free, ..calm().disk }, ..calm() };
    let clocks = |clocks: &[(MemberId, i64)]| Observed { clocks: clocks.to_vec(), ..calm() };
    let day = 86_400_000;
    for (seen, bad, over) in [
        (
            disk(DiskRoom::NoWrites, Some(300 << 20)),
            &[
                "the reserve of this member's disk is reached: 300 MiB of 512 MiB that shall be left are free (/data/raft/db). \
                 While this member leads, only removals are taken (for 3 s)",
            ][..],
            &["this member's disk has its reserve again, after 4 s: 700 MiB are free"][..],
        ),
        (
            disk(DiskRoom::NoEntries, None),
            &[
                "the reserve of this member's disk is reached: it cannot be asked how much is free (/data/raft/db). While this \
                 member leads, only removals are taken (for 3 s)",
                "this member's disk is nearly full: it cannot be asked how much is free (/data/raft/db). It takes no entries of \
                 the log, and falls behind the others (for 3 s)",
            ],
            &[
                "this member's disk has its reserve again, after 4 s: 700 MiB are free",
                "this member takes entries of the log again, after 4 s",
            ],
        ),
        (
            Observed { rooms: vec![(B, DiskRoom::NoWrites)], ..calm() },
            &["the reserve of the disk of member b:8848 (0000000000000002) is reached (for 3 s)"],
            &["the disk of member b:8848 (0000000000000002) has its reserve again, after 4 s"],
        ),
        (
            Observed { rooms: vec![(B, DiskRoom::NoEntries)], ..calm() },
            &[
                "the disk of member b:8848 (0000000000000002) is nearly full: it takes no entries of the log (for 3 s)",
            ],
            &["member b:8848 (0000000000000002) takes entries of the log again, after 4 s"],
        ),
        (
            clocks(&[(ME, 400 * day - 250), (B, 0), (C, -30_001)]),
            &[
                "the clock of this member is 400 days ahead of the other members' (for 3 s)",
                "the clock of member c:8848 (0000000000000003) is 30 s behind the other members' (for 3 s)",
            ],
            &[
                "the clock of this member is right again, after 4 s",
                "the clock of member c:8848 (0000000000000003) is right again, after 4 s",
            ],
        ),
        (clocks(&[(ME, 0), (B, 30_000), (C, -30_000)]), &[], &[]),
    ] {
        is_told(&seen, bad, over);
    }
}

#[test]
fn leaders_and_members_that_come_and_go() {
    let mut watch = watching();
    let led = Observed { leader: Some((B, 5)), ..calm() };
    assert_eq!(at(&mut watch, 1, &led), info(&format!("{NAME_B} leads from now on, in term 5")));
    assert_eq!(at(&mut watch, 2, &led), []);
    let lost = Observed { leader: None, ..calm() };
    assert_eq!(at(&mut watch, 3, &lost), []);
    assert_eq!(at(&mut watch, 4, &led), [], "the same leader in the same term");
    let seats = |seats: &[Seat]| Observed { seats: seats.to_vec(), ..led.clone() };
    let (a, b, c) = (seat(ME, "a:8848", true), seat(B, "b:8848", true), seat(C, "c:8848", true));
    let d = |voter| seat(MemberId(4), "d:8848", voter);
    for (now, want) in [
        (
            vec![a.clone(), b.clone(), c.clone(), d(false)],
            Some("member d:8848 (0000000000000004) is a new learner of the membership: it catches up"),
        ),
        (
            vec![a.clone(), b.clone(), c.clone(), d(true)],
            Some("member d:8848 (0000000000000004) is a voter now"),
        ),
        (
            vec![a.clone(), b.clone(), d(true)],
            Some("member c:8848 (0000000000000003) was removed from the membership"),
        ),
        (vec![a.clone(), b.clone(), d(true)], None),
        (
            vec![a.clone(), seat(B, "e:8848", true), d(true)],
            Some("member e:8848 (0000000000000002) has moved from b:8848"),
        ),
        (
            vec![a.clone(), seat(B, "e:8848", true), c, d(true)],
            Some("member c:8848 (0000000000000003) is a new voter of the membership"),
        ),
    ] {
        let want: Vec<Line> = want.into_iter().map(|text| Line::Info(text.into())).collect();
        assert_eq!(at(&mut watch, 5, &seats(&now)), want);
    }
    let alone = Observed { seats: vec![a], ..calm() };
    assert_eq!(Watch::new(ME).look(&alone, Millis(0)), [], "a member that is alone always leads");
}

#[test]
fn a_member_that_is_removed_while_it_is_silent_is_not_said_to_be_back() {
    let mut watch = watching();
    assert_eq!(at(&mut watch, 10, &silent(B, 10_000)).len(), 1);
    let gone = Observed { seats: vec![seat(ME, "a:8848", true), seat(C, "c:8848", true)], ..calm() };
    assert_eq!(at(&mut watch, 11, &gone), info(&format!("{NAME_B} was removed from the membership")));
}
