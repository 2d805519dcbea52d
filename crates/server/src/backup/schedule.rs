//! The backups that `backup.every` asks for. Everything that touches their directory is done off the threads of the runtime: it may
//! be on a network that does not answer.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use dyad_backup::Summary;
use dyad_cli::{Exit, Failure};
use tokio_util::sync::CancellationToken;

use super::shelf::{self, Last, Schedule};
use super::{BackupMetrics, Source, Taken};

/// How often it is looked whether a backup is due.
const LOOK: Duration = Duration::from_secs(10);
/// After an attempt the next one waits so long, or as long as backups are apart: after a failure, and whatever a clock does that
/// makes one due at every look. So long is a leader waited for too.
const REST: Duration = Duration::from_secs(300);

fn rest(schedule: &Schedule) -> Duration {
    REST.min(schedule.every)
}

/// Makes backups until `stop`. The first one comes at once, unless there is one that is younger than the time between two.
pub(crate) async fn run(source: Source, schedule: Schedule, metrics: BackupMetrics, stop: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK.min(schedule.every));
    let mut pace = Pace::default();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        let is_resting = pace.rests.is_some_and(|since| since.elapsed() < rest(&schedule));
        let Some(cluster) = source.cluster().filter(|_| !is_resting) else { continue };
        tokio::select! {
            () = step(&source, (&schedule, cluster), &metrics, &mut pace) => {}
            // A directory that does not answer keeps nobody waiting. A part that is left is removed by the next process.
            () = stop.cancelled() => return,
        }
    }
}

/// What is known from earlier looks.
#[derive(Debug, Default)]
struct Pace {
    /// Since the end of the last attempt.
    rests: Option<Instant>,
    /// Since when a backup is due and there is no leader.
    without_leader: Option<Instant>,
    /// The last backup was made without a leader: the next one is due as soon as there is one.
    owes: bool,
    has_looked: bool,
}

async fn step(
    source: &Source,
    (schedule, cluster): (&Schedule, u128),
    metrics: &BackupMetrics,
    pace: &mut Pace,
) {
    let now_ms = (source.wall_ms)();
    if !std::mem::replace(&mut pace.has_looked, true) {
        let schedule = schedule.clone();
        let last = away(move || shelf::last_success(&schedule, cluster, now_ms)).await;
        if let Ok(Some(last)) = last {
            metrics.remember(last);
        }
    }
    let is_due = is_due(schedule.clone(), cluster, now_ms).await;
    if !is_due && !pace.owes {
        return;
    }
    let began = Instant::now();
    let made = match source.take().await {
        Ok(taken) if taken.header.in_quorum => {
            pace.without_leader = None;
            make(taken, schedule.clone()).await
        }
        // It may just have started. A majority that is lost for good is another matter: then this is the last that there is.
        Ok(_) if pace.without_leader.get_or_insert(began).elapsed() < rest(schedule) => return,
        Ok(taken) => make(taken, schedule.clone()).await,
        Err(error) => Err(error.to_string()),
    };
    pace.rests = Some(Instant::now());
    match made {
        Ok(made) => {
            pace.owes = !made.in_quorum;
            metrics.made(&made, (source.wall_ms)(), began.elapsed());
        }
        Err(why) => {
            metrics.failures.inc();
            tracing::warn!("no backup was made: {why}");
        }
    }
}

async fn is_due(schedule: Schedule, cluster: u128, now_ms: u64) -> bool {
    away(move || shelf::is_due(&schedule, cluster, now_ms)).await.unwrap_or(true)
}

/// Does work with the directory off the threads of the runtime.
async fn away<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

/// A backup that is complete.
pub(super) struct Made {
    path: PathBuf,
    summary: Summary,
    index: u64,
    in_quorum: bool,
}

async fn make(taken: Taken, schedule: Schedule) -> Result<Made, String> {
    let (index, in_quorum) = (taken.header.index, taken.header.in_quorum);
    let written = away(move || {
        shelf::put(&schedule, &taken.header, |path: &Path, out| {
            // It may be the store of contents that fails.
            let written = taken.write(out, &AtomicU64::new(0));
            written.map_err(|error| Failure::new(Exit::Disk, format!("{}: {error}", path.display())))
        })
    });
    let (path, summary) = written.await??;
    Ok(Made { path, summary, index, in_quorum })
}

impl BackupMetrics {
    /// The last success of the process before this one.
    fn remember(&self, (at, bytes): Last) {
        self.last_success.set(at as i64);
        self.bytes.set(bytes as i64);
    }

    /// A backup without a leader is no success: other members may have had more.
    fn made(&self, made: &Made, now_ms: u64, took: Duration) {
        let (path, bytes) = (made.path.display(), made.summary.bytes);
        if !made.in_quorum {
            tracing::warn!(
                "a backup is in {path}, but this member hears no leader: it ends at index {}, and other members may have more",
                made.index
            );
            return;
        }
        self.remember((now_ms / 1_000, bytes));
        self.duration.set(took.as_secs_f64());
        tracing::info!(bytes, "a backup is in {path}");
    }
}

/// Where backups go when no directory is named.
pub(crate) fn default_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("backups")
}

/// What `backup.every` asks for, if it asks for anything.
pub(crate) fn of(settings: &crate::settings::Settings) -> Option<Schedule> {
    let backup = &settings.backup;
    let dir = backup.dir.clone().unwrap_or_else(|| default_dir(&settings.data_dir));
    let min_free = settings.min_free_disk;
    backup.every.map(|every| Schedule { every, keep: backup.keep, dir, min_free })
}

/// Looks whether there is a place for backups, if any are asked for.
///
/// # Errors
/// `Exit::Settings` if there is none.
pub(crate) async fn prepare(settings: &crate::settings::Settings) -> Result<(), Failure> {
    let Some(Schedule { dir, .. }) = of(settings) else { return Ok(()) };
    let at = dir.clone();
    let prepared = away(move || shelf::prepare(&at));
    match tokio::time::timeout(shelf::PREPARE_LIMIT, prepared).await {
        Ok(Ok(prepared)) => prepared,
        _ => {
            tracing::warn!("setting backup.dir: {} does not answer", dir.display());
            Ok(())
        }
    }
}

/// Starts it if there is anything to do.
pub(crate) fn spawn(
    (source, settings): (Source, &crate::settings::Settings),
    metrics: BackupMetrics,
    tasks: &tokio_util::task::TaskTracker,
    stop: CancellationToken,
) {
    if let Some(schedule) = of(settings) {
        metrics.every.set(schedule.every.as_secs_f64());
        tasks.spawn(run(source, schedule, metrics, stop));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn a_backup_without_a_leader_is_not_the_last_success() {
        let metrics = BackupMetrics::default();
        let made = |in_quorum, bytes| Made {
            path: "b".into(),
            summary: Summary { bytes, ..Summary::default() },
            index: 7,
            in_quorum,
        };
        metrics.made(&made(true, 10), 5_000, Duration::from_secs(2));
        metrics.made(&made(false, 20), 9_000, Duration::from_secs(3));
        assert_eq!((metrics.last_success.get(), metrics.bytes.get()), (5, 10));
        assert_eq!((metrics.duration.get(), metrics.failures.get()), (2.0, 0));
    }

    /// Whoever polls the look goes on with other tasks: the directory is read by another thread.
    #[tokio::test]
    async fn a_look_does_not_keep_the_runtime_waiting() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..2_000 {
            std::fs::write(dir.path().join(format!("{n}")), "").unwrap();
        }
        let schedule =
            Schedule { every: Duration::from_secs(1), keep: 1, dir: dir.path().to_owned(), min_free: None };
        let mut looking = pin!(is_due(schedule, 7, 0));
        tokio::select! {
            biased;
            _ = &mut looking => panic!("the first poll has read the whole directory"),
            () = std::future::ready(()) => {}
        }
        assert!(looking.await);
    }
}
