//! Bytes of messages: one byte with the format number, then protobuf. Input from the network never panics.

use bytes::{Bytes, BytesMut};
use dyad_types::{ClientId, Dot, MemberId, Origin, Publication, PublicationKey, ServiceKey};
use prost::Message as _;

use crate::api::MemberState;
use crate::message as m;
use crate::message::{DatumState, Message};

/// The first byte of every message.
pub const FORMAT: u8 = 1;

/// A frame above this is refused before it is decoded: a delta holds at most 256 KiB plus one publication and keys.
pub const FRAME_MAX: usize = 1 << 20;

/// A frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("a Distro frame of {0} bytes is over the limit of {FRAME_MAX}")]
    TooLong(usize),
    #[error("Distro format {0} is unknown; this member reads format {FORMAT}. Upgrade it, or the sender")]
    Format(u8),
    #[error("a Distro frame is empty")]
    Empty,
    #[error("a Distro frame does not decode: {0}")]
    Wire(#[from] prost::DecodeError),
    #[error("a Distro frame lacks {0}")]
    Missing(&'static str),
    #[error("{0} is not a member state")]
    State(u32),
    #[error(transparent)]
    Publication(#[from] dyad_types::publication::BadPublication),
}

/// Encodes a message.
///
/// # Errors
/// [`CodecError::TooLong`] when they exceed [`FRAME_MAX`]; a core with default limits makes no such message unless one
/// publication alone is that large.
pub fn encode(message: &Message) -> Result<Bytes, CodecError> {
    let wire = wire::Frame { body: Some(to_wire(message)) };
    let len = wire.encoded_len() + 1;
    if len > FRAME_MAX {
        return Err(CodecError::TooLong(len));
    }
    let mut bytes = BytesMut::with_capacity(len);
    bytes.extend_from_slice(&[FORMAT]);
    wire.encode_raw(&mut bytes);
    Ok(bytes.freeze())
}

/// Decodes a message. The bytes of each publication are copied once, so that one record does not keep a whole message
/// in memory.
///
/// # Errors
/// The bytes are too long, have another format, or are not a message.
pub fn decode(bytes: &Bytes) -> Result<Message, CodecError> {
    if bytes.len() > FRAME_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    match bytes.first() {
        None => return Err(CodecError::Empty),
        Some(&FORMAT) => {}
        Some(&other) => return Err(CodecError::Format(other)),
    }
    let frame = wire::Frame::decode(bytes.slice(1..))?;
    from_wire(frame.body.ok_or(CodecError::Missing("a body"))?)
}

mod wire {
    //! The protobuf shapes. Field numbers are never reused.
    use bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Frame {
        #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
        pub body: Option<Body>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Body {
        #[prost(message, tag = "1")]
        Ping(Ping),
        #[prost(message, tag = "2")]
        Delta(Delta),
        #[prost(message, tag = "3")]
        DeltaAck(Position),
        #[prost(message, tag = "4")]
        Pull(Position),
        #[prost(message, tag = "5")]
        Forward(Forward),
        #[prost(message, tag = "6")]
        ForwardAck(Acked),
        #[prost(message, tag = "7")]
        Relay(Relay),
        #[prost(message, tag = "8")]
        RelayAck(RelayAck),
        #[prost(message, tag = "9")]
        Join(Join),
        #[prost(message, tag = "10")]
        Echo(Echo),
        #[prost(message, tag = "11")]
        Leaving(Leaving),
        #[prost(message, tag = "12")]
        LeavingAck(Leaving),
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Dot {
        #[prost(fixed64, tag = "1")]
        pub member: u64,
        #[prost(uint64, tag = "2")]
        pub incarnation: u64,
        #[prost(uint64, tag = "3")]
        pub seq: u64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Position {
        #[prost(message, optional, tag = "1")]
        pub at: Option<Dot>,
        #[prost(bool, tag = "2")]
        pub reset: bool,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Heartbeat {
        /// `seq` is the counter.
        #[prost(message, optional, tag = "1")]
        pub at: Option<Dot>,
        #[prost(uint32, tag = "2")]
        pub state: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Ping {
        #[prost(message, optional, tag = "1")]
        pub me: Option<Heartbeat>,
        #[prost(message, repeated, tag = "2")]
        pub table: Vec<Heartbeat>,
        #[prost(message, optional, tag = "3")]
        pub digest: Option<Digest>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Digest {
        #[prost(message, repeated, tag = "1")]
        pub logs: Vec<LogDigest>,
        #[prost(message, repeated, tag = "2")]
        pub retired: Vec<Dot>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct LogDigest {
        #[prost(message, optional, tag = "1")]
        pub at: Option<Dot>,
        #[prost(uint64, tag = "2")]
        pub live: u64,
        #[prost(fixed64, tag = "3")]
        pub hash_high: u64,
        #[prost(fixed64, tag = "4")]
        pub hash_low: u64,
        #[prost(bool, tag = "5")]
        pub partial: bool,
        #[prost(uint64, tag = "6")]
        pub floor: u64,
        #[prost(uint64, tag = "7")]
        pub cover_floor: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Delta {
        /// `seq` is the end.
        #[prost(message, optional, tag = "1")]
        pub to: Option<Dot>,
        #[prost(uint64, tag = "2")]
        pub since: u64,
        #[prost(uint64, tag = "3")]
        pub head: u64,
        #[prost(bool, tag = "4")]
        pub reset: bool,
        #[prost(uint64, tag = "5")]
        pub floor: u64,
        #[prost(uint64, tag = "6")]
        pub cover_floor: u64,
        #[prost(uint64, tag = "7")]
        pub silence: u64,
        #[prost(message, repeated, tag = "8")]
        pub data: Vec<Datum>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Key {
        #[prost(string, tag = "1")]
        pub namespace: String,
        #[prost(string, tag = "2")]
        pub group: String,
        #[prost(string, tag = "3")]
        pub service: String,
        #[prost(string, tag = "4")]
        pub client: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Value {
        #[prost(bytes = "bytes", tag = "1")]
        pub publication: Bytes,
        #[prost(message, optional, tag = "2")]
        pub dot: Option<Dot>,
        #[prost(uint64, tag = "3")]
        pub age: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Datum {
        #[prost(message, optional, tag = "1")]
        pub key: Option<Key>,
        #[prost(uint64, tag = "2")]
        pub seq: u64,
        #[prost(uint64, tag = "3")]
        pub lamport: u64,
        /// Absent: gone.
        #[prost(message, optional, tag = "4")]
        pub value: Option<Value>,
        #[prost(bool, tag = "5")]
        pub unhealthy: bool,
        /// Present: a Yield.
        #[prost(message, optional, tag = "6")]
        pub to: Option<Dot>,
        #[prost(message, repeated, tag = "7")]
        pub covers: Vec<Dot>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Forward {
        #[prost(uint64, tag = "1")]
        pub req: u64,
        #[prost(uint64, tag = "2")]
        pub counter: u64,
        #[prost(message, optional, tag = "3")]
        pub key: Option<Key>,
        #[prost(bytes = "bytes", optional, tag = "4")]
        pub publication: Option<Bytes>,
        #[prost(message, repeated, tag = "5")]
        pub known: Vec<Dot>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Acked {
        #[prost(uint64, tag = "1")]
        pub req: u64,
        #[prost(message, optional, tag = "2")]
        pub at: Option<Dot>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Relay {
        #[prost(uint64, tag = "1")]
        pub batch: u64,
        #[prost(uint64, tag = "2")]
        pub counter: u64,
        #[prost(message, repeated, tag = "3")]
        pub beats: Vec<Beat>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Beat {
        #[prost(message, optional, tag = "1")]
        pub key: Option<Key>,
        #[prost(uint64, tag = "2")]
        pub age: u64,
        #[prost(message, optional, tag = "3")]
        pub value: Option<Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RelayAck {
        #[prost(uint64, tag = "1")]
        pub batch: u64,
        /// An entry without `at` is unknown to the receiver.
        #[prost(message, repeated, tag = "2")]
        pub held: Vec<Held>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Held {
        #[prost(message, optional, tag = "1")]
        pub at: Option<Dot>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Join {
        #[prost(uint64, tag = "1")]
        pub nonce: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Echo {
        #[prost(uint64, tag = "1")]
        pub nonce: u64,
        #[prost(uint32, tag = "2")]
        pub state: u32,
        #[prost(message, repeated, tag = "3")]
        pub vector: Vec<Dot>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Leaving {
        #[prost(uint64, tag = "1")]
        pub incarnation: u64,
        #[prost(uint64, tag = "2")]
        pub seq: u64,
    }
}

const STATES: [MemberState; 6] = [
    MemberState::Joining,
    MemberState::Alone,
    MemberState::Ready,
    MemberState::Resuming,
    MemberState::Leaving,
    MemberState::Removed,
];

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

fn to_wire(message: &Message) -> wire::Body {
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

fn from_wire(body: wire::Body) -> Result<Message, CodecError> {
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
