//! Whatever numbers a message or a registration carries: the core neither panics nor loops.
#![allow(clippy::unwrap_used)]

mod net;

use dyad_distro::message::{
    Datum, DatumState, Delta, Digest, Forward, Heartbeat, LogDigest, Ping, Relay, RelayedBeat, Value,
};
use dyad_distro::{
    BeatOutcome, CLOCK_START, Config, Distro, Ending, Input, MemberState, Message, Outcome, codec,
};
use dyad_types::instance::{KEY_BEAT_TIMEOUT, KEY_DELETE_TIMEOUT};
use dyad_types::{
    ClientId, Dot, Instance, MemberId, Millis, Origin, Publication, PublicationKey, ServiceKey,
};
use net::{Net, key, publication};
use proptest::collection::vec;
use proptest::prelude::*;

fn numbers() -> impl Strategy<Value = u64> {
    let edges = [u64::MAX, u64::MAX - 1, i64::MAX as u64, i64::MAX as u64 + 1, 1 << 32];
    prop_oneof![4 => 0..5_u64, 2 => 0..20_000_u64, 2 => proptest::sample::select(edges.to_vec()), 1 => any::<u64>()]
}

fn origins() -> impl Strategy<Value = Origin> {
    (1..5_u64, numbers()).prop_map(|(member, incarnation)| Origin { member: MemberId(member), incarnation })
}

fn dots() -> impl Strategy<Value = Dot> {
    (origins(), numbers()).prop_map(|(origin, seq)| Dot { origin, seq })
}

fn states() -> impl Strategy<Value = MemberState> {
    use MemberState::{Alone, Joining, Leaving, Ready, Removed, Resuming};
    proptest::sample::select(vec![Ready, Ready, Alone, Joining, Resuming, Leaving, Removed])
}

fn keys() -> impl Strategy<Value = PublicationKey> {
    (0..4_u16, any::<bool>()).prop_map(|(n, beats)| match beats {
        true => key(n),
        false => PublicationKey {
            service: ServiceKey::new("", "", "svc"),
            client: ClientId::from_text(&format!("connection-{n}")),
        },
    })
}

fn values() -> impl Strategy<Value = Value> {
    (0..4_u16, dots(), numbers()).prop_map(|(n, dot, age)| Value {
        publication: publication(n, 1.0),
        dot,
        age,
    })
}

fn data() -> impl Strategy<Value = Datum> {
    let state = prop_oneof![
        (values(), any::<bool>()).prop_map(|(value, healthy)| DatumState::Live { value, healthy }),
        Just(DatumState::Gone),
        (values(), dots()).prop_map(|(value, to)| DatumState::Yield { value, to }),
    ];
    (keys(), numbers(), numbers(), state, vec(dots(), 0..3))
        .prop_map(|(key, seq, lamport, state, covers)| Datum { key, seq, lamport, state, covers })
}

fn deltas() -> impl Strategy<Value = Delta> {
    let places = (numbers(), numbers(), numbers());
    let floors = (numbers(), numbers(), numbers());
    (origins(), places, any::<bool>(), floors, vec(data(), 0..4)).prop_map(
        |(origin, places, reset, floors, data)| {
            let ((since, to, head), (floor, cover_floor, silence)) = (places, floors);
            Delta { origin, since, to, head, reset, floor, cover_floor, silence, data }
        },
    )
}

fn digests() -> impl Strategy<Value = Digest> {
    let log = (origins(), (numbers(), numbers(), any::<bool>()), (numbers(), numbers()));
    let log = log.prop_map(|(origin, (seq, live, complete), (floor, cover_floor))| LogDigest {
        origin,
        seq,
        live,
        hash: 7,
        complete,
        floor,
        cover_floor,
    });
    (vec(log, 0..4), vec(origins(), 0..2)).prop_map(|(logs, retired)| Digest { logs, retired })
}

fn heartbeats() -> impl Strategy<Value = Heartbeat> {
    (origins(), numbers(), states()).prop_map(|(origin, counter, state)| Heartbeat { origin, counter, state })
}

fn messages() -> impl Strategy<Value = Message> {
    let ping = (heartbeats(), vec(heartbeats(), 0..3), proptest::option::of(digests()));
    let written = proptest::option::of((0..4_u16).prop_map(|n| publication(n, 1.0)));
    let forward = (numbers(), numbers(), keys(), written, vec(dots(), 0..3));
    let beat = (keys(), numbers(), proptest::option::of(values()));
    let beat = beat.prop_map(|(key, age, value)| RelayedBeat { key, age, value });
    prop_oneof![
        3 => ping.prop_map(|(me, table, digest)| Message::Ping(Ping { me, table, digest })),
        4 => deltas().prop_map(Message::Delta),
        1 => (origins(), numbers(), any::<bool>())
            .prop_map(|(origin, seq, reset)| Message::DeltaAck { origin, seq, reset }),
        1 => (origins(), numbers(), any::<bool>())
            .prop_map(|(origin, since, reset)| Message::Pull { origin, since, reset }),
        1 => forward.prop_map(|(req, counter, key, publication, known)| {
            Message::Forward(Forward { req, counter, key, publication, known })
        }),
        1 => (numbers(), proptest::option::of(dots())).prop_map(|(req, at)| Message::ForwardAck { req, at }),
        1 => (numbers(), numbers(), vec(beat, 0..4))
            .prop_map(|(batch, counter, beats)| Message::Relay(Relay { batch, counter, beats })),
        1 => (numbers(), vec(proptest::option::of(dots()), 0..3))
            .prop_map(|(batch, held)| Message::RelayAck { batch, held }),
        1 => numbers().prop_map(|nonce| Message::Join { nonce }),
        1 => (numbers(), states(), vec(dots(), 0..3))
            .prop_map(|(nonce, state, vector)| Message::Echo { nonce, state, vector }),
        1 => (numbers(), numbers()).prop_map(|(incarnation, seq)| Message::Leaving { incarnation, seq }),
        1 => numbers().prop_map(|incarnation| Message::LeavingAck { incarnation }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Message(u64, Box<Message>),
    Register(PublicationKey, u16),
    Deregister(PublicationKey),
    Beat(PublicationKey),
    Ended(PublicationKey),
    Retired(Origin),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (2..5_u64, messages()).prop_map(|(from, message)| Step::Message(from, Box::new(message))),
        2 => (keys(), 0..4_u16).prop_map(|(key, n)| Step::Register(key, n)),
        1 => keys().prop_map(Step::Deregister),
        1 => keys().prop_map(Step::Beat),
        1 => keys().prop_map(Step::Ended),
        1 => origins().prop_map(Step::Retired),
        4 => proptest::sample::select(vec![5, 60, 500, 1_900, 3_000]).prop_map(Step::Pass),
    ];
    vec(step, 1..60)
}

fn take(core: &mut Distro, step: Step, now: &mut Millis) {
    match step {
        Step::Message(from, message) => {
            drop(core.handle(Input::Message { from: MemberId(from), stream: 1, message: *message }, *now));
        }
        Step::Register(key, n) => {
            drop(core.handle(Input::Register { req: 1, key, publication: publication(n, 2.0) }, *now));
        }
        Step::Deregister(key) => drop(core.handle(Input::Deregister { req: 2, key }, *now)),
        Step::Beat(key) => drop(core.beat(&key, *now)),
        Step::Ended(key) => {
            drop(core.handle(Input::Ended { client: key.client, ending: Ending::Abnormal }, *now));
        }
        Step::Retired(origin) => drop(core.handle(Input::Retired(vec![origin]), *now)),
        Step::Pass(ms) => *now = *now + ms,
    }
}

proptest! {
    #[test]
    fn no_message_panics(steps in steps()) {
        let known = (1..=3).map(MemberId).collect();
        let mut core = Distro::new(Config::cluster(MemberId(1), 1, 3, known), CLOCK_START);
        let mut now = CLOCK_START;
        for step in steps {
            take(&mut core, step, &mut now);
            // What it says itself can be read.
            for action in core.on_timeout(now) {
                if let dyad_distro::Action::Send { message, .. } = action {
                    prop_assert_eq!(codec::decode(&codec::encode(&message).unwrap()).unwrap(), message);
                }
            }
        }
    }
}

/// A client chooses its time-outs.
#[test]
fn a_time_out_of_any_length_is_waited_for() {
    let mut net = Net::ready(3);
    let most = u64::MAX.to_string();
    let metadata = [(KEY_BEAT_TIMEOUT, &*most), (KEY_DELETE_TIMEOUT, &*most)].into_iter().collect();
    let publication = Publication::one(Instance { metadata, ..Instance::new("10.0.0.1", 1) });
    let owner = net.owner(1);
    net.input(owner, Input::Register { req: 1, key: key(1), publication });
    net.run(50);
    assert_eq!(net.replies, [(1, Outcome::Done)]);
    // A silent member stretches all time-outs.
    net.cores.remove(&(1 + owner % 3));
    net.run(60_000);
    assert_eq!(net.view(1), vec![Some((true, 1.0)); 2]);
    assert_eq!(net.beat(owner, 1), BeatOutcome::Known);
}
