//! Rules 17 and 18: what becomes of a connection's publications.
#![allow(clippy::unwrap_used)]

mod net;

use std::sync::Arc;

use dyad_distro::{Ending, Event, Input, MemberState, Outcome};
use dyad_types::{ClientId, Instance, MemberId, Origin, Publication, PublicationKey, ServiceKey};
use net::Net;

fn client(id: &str) -> ClientId {
    ClientId::from_text(id)
}

/// What the connection publishes for a service.
fn key(id: &str) -> PublicationKey {
    PublicationKey { service: ServiceKey::new("", "", "svc"), client: client(id) }
}

fn one(weight: f64) -> Arc<Publication> {
    Publication::one(Instance { weight, ..Instance::new("10.0.0.9", 80) })
}

fn batch(ports: &[u16]) -> Arc<Publication> {
    Publication::batch(ports.iter().map(|&port| Instance::new("10.0.0.9", port)).collect())
}

trait Connections {
    fn publish(&mut self, member: u64, id: &str, publication: Arc<Publication>);
    fn end(&mut self, member: u64, id: &str, ending: Ending);
    fn answer(&mut self, member: u64, id: &str, alive: bool);
    fn sees(&self, id: &str) -> Vec<Option<f64>>;
    /// The weight that the highest rank of these connections gives, at every member.
    fn merged(&self, ids: &[&str]) -> Vec<Option<f64>>;
    fn cut_off(&mut self, member: u64);
}

impl Connections for Net {
    fn publish(&mut self, member: u64, id: &str, publication: Arc<Publication>) {
        self.input(member, Input::Register { req: 1, key: key(id), publication });
    }

    fn end(&mut self, member: u64, id: &str, ending: Ending) {
        self.input(member, Input::Ended { client: client(id), ending });
    }

    fn answer(&mut self, member: u64, id: &str, alive: bool) {
        self.input(member, Input::Probed { client: client(id), alive });
    }

    fn sees(&self, id: &str) -> Vec<Option<f64>> {
        self.merged(&[id])
    }

    fn merged(&self, ids: &[&str]) -> Vec<Option<f64>> {
        let seen = |core: &dyad_distro::Distro| {
            let all = ids.iter().filter_map(|id| core.visible(&key(id)));
            all.max_by_key(|v| v.rank).map(|v| v.publication.instances()[0].weight)
        };
        self.cores.values().map(seen).collect()
    }

    fn cut_off(&mut self, member: u64) {
        let others = self.cores.keys().copied().filter(|&m| m != member);
        self.cut = others.flat_map(|m| [(m, member), (member, m)]).collect();
    }
}

/// Rule 18: each end takes the publications of its connection, all of them, and nothing else.
#[test]
fn an_end_takes_its_own_publications_in_its_time() {
    // (how it ends, until when it is seen everywhere, from when on nowhere), in ms
    let table = [
        (Some(Ending::Orderly), 0, 50),
        (Some(Ending::Abnormal), 9_990, 10_050),
        (None, 0, 50), // deregistered
    ];
    for (ending, until, from) in table {
        for members in [1, 3] {
            let mut net = Net::ready(members);
            let everywhere = vec![Some(1.0); members as usize];
            let other = PublicationKey { service: ServiceKey::new("", "", "other"), client: client("a") };
            net.publish(1, "a", one(1.0));
            net.input(1, Input::Register { req: 1, key: other.clone(), publication: one(2.0) });
            net.publish(members, "b", one(1.0));
            net.run(1_000);
            assert_eq!(net.sees("a"), everywhere);
            match ending {
                Some(ending) => net.end(1, "a", ending),
                None => net.input(1, Input::Deregister { req: 2, key: key("a") }),
            }
            net.run(until);
            if until > 0 {
                assert_eq!(net.sees("a"), everywhere, "{ending:?} of {members}");
            }
            net.run(from - until);
            assert_eq!(net.sees("a"), vec![None; members as usize], "{ending:?} of {members}");
            assert_eq!(net.sees("b"), everywhere, "{ending:?} of {members}: another connection's");
            let rest = net.cores[&1].visible(&other).is_some();
            assert_eq!(rest, ending.is_none(), "{ending:?} of {members}: the other service");
        }
    }
}

#[test]
fn a_second_end_changes_only_a_lingering_connection_that_says_goodbye() {
    let mut net = Net::ready(1);
    net.publish(1, "a", one(1.0));
    net.end(1, "a", Ending::Abnormal);
    net.run(9_000);
    net.end(1, "a", Ending::Abnormal);
    net.answer(1, "a", false);
    net.answer(1, "a", true);
    net.run(1_050);
    assert_eq!(net.sees("a"), [None], "counted from the first end");
    net.publish(1, "b", one(1.0));
    net.end(1, "b", Ending::Abnormal);
    net.end(1, "b", Ending::Orderly);
    assert_eq!(net.sees("b"), [None]);
}

/// What a handler of a dead connection still registers would never end.
#[test]
fn a_connection_that_is_over_is_refused() {
    for known in [false, true] {
        for ending in [Ending::Orderly, Ending::Abnormal] {
            let mut net = Net::ready(1);
            if known {
                net.publish(1, "a", one(1.0));
            }
            net.end(1, "a", ending);
            net.replies.clear();
            net.publish(1, "a", one(2.0));
            net.publish(1, "b", one(2.0));
            assert_eq!(net.replies, [(1, Outcome::Unavailable), (1, Outcome::Done)]);
            net.run(25_000);
            assert_eq!((net.sees("a"), net.sees("b")), (vec![None], vec![Some(2.0)]));
        }
    }
}

/// Rule 23: a pause moves the end of the linger, and an end that was buffered meanwhile is none at once.
#[test]
fn a_pause_moves_the_linger() {
    let mut net = Net::ready(1);
    net.publish(1, "a", one(1.0));
    net.end(1, "a", Ending::Abnormal);
    net.publish(1, "b", one(1.0));
    net.run(5_000);
    net.now = net.now + 60_000;
    net.end(1, "b", Ending::Orderly);
    net.run(4_900);
    assert_eq!((net.sees("a"), net.sees("b")), (vec![Some(1.0)], vec![Some(1.0)]));
    // The pause began with the last entry, up to a ping before.
    net.run(700);
    assert_eq!((net.sees("a"), net.sees("b")), (vec![None], vec![Some(1.0)]));
    net.run(4_500);
    assert_eq!(net.sees("b"), [None]);
}

/// Rule 17, the question: any other publisher of the instance makes it, at most once a second; a lingering connection is
/// not asked, and an unrelated instance asks nobody.
#[test]
fn another_publisher_of_the_instance_is_a_reason_to_probe() {
    let beat = PublicationKey { client: ClientId::beat("10.0.0.9", 80), ..key("") };
    let elsewhere = PublicationKey { service: ServiceKey::new("", "", "other"), client: client("b") };
    // (member, key, publication, is it a reason)
    let table = [
        (2, key("b"), one(1.0), true),
        (1, key("b"), one(1.0), true),
        (2, beat, one(1.0), true),
        (2, key("b"), batch(&[79, 80]), true),
        (2, key("b"), batch(&[79, 81]), false),
        (2, elsewhere, one(1.0), false),
        (1, key("a"), one(2.0), false),
    ];
    for (i, (member, key, publication, is_reason)) in table.into_iter().enumerate() {
        let mut net = Net::ready(2);
        net.publish(1, "a", one(1.0));
        net.run(100);
        assert_eq!(net.probes, []);
        net.input(member, Input::Register { req: 1, key, publication });
        net.run(100);
        let asked: Vec<_> = net.probes.iter().map(|(_, member, c)| (*member, c.clone())).collect();
        assert_eq!(asked.contains(&(1, client("a"))), is_reason, "case {i}: {asked:?}");
    }
    let mut net = Net::ready(2);
    net.publish(1, "a", one(1.0));
    for weight in 2..8 {
        net.publish(2, "b", one(f64::from(weight)));
        net.run(300);
    }
    net.run(2_000);
    let asked: Vec<u64> = net.probes.iter().filter(|p| p.1 == 1).map(|p| p.0.0).collect();
    assert!(asked.windows(2).all(|w| w[1] - w[0] >= 1_000) && asked.len() >= 3, "{asked:?}");
    net.end(1, "a", Ending::Abnormal);
    net.probes.clear();
    net.publish(2, "b", one(9.0));
    net.run(3_000);
    assert!(net.probes.is_empty() && net.sees("a") == [Some(1.0); 2], "it lingers on: {:?}", net.probes);
}

/// Rule 17, the answer of a dead one: it goes at once where the instance is published by a live one, else it lingers.
#[test]
fn a_dead_probe_ends_at_once_only_what_another_vouches_for() {
    // (what the other publishes, is its member heard, is it gone at once)
    let table = [
        (batch(&[80, 81]), true, true),
        (batch(&[80, 81, 82]), true, true),
        (batch(&[80]), true, false),
        (batch(&[80, 81]), false, false),
    ];
    for (i, (publication, is_heard, at_once)) in table.into_iter().enumerate() {
        let mut net = Net::ready(3);
        net.publish(1, "a", batch(&[80, 81]));
        net.run(100);
        net.publish(2, "b", publication);
        net.run(100);
        if !is_heard {
            net.cut_off(2);
            net.run(4_000);
        }
        net.answer(1, "a", false);
        net.run(100);
        assert_eq!(net.sees("a")[0].is_none(), at_once, "case {i}");
        net.run(10_000);
        assert_eq!(net.sees("a")[0], None, "case {i}");
        assert_eq!(net.sees("b")[0], Some(1.0), "case {i}: the other one stays");
    }
}

/// An older publication of another connection is no successor: both may be half-open.
#[test]
fn an_older_registration_replaces_nothing() {
    let mut net = Net::ready(2);
    net.publish(2, "old", one(1.0));
    net.run(1_000);
    net.publish(1, "new", one(1.0));
    net.run(1_000);
    net.answer(1, "new", false);
    net.run(1_000);
    assert_eq!(net.sees("new"), [Some(1.0); 2]);
}

/// Rule 4: a third member that has the end before the successor goes on showing the instance.
#[test]
fn nobody_sees_the_end_before_the_successor() {
    let mut net = Net::ready(3);
    net.publish(1, "a", one(1.0));
    net.run(100);
    net.cut = vec![(2, 3)];
    net.publish(2, "b", one(1.0));
    net.run(20);
    net.answer(1, "a", false);
    for _ in 0..1_500 {
        net.run(1);
        assert_eq!(net.merged(&["a", "b"]), [Some(1.0); 3]);
    }
    assert_eq!(net.sees("a"), [None; 3], "by the help of the first member");
}

/// Rule 17, the answer of a live one: its newer attributes win over older ones of a higher rank, once each 5 s at most.
#[test]
fn a_live_connection_writes_its_attributes_again() {
    let mut net = Net::ready(3);
    net.cut_off(3);
    net.run(4_000);
    for port in 2..30 {
        net.publish(1, "other", batch(&[port]));
    }
    net.publish(1, "a", one(1.0));
    net.run(6_000);
    net.publish(3, "b", one(2.0));
    net.run(100);
    net.cut.clear();
    net.run(3_000);
    assert_eq!(net.merged(&["a", "b"]), [Some(1.0); 3], "the rank alone is wrong");
    net.answer(3, "b", true);
    net.answer(1, "a", true);
    net.run(100);
    assert_eq!(net.merged(&["a", "b"]), [Some(2.0); 3]);
    let again = net.events.iter().filter(|(_, e)| matches!(e, Event::Reasserted(_))).count();
    assert_eq!(again, 1, "the older one does not insist when the ages are clear");
    assert_eq!(net.sees("a"), [Some(1.0); 3], "a probe that is answered ends nothing");
}

/// Two processes with one address answer each other ever more rarely.
#[test]
fn two_live_connections_contest_with_backoff() {
    let mut net = Net::ready(2);
    net.publish(1, "a", one(1.0));
    net.publish(2, "b", one(2.0));
    let (mut asserted, mut done) = (vec![], 0);
    for _ in 0..3_600 {
        net.run(1_000);
        for (_, member, client) in std::mem::take(&mut net.probes) {
            net.answer(member, client.as_str(), true);
        }
        let new = net.events.iter().filter(|(_, e)| matches!(e, Event::Reasserted(_))).count();
        if new > done {
            done = new;
            asserted.push(net.now);
        }
    }
    assert!((6..=24).contains(&done), "{done} times in an hour");
    let waits: Vec<u64> = asserted.windows(2).map(|w| w[1].since(w[0])).collect();
    assert!(waits.iter().max() > Some(&300_000), "{waits:?}");
    assert_eq!(net.merged(&["a", "b"])[0], net.merged(&["a", "b"])[1]);
}

/// Rules 19 and 22.
#[test]
fn a_stop_writes_no_end_and_a_refutation_takes_connections_along() {
    let mut net = Net::ready(3);
    net.publish(1, "a", one(1.0));
    net.publish(1, "b", batch(&[81]));
    net.publish(1, "gone", batch(&[82]));
    net.end(1, "gone", Ending::Orderly);
    net.run(100_000);
    net.end(1, "b", Ending::Abnormal);
    let origin = Origin { member: MemberId(1), incarnation: 1 };
    (1..=3).for_each(|id| net.input(id, Input::Retired(vec![origin])));
    net.run(3_000);
    assert_eq!(net.cores[&1].status().incarnation, 2);
    assert_eq!((net.sees("a"), net.sees("b")), (vec![Some(1.0); 3], vec![Some(1.0); 3]));
    assert_eq!(net.sees("gone"), [None; 3]);
    net.run(7_100);
    assert_eq!(net.sees("b"), [None; 3], "it lingered on");
    net.input(1, Input::Leave);
    net.end(1, "a", Ending::Orderly);
    net.run(500);
    assert_eq!((net.cores[&1].state(), net.left.clone()), (MemberState::Leaving, vec![1]));
    net.cores.remove(&1);
    net.run(14_000);
    assert_eq!((net.sees("a"), net.proposed.clone()), (vec![Some(1.0); 2], vec![]));
    net.run(20_000);
    assert!(net.proposed.contains(&Origin { member: MemberId(1), incarnation: 2 }), "{:?}", net.proposed);
}
