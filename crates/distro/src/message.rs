//! Messages between members. Their bytes are in [`crate::codec`].

use std::sync::Arc;

use dyad_types::{Dot, Origin, Publication, PublicationKey};

use crate::api::MemberState;

#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Ping(Ping),
    Delta(Delta),
    /// The receiver's copy of `origin` reaches to `seq`; `reset`: of the reset that is under way.
    DeltaAck {
        origin: Origin,
        seq: u64,
        reset: bool,
    },
    /// Asks for records of `origin` after `since`; `reset`: all of them.
    Pull {
        origin: Origin,
        since: u64,
        reset: bool,
    },
    Forward(Forward),
    /// Answer to a forward: the position that the receiver's copy must reach; `None`: not accepted.
    ForwardAck {
        req: u64,
        at: Option<Dot>,
    },
    Relay(Relay),
    /// Per entry of the batch: the position of the holder's record, or unknown.
    RelayAck {
        batch: u64,
        held: Vec<Option<Dot>>,
    },
    /// Asks for the receiver's vector (rule 20).
    Join {
        nonce: u64,
    },
    Echo {
        nonce: u64,
        state: MemberState,
        vector: Vec<Dot>,
    },
    /// The sender leaves; its log ends at `seq`.
    Leaving {
        incarnation: u64,
        seq: u64,
    },
    LeavingAck {
        incarnation: u64,
    },
}

/// A sign of life, with what the sender has heard of others.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    pub me: Heartbeat,
    pub table: Vec<Heartbeat>,
    pub digest: Option<Digest>,
}

/// The newest known heartbeat of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub origin: Origin,
    pub counter: u64,
    pub state: MemberState,
}

/// Positions and hashes of all logs, and the retirements known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Digest {
    pub logs: Vec<LogDigest>,
    /// Per member the highest retired incarnation.
    pub retired: Vec<Origin>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDigest {
    pub origin: Origin,
    pub seq: u64,
    /// Live records and their hash; not comparable while the copy is incomplete.
    pub live: u64,
    pub hash: u128,
    pub complete: bool,
    pub floor: u64,
    pub cover_floor: u64,
}

/// A piece of one origin's log: all current records with since < seq <= to.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub origin: Origin,
    pub since: u64,
    pub to: u64,
    /// The sender's position; the copy is complete when it gets there.
    pub head: u64,
    /// Part of a whole replacement.
    pub reset: bool,
    pub floor: u64,
    pub cover_floor: u64,
    /// Milliseconds since the sender heard of the origin (rule 6).
    pub silence: u64,
    pub data: Vec<Datum>,
}

/// One record on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    pub key: PublicationKey,
    pub seq: u64,
    pub lamport: u64,
    pub state: DatumState,
    /// Per origin: registrations up to that one are deregistered.
    pub covers: Vec<Dot>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DatumState {
    Live {
        value: Value,
        healthy: bool,
    },
    Gone,
    /// Handed over to the holder of that position.
    Yield {
        value: Value,
        to: Dot,
    },
}

/// A registration: what was published, which registration it is, and how old it is in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub publication: Arc<Publication>,
    pub dot: Dot,
    pub age: u64,
}

/// A client's write, one hop to the responsible member (rule 8).
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    pub req: u64,
    /// The sender's ping counter: a frame overtaken by two pings is stale and dropped.
    pub counter: u64,
    pub key: PublicationKey,
    /// `None`: a deregistration.
    pub publication: Option<Arc<Publication>>,
    /// Registrations of the key that the sender knows; a deregistration ends them too.
    pub known: Vec<Dot>,
}

/// Beats for the responsible member (rule 11).
#[derive(Clone, Debug, PartialEq)]
pub struct Relay {
    pub batch: u64,
    pub counter: u64,
    pub beats: Vec<RelayedBeat>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RelayedBeat {
    pub key: PublicationKey,
    /// Milliseconds since the beat.
    pub age: u64,
    /// The sender's own record, when it has one to give.
    pub value: Option<Value>,
}

impl Message {
    /// For traces and counters.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Ping(_) => "ping",
            Message::Delta(_) => "delta",
            Message::DeltaAck { .. } => "delta-ack",
            Message::Pull { .. } => "pull",
            Message::Forward(_) => "forward",
            Message::ForwardAck { .. } => "forward-ack",
            Message::Relay(_) => "relay",
            Message::RelayAck { .. } => "relay-ack",
            Message::Join { .. } => "join",
            Message::Echo { .. } => "echo",
            Message::Leaving { .. } => "leaving",
            Message::LeavingAck { .. } => "leaving-ack",
        }
    }
}
