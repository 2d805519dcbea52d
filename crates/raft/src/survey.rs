//! What this member knows of the others since it asked them the last time. `outlook.rs` asks, and looks here.

use std::collections::BTreeMap;
use std::time::Duration;

use dyad_types::MemberId;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clocks::Middle;
use crate::space::DiskRoom;
use crate::types::Node;

/// Another member, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    pub member: MemberId,
    pub node: Node,
    /// A voter of the membership; otherwise a learner.
    pub voter: bool,
    /// `None` while it answers.
    pub silence: Option<Silence>,
    /// What finds room on its disk, by its last answer. `None` before it, and if its build does not tell.
    pub room: Option<DiskRoom>,
    /// It may not speak for the cluster ([`crate::Standing`]).
    pub barred: bool,
}

impl Other {
    pub fn refuses_entries(&self) -> bool {
        self.room == Some(DiskRoom::NoEntries)
    }
}

/// A member does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Since its last answer, or since it was asked first.
    pub lasts: Duration,
    /// Whether it has ever answered this process.
    pub answered_before: bool,
    /// What was wrong the last time.
    pub why: String,
}

/// What is kept of one other member.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The last answer, or the first question.
    pub(crate) since: Instant,
    pub(crate) answered_before: bool,
    pub(crate) failure: Option<String>,
    /// Of its last answer. A clock goes on while its member does not answer, so that an old answer still says what time it has.
    pub(crate) clock: Option<Clock>,
    /// `None` if it was not told.
    pub(crate) room: Option<DiskRoom>,
    /// It may not speak for the cluster ([`crate::Standing`]).
    pub(crate) barred: bool,
    /// The process that answered; 0 before the first answer.
    pub(crate) process: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) wall_ms: u64,
    pub(crate) at: Instant,
    /// By how much it was ahead of the own clock when the answer was here: rather too little, since it goes on meanwhile.
    pub(crate) ahead_ms: i64,
}

impl Clock {
    pub(crate) fn now(&self) -> u64 {
        let since = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.wall_ms.saturating_add(since)
    }
}

/// The answers of the last rounds.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) known: Mutex<BTreeMap<u64, Known>>,
    /// The middle of the voters' clocks, and when it was that.
    pub(crate) middle: Mutex<Option<(Instant, Middle)>>,
}
