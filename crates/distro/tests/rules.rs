//! The rules, one group at a time, on two or three cores that are wired by hand.
#![allow(clippy::unwrap_used)]

mod net;

use dyad_distro::message::{Datum, DatumState, Delta, Value};
use dyad_distro::{
    Action, BeatOutcome, CLOCK_START, Config, Distro, Event, Input, Limits, MemberState, Message, Outcome,
};
use dyad_types::instance::{KEY_BEAT_TIMEOUT, KEY_DELETE_TIMEOUT};
use dyad_types::{ClientId, Dot, Instance, MemberId, Origin, Publication, PublicationKey};
use net::{Net, key, publication};

#[test]
fn standalone_is_ready_at_once_and_forgets_what_is_gone() {
    let mut core = Distro::new(Config::standalone(MemberId(1), 1), CLOCK_START);
    assert_eq!(core.state(), MemberState::Ready);
    assert_eq!(core.beat(&key(1), CLOCK_START).0, BeatOutcome::Unknown);
    let actions =
        core.handle(Input::Register { req: 9, key: key(1), publication: publication(1, 1.0) }, CLOCK_START);
    assert!(actions.iter().any(|a| matches!(a, Action::Reply { req: 9, outcome: Outcome::Done })));
    assert!(core.visible(&key(1)).unwrap().slot.is_some());
    core.handle(Input::Deregister { req: 10, key: key(1) }, CLOCK_START);
    assert!(core.visible(&key(1)).is_none());
    assert_eq!((core.status().keys, core.status().held), (0, 0));
}

/// Rule 16: what came first goes first, and only what is still kept counts.
#[test]
fn a_full_stash_gives_up_its_oldest_registration() {
    let mut net = Net::with_limits(2, &Limits { stash: 3, ..Limits::default() });
    net.run(3_000);
    let owner = net.owner(1);
    let keys: Vec<u16> = (1..).filter(|&n| net.owner(n) == owner).take(4).collect();
    let times_out = |net: &mut Net, n: u16| {
        net.register(owner, n, 1.0);
        net.run(31_000);
        assert!(net.cores[&owner].visible(&key(n)).is_none());
    };
    let kept = |net: &Net| -> Vec<u16> {
        let core = &net.cores[&owner];
        keys.iter().copied().filter(|&n| !core.remembered(&key(n)).is_empty()).collect()
    };
    // The first one has come back and timed out again when the third one does: it is the newest but one.
    for n in [keys[0], keys[1], keys[0], keys[2]] {
        times_out(&mut net, n);
    }
    assert_eq!(kept(&net), keys[..3]);
    times_out(&mut net, keys[3]);
    assert_eq!(kept(&net), [keys[0], keys[2], keys[3]]);
}

/// Rule 14, with Nacos's times and those of an instance's metadata.
#[test]
fn timeouts_are_exact() {
    let table = [
        (&[][..], Some(15_000), 30_000),
        (&[(KEY_BEAT_TIMEOUT, "3000"), (KEY_DELETE_TIMEOUT, "9000")][..], Some(3_000), 9_000),
        (&[(KEY_DELETE_TIMEOUT, "4000")][..], None, 4_000),
    ];
    for (metadata, unhealthy, removed) in table {
        let mut core = Distro::new(Config::standalone(MemberId(1), 1), CLOCK_START);
        let metadata = metadata.iter().copied().collect();
        let publication = Publication::one(Instance { metadata, ..Instance::new("10.0.0.1", 1) });
        core.handle(Input::Register { req: 1, key: key(1), publication }, CLOCK_START);
        let (mut sick, mut gone) = (None, None);
        for ms in 1..=removed + 500 {
            core.on_timeout(CLOCK_START + ms);
            match core.visible(&key(1)) {
                Some(v) if !v.healthy => sick = sick.or(Some(ms)),
                None => gone = gone.or(Some(ms)),
                Some(_) => {}
            }
        }
        assert_eq!((sick, gone), (unhealthy, Some(removed)));
    }
}

#[test]
fn a_beat_in_the_slot_moves_the_deadline_and_an_unhealthy_slot_is_closed() {
    let mut core = Distro::new(Config::standalone(MemberId(1), 1), CLOCK_START);
    core.handle(Input::Register { req: 1, key: key(1), publication: publication(1, 1.0) }, CLOCK_START);
    let slot = core.visible(&key(1)).unwrap().slot.unwrap();
    let run = |core: &mut Distro, from: u64, to: u64| {
        (from..=to).step_by(100).for_each(|ms| drop(core.on_timeout(CLOCK_START + ms)));
    };
    run(&mut core, 100, 10_000);
    assert!(slot.beat(CLOCK_START + 10_000));
    run(&mut core, 10_100, 24_900);
    assert!(core.visible(&key(1)).unwrap().healthy);
    run(&mut core, 25_000, 25_000);
    assert!(!core.visible(&key(1)).unwrap().healthy);
    assert!(!slot.beat(CLOCK_START + 25_000), "the core must decide about an unhealthy record");
    assert_eq!(core.beat(&key(1), CLOCK_START + 25_100).0, BeatOutcome::Known);
    assert!(core.visible(&key(1)).unwrap().healthy);
}

/// Rule 23.
#[test]
fn a_pause_moves_the_deadlines_and_drops_what_was_buffered() {
    let mut core = Distro::new(Config::standalone(MemberId(1), 1), CLOCK_START);
    core.handle(Input::Register { req: 1, key: key(1), publication: publication(1, 1.0) }, CLOCK_START);
    let after = CLOCK_START + 100_000;
    assert!(!core.gate().is_open(after));
    assert_eq!(core.beat(&key(1), after).0, BeatOutcome::Unavailable);
    assert!(core.visible(&key(1)).unwrap().healthy);
    for ms in (0..=16_000).step_by(500) {
        core.on_timeout(after + ms);
        assert_eq!(core.visible(&key(1)).unwrap().healthy, ms < 15_000, "{ms} ms after the pause");
        assert_eq!(core.gate().is_open(after + ms), ms >= 1_000, "{ms} ms after the pause");
    }
}

/// Rules 8 and 10 to 12.
#[test]
fn writes_go_to_the_responsible_member_and_beats_follow() {
    let mut net = Net::ready(3);
    let owner = net.owner(1);
    let other = 1 + owner % 3;
    net.register(other, 1, 2.0);
    net.run(50);
    assert_eq!(net.replies, [(1, Outcome::Done)]);
    assert_eq!((net.view(1), net.holders(1)), (vec![Some((true, 2.0)); 3], vec![owner]));
    for _ in 0..5 {
        net.run(10_000);
        assert_eq!(net.beat(other, 1), BeatOutcome::Known);
    }
    assert_eq!((net.view(1), net.holders(1)), (vec![Some((true, 2.0)); 3], vec![owner]));
}

/// Rule 8: what a second member has already is not waited for.
#[test]
fn a_write_that_changes_nothing_is_answered_at_once() {
    let mut net = Net::ready(3);
    let connection = PublicationKey { client: ClientId::from_text("c"), ..key(2) };
    for (key, publication) in [(key(1), publication(1, 1.0)), (connection, publication(2, 1.0))] {
        let owner = if key.client.is_beat() { net.owner(1) } else { 1 };
        let unknown = (9..).find(|&n| net.owner(n) == owner).map(net::key).unwrap();
        let register = |req| Input::Register { req, key: key.clone(), publication: publication.clone() };
        net.input(owner, register(1));
        net.run(5_000);
        for write in [register(2), Input::Deregister { req: 2, key: unknown }] {
            net.replies.clear();
            net.input(owner, write);
            net.run(5);
            assert_eq!(net.replies, [(2, Outcome::Done)], "{} within 5 ms", key.client);
        }
    }
    // One that nobody else has got yet waits for it as the first one does.
    let owner = net.owner(3);
    net.cut = (1..=3).filter(|&to| to != owner).map(|to| (owner, to)).collect();
    net.register(owner, 3, 1.0);
    net.run(20);
    net.replies.clear();
    net.register(owner, 3, 1.0);
    net.run(100);
    assert_eq!(net.replies, []);
    net.run(150);
    assert_eq!(net.replies, [(1, Outcome::Done); 2]);
}

/// Rule 11: an answered beat is held by somebody, even when the responsible member does not answer.
#[test]
fn a_relay_without_an_answer_ends_in_adoption() {
    let mut net = Net::ready(3);
    let owner = net.owner(1);
    let other = 1 + owner % 3;
    net.register(owner, 1, 1.0);
    net.run(100);
    net.cut = vec![(other, owner)];
    assert_eq!(net.beat(other, 1), BeatOutcome::Known);
    net.run(1_500);
    let mut holders = vec![owner, other];
    holders.sort_unstable();
    assert_eq!(net.holders(1), holders);
    net.cut.clear();
    net.run(5_000);
    assert_eq!(net.holders(1), [owner], "the responsible member took it over (rule 13)");
    assert!(net.events.iter().any(|(id, e)| *id == other && matches!(e, Event::HandedOver { .. })));
}

/// Rules 2, 5 and 9: a deregistration ends every copy of the registration, wherever it was adopted.
#[test]
fn a_deregistration_covers_copies_on_the_other_side_of_a_cut() {
    let mut net = Net::ready(3);
    let owner = net.owner(1);
    net.register(owner, 1, 1.0);
    net.run(100);
    let far = 1 + owner % 3;
    net.cut = (1..=3).filter(|&m| m != far).flat_map(|m| [(m, far), (far, m)]).collect();
    net.run(4_000);
    assert_eq!(net.beat(far, 1), BeatOutcome::Known);
    net.input(owner, Input::Deregister { req: 2, key: key(1) });
    net.run(3_000);
    assert_eq!(net.holders(1), [far]);
    net.cut.clear();
    net.run(3_000);
    assert_eq!((net.view(1), net.holders(1)), (vec![None; 3], vec![]));
}

/// Rules 6 and 15: the newest registration wins by age, not by lamport.
#[test]
fn the_newest_registration_wins_after_a_heal() {
    let mut net = Net::ready(3);
    let owner = net.owner(1);
    let far = 1 + owner % 3;
    net.register(owner, 1, 1.0);
    net.run(100);
    net.cut = (1..=3).filter(|&m| m != far).flat_map(|m| [(m, far), (far, m)]).collect();
    net.run(4_000);
    net.register(far, 1, 2.0);
    net.run(1_000);
    for n in 100..120 {
        net.register(owner, n, 1.0);
    }
    net.run(100);
    assert_eq!(net.beat(owner, 1), BeatOutcome::Known);
    net.cut.clear();
    net.run(8_000);
    assert_eq!((net.view(1), net.holders(1)), (vec![Some((true, 2.0)); 3], vec![owner]));
}

/// Rules 22, 24 and 25.
#[test]
fn a_silent_member_is_softly_unhealthy_then_retired_and_a_live_one_refutes() {
    let mut net = Net::ready(3);
    let owner = net.owner(1);
    net.register(owner, 1, 1.0);
    net.run(100);
    net.cut = (1..=3).filter(|&m| m != owner).flat_map(|m| [(m, owner), (owner, m)]).collect();
    net.run(14_000);
    net.beat(owner, 1);
    net.run(3_000);
    let seen: Vec<u64> =
        net.cores.iter().filter(|(_, c)| c.visible(&key(1)).unwrap().healthy).map(|(&id, _)| id).collect();
    assert_eq!(seen, [owner]);
    net.run(12_000);
    assert_eq!(net.proposed, []);
    net.run(3_000);
    let origin = Origin { member: MemberId(owner), incarnation: 1 };
    assert!(net.proposed.iter().all(|&o| o == origin) && !net.proposed.is_empty());
    for id in 1..=3 {
        if id == owner {
            net.beat(owner, 1);
        }
        net.input(id, Input::Retired(vec![origin]));
    }
    net.cut.clear();
    net.run(3_000);
    assert_eq!(net.cores[&owner].status().incarnation, 2);
    assert_eq!(net.view(1), vec![Some((true, 1.0)); 3]);
}

/// Rule 20.
#[test]
fn a_member_alone_does_not_become_ready() {
    let mut net = Net::new(3);
    net.cores.retain(|&id, _| id == 1);
    net.run(9_000);
    assert_eq!(net.cores[&1].state(), MemberState::Joining);
    assert_eq!(net.beat(1, 1), BeatOutcome::Unavailable);
    net.run(2_000);
    assert_eq!(net.cores[&1].state(), MemberState::Alone);
    net.register(1, 1, 1.0);
    assert_eq!(net.replies, [(1, Outcome::Done)]);
}

/// docs/distro.md, Leaving.
#[test]
fn a_leaving_member_is_relieved_of_its_records() {
    let mut net = Net::ready(3);
    let owner = net.owner(1);
    net.register(owner, 1, 1.0);
    net.run(100);
    net.input(owner, Input::Leave);
    net.run(100);
    assert_eq!(net.left, [owner]);
    net.cores.remove(&owner);
    assert_eq!((net.view(1), net.holders(1).len()), (vec![Some((true, 1.0)); 2], 1));
}

/// Rule 26.
#[test]
fn removals_are_capped_and_the_oldest_go_first() {
    let mut config = Config::standalone(MemberId(1), 1);
    config.limits.cap_least = 3;
    let mut core = Distro::new(config, CLOCK_START);
    for n in 0..10u16 {
        let at = CLOCK_START + u64::from(n) * 10;
        core.handle(Input::Register { req: 1, key: key(n), publication: publication(n, 1.0) }, at);
    }
    let mut gone = vec![];
    for ms in (500..260_000).step_by(500) {
        for action in core.on_timeout(CLOCK_START + ms) {
            if let Action::Event(Event::Expired(key)) = action {
                gone.push((ms, key));
            }
        }
    }
    let order: Vec<PublicationKey> = gone.iter().map(|(_, key)| key.clone()).collect();
    assert_eq!(order, (0..10).map(key).collect::<Vec<_>>());
    assert!(
        gone.iter()
            .all(|(at, _)| gone.iter().filter(|(b, _)| (at..&(at + 60_000)).contains(&b)).count() <= 3)
    );
}

fn datum(n: u16, seq: u64, state: DatumState) -> Datum {
    Datum { key: key(n), seq, lamport: seq, state, covers: vec![] }
}

fn live(n: u16, weight: f64, dot: Dot) -> DatumState {
    DatumState::Live { value: Value { publication: publication(n, weight), dot, age: 0 }, healthy: true }
}

/// Pieces of a whole log, from members that have more and less of it: one beginning does not undo another, and nothing
/// newer is taken back.
#[test]
fn a_reset_is_never_undone_by_a_member_that_is_behind() {
    let mut net = Net::ready(3);
    net.cores.retain(|&id, _| id == 1);
    let origin = Origin { member: MemberId(3), incarnation: 7 };
    let record = |n, seq, weight| datum(n, seq, live(n, weight, Dot { origin, seq }));
    let piece = |reset, since, to, head, data| {
        let (floor, cover_floor, silence) = (4, 0, 0);
        Message::Delta(Delta { origin, since, to, head, reset, floor, cover_floor, silence, data })
    };
    let ahead = vec![datum(1, 5, DatumState::Gone), record(2, 6, 2.0), record(4, 7, 4.0)];
    let ahead = piece(true, 0, 7, 9, ahead);
    let behind = piece(true, 0, 4, 4, vec![record(1, 3, 1.0), record(2, 4, 1.0)]);
    let rest = piece(false, 4, 9, 9, vec![record(2, 6, 2.0), record(4, 7, 4.0), record(3, 9, 3.0)]);
    // (message, ms before it, position of the copy afterwards, weights of the four keys)
    let steps = [
        (ahead.clone(), 0, 0, [None, Some(2.0), None, Some(4.0)]),
        (behind.clone(), 0, 0, [None, Some(2.0), None, Some(4.0)]),
        (behind.clone(), 2_100, 4, [None, Some(2.0), None, Some(4.0)]),
        (rest, 0, 9, [None, Some(2.0), Some(3.0), Some(4.0)]),
        (behind, 0, 9, [None, Some(2.0), Some(3.0), Some(4.0)]),
    ];
    for (i, (message, wait, seq, weights)) in steps.into_iter().enumerate() {
        net.run(wait);
        net.input(1, Input::Message { from: MemberId(2), stream: 1, message });
        let log = net.cores[&1].status().logs.into_iter().find(|l| l.origin == origin).unwrap();
        let seen = [1, 2, 3, 4].map(|n| net.view(n)[0].map(|v| v.1));
        assert_eq!((log.seq, seen), (seq, weights), "step {i}");
    }
}

/// Rule 4: a Yield to an origin whose log never came here ends with that origin's retirement, whichever comes first.
#[test]
fn a_yield_to_a_retired_origin_is_an_end() {
    let (origin, dot) = (Origin { member: MemberId(2), incarnation: 1 }, Dot::default());
    let to = Dot { origin: Origin { member: MemberId(9), incarnation: 3 }, seq: 4 };
    let value = Value { publication: publication(1, 1.0), dot, age: 0 };
    for retired_first in [false, true] {
        let mut net = Net::ready(3);
        let data = vec![datum(1, 1, DatumState::Yield { value: value.clone(), to })];
        let (since, floor, cover_floor, silence) = (0, 0, 0, 0);
        let delta = Delta { origin, since, to: 1, head: 1, reset: false, floor, cover_floor, silence, data };
        let yields = Input::Message { from: MemberId(3), stream: 1, message: Message::Delta(delta) };
        let retires = Input::Retired(vec![to.origin]);
        let inputs = if retired_first { [retires, yields] } else { [yields, retires] };
        for (i, input) in inputs.into_iter().enumerate() {
            net.input(1, input);
            assert_eq!(net.view(1)[0].is_some(), i == 0 && !retired_first);
        }
    }
}

/// Rule 16: the newest registration timed out at its only holder, which died; a copy remembers it.
#[test]
fn a_copy_keeps_what_its_owner_let_go() {
    let mut net = Net::ready(3);
    let owner = net.owner(1);
    let (near, far) = (1 + owner % 3, 1 + (owner + 1) % 3);
    net.register(owner, 1, 1.0);
    net.run(100);
    net.cut = [owner, near].iter().flat_map(|&m| [(m, far), (far, m)]).collect();
    net.run(4_000);
    assert_eq!(net.beat(far, 1), BeatOutcome::Known);
    net.register(owner, 1, 2.0);
    while net.cores[&owner].visible(&key(1)).is_some() {
        net.run(5_000);
        assert_eq!(net.beat(far, 1), BeatOutcome::Known);
        for origin in std::mem::take(&mut net.proposed) {
            for id in [owner, near] {
                net.input(id, Input::Retired(vec![origin]));
            }
        }
    }
    net.run(100);
    net.cores.remove(&owner);
    net.cut.clear();
    net.run(8_000);
    assert_eq!(net.view(1), vec![Some((true, 2.0)); 2]);
}

/// Rule 16: what a silent Yield gave up for an older registration is kept, also while that one's log is still coming in and
/// the Yield is visible; then the older one's holder is given it.
#[test]
fn a_yield_that_is_not_settled_does_not_end_the_stash() {
    let mut net = Net::ready(3);
    let n = (1..).find(|&n| net.owner(n) == 3).unwrap();
    net.cores.retain(|&id, _| id == 1);
    net.run(4_000);
    net.register(1, n, 2.0);
    let dot = Dot { origin: Origin { member: MemberId(1), incarnation: 1 }, seq: 1 };
    // Two of three members are silent: six times 15 s.
    net.run(89_000);
    let origin = Origin { member: MemberId(3), incarnation: 2 };
    let piece = |to, data| {
        let (since, floor, cover_floor, silence) = (to - 1, 0, 0, 0);
        let delta = Delta { origin, since, to, head: 2, reset: false, floor, cover_floor, silence, data };
        Input::Message { from: MemberId(3), stream: 1, message: Message::Delta(delta) }
    };
    let publication = publication(n, 1.0);
    let value = Value { publication, dot: Dot { origin, seq: 1 }, age: 200_000 };
    net.input(1, piece(1, vec![datum(n, 1, DatumState::Live { value, healthy: true })]));
    net.run(2_000);
    assert_eq!((net.view(n), net.holders(n)), (vec![Some((true, 2.0))], vec![]), "given up, and not settled");
    net.input(1, piece(2, vec![datum(n + 1, 2, DatumState::Gone)]));
    assert_eq!(net.view(n), [Some((true, 1.0))]);
    let mut given = vec![];
    for _ in 0..200 {
        net.run(1);
        for (_, _, to, message) in &net.wire {
            if let (MemberId(3), Message::Relay(relay)) = (*to, message) {
                given.extend(relay.beats.iter().filter_map(|beat| Some(beat.value.as_ref()?.dot)));
            }
        }
    }
    assert_eq!(given, [dot]);
}

/// Rule 13: while an offer is under way a newer registration is taken from another member, made before the last beat. The ack
/// is of the older one.
#[test]
fn a_hand_over_gives_up_only_what_was_offered() {
    let mut net = Net::ready(3);
    let owner = net.owner(1);
    let (far, third) = (1 + owner % 3, 1 + (owner + 1) % 3);
    net.cut = (1..=3).filter(|&m| m != far).flat_map(|m| [(m, far), (far, m)]).collect();
    net.run(4_000);
    net.register(far, 1, 1.0);
    net.cut.clear();
    net.run(2_000);
    assert_eq!(net.beat(far, 1), BeatOutcome::Known);
    net.run(10);
    assert_eq!(net.beat(third, 1), BeatOutcome::Known);
    let is_offer = |(_, from, to, message): &(_, MemberId, MemberId, Message)| {
        (from.0, to.0) == (far, owner) && matches!(message, Message::Relay(_))
    };
    while !net.wire.iter().any(is_offer) {
        net.run(1);
    }
    let acked = |net: &Net| net.wire.iter().any(|w| w.2.0 == far && matches!(w.3, Message::RelayAck { .. }));
    let origin = Origin { member: MemberId(third), incarnation: 2 };
    let value = Value { publication: publication(1, 2.0), dot: Dot { origin, seq: 1 }, age: 1_000 };
    let data = vec![datum(1, 1, DatumState::Live { value, healthy: true })];
    let (since, floor, cover_floor, silence) = (0, 0, 0, 0);
    let delta = Delta { origin, since, to: 1, head: 1, reset: false, floor, cover_floor, silence, data };
    net.input(far, Input::Message { from: MemberId(third), stream: 1, message: Message::Delta(delta) });
    assert!(!acked(&net) && net.events.iter().any(|(id, e)| *id == far && matches!(e, Event::TookNewer(_))));
    while !acked(&net) {
        net.run(1);
    }
    net.run(100);
    assert!(!net.events.iter().any(|(_, e)| matches!(e, Event::HandedOver { .. })));
    assert!(net.holders(1).contains(&far));
}
