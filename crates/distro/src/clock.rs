//! Active time, which is monotonic time without the pauses of this process (rule 23).
//!
//! Deadlines, hearing and grace periods are kept in active time, so a pause moves all of them by its length at no cost.
//! Beat slots and ages of registrations are kept in real time, because rule 22 needs the last *real* heartbeat.

use std::collections::VecDeque;

use dyad_types::Millis;

/// Pauses remembered one by one; older ones count for every time (no record is idle for that long).
const PAUSES_KEPT: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// (first moment, last moment) of each pause, oldest first.
    pauses: VecDeque<(u64, u64)>,
    forgotten: u64,
}

impl Clock {
    pub(crate) fn pause(&mut self, from: Millis, to: Millis) {
        if self.pauses.len() == PAUSES_KEPT
            && let Some((from, to)) = self.pauses.pop_front()
        {
            self.forgotten += to - from;
        }
        self.pauses.push_back((from.0, to.0));
    }

    /// The active time of a moment.
    pub(crate) fn active(&self, at: Millis) -> u64 {
        let paused: u64 = self
            .pauses
            .iter()
            .map(|&(from, to)| if at.0 >= to { to - from } else { at.0.saturating_sub(from) })
            .sum();
        at.0.saturating_sub(paused + self.forgotten)
    }

    /// The real time at which the active time `active` is reached, if no further pause comes.
    pub(crate) fn real(&self, active: u64) -> Millis {
        let paused: u64 = self.pauses.iter().map(|&(from, to)| to - from).sum();
        Millis(active.saturating_add(paused + self.forgotten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_moves_later_moments_and_no_earlier_one() {
        let mut clock = Clock::default();
        clock.pause(Millis(1_000), Millis(5_000));
        let table = [(900, 900), (1_000, 1_000), (3_000, 1_000), (5_000, 1_000), (6_000, 2_000)];
        for (real, active) in table {
            assert_eq!(clock.active(Millis(real)), active, "at {real}");
        }
        assert_eq!(clock.real(2_000), Millis(6_000));
    }
}
