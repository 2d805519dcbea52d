//! What members use while they run: memory, descriptors, threads, disk and what waits in queues; and whether that grows.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::report::Phase;
use crate::fleet::Fleet;
use crate::http::Request;
use crate::proc::{descriptors_of, rss_of, threads_of};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait for the metrics.
const METRICS_TIMEOUT: Duration = Duration::from_secs(3);
/// The first sixth of the time, which is ten minutes of an hour, warms the members up.
const WARM: u32 = 6;
/// What is compared: the lowest use in the third of the time after the warming up with that in the last third. What is used rises
/// from one snapshot of the raft log to the next, which takes about eight minutes, and falls then, so that a third has a low point. A
/// leak raises it.
const COMPARED: u32 = 3;
/// Lines that are shown for each member.
const WINDOW: u32 = 12;
/// How much more of anything may be used in the end.
const GROWTH_MAX: f64 = 0.05;
/// The disk is not compared: sled's files grow to their bounds for hours. These are 384 MiB for the log, and here, with histories of a
/// mebibyte, 50 MiB for the contents; see the sizes in docs/reliability.md. The rest is for the snapshots.
const DISK_MAX: f64 = 480.0 * MB;
const DISK: usize = 3;
/// Counts as small as this may differ by it: one more connection of 20 is no leak.
const SLACK: [f64; 5] = [2.0 * MB, 10.0, 2.0, 8.0 * MB, 50.0];
const MB: f64 = 1_048_576.0;
const NAMES: [&str; 5] = ["memory MB", "descriptors", "threads", "disk MB", "waiting"];
/// Gauges of what waits.
const QUEUES: [&str; 3] = ["dyad_raft_queue_depth", "dyad_raft_proposals", "dyad_distro_requests_waiting"];

/// What one member uses at a moment, in the order of `NAMES`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage([f64; 5]);

impl Usage {
    pub(super) async fn of(fleet: &mut Fleet, at: usize) -> Result<Usage> {
        let pid = fleet.pid(at)?;
        let disk = bytes_below(&fleet.data(at)?);
        let request = Request::new("GET", "/metrics");
        let answer = fleet.members[at].http.call(&request, METRICS_TIMEOUT).await;
        let metrics = answer.map_err(|failed| anyhow::anyhow!("metrics of member {}: {failed:?}", at + 1))?;
        let waiting = waiting(&String::from_utf8_lossy(&metrics.body))?;
        let counts = [rss_of(pid)?, descriptors_of(pid)?, threads_of(pid)?, disk];
        let [memory, descriptors, threads, disk] = counts.map(|count| count as f64);
        Ok(Usage([memory, descriptors, threads, disk, waiting]))
    }
}

fn waiting(metrics: &str) -> Result<f64> {
    let mut sum = 0.0;
    for queue in QUEUES {
        let line = metrics.lines().find_map(|line| line.strip_prefix(queue)?.strip_prefix(' '));
        sum += line.with_context(|| format!("/metrics lacks {queue}"))?.trim().parse::<f64>()?;
    }
    Ok(sum)
}

/// Bytes that the files of a directory take on the disk.
fn bytes_below(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    const BLOCK: u64 = 512;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.blocks() * BLOCK,
            // It was removed meanwhile.
            Err(_) => 0,
        })
        .sum()
}

/// All looks at all members.
pub(super) struct Watch {
    from: Instant,
    length: Duration,
    next: Instant,
    looks: Vec<(Duration, usize, Usage)>,
}

impl Watch {
    pub(super) fn new(from: Instant, length: Duration) -> Watch {
        Watch { from, length, next: from, looks: Vec::new() }
    }

    /// True if it is time for another look.
    pub(super) fn is_due(&mut self) -> bool {
        let due = Instant::now() >= self.next;
        if due {
            self.next = Instant::now() + INTERVAL;
        }
        due
    }

    pub(super) fn note(&mut self, at: usize, usage: Usage) {
        self.looks.push((self.from.elapsed(), at, usage));
    }

    /// The last look at the first member, for a line of progress.
    pub(super) fn last(&self) -> String {
        let last = self.looks.iter().rev().find(|(_, at, _)| *at == 0);
        last.map_or_else(String::new, |(_, _, usage)| cells(usage.0).join(", "))
    }

    /// Compares the beginning, without the warming up, with the end. Adds a line for each member and each twelfth of the time.
    pub(super) fn judge(&self, kept: &[usize], phase: &mut Phase) {
        let window = self.length / WINDOW;
        for &at in kept {
            for n in 0..WINDOW {
                if let Some(mean) = self.mean(at, window * n, window * (n + 1)) {
                    let until = (window * (n + 1)).as_secs() / 60;
                    phase.notes.push(format!(
                        "member {} until minute {until}: {}",
                        at + 1,
                        cells(mean).join(", ")
                    ));
                }
            }
            let (warm, third) = (self.length / WARM, self.length / COMPARED);
            let (first, last) =
                (self.least(at, warm, warm + third), self.least(at, self.length - third, Duration::MAX));
            let (Some(first), Some(last)) = (first, last) else {
                phase.promise(false, || format!("member {} was not looked at", at + 1));
                continue;
            };
            for (n, name) in NAMES.iter().enumerate() {
                let grew = last[n] > first[n] * (1.0 + GROWTH_MAX) && last[n] - first[n] > SLACK[n];
                let holds = if n == DISK { last[n] <= DISK_MAX } else { !grew };
                phase.promise(holds, || {
                    format!("{name} of member {} grew from {} to {}", at + 1, cells(first)[n], cells(last)[n])
                });
            }
        }
    }

    fn looks(&self, member: usize, from: Duration, until: Duration) -> impl Iterator<Item = [f64; 5]> {
        let within = move |when: Duration| when >= from && when < until;
        self.looks
            .iter()
            .filter(move |(when, at, _)| *at == member && within(*when))
            .map(|(_, _, usage)| usage.0)
    }

    fn mean(&self, member: usize, from: Duration, until: Duration) -> Option<[f64; 5]> {
        let mut sum = [0.0; 5];
        let mut count = 0.0;
        for usage in self.looks(member, from, until) {
            count += 1.0;
            sum.iter_mut().zip(usage).for_each(|(sum, more)| *sum += more);
        }
        (count > 0.0).then(|| sum.map(|sum| sum / count))
    }

    /// The lowest use of each kind.
    fn least(&self, member: usize, from: Duration, until: Duration) -> Option<[f64; 5]> {
        self.looks(member, from, until).reduce(|mut least, usage| {
            least.iter_mut().zip(usage).for_each(|(least, one)| *least = least.min(one));
            least
        })
    }
}

fn cells(usage: [f64; 5]) -> Vec<String> {
    let shown = [usage[0] / MB, usage[1], usage[2], usage[3] / MB, usage[4]];
    NAMES.iter().zip(shown).map(|(name, value)| format!("{name} {value:.1}")).collect()
}

/// A run that is too short to be compared says nothing.
pub(super) fn is_long_enough(length: Duration) -> Result<()> {
    let least = INTERVAL * WINDOW * 2;
    if length < least {
        bail!("a soak of {} s says nothing: it needs {} s", length.as_secs(), least.as_secs());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(of: impl Fn(u64) -> [f64; 5]) -> Vec<String> {
        let mut watch = Watch::new(Instant::now(), Duration::from_secs(3600));
        for second in (0..3600).step_by(10) {
            watch.looks.push((Duration::from_secs(second), 0, Usage(of(second))));
        }
        let mut phase = Phase::new("growth");
        watch.judge(&[0], &mut phase);
        phase.broken
    }

    #[test]
    fn growth_after_the_warming_up_is_found() {
        let still = [100.0 * MB, 100.0, 20.0, 100.0 * MB, 0.0];
        assert!(judged(|_| still).is_empty());
        assert!(judged(|second| if second < 600 { [0.0; 5] } else { still }).is_empty());
        let grows = |n: usize, times: f64, saw: f64| {
            judged(move |second| {
                let mut usage = still;
                let (all, part) = (second as f64 / 3600.0, (second % 480) as f64 / 480.0);
                usage[n] += (all * times + part * saw) * usage[n].max(1000.0);
                usage
            })
        };
        for (n, name) in NAMES.iter().enumerate() {
            let times = if n == DISK { 8.0 } else { 0.2 };
            assert!(grows(n, times, 0.3)[0].starts_with(name), "{name}");
            assert!(grows(n, 0.0, 0.3).is_empty(), "{name} comes and goes");
        }
    }

    #[test]
    fn queues_are_added_and_must_be_there() {
        let text = "dyad_raft_queue_depth 2\ndyad_raft_queue_limit 9\ndyad_raft_proposals 3\ndyad_distro_requests_waiting 1\n";
        assert_eq!(waiting(text).unwrap(), 6.0);
        assert!(waiting("dyad_raft_queue_depth 2\n").is_err());
    }
}
