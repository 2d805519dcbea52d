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
