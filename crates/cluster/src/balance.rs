//! Decides when a member has more than its share of the clients, and which members get the surplus. It is a pure state
//! machine. Each member decides for itself, from the numbers of clients that all members tell each other
//! (`Directory::loads`).

use std::collections::VecDeque;
use std::time::Duration;

use dyad_types::{MemberId, Millis};

/// A member has too many clients above 12/10 of the mean of the members.
const OVER: (u64, u64) = (12, 10);
/// And only with so many more than the mean: small clusters, in which three clients are a difference of 1.2, must not dance.
const EXCESS_MIN: u64 = 10;
/// At most one client in so many is sent away in a second; each of them costs its new member a set of registrations.
const SHARE: u64 = 100;
const SECOND: u64 = 1_000;
/// After so many ms the counts show a client that was sent away where it is now: counts are said anew each second and asked
/// for every two.
const SETTLE: u64 = 3_000;
/// What a member may say that it has; only a broken one says more, and sums stay far from overflow.
const CLIENTS_MAX: u64 = u32::MAX as u64;

/// See the module's description.
#[derive(Debug)]
pub struct Balance {
    /// For so long a member has too many clients before it sends some away, in milliseconds.
    after: u64,
    /// The time since when this member has too many clients.
    over: Option<Millis>,
    /// Whether clients are being sent away, until the mean is reached.
    moving: bool,
    /// The next clients are sent away at this time at the earliest.
    next: Millis,
    /// How many clients were sent to which member in the last 3 s. There is an entry for each member and second.
    sent: VecDeque<(Millis, MemberId, u64)>,
}

impl Balance {
    /// Makes a balance for a member that sends clients away after it had too many for the time `after`.
    pub fn new(after: Duration) -> Balance {
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Balance { after, over: None, moving: false, next: Millis(0), sent: VecDeque::new() }
    }

    /// Whether clients are being sent away.
    pub fn is_moving(&self) -> bool {
        self.moving
    }

    /// Says that this member does not take part for now. Everything is forgotten, except how many clients were sent where.
    pub fn pause(&mut self) {
        self.over = None;
        self.moving = false;
    }

    /// The members to which clients have to go now, one for each client. Call it about once per second. `own` is the
    /// number of clients here, and `peers` has the number of every other member that is alive, serves and takes in
    /// clients.
    pub fn step(&mut self, now: Millis, own: u64, peers: &[(MemberId, u64)]) -> Vec<MemberId> {
        while self.sent.front().is_some_and(|(at, ..)| now.since(*at) >= SETTLE) {
            self.sent.pop_front();
        }
        if peers.is_empty() {
            self.pause();
            return Vec::new();
        }
        // Who was just sent away may still be counted here and not there. Counted there twice, it is only too early to send
        // more, which shows when the counts are right.
        let told: u64 = self.sent.iter().map(|(_, _, count)| count).sum();
        let own = own.min(CLIENTS_MAX);
        let staying = own.saturating_sub(told);
        let arriving =
            |peer| self.sent.iter().filter(|(_, to, _)| *to == peer).map(|(_, _, count)| count).sum::<u64>();
        let mut counts: Vec<(u64, MemberId)> =
            peers.iter().map(|&(peer, count)| (count.min(CLIENTS_MAX) + arriving(peer), peer)).collect();
        let members = counts.len() as u64 + 1;
        let total = staying + counts.iter().map(|(count, _)| count).sum::<u64>();
        let mean = total.div_ceil(members);
        if self.moving && staying <= mean {
            // Those that did not go will show when the last ones have settled.
            self.moving = !self.sent.is_empty();
            self.over = None;
            return Vec::new();
        }
        if !self.moving {
            let is_over = staying * members * OVER.1 > total * OVER.0 && staying - mean >= EXCESS_MIN;
            let over = is_over.then(|| self.over.unwrap_or(now));
            self.over = over;
            if over.is_none_or(|since| now.since(since) < self.after) {
                return Vec::new();
            }
            self.moving = true;
            self.next = now;
        }
        if now < self.next {
            return Vec::new();
        }
        // A late call does not move the next one, but what was missed is not made up for.
        let due = if now.since(self.next) >= SECOND { now } else { self.next };
        self.next = Millis(due.0 + SECOND);
        let count = (own / SHARE).max(1).min(staying - mean);
        self.choose(now, count, mean, &mut counts)
    }

    /// Chooses a member for each client: the one that has the fewest clients then. No member gets more than the mean.
    fn choose(
        &mut self,
        now: Millis,
        count: u64,
        mean: u64,
        counts: &mut [(u64, MemberId)],
    ) -> Vec<MemberId> {
        let mut chosen = Vec::new();
        for _ in 0..count {
            let Some(fewest) = counts.iter_mut().min().filter(|(count, _)| *count < mean) else { break };
            fewest.0 += 1;
            chosen.push(fewest.1);
        }
        for &(_, peer) in counts.iter() {
            let got = chosen.iter().filter(|to| **to == peer).count() as u64;
            if got > 0 {
                self.sent.push_back((now, peer, got));
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);
    const C: MemberId = MemberId(3);

    /// What a member that has had this for 60 s does in the next second.
    fn after_a_minute(own: u64, peers: &[(MemberId, u64)]) -> Vec<MemberId> {
        let mut balance = Balance::new(Duration::from_secs(60));
        for second in 0..60 {
            assert_eq!(balance.step(Millis(second * SECOND), own, peers), [], "{own} {peers:?}, {second} s");
        }
        balance.step(Millis(60 * SECOND), own, peers)
    }

    /// The own clients, those of the peers, and where some are sent.
    type Case = (&'static str, u64, &'static [(MemberId, u64)], &'static [MemberId]);

    #[test]
    fn who_sends_clients_where() {
        let table: &[Case] = &[
            ("alone", 1_000, &[], &[]),
            ("as many as the others", 100, &[(B, 100), (C, 100)], &[]),
            ("fewer", 0, &[(B, 100), (C, 100)], &[]),
            ("1.2 times the mean is not more", 120, &[(B, 90), (C, 90)], &[]),
            ("more than 1.2 times", 121, &[(B, 90), (C, 89)], &[C]),
            ("nine more than the mean are too few", 18, &[(B, 0)], &[]),
            ("ten are not", 20, &[(B, 0)], &[B]),
            ("to the one with the fewest", 90, &[(B, 11), (C, 10)], &[C]),
            ("one in a hundred, by turns", 500, &[(B, 11), (C, 10)], &[C, B, C, B, C]),
            ("first until the fewest are as many", 400, &[(B, 12), (C, 10)], &[C, C, B, C]),
            ("nobody gets more than the mean", 1_300, &[(B, 1_004), (C, 700)], &[C; 13]),
            ("one with more than the mean gets none", 2_000, &[(B, 1_900), (C, 0)], &[C; 20]),
            ("absurd numbers", 20, &[(B, u64::MAX), (C, 0)], &[]),
        ];
        for (name, own, peers, want) in table {
            assert_eq!(after_a_minute(*own, peers), *want, "{name}");
        }
        assert_eq!(after_a_minute(u64::MAX, &[(B, 0)]).len() as u64, CLIENTS_MAX / SHARE, "absurd numbers");
    }

    /// The numbers of each second and what is done then.
    fn run(after: u64, seconds: &[(u64, u64, usize)]) {
        let mut balance = Balance::new(Duration::from_secs(after));
        for (second, &(own, peer, want)) in seconds.iter().enumerate() {
            let sent = balance.step(Millis(second as u64 * SECOND), own, &[(B, peer)]);
            assert_eq!(sent.len(), want, "second {second} of {seconds:?}");
        }
    }

    #[test]
    fn the_time_begins_anew_when_the_excess_was_away() {
        run(2, &[(100, 0, 0), (100, 0, 0), (100, 90, 0), (100, 0, 0), (100, 0, 0), (100, 0, 1)]);
    }

    #[test]
    fn it_goes_on_to_the_mean_and_not_beyond() {
        // The last ones that are on their way count as gone, and as arrived.
        run(1, &[(24, 4, 0), (24, 4, 1), (23, 5, 1), (22, 6, 1), (21, 7, 1)]);
        run(1, &[(24, 4, 0), (24, 4, 1), (24, 4, 1), (24, 4, 1), (24, 4, 1), (24, 4, 1)]);
        run(
            1,
            &[
                (26, 4, 0),
                (26, 4, 1),
                (25, 5, 1),
                (24, 6, 1),
                (17, 13, 0),
                (16, 14, 0),
                (15, 15, 0),
                (15, 15, 0),
            ],
        );
    }

    #[test]
    fn an_early_call_does_nothing_and_a_late_one_makes_nothing_up() {
        let mut balance = Balance::new(Duration::from_secs(1));
        let peers = [(B, 0)];
        let table = [
            (0, 0),
            (900, 0),
            (1_000, 1),
            (1_999, 0),
            (2_001, 1),
            (2_990, 0),
            (3_000, 1),
            (9_000, 1),
            (9_500, 0),
        ];
        for (at, want) in table {
            assert_eq!(balance.step(Millis(at), 100, &peers).len(), want, "{at} ms");
        }
        balance.pause();
        assert_eq!(balance.step(Millis(10_100), 100, &peers), [], "after a pause the time begins anew");
        assert_eq!(balance.step(Millis(11_100), 100, &peers), [B]);
    }

    /// Three members that know each other's numbers as they were three seconds ago, and clients that need a second to move.
    #[test]
    fn members_settle_at_the_mean() {
        let starts =
            [[30, 30, 0], [3_000, 0, 0], [90, 0, 0], [400, 100, 100], [50, 40, 39], [5_000, 4_000, 10]];
        for start in starts {
            let ids = [A, B, C];
            let mut balances = ids.map(|_| Balance::new(Duration::from_secs(60)));
            let mut counts: [u64; 3] = start;
            let mut history = vec![counts; 4];
            let mut last = 0;
            for second in 0..700 {
                let old = history[history.len() - 3];
                let now = counts;
                for at in 0..3 {
                    let others: Vec<(MemberId, u64)> =
                        (0..3).filter(|&o| o != at).map(|o| (ids[o], old[o])).collect();
                    let sent = balances[at].step(Millis(second * SECOND), now[at], &others);
                    assert!(sent.len() as u64 <= (now[at] / SHARE).max(1), "{start:?}: {sent:?}");
                    last = if sent.is_empty() { last } else { second };
                    for to in sent {
                        counts[at] -= 1;
                        counts[(to.0 - 1) as usize] += 1;
                    }
                }
                history.push(counts);
            }
            let mean = start.iter().sum::<u64>() as f64 / 3.0;
            let worst = counts.iter().map(|&count| (count as f64 - mean).abs()).fold(0.0, f64::max);
            let was = start.iter().map(|&count| (count as f64 - mean).abs()).fold(0.0, f64::max);
            let good = if start == [50, 40, 39] { worst == was } else { worst <= 0.01 * mean + 1.0 };
            assert!(good && last < 600, "{start:?} became {counts:?}, the last one moved after {last} s");
            assert!(!balances.iter().any(Balance::is_moving), "{start:?}");
        }
    }
}
