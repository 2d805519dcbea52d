//! How many bytes the versions take that retention can drop, and from which time on they fit into a limit.
//!
//! The state does not know how large versions are, so the store is asked, which has the same rows on every member. What comes of it is
//! a time for [`dyad_config::Prune::until_ms`]: the leader proposes it, and `apply` follows nothing but that.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// So much more than the limit goes, as a part of it, that the rows are looked at again only when so much was written.
const SLACK: u64 = 16;

/// What is known of the bytes that can be dropped, so that the rows are seldom looked at.
#[derive(Debug, Default)]
pub(super) struct Surplus {
    /// Bytes of rows that were written since the start.
    written: AtomicU64,
    /// When they were last counted: the bytes that could be dropped, and what was written until then.
    counted: Mutex<Option<(u64, u64)>>,
}

impl Surplus {
    pub(super) fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// The most bytes that can be dropped now. `None` if nothing was counted yet.
    pub(super) fn at_most(&self) -> Option<u64> {
        let counted = *self.counted.lock();
        counted.map(|(bytes, written)| bytes.saturating_add(self.written() - written))
    }

    /// Counts the rows, and answers the time below which some must go; `None` if all may stay. `rows` have their bytes, and the
    /// time that must be above their own for them to go; `written` is from before they were looked up.
    pub(super) fn count(&self, mut rows: Vec<(u64, u64)>, limit: u64, written: u64) -> Option<u64> {
        let bytes: u64 = rows.iter().map(|(bytes, _)| bytes).sum();
        // With what is to go: whether it goes, the next count shows.
        *self.counted.lock() = Some((bytes, written));
        if bytes > limit { until_fits(&mut rows, limit - limit / SLACK) } else { None }
    }
}

/// Puts the bytes of each row in the place of its revision; 0 where there is no row yet. The rows ascend, and `sizes` lists those that
/// are stored from a revision on; it answers nothing at their end.
pub(super) fn weigh(
    rows: &mut [(u64, u64)],
    mut sizes: impl FnMut(u64) -> io::Result<Vec<(u64, u64)>>,
) -> io::Result<()> {
    let mut left = rows.iter_mut().peekable();
    while let Some(from) = left.peek().map(|row| row.0) {
        let stored = sizes(from)?;
        if stored.is_empty() {
            left.by_ref().for_each(|absent| absent.0 = 0);
        }
        for (revision, bytes) in stored {
            while let Some(absent) = left.next_if(|row| row.0 < revision) {
                absent.0 = 0;
            }
            if let Some(row) = left.next_if(|row| row.0 == revision) {
                row.0 = bytes;
            }
        }
    }
    Ok(())
}

/// The lowest time below which rows must go so that the others have at most `limit` bytes.
fn until_fits(rows: &mut [(u64, u64)], limit: u64) -> Option<u64> {
    rows.sort_unstable_by_key(|(_, above)| std::cmp::Reverse(*above));
    let mut kept: u64 = 0;
    for (bytes, above) in rows {
        kept = kept.saturating_add(*bytes);
        if kept > limit {
            return Some(above.saturating_add(1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_rows_go_until_the_rest_fits() {
        let rows = [(10, 5), (20, 3), (30, 9), (10, 5)];
        let cases = [
            (70, None),
            (69, Some(4)),
            (50, Some(4)),
            (49, Some(6)),
            (30, Some(6)),
            (29, Some(10)),
            (0, Some(10)),
        ];
        for (limit, want) in cases {
            assert_eq!(until_fits(&mut rows.clone(), limit), want, "{limit}");
        }
    }

    #[test]
    fn rows_are_counted_again_when_enough_was_written_to_exceed_the_limit() {
        let surplus = Surplus::default();
        assert_eq!(surplus.at_most(), None);
        surplus.wrote(100);
        assert_eq!(surplus.count(vec![(60, 1), (40, 2)], 100, surplus.written()), None);
        assert_eq!(surplus.at_most(), Some(100));
        surplus.wrote(10);
        assert_eq!(surplus.at_most(), Some(110));
        assert_eq!(surplus.count(vec![(60, 1), (40, 2), (10, 3)], 100, surplus.written()), Some(2));
        assert_eq!(surplus.at_most(), Some(110), "it may not have gone");
        assert_eq!(surplus.count(vec![(40, 2), (10, 3)], 100, surplus.written()), None);
        assert_eq!(surplus.at_most(), Some(50));
    }

    #[test]
    fn rows_get_their_bytes() {
        let stored = [(1, 10), (3, 30), (4, 40), (9, 90)];
        let list = |from| Ok(stored.iter().filter(|row| row.0 >= from).take(2).copied().collect::<Vec<_>>());
        let mut rows = [(2, 0), (3, 1), (7, 2), (9, 3), (12, 4)];
        weigh(&mut rows, list).unwrap();
        assert_eq!(rows, [(0, 0), (30, 1), (0, 2), (90, 3), (0, 4)]);
    }
}
