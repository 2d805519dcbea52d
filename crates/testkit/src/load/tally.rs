//! Everything that happened to the workload's requests, kept as events: which of them count for which phase is decided
//! afterwards.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::http::{Answer, Failed};

/// Faults of each kind that are kept with their details; more are only counted.
const EXAMPLES_MAX: usize = 1000;

/// What a write was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Beat,
    RegisterEphemeral,
    DeregisterEphemeral,
    RegisterPersistent,
    DeregisterPersistent,
    /// Of a configuration.
    Publish,
}

impl Kind {
    pub fn is_persistent(self) -> bool {
        matches!(self, Kind::RegisterPersistent | Kind::DeregisterPersistent | Kind::Publish)
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// Another status than 200, with the beginning of the body.
    Answered(u16, String),
    /// Nobody listened: the request was not sent.
    Refused,
    /// A new connection was closed at once: most likely nobody read the request.
    Unheard,
    /// The connection ended in the middle. The outcome is unknown.
    Broken,
    /// No answer in time. The outcome is unknown.
    Timeout,
}

impl Outcome {
    pub fn of(result: &Result<Answer, Failed>) -> Outcome {
        match result {
            Ok(answer) if answer.status == 200 => Outcome::Ok,
            Ok(answer) => Outcome::Answered(answer.status, answer.text()),
            Err(Failed::Refused) => Outcome::Refused,
            Err(Failed::Unheard) => Outcome::Unheard,
            Err(Failed::Broken) => Outcome::Broken,
            Err(Failed::Timeout) => Outcome::Timeout,
            Err(Failed::Protocol(why)) => Outcome::Answered(0, why.clone()),
        }
    }

    /// True if the write certainly did not happen.
    pub fn is_certain_failure(&self) -> bool {
        match self {
            Outcome::Refused => true,
            Outcome::Answered(status, _) => (400..500).contains(status),
            Outcome::Ok | Outcome::Unheard | Outcome::Broken | Outcome::Timeout => false,
        }
    }
}

/// One write to one member.
#[derive(Clone, Debug)]
pub struct Write {
    pub kind: Kind,
    pub member: usize,
    pub began: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
    /// The member was up and nothing was done to it from before until after the request.
    pub steady: bool,
}

impl Write {
    /// Failed although nothing was done to the member.
    pub fn failed_on_survivor(&self) -> bool {
        self.steady && self.outcome != Outcome::Ok
    }

    /// Failed in a way that an orderly restart must not cause: anything but a refused connect.
    pub fn failed_in_order(&self) -> bool {
        match self.outcome {
            Outcome::Ok => false,
            Outcome::Refused | Outcome::Unheard => self.steady,
            _ => true,
        }
    }
}

/// Something that a reader saw and should not have seen.
#[derive(Clone, Debug)]
pub struct Fault {
    pub at: Instant,
    pub what: String,
    /// Of a persistent instance.
    pub persistent: bool,
}

/// The events of a run.
#[derive(Debug, Default)]
pub struct Tally {
    writes: Mutex<Vec<Write>>,
    misses: Mutex<Vec<Fault>>,
    flips: Mutex<Vec<Fault>>,
    failed_reads: Mutex<Vec<Fault>>,
    /// Answers to lists that were checked.
    pub reads: AtomicU64,
    /// Beats answered with 20404.
    pub unknown_beats: AtomicU64,
    /// Beats that no member took.
    pub lost_beats: AtomicU64,
}

impl Tally {
    pub fn write(&self, write: Write) {
        self.writes.lock().expect("no holder panics").push(write);
    }

    pub fn miss(&self, fault: Fault) {
        keep(&self.misses, fault);
    }

    pub fn flip(&self, fault: Fault) {
        keep(&self.flips, fault);
    }

    pub fn failed_read(&self, fault: Fault) {
        keep(&self.failed_reads, fault);
    }

    /// Writes that began in `[from, until)`.
    pub fn writes(&self, from: Instant, until: Instant) -> Vec<Write> {
        let writes = self.writes.lock().expect("no holder panics");
        writes.iter().filter(|write| from <= write.began && write.began < until).cloned().collect()
    }

    /// Acknowledged publishes since `from`.
    pub fn published(&self, from: Instant) -> usize {
        let writes = self.writes.lock().expect("no holder panics");
        let publish = |write: &&Write| write.kind == Kind::Publish && write.outcome == Outcome::Ok;
        writes.iter().filter(publish).filter(|write| write.began >= from).count()
    }

    /// Acknowledged writes since `from`: ephemeral, persistent.
    pub fn acknowledged(&self, from: Instant) -> (usize, usize) {
        let writes = self.writes.lock().expect("no holder panics");
        let good = || writes.iter().filter(|write| write.began >= from && write.outcome == Outcome::Ok);
        let persistent = good().filter(|write| write.kind.is_persistent()).count();
        (good().count() - persistent, persistent)
    }

    pub fn misses(&self, from: Instant, until: Instant) -> Vec<Fault> {
        between(&self.misses, from, until)
    }

    pub fn flips(&self, from: Instant, until: Instant) -> Vec<Fault> {
        between(&self.flips, from, until)
    }

    pub fn failed_reads(&self, from: Instant, until: Instant) -> Vec<Fault> {
        between(&self.failed_reads, from, until)
    }

    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn keep(list: &Mutex<Vec<Fault>>, fault: Fault) {
    let mut list = list.lock().expect("no holder panics");
    // Each phase looks at the newest faults, so the oldest go.
    if list.len() >= EXAMPLES_MAX {
        list.remove(0);
    }
    list.push(fault);
}

fn between(list: &Mutex<Vec<Fault>>, from: Instant, until: Instant) -> Vec<Fault> {
    let list = list.lock().expect("no holder panics");
    list.iter().filter(|fault| from <= fault.at && fault.at < until).cloned().collect()
}
