//! Messages to their protobuf shapes and back.

use bytes::Bytes;
use dyad_types::{ClientId, Dot, MemberId, Origin, Publication, PublicationKey, ServiceKey};

use super::{CodecError, wire};
use crate::api::MemberState;
use crate::message as m;
use crate::message::{DatumState, Message};

const STATES: [MemberState; 6] = [
    MemberState::Joining,
    MemberState::Alone,
    MemberState::Ready,
    MemberState::Resuming,
    MemberState::Leaving,
    MemberState::Removed,
];

pub(super) fn to_wire(message: &Message) -> wire::Body {
    use wire::Body;
    match message {
        Message::Ping(ping) => Body::Ping(wire::Ping {
            me: Some(beat_out(&ping.me)),
            table: ping.table.iter().map(beat_out).collect(),
            digest: ping.digest.as_ref().map(digest_out),
        }),
        Message::Delta(delta) => Body::Delta(delta_out(delta)),
        Message::DeltaAck { origin, seq, reset } => {
            Body::DeltaAck(wire::Position { at: at(*origin, *seq), reset: *reset })
        }
        Message::Pull { origin, since, reset } => {
            Body::Pull(wire::Position { at: at(*origin, *since), reset: *reset })
        }
        Message::Forward(f) => Body::Forward(wire::Forward {
            req: f.req,
            counter: f.counter,
            key: key_out(&f.key),
            publication: f.publication.as_ref().map(|p| p.bytes().clone()),
            known: f.known.iter().copied().map(dot_out).collect(),
        }),
        Message::ForwardAck { req, at } => Body::ForwardAck(wire::Acked { req: *req, at: at.map(dot_out) }),
        Message::Relay(relay) => Body::Relay(wire::Relay {
            batch: relay.batch,
            counter: relay.counter,
            beats: relay.beats.iter().map(relayed_out).collect(),
        }),
        Message::RelayAck { batch, held } => Body::RelayAck(wire::RelayAck {
            batch: *batch,
            held: held.iter().map(|at| wire::Held { at: at.map(dot_out) }).collect(),
        }),
        Message::Join { nonce } => Body::Join(wire::Join { nonce: *nonce }),
        Message::Echo { nonce, state, vector } => Body::Echo(wire::Echo {
            nonce: *nonce,
            state: state_number(*state),
            vector: vector.iter().copied().map(dot_out).collect(),
        }),
        Message::Leaving { incarnation, seq } => {
            Body::Leaving(wire::Leaving { incarnation: *incarnation, seq: *seq })
        }
        Message::LeavingAck { incarnation } => {
            Body::LeavingAck(wire::Leaving { incarnation: *incarnation, seq: 0 })
        }
    }
}

pub(super) fn from_wire(body: wire::Body) -> Result<Message, CodecError> {
    use wire::Body;
    Ok(match body {
        Body::Ping(ping) => Message::Ping(m::Ping {
            me: beat_in(ping.me.ok_or(CodecError::Missing("a heartbeat"))?)?,
            table: ping.table.into_iter().map(beat_in).collect::<Result<_, _>>()?,
            digest: ping.digest.map(digest_in).transpose()?,
        }),
        Body::Delta(delta) => Message::Delta(delta_in(delta)?),
        Body::DeltaAck(p) => {
            let dot = dot_needed(p.at)?;
            Message::DeltaAck { origin: dot.origin, seq: dot.seq, reset: p.reset }
        }
        Body::Pull(p) => {
            let dot = dot_needed(p.at)?;
            Message::Pull { origin: dot.origin, since: dot.seq, reset: p.reset }
        }
        Body::Forward(f) => Message::Forward(m::Forward {
            req: f.req,
            counter: f.counter,
            key: key_in(f.key)?,
            publication: f.publication.as_ref().map(publication).transpose()?,
            known: f.known.into_iter().map(dot_in).collect(),
        }),
        Body::ForwardAck(acked) => Message::ForwardAck { req: acked.req, at: acked.at.map(dot_in) },
        Body::Relay(relay) => Message::Relay(m::Relay {
            batch: relay.batch,
            counter: relay.counter,
            beats: relay.beats.into_iter().map(relayed_in).collect::<Result<_, _>>()?,
        }),
        Body::RelayAck(ack) => Message::RelayAck {
            batch: ack.batch,
            held: ack.held.into_iter().map(|held| held.at.map(dot_in)).collect(),
        },
        Body::Join(join) => Message::Join { nonce: join.nonce },
        Body::Echo(echo) => Message::Echo {
            nonce: echo.nonce,
            state: state(echo.state)?,
            vector: echo.vector.into_iter().map(dot_in).collect(),
        },
        Body::Leaving(l) => Message::Leaving { incarnation: l.incarnation, seq: l.seq },
        Body::LeavingAck(l) => Message::LeavingAck { incarnation: l.incarnation },
    })
}

fn state_number(state: MemberState) -> u32 {
    STATES.iter().position(|&s| s == state).unwrap_or(0) as u32
}

fn state(number: u32) -> Result<MemberState, CodecError> {
    STATES.get(number as usize).copied().ok_or(CodecError::State(number))
}

fn dot_out(dot: Dot) -> wire::Dot {
    wire::Dot { member: dot.origin.member.0, incarnation: dot.origin.incarnation, seq: dot.seq }
}

fn dot_in(dot: wire::Dot) -> Dot {
    Dot { origin: Origin { member: MemberId(dot.member), incarnation: dot.incarnation }, seq: dot.seq }
}

fn dot_needed(dot: Option<wire::Dot>) -> Result<Dot, CodecError> {
    dot.map(dot_in).ok_or(CodecError::Missing("a position"))
}

fn at(origin: Origin, seq: u64) -> Option<wire::Dot> {
    Some(dot_out(Dot { origin, seq }))
}

fn key_out(key: &PublicationKey) -> Option<wire::Key> {
    Some(wire::Key {
        namespace: key.service.namespace().into(),
        group: key.service.group().into(),
        service: key.service.name().into(),
        client: key.client.as_str().into(),
    })
}

fn key_in(key: Option<wire::Key>) -> Result<PublicationKey, CodecError> {
    let key = key.ok_or(CodecError::Missing("a key"))?;
    let service = ServiceKey::new(&key.namespace, &key.group, &key.service);
    Ok(PublicationKey { service, client: ClientId::from_text(&key.client) })
}

fn value_out(value: &m::Value) -> wire::Value {
    wire::Value {
        publication: value.publication.bytes().clone(),
        dot: Some(dot_out(value.dot)),
        age: value.age,
    }
}

/// A copy, so that one record does not keep a whole frame in memory.
fn publication(bytes: &Bytes) -> Result<std::sync::Arc<Publication>, CodecError> {
    Ok(Publication::decode(Bytes::copy_from_slice(bytes))?)
}

fn value_in(value: wire::Value) -> Result<m::Value, CodecError> {
    let publication = publication(&value.publication)?;
    Ok(m::Value { publication, dot: dot_needed(value.dot)?, age: value.age })
}

fn beat_out(beat: &m::Heartbeat) -> wire::Heartbeat {
    wire::Heartbeat { at: at(beat.origin, beat.counter), state: state_number(beat.state) }
}

fn beat_in(beat: wire::Heartbeat) -> Result<m::Heartbeat, CodecError> {
    let dot = dot_needed(beat.at)?;
    Ok(m::Heartbeat { origin: dot.origin, counter: dot.seq, state: state(beat.state)? })
}

fn log_out(log: &m::LogDigest) -> wire::LogDigest {
    wire::LogDigest {
        at: at(log.origin, log.seq),
        live: log.live,
        hash_high: (log.hash >> 64) as u64,
        hash_low: log.hash as u64,
        partial: !log.complete,
        floor: log.floor,
        cover_floor: log.cover_floor,
    }
}

fn log_in(log: wire::LogDigest) -> Result<m::LogDigest, CodecError> {
    let dot = dot_needed(log.at)?;
    Ok(m::LogDigest {
        origin: dot.origin,
        seq: dot.seq,
        live: log.live,
        hash: u128::from(log.hash_high) << 64 | u128::from(log.hash_low),
        complete: !log.partial,
        floor: log.floor,
        cover_floor: log.cover_floor,
    })
}

fn digest_out(digest: &m::Digest) -> wire::Digest {
    wire::Digest {
        logs: digest.logs.iter().map(log_out).collect(),
        retired: digest.retired.iter().map(|&origin| dot_out(Dot { origin, seq: 0 })).collect(),
    }
}

fn digest_in(digest: wire::Digest) -> Result<m::Digest, CodecError> {
    Ok(m::Digest {
        logs: digest.logs.into_iter().map(log_in).collect::<Result<_, _>>()?,
        retired: digest.retired.into_iter().map(|d| dot_in(d).origin).collect(),
    })
}

fn datum_out(datum: &m::Datum) -> wire::Datum {
    let (value, unhealthy, to) = match &datum.state {
        DatumState::Live { value, healthy } => (Some(value_out(value)), !healthy, None),
        DatumState::Gone => (None, false, None),
        DatumState::Yield { value, to } => (Some(value_out(value)), false, Some(dot_out(*to))),
    };
    let covers = datum.covers.iter().copied().map(dot_out).collect();
    let key = key_out(&datum.key);
    wire::Datum { key, seq: datum.seq, lamport: datum.lamport, value, unhealthy, to, covers }
}

fn datum_in(datum: wire::Datum) -> Result<m::Datum, CodecError> {
    let state = match (datum.value, datum.to) {
        (None, _) => DatumState::Gone,
        (Some(value), None) => DatumState::Live { value: value_in(value)?, healthy: !datum.unhealthy },
        (Some(value), Some(to)) => DatumState::Yield { value: value_in(value)?, to: dot_in(to) },
    };
    let covers = datum.covers.into_iter().map(dot_in).collect();
    Ok(m::Datum { key: key_in(datum.key)?, seq: datum.seq, lamport: datum.lamport, state, covers })
}

fn delta_out(delta: &m::Delta) -> wire::Delta {
    wire::Delta {
        to: at(delta.origin, delta.to),
        since: delta.since,
        head: delta.head,
        reset: delta.reset,
        floor: delta.floor,
        cover_floor: delta.cover_floor,
        silence: delta.silence,
        data: delta.data.iter().map(datum_out).collect(),
    }
}

fn delta_in(delta: wire::Delta) -> Result<m::Delta, CodecError> {
    let to = dot_needed(delta.to)?;
    Ok(m::Delta {
        origin: to.origin,
        since: delta.since,
        to: to.seq,
        head: delta.head,
        reset: delta.reset,
        floor: delta.floor,
        cover_floor: delta.cover_floor,
        silence: delta.silence,
        data: delta.data.into_iter().map(datum_in).collect::<Result<_, _>>()?,
    })
}

fn relayed_out(beat: &m::RelayedBeat) -> wire::Beat {
    wire::Beat { key: key_out(&beat.key), age: beat.age, value: beat.value.as_ref().map(value_out) }
}

fn relayed_in(beat: wire::Beat) -> Result<m::RelayedBeat, CodecError> {
    Ok(m::RelayedBeat { key: key_in(beat.key)?, age: beat.age, value: beat.value.map(value_in).transpose()? })
}
