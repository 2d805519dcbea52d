//! Identifiers of members, log origins and registrations.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// Identity of a member: a random non-zero number that the member draws at its first start and keeps on its disk. It is
/// also the raft node id. Shown as 16 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for MemberId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(MemberId)
    }
}

/// One incarnation of one member: the single writer of one Distro log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub member: MemberId,
    /// The member counts it itself: it is one higher after each start, and after each refutation of its retirement.
    pub incarnation: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.member, self.incarnation)
    }
}

/// Identity of one registration that a client itself made: the log position at which it was first written. Copies of
/// the registration (adoption, health change, re-assertion) keep the dot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    pub origin: Origin,
    /// The position in the log of `origin`.
    pub seq: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.seq)
    }
}

/// How long an instance lives (the flag `ephemeral` of Nacos): as long as its client sends heartbeats or is connected
/// (AP, Distro), or until it is deregistered (CP, raft).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifetime {
    Ephemeral,
    Persistent,
}

impl Lifetime {
    /// The lifetime that the flag `ephemeral` stands for.
    pub fn from_ephemeral(ephemeral: bool) -> Lifetime {
        if ephemeral { Lifetime::Ephemeral } else { Lifetime::Persistent }
    }

    pub fn is_ephemeral(self) -> bool {
        self == Lifetime::Ephemeral
    }

    /// The word for it in the messages of Nacos.
    pub fn word(self) -> &'static str {
        match self {
            Lifetime::Ephemeral => "ephemeral",
            Lifetime::Persistent => "persistent",
        }
    }
}
