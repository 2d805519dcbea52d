//! Shortens the histories of configurations (`DefaultHistoryConfigCleaner`). The leader proposes this in batches. Versions are too old
//! by the clocks of a majority, and only as far as this server can account for the time itself (`time`). When all of them together
//! take more bytes than they may, the oldest go too.

mod file;
mod time;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dyad_config::{Change, ConfigCommand, ConfigReply, Prune, Source};
use dyad_state::CpReply;
use dyad_state::ports::{Propose, ProposeError};
use dyad_types::{ConfigKey, date};

use self::time::Accounted;
use super::parts::Parts;

/// First after a start, when members join and elect.
const FIRST: Duration = Duration::from_secs(60);
/// As often as in Nacos.
const EVERY: Duration = Duration::from_secs(600);
/// How often the bytes are looked at. So much more may be written meanwhile.
const WEIGH_EVERY: Duration = Duration::from_secs(60);
/// Pause after a batch: it deletes up to 10,000 rows, and writes of clients go between.
const PAUSE: Duration = Duration::from_millis(100);
/// Batches of one run: with the most that one deletes, ten million versions. The next run goes on.
const BATCHES_MAX: usize = 1_000;
const DAY_MS: u64 = 86_400_000;
/// A clock that is ahead of the accounted time by more than this is told of, if that keeps something.
const HELD_MS: u64 = DAY_MS;

/// Runs until `parts.stop`.
pub(super) async fn run(parts: Arc<Parts>) {
    let mut retention = Retention::begin(&parts);
    let first = tokio::time::Instant::now() + FIRST;
    let mut by_age = tokio::time::interval_at(first, EVERY);
    let mut by_bytes = tokio::time::interval_at(first, WEIGH_EVERY);
    loop {
        let until_ms = tokio::select! {
            _ = by_age.tick() => retention.until(&parts),
            _ = by_bytes.tick() => match until_bytes(&parts).await {
                Some(until_ms) => until_ms,
                None => continue,
            },
            () = parts.stop.cancelled() => break,
        };
        tokio::select! {
            done = prune(&parts, until_ms) => {
                if let Err(error) = done {
                    tracing::debug!(%error, "histories were not shortened; the next run tries again");
                }
            }
            () = parts.stop.cancelled() => break,
        }
    }
    retention.advance(&parts);
}

/// The time by which versions are too old, as it goes on.
struct Retention {
    time: Accounted,
    last: Instant,
    /// Whether it was told that the clock is not followed.
    told: bool,
}

impl Retention {
    fn begin(parts: &Parts) -> Retention {
        let dir = &parts.settings.data_dir;
        let written = file::read(dir).unwrap_or_else(|error| {
            let path = dir.join(file::FILE);
            tracing::warn!(
                "{} cannot be used: {error}. The time of the retention goes on from the last write",
                path.display()
            );
            None
        });
        let time = Accounted::new(written, parts.raft.state().now_ms());
        Retention { time, last: Instant::now(), told: false }
    }

    /// The time now, and the time by the clocks. `None` while no majority says what time it is; what passes meanwhile counts later.
    fn advance(&mut self, parts: &Parts) -> Option<(u64, u64)> {
        let clock = parts.raft.time_of_majority()?;
        let now = self.time.advance(self.last.elapsed(), clock);
        self.last = Instant::now();
        if let Err(error) = file::write(&parts.settings.data_dir, now) {
            tracing::warn!("{} was not written: {error}", parts.settings.data_dir.join(file::FILE).display());
        }
        Some((now, clock))
    }

    /// Versions from before this time, in milliseconds since the epoch, are too old.
    fn until(&mut self, parts: &Parts) -> u64 {
        let Some((now, clock)) = self.advance(parts) else { return 0 };
        let days = parts.settings.config.retention_days;
        let (until, by_clock) = (old_until(now, days), old_until(clock, days));
        let due = |until| parts.sink.configs().state().prune_due(until, u32::MAX, None).is_some();
        let held = clock - now > HELD_MS && leads(parts) && due(by_clock) && !due(until);
        if held && !self.told {
            tracing::warn!("{}", held_back(now, clock, days, &parts.settings.data_dir));
            self.told = true;
        } else if self.told && clock - now <= HELD_MS {
            tracing::info!("the clock of the retention is right again: it shows {}", date::timestamp(now));
            self.told = false;
        }
        until
    }
}

/// Versions from before this time must go for the others to fit into `config.history_bytes`. `None` if all fit, or another member
/// leads.
async fn until_bytes(parts: &Parts) -> Option<u64> {
    if !leads(parts) {
        return None;
    }
    let limit = parts.settings.config.history_bytes;
    let until = parts.raft.history_until(limit).await;
    let until =
        until.inspect_err(|error| tracing::debug!(%error, "the histories were not measured")).ok()??;
    tracing::info!(
        "the histories of configurations take more than config.history_bytes ({limit} bytes): versions from before {} are removed",
        date::timestamp(until)
    );
    Some(until)
}

/// What is told when the clock says that versions are too old, and they are kept.
fn held_back(now: u64, clock: u64, days: u64, dir: &Path) -> String {
    format!(
        "versions of configurations that are older than {days} days by the clock, which shows {}, are kept. By the time for which this \
         server ran it is only {}: either the clock is wrong, or the server was stopped for so long. Put the clock right. If it is \
         right, there is nothing to do: the difference becomes smaller by a day in each eight that the server runs. To have \
         it at once, publish something, stop the server, delete {} and start the server",
        date::timestamp(clock),
        date::timestamp(now),
        dir.join(file::FILE).display()
    )
}

fn leads(parts: &Parts) -> bool {
    parts.raft.leader().is_some_and(|leader| leader.member == parts.me)
}

/// Does nothing on a member that does not lead.
async fn prune(parts: &Parts, until_ms: u64) -> Result<(), ProposeError> {
    if !leads(parts) {
        return Ok(());
    }
    let keep = parts.settings.config.history_max;
    let mut from: Option<ConfigKey> = None;
    for _ in 0..BATCHES_MAX {
        let state = parts.sink.configs().state();
        // Looked for here, so that the log has only entries that change something.
        let Some(due) = state.prune_due(until_ms, keep, from.as_ref()).filter(|_| leads(parts)) else {
            break;
        };
        let change = Change::Prune(Prune { until_ms, keep, from: Some(due.clone()) });
        let command = ConfigCommand { source: Source::default(), change };
        match parts.raft.propose(command.into()).await? {
            CpReply::Config(ConfigReply::Pruned { next: Some(next), .. }) => from = Some(next),
            _ => break,
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Versions from before this time are too old when it is `now`.
fn old_until(now: u64, retention_days: u64) -> u64 {
    now.saturating_sub(DAY_MS.saturating_mul(retention_days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old() {
        assert_eq!(old_until(31 * DAY_MS, 30), DAY_MS);
        assert_eq!(old_until(DAY_MS, u64::MAX), 0);
    }

    #[test]
    fn what_is_held_back_is_told_with_both_times_and_the_way_out() {
        let told = held_back(1_764_540_000_000, 1_799_100_000_000, 30, Path::new("/data"));
        for part in ["older than 30 days", "2027-01-04T", "2025-11-30T", "delete /data/retention"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
