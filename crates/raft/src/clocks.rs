//! Which of several clocks is right. It is pure: what the clocks show is an argument.
//!
//! The clock of one member decides nothing when the others disagree with it. The clocks of a majority are put in order, and the
//! middle one counts. Of an even number two are in the middle; then a clock is right that is between them or near one of them.

/// A clock that is further than this from the middle, in milliseconds, is wrong. Clocks that are kept by NTP differ by
/// milliseconds, and what the members tell each other is right to half a second.
pub const CLOCK_OFF_MS: u64 = 30_000;

/// The one or two times in the middle, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Middle {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

impl Middle {
    /// Of the clocks of some of so many voters. `None` if they are no majority.
    pub(crate) fn of(mut clocks: Vec<u64>, voters: usize) -> Option<Middle> {
        clocks.sort_unstable();
        if clocks.len() <= voters / 2 {
            return None;
        }
        Some(Middle { low: *clocks.get((clocks.len() - 1) / 2)?, high: *clocks.get(clocks.len() / 2)? })
    }

    /// What these clocks show `ms` later.
    pub(crate) fn later(self, ms: u64) -> Middle {
        Middle { low: self.low.saturating_add(ms), high: self.high.saturating_add(ms) }
    }

    /// The time by a clock that is right, and by the middle if it is wrong.
    pub(crate) fn correct(self, own: u64) -> u64 {
        if own.saturating_add(CLOCK_OFF_MS) < self.low {
            self.low
        } else if own > self.high.saturating_add(CLOCK_OFF_MS) {
            self.high
        } else {
            own
        }
    }

    /// The time with which the clocks are compared for people. While two in the middle differ too much, nobody can say which of
    /// them is wrong, and the own clock is compared with.
    pub(crate) fn reference(self, own: u64) -> u64 {
        if self.high - self.low <= CLOCK_OFF_MS { self.low } else { own }
    }
}

/// By how much `clock` is ahead of `reference`; negative if it is behind.
pub(crate) fn difference_ms(clock: u64, reference: u64) -> i64 {
    let size = i64::try_from(clock.abs_diff(reference)).unwrap_or(i64::MAX);
    if clock < reference { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const DAYS: u64 = 400 * 86_400_000;

    /// What one member stamps, with these clocks of others, of so many voters.
    fn stamp(own: u64, others: &[u64], voters: usize) -> Option<u64> {
        let clocks = others.iter().copied().chain([own]).collect();
        Middle::of(clocks, voters).map(|middle| middle.correct(own))
    }

    #[test]
    fn a_clock_that_the_others_contradict_is_corrected() {
        for (own, others, voters, want) in [
            (NOW, &[][..], 1, Some(NOW)),
            (NOW, &[NOW + 3, NOW - 2], 3, Some(NOW)),
            (NOW + CLOCK_OFF_MS, &[NOW, NOW - 2], 3, Some(NOW + CLOCK_OFF_MS)),
            (NOW + CLOCK_OFF_MS + 1, &[NOW, NOW - 2], 3, Some(NOW)),
            (NOW + DAYS, &[NOW, NOW + 2], 3, Some(NOW + 2)),
            (NOW - DAYS, &[NOW, NOW + 2], 3, Some(NOW)),
            // It is right, and another one is wrong.
            (NOW, &[NOW + DAYS, NOW], 3, Some(NOW)),
            (NOW, &[NOW - DAYS, NOW], 3, Some(NOW)),
            // One says this and one says that: the own clock goes on.
            (NOW, &[NOW - DAYS], 3, Some(NOW)),
            (NOW + DAYS, &[NOW], 3, Some(NOW + DAYS)),
            (NOW, &[NOW + DAYS], 2, Some(NOW)),
            // Four of five: one wrong, and the one that is away does not matter.
            (NOW + DAYS, &[NOW, NOW + 1, NOW + 2], 5, Some(NOW + 2)),
            (NOW, &[], 3, None),
            (NOW, &[NOW, NOW], 6, None),
            (u64::MAX, &[NOW, NOW], 3, Some(NOW)),
        ] {
            assert_eq!(stamp(own, others, voters), want, "{own} among {others:?} of {voters}");
        }
    }

    #[test]
    fn differences_are_told_from_the_middle_or_from_the_own_clock() {
        let reference = |own, others: &[u64]| {
            let clocks = others.iter().copied().chain([own]).collect();
            Middle::of(clocks, 3).map(|middle| middle.reference(own))
        };
        assert_eq!(reference(NOW + DAYS, &[NOW, NOW + 5]), Some(NOW + 5));
        assert_eq!(reference(NOW, &[NOW + DAYS]), Some(NOW), "one of two is wrong");
        assert_eq!(reference(NOW + DAYS, &[NOW]), Some(NOW + DAYS), "one of two is wrong");
        assert_eq!(reference(NOW + 100, &[NOW]), Some(NOW));
        assert_eq!(difference_ms(NOW, NOW + 7), -7);
        assert_eq!(difference_ms(NOW + 7, NOW), 7);
        assert_eq!(difference_ms(u64::MAX, 0), i64::MAX);
    }
}
