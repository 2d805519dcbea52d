//! From a publish to the new content at everybody who listens: one configuration, one publisher, many listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connect_all;
use super::speaker::{Speaker, content};
use crate::args::ConfigListenArgs;
use crate::changes::Changes;
use crate::error::{BenchError, Failed};
use crate::grpc::versions::Versions;
use crate::record::{Meter, Recorder, Round};
use crate::run::Bench;

/// Everybody has the first content within this.
const BEGIN: Duration = Duration::from_secs(60);
/// A listener that failed waits before it tries again.
const PAUSE: Duration = Duration::from_millis(100);

/// What the listeners count.
#[derive(Default)]
struct Counts {
    told: AtomicU64,
    /// Of them, without another content than before.
    known: AtomicU64,
    failed: AtomicU64,
}

/// One round.
pub(super) async fn measure(args: &ConfigListenArgs, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let refused = |failed: Failed| bench.refused(format!("a publish failed: {failed}"));
    let size = usize::try_from(args.size).unwrap_or(usize::MAX);
    let listeners = usize::try_from(args.listeners).unwrap_or(usize::MAX);
    let (data_id, counts) = (bench.tag.clone(), Arc::<Counts>::default());
    let mut changes = Changes::new(listeners, args.rate);
    let mut publisher = Speaker::connect(args.over, bench.side.first()).await.map_err(refused)?;
    publisher.publish(&data_id, &content(1, size)).await.map_err(refused)?;
    let mut tasks = JoinSet::new();
    let at = std::slice::from_ref(bench.side.last());
    for (who, speaker) in connect_all(args.over, bench, at, args.listeners).await?.into_iter().enumerate() {
        tasks.spawn(listen(who, speaker, data_id.clone(), size, changes.versions.clone(), counts.clone()));
    }
    let behind = changes.settled_within(BEGIN).await;
    if behind > 0 {
        return Err(bench.refused(format!("{behind} listeners do not get the content")));
    }
    let published = Recorder::new();
    let mut publish = async |version| {
        let began = Instant::now();
        publisher.publish(&data_id, &content(u64::from(version), size)).await?;
        published.add(0, began.elapsed());
        Ok(())
    };
    changes.warm_up(bench.warmup, &mut publish).await;
    let _warm = published.take();
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (first, told, known) = (changes.version, get(&counts.told), get(&counts.known));
    let meter = Meter::start(&bench.side.pids);
    changes.make(bench.time, publish).await;
    let usage = meter.stop();
    let behind = changes.settled().await;
    let Changes { versions, version, errors, .. } = changes;
    let (mut record, complete) = versions.take();
    record.errors = errors;
    let (failed, backwards) = (get(&counts.failed), versions.backwards());
    let (published, complete) = (published.take().latency(), complete.latency());
    let figures = vec![
        ("changes", f64::from(version - first)),
        ("notifications", (get(&counts.told) - told) as f64),
        ("notifications without a new content", (get(&counts.known) - known) as f64),
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
                    counts.known.fetch_add(u64::from(version == has), Ordering::Relaxed);
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
