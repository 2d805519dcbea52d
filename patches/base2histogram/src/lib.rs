//! This crate replaces the crate of the same name. It has the part of it that openraft needs.
//!
//! openraft always counts the sizes of its batches, even if nobody can ask for them (without its feature `runtime-stats`).
//! With the first histogram, the original crate builds tables for 16 precisions and keeps them: 25 MB of memory, more than
//! all the rest of an idle member. Here a histogram has only the default precision, computes what would be in the tables,
//! and allocates its 2 KB with the first value. A percentile is the lower bound of its bucket; it is not interpolated.

use std::fmt;
use std::marker::PhantomData;

/// Buckets per power of two.
const GROUP: usize = 4;
/// Bits of a value that choose its bucket.
const WIDTH: usize = 3;
/// Covers all of `u64`.
const BUCKETS: usize = GROUP * (u64::BITS as usize - WIDTH + 2);

/// Counts values in buckets whose width grows with the value: at most a quarter of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// Empty, or one count for each bucket.
    counts: Vec<u64>,
    samples: u64,
    data: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Histogram<T> {
        Histogram::new()
    }
}

impl<T> Histogram<T> {
    pub fn new() -> Histogram<T> {
        Histogram { counts: Vec::new(), samples: 0, data: PhantomData }
    }

    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Records a value `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        let at = &mut self.counts[bucket(value)];
        *at = at.saturating_add(count);
        self.samples = self.samples.saturating_add(count);
    }

    pub fn percentile_stats(&self) -> PercentileStats {
        let at = |permille| self.value_at(permille);
        PercentileStats {
            samples: self.samples,
            p0_1: at(1),
            p1: at(10),
            p5: at(50),
            p10: at(100),
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p99_9: at(999),
        }
    }

    /// The lower bound of the bucket below whose end this share of the values lies; 0 without values.
    fn value_at(&self, permille: u64) -> u64 {
        let rank = (u128::from(self.samples) * u128::from(permille)).div_ceil(1000);
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u128::from(count);
            if count > 0 && seen >= rank {
                return lower_bound(bucket);
            }
        }
        0
    }
}

/// Number of values, and what that share of them is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PercentileStats { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "[samples: {samples}, P50: {p50}, P90: {p90}, P99: {p99}, P99.9: {p99_9}]")
    }
}

/// Named histograms as lines of text.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart {
    series: Vec<(String, Histogram)>,
}

impl AsciiChart {
    pub fn new() -> AsciiChart {
        AsciiChart::default()
    }

    #[expect(clippy::should_implement_trait, reason = "the original's name")]
    pub fn add(mut self, name: &str, histogram: Histogram) -> AsciiChart {
        self.series.push((name.to_owned(), histogram));
        self
    }

    pub fn detailed(&self) -> impl fmt::Display {
        let line =
            |(name, histogram): &(String, Histogram)| format!("{name}: {}\n", histogram.percentile_stats());
        self.series.iter().map(line).collect::<String>()
    }
}

fn bucket(value: u64) -> usize {
    if value < GROUP as u64 {
        return value as usize;
    }
    let group = (u64::BITS - value.leading_zeros()) as usize - WIDTH;
    GROUP + group * GROUP + (value >> group) as usize % GROUP
}

fn lower_bound(bucket: usize) -> u64 {
    if bucket < GROUP {
        return bucket as u64;
    }
    let group = bucket / GROUP - 1;
    ((bucket % GROUP + GROUP) as u64) << group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_begins_where_its_lower_bound_says() {
        assert_eq!((bucket(u64::MAX), BUCKETS), (251, 252));
        for n in 0..BUCKETS {
            assert_eq!(bucket(lower_bound(n)), n);
            assert!(n == 0 || bucket(lower_bound(n) - 1) == n - 1);
        }
    }

    #[test]
    fn percentiles_are_lower_bounds() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p99, 0);
        histogram.record_n(10, 90);
        histogram.record_n(100, 9);
        histogram.record(1_000);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p90, stats.p99, stats.p99_9), (100, 10, 10, 96, 896));
    }
}
