//! Registrations at every limit: no message is ever too long for its receiver, and all of them reach every member.
#![allow(clippy::unwrap_used)]

mod net;

use std::sync::Arc;

use dyad_distro::codec::FRAME_MAX;
use dyad_distro::message::{Forward, Relay, RelayedBeat, Value};
use dyad_distro::{Action, Config, Distro, Input, Limits, MemberState, Message, Outcome};
use dyad_types::check::{CLUSTER_MAX, GROUP_MAX, IP_MAX, METADATA_MAX, NAMESPACE_ID_MAX, SERVICE_MAX};
use dyad_types::limits::PUBLICATION_MAX;
use dyad_types::{ClientId, Dot, Instance, MemberId, Publication, PublicationKey, ServiceKey};
use net::Net;
use proptest::prelude::*;

/// A character that the parameter check lets through, and that takes the most bytes for each unit that it counts.
const WIDE: &str = "ま";

/// A name of `length` characters that ends with a number.
fn name(n: usize, length: usize) -> String {
    let number = n.to_string();
    format!("{}{number}", WIDE.repeat(length.saturating_sub(number.len())))
}

fn service(n: usize) -> ServiceKey {
    ServiceKey::new(&"n".repeat(NAMESPACE_ID_MAX), &"g".repeat(GROUP_MAX), &name(n, SERVICE_MAX))
}

fn instance(n: usize, metadata: usize) -> Instance {
    let mut instance = Instance::new(&name(n, IP_MAX), 65_535);
    instance.cluster = Arc::from("c".repeat(CLUSTER_MAX));
    instance.metadata = [("k", WIDE.repeat(metadata.saturating_sub(1)).as_str())].into_iter().collect();
    instance
}

fn by_beat(n: usize, metadata: usize) -> (PublicationKey, Arc<Publication>) {
    let instance = instance(n, metadata);
    let client = ClientId::beat(&instance.ip, instance.port);
    (PublicationKey { service: service(n), client }, Publication::one(instance))
}

/// The longest batch that fits into a publication.
fn longest_batch(n: usize) -> (PublicationKey, Arc<Publication>) {
    let one = Publication::one(instance(0, METADATA_MAX)).bytes().len();
    let most = PUBLICATION_MAX / one;
    let publication = Publication::batch((0..most).map(|i| instance(n * most + i, METADATA_MAX)).collect());
    assert!((PUBLICATION_MAX - 2 * one..=PUBLICATION_MAX).contains(&publication.bytes().len()));
    (PublicationKey { service: service(n), client: connection() }, publication)
}

fn connection() -> ClientId {
    ClientId::from_text("1700000000000_10.0.0.1_51234")
}

/// What a member is asked to hold: connections with many services of long names and little else, batches as large as they
/// may be, clients that beat with all their metadata.
fn everything() -> Vec<(PublicationKey, Arc<Publication>)> {
    let small = (0..2_500).map(|n| {
        let key = PublicationKey { service: service(n), client: connection() };
        (key, Publication::one(Instance::new("10.0.0.1", 80)))
    });
    let batches = (3_000..3_004).map(longest_batch);
    let beating = (4_000..4_300).map(|n| by_beat(n, METADATA_MAX));
    small.chain(batches).chain(beating).collect()
}

fn same_everywhere(net: &Net, all: &[(PublicationKey, Arc<Publication>)]) -> bool {
    net.cores.values().all(|core| {
        core.state() == MemberState::Ready
            && all.iter().all(|(key, publication)| {
                core.visible(key).is_some_and(|v| v.healthy && v.publication == *publication)
            })
    })
}

/// Waits until all members show everything; the clients that beat do so meanwhile.
fn settle(net: &mut Net, all: &[(PublicationKey, Arc<Publication>)]) {
    for round in 0..60 {
        if same_everywhere(net, all) {
            return;
        }
        net.run(500);
        if round % 10 == 0 {
            for (key, _) in all.iter().filter(|(key, _)| key.client.is_beat()) {
                net.beat_key(1, key);
            }
        }
    }
    let behind: Vec<_> = net.cores.values().map(|c| (c.state(), c.status().keys)).collect();
    panic!("after 30 s not every member has everything: {behind:?}");
}

#[test]
fn registrations_at_every_limit_reach_a_member_that_is_live_was_away_or_is_new() {
    let mut net = Net::ready(3);
    let all = everything();
    net.cut = vec![(1, 3), (2, 3), (3, 1), (3, 2)];
    for (key, publication) in &all {
        let (key, publication) = (key.clone(), publication.clone());
        net.input(1, Input::Register { req: 1, key, publication });
    }
    net.run(2_000);
    assert!(net.replies.iter().all(|reply| reply.1 == Outcome::Done));
    net.cut.clear();
    settle(&mut net, &all);
    net.cores.remove(&2);
    net.run(1_000);
    let known = (1..=3).map(MemberId).collect();
    let new = Distro::new(Config::cluster(MemberId(2), 2, 3, known), net.now);
    net.cores.insert(2, new);
    settle(&mut net, &all);
    assert!(net.longest <= FRAME_MAX);
}

/// Both sides of a cut hold every client: after the heal each is offered to the responsible member with its registration.
#[test]
fn hand_overs_of_the_longest_registrations_are_taken() {
    let mut net = Net::ready(3);
    let all: Vec<_> = (0..1_000).map(|n| by_beat(n, METADATA_MAX)).collect();
    net.cut = vec![(1, 2), (1, 3), (2, 1), (3, 1)];
    net.run(4_000);
    for (key, publication) in &all {
        for member in [1, 2] {
            let (key, publication) = (key.clone(), publication.clone());
            net.input(member, Input::Register { req: 1, key, publication });
        }
    }
    net.run(1_000);
    net.cut.clear();
    let holders = |net: &Net, key| net.cores.values().filter(|core| core.holds(key)).count();
    for _ in 0..40 {
        net.run(500);
        if all.iter().all(|(key, _)| holders(&net, key) == 1) {
            return;
        }
    }
    let unsettled = all.iter().filter(|(key, _)| holders(&net, key) != 1).count();
    panic!("{unsettled} clients do not have one holder 20 s after the heal");
}

/// A registration by its sizes: of the service's name, of the metadata, and how many instances (0 is a client that beats).
fn sized(
    n: usize,
    (length, metadata, instances): (usize, usize, usize),
) -> (PublicationKey, Arc<Publication>) {
    let service = ServiceKey::new("n", "g", &name(n, length));
    let instance = |i| instance(1_000 * n + i, metadata);
    if instances == 0 {
        let client = ClientId::beat(&instance(0).ip, instance(0).port);
        return (PublicationKey { service, client }, Publication::one(instance(0)));
    }
    let publication = Publication::batch((0..instances).map(instance).collect());
    (PublicationKey { service, client: connection() }, publication)
}

fn sizes() -> impl Strategy<Value = (usize, usize, usize)> {
    let length = prop_oneof![Just(8), Just(SERVICE_MAX), 8..SERVICE_MAX];
    let metadata = prop_oneof![Just(0), Just(METADATA_MAX), 0..METADATA_MAX];
    (length, metadata, prop_oneof![8 => Just(0), 8 => Just(1), 2 => 2..10_usize, 1 => 10..140_usize])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn messages_of_any_registrations_end_at_their_limit(sizes in proptest::collection::vec(sizes(), 1..300)) {
        let mut net = Net::ready(2);
        let all: Vec<_> = sizes.into_iter().enumerate().map(|(n, sizes)| sized(n, sizes)).collect();
        for (n, (key, publication)) in all.iter().enumerate() {
            let (key, publication) = (key.clone(), publication.clone());
            net.input(1 + n as u64 % 2, Input::Register { req: 1, key, publication });
        }
        settle(&mut net, &all);
        let longest = all.iter().map(|(_, publication)| publication.bytes().len() + 4_096).max();
        let most = longest.max(Some(Limits::default().message_bytes + 256));
        prop_assert!(Some(net.longest) <= most, "{} of {most:?}", net.longest);
    }
}

/// The front ends refuse it before; a member of another version may not.
#[test]
fn a_registration_that_fits_into_no_message_is_refused_wherever_it_comes_from() {
    let (key, _) = by_beat(1, 0);
    let too_long = Publication::batch(vec![instance(1, METADATA_MAX); PUBLICATION_MAX / 1024]);
    let long_name = PublicationKey { service: service(1), client: ClientId::beat(&WIDE.repeat(8_192), 1) };
    let (_, fits) = by_beat(2, 0);
    let mut net = Net::ready(2);
    for (key, publication) in [(&key, &too_long), (&long_name, &fits)] {
        let owner = net.cores[&1].responsible(&key.client).0;
        for member in [1, 2] {
            net.replies.clear();
            let (key, publication) = (key.clone(), publication.clone());
            net.input(member, Input::Register { req: 1, key, publication });
            assert_eq!(net.replies, [(1, Outcome::TooLong)]);
        }
        let forward = Message::Forward(Forward {
            req: 7,
            counter: u64::MAX,
            key: key.clone(),
            publication: Some(publication.clone()),
            known: vec![],
        });
        let other = MemberId(3 - owner);
        let input = |message| Input::Message { from: other, stream: 1, message };
        let now = net.now;
        let core = net.cores.get_mut(&owner).unwrap();
        let answers = |actions: Vec<Action>| -> Vec<Message> {
            let sent = actions.into_iter().filter_map(|action| match action {
                Action::Send { message, .. } => Some(message),
                _ => None,
            });
            sent.collect()
        };
        let refused = Message::ForwardAck { req: 7, at: None };
        assert_eq!(answers(core.handle(input(forward), now)), [refused]);
        let value = Value { publication: publication.clone(), dot: Dot::default(), age: 0 };
        let beat = RelayedBeat { key: key.clone(), age: 0, value: Some(value) };
        let relay = Message::Relay(Relay { batch: 8, counter: u64::MAX, beats: vec![beat] });
        let refused = Message::RelayAck { batch: 8, held: vec![None] };
        assert_eq!(answers(core.handle(input(relay), now)), [refused]);
        assert!(core.visible(key).is_none());
        net.input(1, Input::Deregister { req: 2, key: long_name.clone() });
        assert_eq!(net.replies.last(), Some(&(2, Outcome::Done)));
    }
}
