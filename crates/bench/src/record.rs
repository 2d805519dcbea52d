//! What a round measured: latencies in a histogram of 3 digits, errors by kind, and what the server spent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

use crate::error::Failed;
use crate::proc;

/// Writers spread over so many histograms; more workers than this never run at once on the machines that do this.
const SHARDS: usize = 16;
/// Microseconds; longer ones count as this.
const LATENCY_MAX: u64 = 120_000_000;
/// Kinds of errors that are told apart, against servers that answer something new each time.
const KINDS_MAX: usize = 64;

/// Counted errors by their kind.
pub(crate) type Errors = BTreeMap<String, u64>;

/// Takes samples from many tasks.
#[derive(Debug)]
pub(crate) struct Recorder(Vec<Mutex<Record>>);

impl Recorder {
    pub(crate) fn new() -> Recorder {
        Recorder((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    pub(crate) fn add(&self, worker: usize, took: Duration) {
        self.0[worker % SHARDS].lock().add(took);
    }

    pub(crate) fn fail(&self, worker: usize, failed: Failed) {
        count(&mut self.0[worker % SHARDS].lock().errors, failed.to_string(), 1);
    }

    /// Everything so far.
    pub(crate) fn take(&self) -> Record {
        let mut all = Record::default();
        for shard in &self.0 {
            all.merge(&std::mem::take(&mut *shard.lock()));
        }
        all
    }
}

/// Latencies and errors.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    histogram: Histogram<u64>,
    pub(crate) errors: Errors,
}

impl Default for Record {
    fn default() -> Record {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("the bounds are in order");
        Record { histogram, errors: Errors::new() }
    }
}

impl Record {
    fn add(&mut self, took: Duration) {
        self.histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX));
    }

    pub(crate) fn merge(&mut self, other: &Record) {
        self.histogram.add(&other.histogram).expect("all histograms have the same bounds");
        for (kind, more) in &other.errors {
            count(&mut self.errors, kind.clone(), *more);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub(crate) fn latency(&self) -> Latency {
        let at = |share: f64| self.histogram.value_at_quantile(share) as f64 / 1000.0;
        Latency {
            mean: self.histogram.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.histogram.max() as f64 / 1000.0,
        }
    }
}

fn count(errors: &mut Errors, kind: String, more: u64) {
    let kind = if errors.len() < KINDS_MAX || errors.contains_key(&kind) { kind } else { "other".into() };
    *errors.entry(kind).or_default() += more;
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What one round measured.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) record: Record,
    pub(crate) usage: Usage,
    /// Further figures of the mode: name with unit → value.
    pub(crate) figures: Vec<(&'static str, f64)>,
    /// What must not happen and did.
    pub(crate) violations: Vec<String>,
}

/// What was spent in the counted time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    pub seconds: f64,
    /// Cores that the generator kept busy, on average.
    pub generator_cores: f64,
    /// Of the server, with `--pid`: CPU seconds, and resident bytes at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss: Option<u64>,
}

/// Measures [`Usage`] from its making on.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    own: Duration,
    server: Option<(Vec<u32>, Duration)>,
}

impl Meter {
    pub(crate) fn start(pids: &[u32]) -> Meter {
        let server = proc::cpu_of(pids).map(|before| (pids.to_vec(), before));
        let own = proc::cpu_of(&[std::process::id()]).unwrap_or_default();
        Meter { began: Instant::now(), own, server }
    }

    pub(crate) fn stop(self) -> Usage {
        let seconds = self.began.elapsed().as_secs_f64();
        let own = proc::cpu_of(&[std::process::id()]).unwrap_or_default().saturating_sub(self.own);
        let (pids, before) = self.server.unzip();
        let pids = pids.unwrap_or_default();
        let spent = proc::cpu_of(&pids).zip(before);
        let server_cpu = spent.map(|(now, before)| now.saturating_sub(before).as_secs_f64());
        let server_rss = proc::rss_of(&pids);
        Usage { seconds, generator_cores: own.as_secs_f64() / seconds.max(1e-9), server_cpu, server_rss }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_all_shards_and_kinds_of_errors() {
        let recorder = Recorder::new();
        for n in 1..=100_u64 {
            recorder.add(usize::try_from(n).unwrap(), Duration::from_millis(n));
        }
        recorder.fail(1, Failed::Timeout);
        recorder.fail(2, Failed::Timeout);
        recorder.fail(2, Failed::Code(301));
        let record = recorder.take();
        let latency = record.latency();
        assert_eq!(record.count(), 100);
        assert!((latency.p50 - 50.0).abs() < 0.1 && (latency.p99 - 99.0).abs() < 0.1, "{latency:?}");
        assert_eq!(record.errors, Errors::from([("no answer in time".into(), 2), ("code 301".into(), 1)]));
        assert_eq!(recorder.take().count(), 0);
        for code in 0..1_000 {
            recorder.fail(0, Failed::Code(code));
        }
        let errors = recorder.take().errors;
        assert!(errors.len() <= KINDS_MAX + 1);
        assert_eq!(errors.values().sum::<u64>(), 1_000);
    }
}
