//! One origin's log: its position, what is in it, and how its copy is coming along.

use std::collections::{BTreeMap, HashSet};

use dyad_types::Origin;

use super::KeyId;

/// One origin's log, own or copied.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) origin: Origin,
    /// Everything up to here is in the copy.
    pub(crate) seq: u64,
    /// Of an unfinished transfer: how far it is, and where it is complete. Equal to `seq` otherwise.
    pub(crate) progress: u64,
    pub(crate) head: u64,
    /// Tombstones up to here may be gone: a reader behind it needs a reset.
    pub(crate) floor: u64,
    /// Covers up to here are dropped.
    pub(crate) cover_floor: u64,
    pub(crate) by_seq: BTreeMap<u64, KeyId>,
    /// Gone and Yield, by seq.
    pub(crate) ended: BTreeMap<u64, KeyId>,
    /// Records with covers, by seq.
    pub(crate) covering: BTreeMap<u64, KeyId>,
    pub(crate) live: u64,
    pub(crate) hash: u128,
    /// Active time at which the origin was last heard of.
    pub(crate) heard: u64,
    /// Since when it was heard without a break, and this member ran without one.
    pub(crate) heard_since: u64,
    /// Rule 24: counts as unhealthy here.
    pub(crate) soft: bool,
    /// Not heard for a few seconds: a Yield to it does not settle.
    pub(crate) quiet: bool,
    /// Active time since which a newer incarnation is known.
    pub(crate) superseded: Option<u64>,
    pub(crate) reset: Option<Reset>,
    /// The position that a digest has shown, and when a pull was last sent.
    pub(crate) target: u64,
    pub(crate) pulled: Option<u64>,
    pub(crate) proposed: Option<u64>,
    /// Retired, although heard not long ago: kept until then, or until the next incarnation's log is here.
    pub(crate) doomed: Option<u64>,
    /// The member said that it leaves.
    pub(crate) left: bool,
}

/// A reset under way: the copy is compared with a whole log, which comes in pieces.
#[derive(Debug)]
pub(crate) struct Reset {
    pub(crate) seen: HashSet<KeyId>,
    /// Active time of the last piece.
    pub(crate) at: u64,
}

impl Log {
    pub(crate) fn new(origin: Origin, heard: u64) -> Log {
        Log {
            origin,
            seq: 0,
            progress: 0,
            head: 0,
            floor: 0,
            cover_floor: 0,
            by_seq: BTreeMap::new(),
            ended: BTreeMap::new(),
            covering: BTreeMap::new(),
            live: 0,
            hash: 0,
            heard,
            heard_since: heard,
            soft: false,
            quiet: false,
            superseded: None,
            reset: None,
            target: 0,
            pulled: None,
            proposed: None,
            doomed: None,
            left: false,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.progress == self.seq && self.reset.is_none()
    }
}
