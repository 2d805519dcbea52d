//! By which time versions are too old. It is pure: the clock and the time that has passed are arguments.
//!
//! A clock that is ahead makes every version look old. So the time of the retention follows the clock only as far as the server can
//! account for it: it goes on with the time for which the process runs, from where it was when the process before it ended. It
//! is written to a file for that. A clock that is further ahead is approached by an eighth of the time in which the server runs. So
//! the time is never stuck after the server stood still for a week, and a version is kept for eight ninths of its days whatever
//! the clock says. A clock that is behind is followed at once, since it makes nothing look old.

use std::time::Duration;

/// The time goes on by an eighth more than what has passed until it has reached the clock.
const CATCH_UP: u64 = 8;

/// The time of the retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accounted {
    /// Milliseconds since the epoch. `None` until a clock was seen: there was nothing that could be too old.
    ms: Option<u64>,
}

impl Accounted {
    /// Goes on from the time that was written down, else from the highest stamp of the state, which is 0 if it has none.
    pub(super) fn new(written: Option<u64>, last_stamp: u64) -> Accounted {
        Accounted { ms: written.or((last_stamp > 0).then_some(last_stamp)) }
    }

    /// The time when the clock shows `clock` and `passed` has passed since the last call.
    pub(super) fn advance(&mut self, passed: Duration, clock: u64) -> u64 {
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let most = |ms: u64| ms.saturating_add(passed).saturating_add(passed / CATCH_UP);
        let now = self.ms.map_or(clock, |ms| clock.min(most(ms)));
        self.ms = Some(now);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const DAY: u64 = 86_400_000;
    const AHEAD: u64 = 400 * DAY;

    fn days(days: u64) -> Duration {
        Duration::from_millis(days * DAY)
    }

    #[test]
    fn a_jump_of_the_clock_is_not_followed() {
        let mut time = Accounted::new(Some(NOW), NOW + AHEAD);
        assert_eq!(time.advance(Duration::from_secs(64), NOW + AHEAD), NOW + 72_000);
        // The process was started again, after a write that has a stamp of the wrong clock.
        let mut time = Accounted::new(time.ms, NOW + AHEAD);
        assert_eq!(time.advance(Duration::from_secs(8), NOW + AHEAD), NOW + 81_000);
        // The clock was put right.
        assert_eq!(time.advance(Duration::from_secs(8), NOW + 80_000), NOW + 80_000);
        assert_eq!(time.advance(days(1), NOW + 80_000 + DAY), NOW + 80_000 + DAY);
    }

    #[test]
    fn a_pause_is_caught_up_with() {
        let mut time = Accounted::new(Some(NOW), NOW);
        let mut clock = NOW + 7 * DAY;
        let mut ran = 0;
        while time.advance(days(1), clock + DAY) < clock + DAY {
            (clock, ran) = (clock + DAY, ran + 1);
        }
        assert_eq!(ran, 55, "a week in eight");
    }

    #[test]
    fn where_it_begins() {
        let first =
            |written, stamp, clock| Accounted::new(written, stamp).advance(Duration::from_secs(60), clock);
        assert_eq!(first(None, 0, NOW), NOW, "nothing was written yet");
        assert_eq!(first(None, NOW - DAY, NOW), NOW - DAY + 67_500, "an older version wrote no file");
        assert_eq!(first(Some(NOW), 0, NOW - DAY), NOW - DAY, "a clock that is behind makes nothing old");
        assert_eq!(Accounted::new(Some(u64::MAX), 0).advance(Duration::MAX, u64::MAX), u64::MAX);
    }

    /// Whatever the clock says all the time, a version is not older by this time than nine eighths of its age.
    #[test]
    fn a_version_keeps_most_of_its_days() {
        let mut time = Accounted::new(Some(NOW), NOW);
        for _ in 0..26 * 24 {
            time.advance(Duration::from_secs(3_600), NOW + AHEAD);
        }
        assert!(time.ms.unwrap() <= NOW + 30 * DAY, "after 26 days of a wrong clock");
    }
}
