//! What a phase measured, and whether that keeps the promises.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::figures::{ms, percentile, seconds, table};
use crate::load::{Fault, Outcome, Tally, Write};

/// After a kill, the time in which writes may be slower.
pub(super) const AFTER_KILL: Duration = Duration::from_secs(5);
/// Faults that are shown, each phase and kind.
const SHOWN_MAX: usize = 5;

/// The promises, as numbers.
#[derive(Debug)]
pub struct Limits;

impl Limits {
    /// Acknowledged writes without which a phase says nothing.
    pub const EPHEMERAL_WRITES_MIN: usize = 2000;
    pub const PERSISTENT_WRITES_MIN: usize = 500;
    pub const PUBLISHES_MIN: usize = 50;
    /// From the acknowledgement of a configuration to its listeners.
    pub const STALE: Duration = Duration::from_secs(2);
    /// (b) 99 of 100 ephemeral writes on survivors, within [`AFTER_KILL`].
    pub const EPHEMERAL_P99: Duration = Duration::from_millis(700);
    /// (c) from the leader's death to the next persistent writes.
    pub const PERSISTENT_BACK: Duration = Duration::from_millis(2500);
    /// (d) from a start to readiness, and from there to equal digests.
    pub const READY: Duration = Duration::from_millis(2500);
    pub const DIGESTS: Duration = Duration::from_secs(3);
    /// (e) from the last member's readiness to the last ephemeral instance.
    pub const EPHEMERAL_BACK: Duration = Duration::from_secs(10);
    /// (f) from the death of member and client to the instance's absence.
    pub const DEAD_GONE: Duration = Duration::from_secs(60);
    /// (g) from the start with an empty directory to membership.
    pub const JOIN: Duration = Duration::from_secs(10);
}

/// What is asked of a phase, besides (a).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// (b): some member survives.
    pub survivors: bool,
    /// (c): a majority survives.
    pub majority: bool,
    /// (h): no request may fail, at any member.
    pub orderly: bool,
}

/// The figures of one phase.
#[derive(Debug, Default, Serialize)]
pub struct Phase {
    pub name: String,
    pub seconds: f64,
    pub ephemeral_writes: usize,
    pub persistent_writes: usize,
    pub misses: usize,
    pub flips: usize,
    /// (b) and, where reads are asked for, lists that a survivor did not answer.
    pub failed_ephemeral: usize,
    pub failed_reads: usize,
    /// (h) requests that failed otherwise than by a refused connect.
    pub failed_orderly: usize,
    pub p99_after_kill: Option<Duration>,
    pub persistent_back: Option<Duration>,
    /// Acknowledged configurations, and the longest time for which a listener lacked one.
    pub publishes: usize,
    pub stale: Option<Duration>,
    /// The slowest member.
    pub ready: Option<Duration>,
    pub digests: Option<Duration>,
    /// (e), (f), (g): the time that the phase is about.
    pub special: Option<Duration>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// The promises that were broken.
    pub broken: Vec<String>,
    /// Why the phase says nothing.
    pub invalid: Option<String>,
}

impl Phase {
    pub fn new(name: &str) -> Phase {
        Phase { name: name.to_owned(), ..Phase::default() }
    }

    /// Adds to `broken` unless it holds.
    pub fn promise(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// A time that must not be longer than `limit`; None is for ever.
    pub fn promise_within(&mut self, what: &str, took: Option<Duration>, limit: Duration) {
        self.promise(took.is_some_and(|took| took <= limit), || {
            format!("{what}: {} s, limit {}", seconds(took), seconds(Some(limit)))
        });
    }

    /// Notes when a member was ready.
    pub fn note_ready(&mut self, took: Duration) {
        self.ready = Some(self.ready.map_or(took, |slowest| slowest.max(took)));
    }

    /// Judges what happened between `from` and now; `kill` is the moment of a kill.
    pub fn judge(&mut self, tally: &Tally, from: Instant, kill: Option<Instant>, asked: Asked) {
        let until = Instant::now();
        self.seconds = (until - from).as_secs_f64();
        (self.ephemeral_writes, self.persistent_writes) = tally.acknowledged(from);
        if self.ephemeral_writes < Limits::EPHEMERAL_WRITES_MIN
            || self.persistent_writes < Limits::PERSISTENT_WRITES_MIN
        {
            self.invalid = Some(format!(
                "{} ephemeral and {} persistent writes are too few",
                self.ephemeral_writes, self.persistent_writes
            ));
        }
        let misses = tally.misses(from, until);
        let flips = tally.flips(from, until);
        (self.misses, self.flips) = (misses.len(), flips.len());
        self.promise(misses.is_empty(), || examples("(a) misses", &misses, from));
        self.promise(flips.is_empty(), || examples("(a) flips to unhealthy", &flips, from));
        let writes = tally.writes(from, until);
        if asked.survivors {
            self.judge_survivors(&writes, tally.failed_reads(from, until), from, kill);
        }
        if asked.majority
            && let Some(kill) = kill
        {
            self.judge_majority(&writes, kill);
        }
        if asked.orderly {
            let failed: Vec<&Write> = writes.iter().filter(|write| write.failed_in_order()).collect();
            self.failed_orderly = failed.len();
            self.promise(failed.is_empty(), || write_examples("(h) failed requests", &failed, from));
        }
    }

    /// Between two acknowledged persistent writes since `from` there is never more than the time of an election.
    pub fn judge_gaps(&mut self, tally: &Tally, from: Instant) {
        let writes = tally.writes(from, Instant::now());
        let good = writes.iter().filter(|w| w.kind.is_persistent() && w.outcome == Outcome::Ok);
        let mut ends: Vec<Instant> = good.map(|write| write.ended).collect();
        ends.sort_unstable();
        let longest = ends.windows(2).map(|pair| pair[1] - pair[0]).max();
        self.persistent_back = longest;
        self.promise_within(
            "(c) the longest time without a persistent write",
            longest,
            Limits::PERSISTENT_BACK,
        );
    }

    /// Judges what publishers and listeners saw. Without a majority a listener may have to wait for it.
    pub fn judge_configs(&mut self, publishes: usize, stalest: Duration, asked: Asked) {
        (self.publishes, self.stale) = (publishes, Some(stalest));
        if publishes < Limits::PUBLISHES_MIN {
            self.invalid.get_or_insert(format!("{publishes} configurations published are too few"));
        }
        if asked.majority || asked.orderly {
            self.promise_within("a listener lacked a configuration", self.stale, Limits::STALE);
        }
    }

    fn judge_survivors(&mut self, writes: &[Write], reads: Vec<Fault>, from: Instant, kill: Option<Instant>) {
        let ephemeral = || writes.iter().filter(|write| !write.kind.is_persistent());
        let failed: Vec<&Write> = ephemeral().filter(|write| write.failed_on_survivor()).collect();
        self.failed_ephemeral = failed.len();
        self.promise(failed.is_empty(), || {
            write_examples("(b) failed ephemeral writes on survivors", &failed, from)
        });
        self.failed_reads = reads.len();
        self.promise(reads.is_empty(), || examples("(b) failed reads on survivors", &reads, from));
        if let Some(kill) = kill {
            let near = ephemeral()
                .filter(|write| write.steady && kill <= write.began && write.began < kill + AFTER_KILL);
            let mut times: Vec<Duration> = near.map(|write| write.ended - write.began).collect();
            self.p99_after_kill = percentile(&mut times, 0.99);
            self.promise_within(
                "(b) p99 of ephemeral writes after the kill",
                self.p99_after_kill,
                Limits::EPHEMERAL_P99,
            );
        }
    }

    fn judge_majority(&mut self, writes: &[Write], kill: Instant) {
        let persistent = || writes.iter().filter(|write| write.kind.is_persistent() && write.began >= kill);
        let first = persistent().filter(|write| write.outcome == Outcome::Ok).map(|write| write.ended).min();
        self.persistent_back = first.map(|at| at - kill);
        self.promise_within("(c) persistent writes again", self.persistent_back, Limits::PERSISTENT_BACK);
        let late: Vec<&Write> = persistent()
            .filter(|write| write.began > kill + Limits::PERSISTENT_BACK && write.failed_on_survivor())
            .collect();
        self.promise(late.is_empty(), || {
            write_examples("(c) persistent writes that failed later", &late, kill)
        });
    }

    fn row(&self) -> Vec<String> {
        let verdict = match (&self.invalid, self.broken.is_empty()) {
            (Some(_), _) => "INVALID",
            (None, true) => "ok",
            (None, false) => "FAILED",
        };
        vec![
            self.name.clone(),
            format!("{:.0}", self.seconds),
            self.ephemeral_writes.to_string(),
            self.persistent_writes.to_string(),
            self.misses.to_string(),
            self.flips.to_string(),
            self.failed_ephemeral.to_string(),
            self.failed_reads.to_string(),
            self.p99_after_kill.map_or_else(|| "-".into(), ms),
            seconds(self.persistent_back),
            self.publishes.to_string(),
            seconds(self.stale),
            seconds(self.ready),
            seconds(self.digests),
            seconds(self.special),
            verdict.to_owned(),
        ]
    }
}

/// The figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub phases: Vec<Phase>,
    /// Why no more phases were played: the members could not be started or controlled.
    pub stopped: Option<String>,
}

impl Report {
    /// True if each phase is valid and each promise was kept.
    pub fn passed(&self) -> bool {
        self.stopped.is_none()
            && !self.phases.is_empty()
            && self.phases.iter().all(|phase| phase.invalid.is_none() && phase.broken.is_empty())
    }

    /// The table, the notes and what was broken.
    pub fn to_text(&self) -> String {
        let head = [
            "phase",
            "s",
            "eph.writes",
            "pers.writes",
            "misses",
            "flips",
            "failed.eph",
            "failed.reads",
            "p99.ms",
            "pers.back.s",
            "publishes",
            "stale.s",
            "ready.s",
            "digests.s",
            "special.s",
            "",
        ];
        let rows: Vec<Vec<String>> = self.phases.iter().map(Phase::row).collect();
        let mut text = table(&head, &rows);
        for phase in &self.phases {
            for note in &phase.notes {
                text += &format!("  {}: {note}\n", phase.name);
            }
        }
        for phase in &self.phases {
            for what in phase.broken.iter().chain(&phase.invalid) {
                text += &format!("BROKEN {}: {what}\n", phase.name);
            }
        }
        if let Some(why) = &self.stopped {
            text += &format!("STOPPED: {why}\n");
        }
        text += if self.passed() { "PASS\n" } else { "FAIL\n" };
        text
    }
}

/// How many, and the first ones.
fn examples(what: &str, faults: &[Fault], from: Instant) -> String {
    let shown = faults.iter().take(SHOWN_MAX).map(|fault| {
        let at = fault.at.saturating_duration_since(from).as_secs_f64();
        format!("\n    at {at:.2} s {}", fault.what)
    });
    format!("{what}: {}{}", faults.len(), shown.collect::<String>())
}

fn write_examples(what: &str, writes: &[&Write], from: Instant) -> String {
    let shown = writes.iter().take(SHOWN_MAX).map(|write| {
        let at = write.began.saturating_duration_since(from).as_secs_f64();
        let took = ms(write.ended - write.began);
        format!(
            "\n    at {at:.2} s member {} {:?} {:?} after {took} ms",
            write.member + 1,
            write.kind,
            write.outcome
        )
    });
    format!("{what}: {}{}", writes.len(), shown.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Kind;

    fn write(kind: Kind, began: Instant, took: u64, outcome: Outcome, steady: bool) -> Write {
        let ended = began + Duration::from_millis(took);
        Write { kind, member: 0, began, ended, outcome, steady }
    }

    fn judged(extra: Vec<Write>, asked: Asked) -> Phase {
        let tally = Tally::default();
        let from = Instant::now() - Duration::from_secs(30);
        for n in 0..2000 {
            tally.write(write(Kind::Beat, from + Duration::from_millis(n), 1, Outcome::Ok, true));
        }
        for _ in 0..500 {
            tally.write(write(
                Kind::RegisterPersistent,
                from + Duration::from_millis(100),
                1,
                Outcome::Ok,
                true,
            ));
        }
        extra.into_iter().for_each(|write| tally.write(write));
        let mut phase = Phase::new("x");
        phase.judge(&tally, from, Some(from), asked);
        phase
    }

    #[test]
    fn promises_can_be_broken() {
        let from = Instant::now() - Duration::from_secs(29);
        let all = Asked { survivors: true, majority: true, orderly: true };
        let broken = |write: Write| judged(vec![write], all).broken.len();
        assert_eq!(judged(Vec::new(), all).broken, Vec::<String>::new());
        assert_eq!(broken(write(Kind::Beat, from, 9, Outcome::Timeout, true)), 2);
        assert_eq!(broken(write(Kind::Beat, from, 9, Outcome::Broken, false)), 1);
        assert_eq!(broken(write(Kind::Beat, from, 9, Outcome::Refused, false)), 0);
        assert_eq!(broken(write(Kind::Beat, from, 9, Outcome::Answered(503, "starting".into()), false)), 1);
        let late = from + Duration::from_secs(5);
        let refused = Outcome::Answered(503, "no leader".into());
        assert_eq!(broken(write(Kind::RegisterPersistent, late, 9, refused.clone(), true)), 2);
        assert_eq!(
            judged(
                vec![write(Kind::RegisterPersistent, from, 9, refused, true)],
                Asked { orderly: false, ..all }
            )
            .broken,
            Vec::<String>::new()
        );
        let slow = (0..100).map(|_| write(Kind::Beat, from, 800, Outcome::Ok, true)).collect();
        assert_eq!(judged(slow, all).broken.len(), 1);
    }

    #[test]
    fn listeners_are_judged_where_a_majority_is_there() {
        let judged = |publishes, stale, asked| {
            let mut phase = Phase::new("x");
            phase.judge_configs(publishes, stale, asked);
            (phase.broken.len(), phase.invalid.is_some())
        };
        let majority = Asked { majority: true, ..Asked::default() };
        let late = Limits::STALE + Duration::from_millis(1);
        assert_eq!(judged(Limits::PUBLISHES_MIN, Limits::STALE, majority), (0, false));
        assert_eq!(judged(Limits::PUBLISHES_MIN, late, majority), (1, false));
        assert_eq!(
            judged(Limits::PUBLISHES_MIN, late, Asked { orderly: true, ..Asked::default() }),
            (1, false)
        );
        assert_eq!(judged(Limits::PUBLISHES_MIN, late, Asked::default()), (0, false));
        assert_eq!(judged(Limits::PUBLISHES_MIN - 1, Limits::STALE, majority), (0, true));
    }

    #[test]
    fn too_few_writes_are_invalid() {
        let mut phase = Phase::new("x");
        phase.judge(&Tally::default(), Instant::now(), None, Asked::default());
        assert!(phase.invalid.is_some());
        assert!(!Report { phases: vec![phase], stopped: None }.passed());
        assert!(!Report::default().passed());
    }
}
