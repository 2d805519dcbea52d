//! How many bytes of entries lie above an index, to within a mebibyte and an entry: what decides when a snapshot is made, and how much of
//! the log stays below it. openraft counts entries, and an entry has 100 bytes or 10 MiB.

use std::collections::VecDeque;

/// Bytes of entries between two marks.
const MARK: u64 = 1024 * 1024;

/// Where entries begin, one mark a mebibyte.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// Bytes of all entries that were added.
    total: u64,
    /// An index, and the total before its entry; both ascend.
    marks: VecDeque<(u64, u64)>,
    /// One past the last entry.
    end: u64,
}

impl Sizes {
    pub(super) fn push(&mut self, index: u64, bytes: u64) {
        if self.marks.back().is_none_or(|(_, before)| self.total - before >= MARK) {
            self.marks.push_back((index, self.total));
        }
        self.total += bytes;
        self.end = index + 1;
    }

    /// Forgets the entries from `index` on, of which it may still count those up to the last mark: a mebibyte, and an entry.
    pub(super) fn truncate(&mut self, index: u64) {
        while let Some((_, before)) = self.marks.pop_back_if(|(marked, _)| *marked >= index) {
            self.total = before;
        }
        self.end = self.end.min(index);
    }

    /// Forgets the entries up to `index`.
    pub(super) fn purge(&mut self, index: u64) {
        while self.marks.get(1).is_some_and(|(marked, _)| *marked <= index + 1) {
            self.marks.pop_front();
        }
    }

    /// The bytes of the entries from `index` on, or up to a mebibyte and an entry more.
    pub(super) fn from(&self, index: u64) -> u64 {
        if index >= self.end {
            return 0;
        }
        let at = self.marks.partition_point(|(marked, _)| *marked <= index);
        self.marks.get(at.saturating_sub(1)).map_or(0, |(_, before)| self.total - before)
    }

    /// The lowest index from which at most `bytes` lie below the entry `end`. `None` if all entries below it fit.
    pub(super) fn keeping(&self, bytes: u64, end: u64) -> Option<u64> {
        let above = self.from(end);
        let fits = |(_, before): &(u64, u64)| (self.total - before).saturating_sub(above) <= bytes;
        let at = self.marks.partition_point(|mark| !fits(mark));
        if at == 0 { None } else { Some(self.marks.get(at).map_or(end, |(marked, _)| (*marked).min(end))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of 400 KiB, from index 1 on.
    fn hundred() -> Sizes {
        let mut sizes = Sizes::default();
        (1..=100).for_each(|index| sizes.push(index, 400 * 1024));
        sizes
    }

    #[test]
    fn counts_to_within_a_mebibyte() {
        let sizes = hundred();
        for from in 1..=100 {
            let exact = (101 - from) * 400 * 1024;
            let counted = sizes.from(from);
            assert!((exact..=exact + 2 * MARK).contains(&counted), "{from}: {counted}");
        }
        assert_eq!(Sizes::default().from(7), 0);
    }

    #[test]
    fn says_what_stays() {
        let sizes = hundred();
        for (mebibytes, end) in [(4, 101), (4, 51), (16, 101), (16, 90)] {
            let from = sizes.keeping(mebibytes * MARK, end).unwrap();
            let kept = (end - from) * 400 * 1024;
            assert!(
                kept <= (mebibytes + 2) * MARK && kept + 3 * MARK >= mebibytes * MARK,
                "{mebibytes} {end}: {from}"
            );
        }
        assert_eq!(sizes.keeping(64 * MARK, 101), None);
        assert_eq!(sizes.keeping(4 * MARK, 8), None);
        // One entry that is larger than what may stay.
        let mut large = Sizes::default();
        (1..=5).for_each(|index| large.push(index, 10 * MARK));
        assert_eq!(large.keeping(4 * MARK, 6), Some(6));
        assert_eq!(large.keeping(10 * MARK, 6), Some(5));
        assert_eq!(Sizes::default().keeping(0, 9), None);
    }

    #[test]
    fn forgets_what_is_cut_and_what_is_purged() {
        let mut sizes = hundred();
        sizes.truncate(51);
        let left = sizes.from(1);
        assert!((48 * 400 * 1024..=51 * 400 * 1024).contains(&left), "{left}");
        sizes.push(51, 1);
        sizes.purge(40);
        assert!(sizes.from(1) <= 11 * 400 * 1024 + 2 * MARK, "{}", sizes.from(1));
        sizes.purge(51);
        assert!(sizes.from(1) <= 2 * MARK);
    }
}
