//! The messages between members. [`crate::codec`] makes and reads their bytes.

use std::sync::Arc;

use dyad_types::{Dot, Origin, Publication, PublicationKey};

use crate::api::MemberState;

#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Ping(Ping),
    Delta(Delta),
    /// Says that the copy of `origin` at the sender of this message reaches to `seq`. With `reset`, this is the
    /// position in the reset that is under way.
    DeltaAck {
        origin: Origin,
        seq: u64,
        reset: bool,
    },
    /// Asks for the records of `origin` after `since`. With `reset`, it asks for all of them.
    Pull {
        origin: Origin,
        since: u64,
        reset: bool,
    },
    Forward(Forward),
    /// The answer to a forward: the position that the copy of the receiver must reach. `None` if the write was not accepted.
    ForwardAck {
        req: u64,
        at: Option<Dot>,
    },
    Relay(Relay),
    /// The answer to a relay: for each entry of the batch the position of the holder's record, or that it is unknown.
    RelayAck {
        batch: u64,
        held: Vec<Option<Dot>>,
    },
    /// Asks for the positions of all logs at the receiver (rule 20).
    Join {
        nonce: u64,
    },
    Echo {
        nonce: u64,
        state: MemberState,
        vector: Vec<Dot>,
    },
    /// Says that the sender leaves, and that its log ends at `seq`.
    Leaving {
        incarnation: u64,
        seq: u64,
    },
    LeavingAck {
        incarnation: u64,
    },
}

/// A sign of life, together with what the sender has heard of others.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    pub me: Heartbeat,
    pub table: Vec<Heartbeat>,
    pub digest: Option<Digest>,
}

/// The newest heartbeat of a member that the sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub origin: Origin,
    pub counter: u64,
    pub state: MemberState,
}

/// The positions and hashes of all logs, and the retirements that the sender knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Digest {
    pub logs: Vec<LogDigest>,
    /// The highest retired incarnation of each member.
    pub retired: Vec<Origin>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDigest {
    pub origin: Origin,
    pub seq: u64,
    /// The number of live records. It and the hash cannot be compared while the copy is not complete.
    pub live: u64,
    pub hash: u128,
    pub complete: bool,
    pub floor: u64,
    pub cover_floor: u64,
}

/// A piece of the log of one origin: all present records with since < seq <= to.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub origin: Origin,
    pub since: u64,
    pub to: u64,
    /// The position of the sender. The copy is complete when it reaches it.
    pub head: u64,
    /// Whether the piece is part of a reset.
    pub reset: bool,
    pub floor: u64,
    pub cover_floor: u64,
    /// Milliseconds since the sender last heard of the origin (rule 6).
    pub silence: u64,
    pub data: Vec<Datum>,
}

/// One record, as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    pub key: PublicationKey,
    pub seq: u64,
    pub lamport: u64,
    pub state: DatumState,
    /// For each origin, the registration up to which all are deregistered.
    pub covers: Vec<Dot>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DatumState {
    Live {
        value: Value,
        healthy: bool,
    },
    Gone,
    /// The record was handed over to the member whose record has that position.
    Yield {
        value: Value,
        to: Dot,
    },
}

/// A registration: what was published, which registration it is, and its age in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub publication: Arc<Publication>,
    pub dot: Dot,
    pub age: u64,
}

/// A write of a client, which goes one hop to the responsible member (rule 8).
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    pub req: u64,
    /// The ping counter of the sender. The receiver drops a message that two later pings have overtaken.
    pub counter: u64,
    pub key: PublicationKey,
    /// What is registered. `None` for a deregistration.
    pub publication: Option<Arc<Publication>>,
    /// The registrations of the key that the sender knows. A deregistration ends them too.
    pub known: Vec<Dot>,
}

/// Heartbeats for the responsible member (rule 11).
#[derive(Clone, Debug, PartialEq)]
pub struct Relay {
    pub batch: u64,
    pub counter: u64,
    pub beats: Vec<RelayedBeat>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RelayedBeat {
    pub key: PublicationKey,
    /// Milliseconds since the heartbeat.
    pub age: u64,
    /// The own record of the sender, if it has one to give.
    pub value: Option<Value>,
}

impl Message {
    /// A short name of the message, for traces and counters.
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
