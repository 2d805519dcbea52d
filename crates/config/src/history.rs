//! The versions of one configuration. A version takes 16 bytes here; the rest is in the store.
//!
//! The row of a write has what the write made. For an update or a removal, Nacos shows the content *before* it, which
//! is in the row of the entry before it, of the same release. When the history is pruned, that row must therefore live
//! longer than its own entry: the entry stays as a hidden *base* as long as the entry after it is shown, or as long as
//! the release is still that version. So nothing is written twice, `apply` never needs a content, and the rows that the
//! state relies on are exactly those of the entries.

use std::fmt;

use crate::Revision;

/// What a write did to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    Insert = 0,
    Update = 1,
    Delete = 2,
}

impl Op {
    /// The letter of Nacos, which it pads to ten characters; here it is not padded.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Insert => "I",
            Op::Update => "U",
            Op::Delete => "D",
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Op> {
        [Op::Insert, Op::Update, Op::Delete].into_iter().find(|op| *op as u64 == number)
    }
}

/// One version, as a list of versions shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryEntry<'a> {
    /// The number of the version (`nid`), which is also the key of its row.
    pub revision: Revision,
    /// Milliseconds since the epoch.
    pub modified_ms: u64,
    pub op: Op,
    /// The name of the gray release. `None` for the formal release.
    pub gray: Option<&'a str>,
    /// The row with the content before this write. `None` for an insert.
    pub before: Option<Revision>,
}

/// The number of bits for the slot of the release's name. The bits above are for the operation, the rest for the time.
const SLOT_BITS: u32 = 14;
const OP_BITS: u32 = 2;
const SLOT_MAX: usize = (1 << SLOT_BITS) - 1;

/// An entry: the revision, and in one word the time, the operation and the slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) revision: Revision,
    pub(crate) mark: u64,
}

impl Entry {
    fn new(revision: Revision, modified_ms: u64, op: Op, slot: usize) -> Entry {
        let time = modified_ms & (u64::MAX >> (SLOT_BITS + OP_BITS));
        let mark = (((time << OP_BITS) | op as u64) << SLOT_BITS) | slot as u64;
        Entry { revision, mark }
    }

    fn modified_ms(self) -> u64 {
        self.mark >> (SLOT_BITS + OP_BITS)
    }

    /// The operation. Entries are checked when they are read, so the number is known.
    fn op(self) -> Op {
        Op::from_number((self.mark >> SLOT_BITS) & ((1 << OP_BITS) - 1)).unwrap_or(Op::Update)
    }

    fn slot(self) -> usize {
        self.mark as usize & SLOT_MAX
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}@{}ms/{}", self.op().as_str(), self.revision, self.modified_ms(), self.slot())
    }
}

/// The versions of one configuration, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    entries: Vec<Entry>,
    /// This many entries at the beginning are bases.
    hidden: u32,
    /// The names of the gray releases by slot. Slot 0 is the formal release, whose name is not stored.
    names: Vec<Box<str>>,
}

/// The number of entries by which the vector grows. Doubling would waste more than the entries themselves take.
const GROWTH: usize = 4;

impl History {
    /// Adds an entry, which is the newest. `gray` is empty for the formal release.
    pub(crate) fn push(&mut self, revision: Revision, modified_ms: u64, op: Op, gray: &str) {
        let slot = self.slot_for(gray);
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(GROWTH);
        }
        self.entries.push(Entry::new(revision, modified_ms, op, slot));
    }

    /// The number of entries that are shown.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.hidden as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The shown entries, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = HistoryEntry<'_>> {
        (self.hidden as usize..self.entries.len()).rev().map(|at| self.shown(at))
    }

    pub(crate) fn entry(&self, revision: Revision) -> Option<HistoryEntry<'_>> {
        let at = self.entries.binary_search_by_key(&revision, |e| e.revision).ok()?;
        (at >= self.hidden as usize).then(|| self.shown(at))
    }

    /// The rows that this history relies on, those of the live releases included.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = Revision> {
        self.entries.iter().map(|entry| entry.revision)
    }

    /// The rows that [`History::prune`] can drop, each with the time that its `until_ms` must be above. A row goes when its own
    /// entry is hidden and the next entry of its release does not show it any more; the row of a live release never goes.
    pub(crate) fn droppable(
        &self,
        is_live: impl Fn(&str, Revision) -> bool,
    ) -> impl Iterator<Item = (Revision, u64)> {
        let mut hidden_above = 0;
        let times: Vec<u64> = (0..self.entries.len())
            .map(|at| {
                // Entries are hidden in their order, so that one that is too old waits for those before it.
                if at >= self.hidden as usize {
                    hidden_above = self.entries[at].modified_ms().max(hidden_above);
                }
                hidden_above
            })
            .collect();
        self.entries.iter().enumerate().filter_map(move |(at, entry)| {
            let next = self.entries[at + 1..].iter().position(|e| e.slot() == entry.slot());
            let goes_with = match next.map(|n| at + 1 + n) {
                Some(next) if self.entries[next].op() != Op::Insert => next,
                Some(_) => at,
                None if is_live(self.name(entry.slot()), entry.revision) => return None,
                None => at,
            };
            Some((entry.revision, times[goes_with]))
        })
    }

    /// Whether [`History::prune`] would hide or drop anything.
    pub(crate) fn is_due(&self, until_ms: u64, keep: usize) -> bool {
        let oldest = self.entries.get(self.hidden as usize);
        self.len() > keep || oldest.is_some_and(|e| e.modified_ms() < until_ms)
    }

    /// Hides the entries that are older than `until_ms` or are not among the newest `keep`. Drops the entries that
    /// neither a shown entry nor a live release needs, and returns their revisions.
    pub(crate) fn prune(
        &mut self,
        until_ms: u64,
        keep: usize,
        is_live: impl Fn(&str, Revision) -> bool,
    ) -> Vec<Revision> {
        let excess = self.len().saturating_sub(keep);
        let first = self.hidden as usize;
        let old = self.entries[first..].iter().take_while(|e| e.modified_ms() < until_ms).count();
        let hidden = first + excess.max(old);
        let mut kept = Vec::new();
        let mut dropped = Vec::new();
        for (at, entry) in self.entries[..hidden].iter().enumerate() {
            let next = self.entries[at + 1..].iter().position(|e| e.slot() == entry.slot());
            let needed = match next.map(|n| at + 1 + n) {
                Some(next) => next >= hidden && self.entries[next].op() != Op::Insert,
                None => is_live(self.name(entry.slot()), entry.revision),
            };
            if needed { kept.push(*entry) } else { dropped.push(entry.revision) }
        }
        self.hidden = kept.len() as u32;
        if !dropped.is_empty() {
            kept.extend_from_slice(&self.entries[hidden..]);
            kept.shrink_to_fit();
            self.entries = kept;
        }
        if self.entries.iter().all(|e| e.slot() == 0) {
            self.names = Vec::new();
        }
        dropped
    }

    pub(crate) fn parts(&self) -> (&[Entry], u32, &[Box<str>]) {
        (&self.entries, self.hidden, &self.names)
    }

    /// Makes a history from its stored parts. `None` if they do not fit together.
    pub(crate) fn from_parts(entries: Vec<Entry>, hidden: u32, names: Vec<Box<str>>) -> Option<History> {
        let ordered = entries.windows(2).all(|pair| pair[0].revision < pair[1].revision);
        let known = |e: &Entry| {
            Op::from_number((e.mark >> SLOT_BITS) & ((1 << OP_BITS) - 1)).is_some() && e.slot() <= names.len()
        };
        let sound = ordered && hidden as usize <= entries.len() && entries.iter().all(known);
        sound.then_some(History { entries, hidden, names })
    }

    fn shown(&self, at: usize) -> HistoryEntry<'_> {
        let entry = self.entries[at];
        let before = || self.entries[..at].iter().rev().find(|e| e.slot() == entry.slot());
        HistoryEntry {
            revision: entry.revision,
            modified_ms: entry.modified_ms(),
            op: entry.op(),
            gray: (entry.slot() > 0).then(|| self.name(entry.slot())),
            before: if entry.op() == Op::Insert { None } else { before().map(|e| e.revision) },
        }
    }

    /// The name of a slot, which is empty for slot 0.
    fn name(&self, slot: usize) -> &str {
        slot.checked_sub(1).and_then(|at| self.names.get(at)).map_or("", |name| name)
    }

    /// The slot of this name: the slot that it has, a slot that no entry uses any more, or a new one. There are never
    /// more slots than entries, and there are at most `HISTORY_MAX` entries and one base for each release.
    fn slot_for(&mut self, gray: &str) -> usize {
        if gray.is_empty() {
            return 0;
        }
        if let Some(at) = self.names.iter().position(|name| **name == *gray) {
            return at + 1;
        }
        let free = (0..self.names.len()).find(|at| !self.entries.iter().any(|e| e.slot() == at + 1));
        if let Some(at) = free {
            self.names[at] = gray.into();
            return at + 1;
        }
        self.names.push(gray.into());
        self.names.len()
    }
}
