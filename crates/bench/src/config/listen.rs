//! From a publish to the new content at everybody who listens: one configuration, one publisher, many listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use super::connect_all;
use super::speaker::{Speaker, content};
use crate::Bench;
use crate::args::ConfigListenArgs;
use crate::error::{BenchError, Failed};
use crate::grpc::versions::{VERSIONS_MAX, Versions};
use crate::record::{Errors, Meter, Recorder, Round};

/// After the last change every listener has it within this.
const SETTLE: Duration = Duration::from_secs(10);
/// Everybody has the first content within this.
const BEGIN: Duration = Duration::from_secs(60);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(20);
/// A listener that failed waits before it tries again.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn check(args: &ConfigListenArgs) -> Result<(), BenchError> {
    let seconds = (args.common.seconds + args.common.warmup) as f64;
    let most = f64::from(VERSIONS_MAX);
    if !(args.rate > 0.0 && args.rate * seconds < most) {
        let why = format!("--rate {} for {seconds} s is not between 0 and {most} changes in all", args.rate);
        return Err(BenchError::Usage(why));
    }
    Ok(())
}

/// What the listeners count.
#[derive(Default)]
struct Counts {
    told: AtomicU64,
    failed: AtomicU64,
}

/// One round.
pub(super) async fn measure(args: &ConfigListenArgs, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let refused = |failed: Failed| bench.refused(format!("a publish failed: {failed}"));
    let size = usize::try_from(args.size).unwrap_or(usize::MAX);
    let listeners = usize::try_from(args.listeners).unwrap_or(usize::MAX);
    let (data_id, counts) = (bench.tag.clone(), Arc::<Counts>::default());
    let versions = Arc::new(Versions::new(listeners, VERSIONS_MAX));
    let mut publisher = Speaker::connect(args.over, bench.side.first()).await.map_err(refused)?;
    versions.send(1);
    publisher.publish(&data_id, &content(1, size)).await.map_err(refused)?;
    let mut tasks = JoinSet::new();
    let at = std::slice::from_ref(bench.side.last());
    for (who, speaker) in connect_all(args.over, bench, at, args.listeners).await?.into_iter().enumerate() {
        tasks.spawn(listen(who, speaker, data_id.clone(), size, versions.clone(), counts.clone()));
    }
    let behind = settled(&versions, 1, BEGIN).await;
    if behind > 0 {
        return Err(bench.refused(format!("{behind} listeners do not get the content")));
    }
    let mut stage = Stage { publisher, data_id, size, rate: args.rate, versions, published: Recorder::new() };
    let (mut version, mut errors) = (1, Errors::new());
    stage.publish(&mut version, bench.warmup, &mut errors).await;
    stage.versions.warmed_up(version);
    let _warm = stage.published.take();
    let (first, told) = (version, counts.told.load(Ordering::Relaxed));
    let meter = Meter::start(&bench.side.pids);
    stage.publish(&mut version, bench.time, &mut errors).await;
    let usage = meter.stop();
    let behind = settled(&stage.versions, version, SETTLE).await as u64;
    let (mut record, complete) = stage.versions.take();
    record.errors = errors;
    let (failed, backwards) = (counts.failed.load(Ordering::Relaxed), stage.versions.backwards());
    let (published, complete) = (stage.published.take().latency(), complete.latency());
    let figures = vec![
        ("changes", f64::from(version - first)),
        ("notifications", (counts.told.load(Ordering::Relaxed) - told) as f64),
        ("publish acknowledged: p50 ms", published.p50),
        ("publish acknowledged: p99 ms", published.p99),
        ("last listener of a change: p50 ms", complete.p50),
        ("last listener of a change: p99 ms", complete.p99),
        ("listeners without the final content", behind as f64),
        ("contents that went back", backwards as f64),
        ("requests that failed", failed as f64),
    ];
    let said = [
        (behind, "listeners missed the final content"),
        (backwards, "contents went back to an earlier one"),
        (failed, "requests of listeners failed"),
    ];
    let violations = said.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    Ok(Round { record, usage, figures, violations })
}

/// Reads, waits for a change, and so on, as SDKs do.
async fn listen(
    who: usize,
    mut speaker: Speaker,
    data_id: String,
    size: usize,
    versions: Arc<Versions>,
    counts: Arc<Counts>,
) {
    let mut has = 0;
    loop {
        let step = async {
            if speaker.changed(&data_id, has, size).await? {
                counts.told.fetch_add(1, Ordering::Relaxed);
                if let Some(version) = speaker.get(&data_id).await? {
                    has = version;
                    versions.show(who, u32::try_from(version).unwrap_or(u32::MAX), 0);
                }
            }
            Ok::<(), Failed>(())
        };
        if step.await.is_err() {
            counts.failed.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
    }
}

struct Stage {
    publisher: Speaker,
    data_id: String,
    size: usize,
    rate: f64,
    versions: Arc<Versions>,
    /// How long each publish took.
    published: Recorder,
}

impl Stage {
    /// Publishes one version after another, as many a second as asked for: late ones follow at once.
    async fn publish(&mut self, version: &mut u32, time: Duration, errors: &mut Errors) {
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
            if *version >= VERSIONS_MAX {
                return;
            }
            *version += 1;
            self.versions.send(*version);
            let began = Instant::now();
            match self.publisher.publish(&self.data_id, &content(u64::from(*version), self.size)).await {
                Ok(()) => self.published.add(0, began.elapsed()),
                Err(failed) => *errors.entry(failed.to_string()).or_default() += 1,
            }
        }
    }
}

/// Waits until all have `version`; those that do not get it in time.
async fn settled(versions: &Versions, version: u32, within: Duration) -> usize {
    let end = Instant::now() + within;
    loop {
        let behind = versions.behind(version);
        if behind == 0 || Instant::now() >= end {
            return behind;
        }
        sleep(LOOK).await;
    }
}
