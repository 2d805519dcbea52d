//! What one key has: at most one record per log, and which of them count (rules 1 to 4).

use std::sync::Arc;

use dyad_types::{BeatSlot, Dot, Publication, PublicationKey};

use super::LogId;
use crate::codec::size::COVERS_MAX;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RecState {
    Live,
    Unhealthy,
    #[default]
    Gone,
    /// Given to another holder whose record is not here yet: counts as healthy (rule 4).
    Yield,
    /// Given to another holder whose record is here: counts as Gone.
    Settled,
}

impl RecState {
    pub(crate) fn is_live(self) -> bool {
        matches!(self, RecState::Live | RecState::Unhealthy)
    }

    /// Vouches for the publication, unless its dot is covered.
    pub(crate) fn shows(self) -> bool {
        matches!(self, RecState::Live | RecState::Unhealthy | RecState::Yield)
    }

    pub(crate) fn is_healthy(self) -> bool {
        matches!(self, RecState::Live | RecState::Yield)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) log: LogId,
    pub(crate) state: RecState,
    pub(crate) seq: u64,
    pub(crate) lamport: u64,
    /// `Some` unless Gone.
    pub(crate) publication: Option<Arc<Publication>>,
    pub(crate) dot: Dot,
    /// When the client registered, as estimated here, in real milliseconds; may lie before zero.
    pub(crate) reg: i64,
    pub(crate) rare: Option<Box<Rare>>,
}

/// What few records have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    /// Per origin the newest deregistered dot; older dots of that origin are deregistered with it.
    pub(crate) covers: Vec<Dot>,
    /// Of a Yield: the position of the new holder's record.
    pub(crate) to: Dot,
}

impl Record {
    pub(crate) fn covers(&self) -> &[Dot] {
        self.rare.as_ref().map_or(&[], |rare| &rare.covers)
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: PublicationKey,
    /// At most one per log.
    pub(crate) records: Vec<Record>,
    /// This member holds the key.
    pub(crate) slot: Option<Arc<BeatSlot>>,
    /// Active time of the timer that counts; others in the heap are stale.
    pub(crate) armed: u64,
}

impl Entry {
    pub(crate) fn record(&self, log: LogId) -> Option<&Record> {
        self.records.iter().find(|r| r.log == log)
    }

    /// Rule 2: the dot, or a later one of the same origin, was deregistered.
    pub(crate) fn is_covered(&self, dot: Dot) -> bool {
        self.records.iter().any(|r| covers(r.covers(), dot))
    }

    /// The records that vouch for the key.
    pub(crate) fn visible(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|r| r.state.shows() && !self.is_covered(r.dot))
    }

    /// The visible record of the newest registration.
    pub(crate) fn newest(&self) -> Option<&Record> {
        self.visible().max_by_key(|r| (r.reg, r.lamport))
    }
}

pub(crate) fn covers(covers: &[Dot], dot: Dot) -> bool {
    covers.iter().any(|c| c.origin == dot.origin && c.seq >= dot.seq)
}

/// Adds a cover, keeping the newest per origin. The one that has been there longest makes room for it.
pub(crate) fn add_cover(covers: &mut Vec<Dot>, dot: Dot) {
    if let Some(cover) = covers.iter_mut().find(|c| c.origin == dot.origin) {
        cover.seq = cover.seq.max(dot.seq);
        return;
    }
    if covers.len() >= COVERS_MAX {
        covers.remove(0);
    }
    covers.push(dot);
}
