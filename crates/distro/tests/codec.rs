//! The bytes of messages: a round trip for any message, golden bytes, and no panic on any input.

use std::sync::Arc;

use bytes::Bytes;
use dyad_distro::MemberState;
use dyad_distro::codec::{CodecError, FRAME_MAX, decode, encode};
use dyad_distro::message::{
    Datum, DatumState, Delta, Digest, Forward, Heartbeat, LogDigest, Message, Ping, Relay, RelayedBeat, Value,
};
use dyad_types::{ClientId, Dot, Instance, MemberId, Origin, Publication, PublicationKey, ServiceKey};
use proptest::prelude::*;

fn origin(member: u64, incarnation: u64) -> Origin {
    Origin { member: MemberId(member), incarnation }
}

fn key(name: &str, ip: &str, port: u16) -> PublicationKey {
    PublicationKey { service: ServiceKey::new("ns", "G", name), client: ClientId::beat(ip, port) }
}

fn publication(ip: &str, port: u16) -> Arc<Publication> {
    Publication::one(Instance::new(ip, port))
}

fn samples() -> Vec<(&'static str, Message)> {
    let dot = Dot { origin: origin(0xA1, 2), seq: 7 };
    let value = Value { publication: publication("10.0.0.1", 80), dot, age: 1_500 };
    let log = LogDigest {
        origin: origin(0xA1, 2),
        seq: 9,
        live: 3,
        hash: 0x0123_4567_89AB_CDEF_0011_2233_4455_6677,
        complete: true,
        floor: 4,
        cover_floor: 2,
    };
    let beat = |member, state| Heartbeat { origin: origin(member, 2), counter: 41, state };
    let datum =
        |seq, state, covers| Datum { key: key("svc", "10.0.0.1", 80), seq, lamport: 12, state, covers };
    vec![
        (
            "ping",
            Message::Ping(Ping {
                me: beat(0xA1, MemberState::Ready),
                table: vec![beat(0xB2, MemberState::Leaving)],
                digest: Some(Digest { logs: vec![log], retired: vec![origin(0xC3, 1)] }),
            }),
        ),
        (
            "delta",
            Message::Delta(Delta {
                origin: origin(0xA1, 2),
                since: 3,
                to: 6,
                head: 9,
                reset: true,
                floor: 1,
                cover_floor: 0,
                silence: 250,
                data: vec![
                    datum(4, DatumState::Live { value: value.clone(), healthy: false }, vec![]),
                    datum(5, DatumState::Gone, vec![dot]),
                    datum(6, DatumState::Yield { value: value.clone(), to: dot }, vec![]),
                ],
            }),
        ),
        ("delta-ack", Message::DeltaAck { origin: origin(0xA1, 2), seq: 6, reset: true }),
        ("pull", Message::Pull { origin: origin(0xA1, 2), since: 6, reset: false }),
        (
            "forward",
            Message::Forward(Forward {
                req: 5,
                counter: 41,
                key: key("svc", "10.0.0.1", 80),
                publication: Some(publication("10.0.0.1", 80)),
                known: vec![dot],
            }),
        ),
        ("forward-ack", Message::ForwardAck { req: 5, at: Some(dot) }),
        (
            "relay",
            Message::Relay(Relay {
                batch: 8,
                counter: 41,
                beats: vec![RelayedBeat { key: key("svc", "10.0.0.1", 80), age: 90, value: Some(value) }],
            }),
        ),
        ("relay-ack", Message::RelayAck { batch: 8, held: vec![Some(dot), None] }),
        ("join", Message::Join { nonce: 77 }),
        ("echo", Message::Echo { nonce: 77, state: MemberState::Alone, vector: vec![dot] }),
        ("leaving", Message::Leaving { incarnation: 2, seq: 9 }),
        ("leaving-ack", Message::LeavingAck { incarnation: 2 }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A change of these bytes breaks a running cluster during an upgrade: it needs a new format number.
#[test]
fn bytes_are_those_of_the_golden_file() {
    let got: String = samples()
        .into_iter()
        .map(|(name, message)| format!("{name} {}\n", hex(&encode(&message).unwrap())))
        .collect();
    assert_eq!(got, include_str!("messages.hex"));
}

#[test]
fn every_message_comes_back_as_it_was() {
    for (name, message) in samples() {
        assert_eq!(decode(&encode(&message).unwrap()).unwrap(), message, "{name}");
    }
}

#[test]
fn what_is_no_message_is_refused_with_a_reason() {
    let cases: [(&[u8], &str); 4] = [
        (&[], "a Distro frame is empty"),
        (&[2, 0], "Distro format 2 is unknown; this member reads format 1. Upgrade it, or the sender"),
        (&[1], "a Distro frame lacks a body"),
        (&[1, 0x1a, 0x00], "a Distro frame lacks a position"),
    ];
    for (bytes, want) in cases {
        let error = decode(&Bytes::copy_from_slice(bytes)).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
    let long = Bytes::from(vec![1; FRAME_MAX + 1]);
    assert!(matches!(decode(&long), Err(CodecError::TooLong(_))));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut framed = vec![1];
        framed.extend(&bytes);
        let _ = decode(&Bytes::from(bytes));
        let _ = decode(&Bytes::from(framed));
    }

    #[test]
    fn a_delta_of_any_numbers_comes_back(
        (member, incarnation, since, to) in (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
        seqs in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u16>(), any::<bool>()), 0..20),
    ) {
        let origin = origin(member, incarnation);
        let data = seqs.into_iter().map(|(seq, age, port, healthy)| Datum {
            key: key("svc", "10.0.0.1", port),
            seq,
            lamport: seq ^ age,
            state: DatumState::Live {
                value: Value { publication: publication("10.0.0.1", port), dot: Dot { origin, seq }, age },
                healthy,
            },
            covers: vec![Dot { origin, seq: age }],
        });
        let delta = Delta {
            origin, since, to, head: to, reset: false, floor: since, cover_floor: to, silence: since,
            data: data.collect(),
        };
        let message = Message::Delta(delta);
        prop_assert_eq!(decode(&encode(&message).unwrap()).unwrap(), message);
    }
}
