//! Which rows must be checked when a snapshot is made: only those that were added since the snapshot before. A check of
//! a million rows would take a second.

use std::mem;

/// Rows remembered as dropped; with more, all rows are looked at. Retention drops 10,000 at a time, some times an hour.
const DROPPED_MAX: usize = 262_144;

/// What is known of the stored rows.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Of the rows below this revision exactly those are stored that a declared snapshot relied on, but for `dropped`.
    /// `None`: nothing is known.
    known: Option<u64>,
    /// Dropped by entries that were applied since; possibly above `known` too.
    dropped: Vec<u64>,
    overflowed: bool,
}

/// The part of it that belongs to one snapshot: taken when its state is.
#[derive(Debug, Default)]
pub(crate) struct Since {
    pub(super) known: u64,
    pub(super) dropped: Vec<u64>,
}

impl Audit {
    pub(super) fn dropped(&mut self, revisions: impl IntoIterator<Item = u64>) {
        self.dropped.extend(revisions);
        if self.dropped.len() > DROPPED_MAX {
            self.dropped = Vec::new();
            self.overflowed = true;
        }
    }

    /// Until [`Audit::settled`] nothing is known: a snapshot that is not finished has used this up.
    pub(super) fn take(&mut self) -> Since {
        let dropped = mem::take(&mut self.dropped);
        let overflowed = mem::take(&mut self.overflowed);
        match self.known.take() {
            Some(known) if !overflowed => Since { known, dropped },
            _ => Since::default(),
        }
    }

    pub(super) fn settled(&mut self, end: u64) {
        self.known = Some(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_looked_at() {
        let mut audit = Audit::default();
        let taken = |audit: &mut Audit| {
            let Since { known, dropped } = audit.take();
            (known, dropped)
        };
        audit.dropped([5]);
        assert_eq!(taken(&mut audit), (0, vec![]), "at first all");
        audit.dropped([6]);
        audit.settled(9);
        audit.dropped([7]);
        assert_eq!(taken(&mut audit), (9, vec![6, 7]), "also what was dropped while the snapshot was made");
        assert_eq!(taken(&mut audit), (0, vec![]), "that one was not finished");
        audit.settled(9);
        audit.dropped(0..=DROPPED_MAX as u64);
        audit.dropped([1]);
        assert_eq!(taken(&mut audit), (0, vec![]), "more than it remembers");
    }
}
