//! Changes of one thing at a pace, one version after another, and waiting until everybody was shown the last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use crate::args::CommonArgs;
use crate::error::{BenchError, Failed};
use crate::grpc::versions::{VERSIONS_MAX, Versions};
use crate::record::Errors;

/// After the last change everybody has it within this; a server coalesces for half a second or a second.
const SETTLE: Duration = Duration::from_secs(10);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(20);

/// Are so many changes a second possible?
pub(crate) fn check(rate: f64, common: &CommonArgs) -> Result<(), BenchError> {
    let seconds = (common.seconds + common.warmup) as f64;
    let most = f64::from(VERSIONS_MAX);
    if !(rate > 0.0 && rate * seconds < most) {
        let why = format!("--rate {rate} for {seconds} s is not between 0 and {most} changes in all");
        return Err(BenchError::Usage(why));
    }
    Ok(())
}

pub(crate) struct Changes {
    pub(crate) versions: Arc<Versions>,
    /// The last one.
    pub(crate) version: u32,
    /// What changes failed with.
    pub(crate) errors: Errors,
    rate: f64,
}

impl Changes {
    /// For so many who are to be shown them. Version 1 is about to be made, by the caller.
    pub(crate) fn new(shown: usize, rate: f64) -> Changes {
        let versions = Arc::new(Versions::new(shown, VERSIONS_MAX));
        versions.send(1);
        Changes { versions, version: 1, errors: Errors::new(), rate }
    }

    /// Makes changes that do not count, until everybody was shown the last: what still comes of it would be taken for news.
    pub(crate) async fn warm_up(
        &mut self,
        time: Duration,
        change: impl AsyncFnMut(u32) -> Result<(), Failed>,
    ) -> u64 {
        self.make(time, change).await;
        self.versions.warmed_up(self.version);
        self.settled().await
    }

    /// Makes one version after another, as many a second as asked for: late ones follow at once. In place of one that failed
    /// comes the next.
    pub(crate) async fn make(
        &mut self,
        time: Duration,
        mut change: impl AsyncFnMut(u32) -> Result<(), Failed>,
    ) {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / self.rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let end = tokio::time::Instant::now() + time;
        // The first tick comes at once; the change before it may be just now.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = sleep_until(end) => return,
            }
            if self.version >= VERSIONS_MAX {
                return;
            }
            self.version += 1;
            self.versions.send(self.version);
            if let Err(failed) = change(self.version).await {
                *self.errors.entry(failed.to_string()).or_default() += 1;
            }
        }
    }

    /// Waits until everybody was shown the last version; those who were not in time.
    pub(crate) async fn settled(&self) -> u64 {
        self.settled_within(SETTLE).await
    }

    pub(crate) async fn settled_within(&self, within: Duration) -> u64 {
        let end = Instant::now() + within;
        loop {
            let behind = self.versions.behind(self.version);
            if behind == 0 || Instant::now() >= end {
                return behind as u64;
            }
            sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever is shown a change is so a while after it was acknowledged.
    #[tokio::test]
    async fn the_warm_up_ends_when_its_last_change_was_shown() {
        let mut changes = Changes::new(1, 200.0);
        changes.versions.show(0, 1, 0);
        let versions = changes.versions.clone();
        let change = async |version| {
            let versions = versions.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(100)).await;
                versions.show(0, version, 0);
            });
            Ok(())
        };
        let behind = changes.warm_up(Duration::from_millis(50), change).await;
        assert!(changes.version > 1);
        assert_eq!((behind, changes.versions.behind(changes.version)), (0, 0));
        // None of it counts.
        assert_eq!(changes.versions.take().0.count(), 0);
    }
}
