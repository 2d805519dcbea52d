//! Shortens the histories of configurations (`DefaultHistoryConfigCleaner`). The leader proposes this in batches.

use std::sync::Arc;
use std::time::Duration;

use dyad_config::{Change, ConfigCommand, ConfigReply, Prune, Source};
use dyad_state::CpReply;
use dyad_state::ports::{Propose, ProposeError};
use dyad_types::ConfigKey;

use super::parts::Parts;

/// First after a start, when members join and elect.
const FIRST: Duration = Duration::from_secs(60);
/// As often as in Nacos.
const EVERY: Duration = Duration::from_secs(600);
/// Pause after a batch: it deletes up to 10,000 rows, and writes of clients go between.
const PAUSE: Duration = Duration::from_millis(100);
/// Batches of one run: with the most that one deletes, ten million versions. The next run goes on.
const BATCHES_MAX: usize = 1_000;
const DAY_MS: u64 = 86_400_000;

/// Runs until `parts.stop`.
pub(super) async fn run(parts: Arc<Parts>) {
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + FIRST, EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = parts.stop.cancelled() => return,
        }
        tokio::select! {
            done = prune(&parts) => {
                if let Err(error) = done {
                    tracing::debug!(%error, "histories were not shortened; the next run tries again");
                }
            }
            () = parts.stop.cancelled() => return,
        }
    }
}

/// Does nothing on a member that does not lead.
async fn prune(parts: &Parts) -> Result<(), ProposeError> {
    let leads = || parts.raft.leader().is_some_and(|leader| leader.member == parts.me);
    if !leads() {
        return Ok(());
    }
    let config = &parts.settings.config;
    let (until_ms, keep) =
        (old_until(parts.raft.time_of_majority().await, config.retention_days), config.history_max);
    let mut from: Option<ConfigKey> = None;
    for _ in 0..BATCHES_MAX {
        let state = parts.sink.configs().state();
        // Looked for here, so that the log has only entries that change something.
        let Some(due) = state.prune_due(until_ms, keep, from.as_ref()).filter(|_| leads()) else { break };
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

/// Versions from before this time, in milliseconds since the epoch, are too old. The leader's own clock does not decide: were it
/// a month ahead, all histories would end at once. What the other members do not know to be late is kept.
fn old_until(time_of_majority: Option<u64>, retention_days: u64) -> u64 {
    time_of_majority.map_or(0, |now| now.saturating_sub(DAY_MS.saturating_mul(retention_days)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_too_old_while_the_time_is_not_known() {
        assert_eq!(old_until(None, 30), 0);
        assert_eq!(old_until(Some(31 * DAY_MS), 30), DAY_MS);
        assert_eq!(old_until(Some(DAY_MS), u64::MAX), 0);
    }
}
