//! The backups that `backup.every` asks for: when the next one is due, its file, and which old ones go.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, UNIX_EPOCH};

use dyad_backup::{Header, PART_SUFFIX, Summary};
use dyad_cli::backup::file::{self, Existing};
use dyad_cli::{Exit, Failure};
use dyad_types::date::timestamp;
use tokio_util::sync::CancellationToken;

use super::room::Roomy;
use super::{BackupMetrics, Source, Taken};

/// How often it is looked whether a backup is due.
const LOOK: Duration = Duration::from_secs(10);
/// After a failure the next attempt waits so long, or as long as backups are apart.
const RETRY: Duration = Duration::from_secs(300);
/// Hex digits of the cluster's id in a name: enough to tell the clusters of one operator apart.
const PREFIX: usize = 8;
const BEGIN: &str = "dyad-";
const END: &str = ".backup";

/// When backups are made, and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) every: Duration,
    /// Files that stay, of this cluster.
    pub(crate) keep: usize,
    pub(crate) dir: PathBuf,
    /// Bytes that stay free on the disk.
    pub(crate) min_free: Option<u64>,
}

/// Makes backups until `stop`. The first one comes at once, unless there is one that is younger than the time between two.
pub(crate) async fn run(source: Source, schedule: Schedule, metrics: BackupMetrics, stop: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK.min(schedule.every));
    let mut failed: Option<Instant> = None;
    let mut looked = false;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        let waits = failed.is_some_and(|at| at.elapsed() < RETRY.min(schedule.every));
        // A member that is in no cluster yet has nothing, which is no failure.
        let cluster = source.raft.status().cluster_id;
        let Some(cluster) = cluster.filter(|_| !waits) else { continue };
        if !std::mem::replace(&mut looked, true) {
            remember(&schedule, cluster, &metrics);
        }
        if !is_due(&schedule, cluster, (source.wall_ms)()) {
            continue;
        }
        let began = Instant::now();
        match make(&source, &schedule).await {
            Ok((path, summary)) => {
                failed = None;
                metrics.last_success.set(((source.wall_ms)() / 1_000) as i64);
                metrics.bytes.set(summary.bytes as i64);
                metrics.duration.set(began.elapsed().as_secs_f64());
                tracing::info!(bytes = summary.bytes, "a backup is in {}", path.display());
            }
            Err(why) => {
                failed = Some(Instant::now());
                metrics.failures.inc();
                tracing::warn!("no backup was made: {why}");
            }
        }
    }
}

/// The last success of the process before this one.
fn remember(schedule: &Schedule, cluster: u128, metrics: &BackupMetrics) {
    let newest = own(&schedule.dir, cluster).unwrap_or_default().pop();
    let Some(found) = newest.and_then(|(_, path)| fs::metadata(path).ok()) else { return };
    let written = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    metrics.last_success.set(written.map_or(0, |at| at.as_secs() as i64));
    metrics.bytes.set(found.len() as i64);
}

async fn make(source: &Source, schedule: &Schedule) -> Result<(PathBuf, Summary), String> {
    let taken = source.take().await.map_err(|error| error.to_string())?;
    let schedule = schedule.clone();
    let made = tokio::task::spawn_blocking(move || write(&taken, &schedule));
    made.await.map_err(|error| error.to_string())?
}

fn write(taken: &Taken, schedule: &Schedule) -> Result<(PathBuf, Summary), String> {
    let dir = &schedule.dir;
    let of_dir = |error: io::Error| format!("{}: {error}", dir.display());
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(of_dir)?;
    let cluster = taken.header.cluster_id.unwrap_or(0);
    drop_parts(dir, cluster).map_err(of_dir)?;
    let path = dir.join(name(&taken.header));
    let written = file::write_whole(&path, Existing::Kept, |out| {
        let disk: &File = out.get_ref();
        let made = taken.write(Roomy::new(out, disk, schedule.min_free), &AtomicU64::new(0));
        made.map_err(|error| Failure::new(Exit::Disk, format!("{}: {error}", path.display())))
    });
    let summary = written.map_err(|failure| failure.message)?;
    // Only now: the old ones are what there is until the new one is whole.
    prune(dir, cluster, schedule.keep).map_err(of_dir)?;
    Ok((path, summary))
}

/// `dyad-0123abcd-20261121T005053Z-42.backup`
fn name(header: &Header) -> String {
    format!(
        "{BEGIN}{}-{}-{}{END}",
        prefix(header.cluster_id.unwrap_or(0)),
        moment(header.taken_ms),
        header.index
    )
}

fn prefix(cluster: u128) -> String {
    format!("{cluster:032x}")[..PREFIX].to_owned()
}

/// `20261121T005053Z`: names in the order of their moments.
fn moment(ms: u64) -> String {
    let text: String = timestamp(ms)[..19].chars().filter(|c| !matches!(c, '-' | ':')).collect();
    text + "Z"
}

/// The moment and the index in the name of a file that a member of this cluster made.
fn parse(name: &str, cluster: u128) -> Option<(String, u64)> {
    let rest = name.strip_prefix(BEGIN)?.strip_suffix(END)?.strip_prefix(&prefix(cluster))?;
    let (at, index) = rest.strip_prefix('-')?.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (day, time) = at.strip_suffix('Z')?.split_once('T')?;
    let is_moment = day.len() == 8 && time.len() == 6 && digits(day) && digits(time);
    (is_moment && digits(index)).then(|| Some((at.to_owned(), index.parse().ok()?)))?
}

/// The backups of this cluster in the directory, the newest last.
fn own(dir: &Path, cluster: u128) -> io::Result<Vec<((String, u64), PathBuf)>> {
    let mut own = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(at) = entry.file_name().to_str().and_then(|name| parse(name, cluster))
            && entry.file_type()?.is_file()
        {
            own.push((at, entry.path()));
        }
    }
    own.sort();
    Ok(own)
}

/// A directory that cannot be read has none: the attempt says why.
fn is_due(schedule: &Schedule, cluster: u128, now_ms: u64) -> bool {
    let every = u64::try_from(schedule.every.as_millis()).unwrap_or(u64::MAX);
    let newest = own(&schedule.dir, cluster).unwrap_or_default().pop();
    // One of the future is of a clock that ran ahead, and does not count.
    let (last, now) = (moment(now_ms.saturating_sub(every)), moment(now_ms));
    newest.is_none_or(|((at, _), _)| at <= last || at > now)
}

/// Removes what a process left that was killed while it wrote.
fn drop_parts(dir: &Path, cluster: u128) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let whole = name.to_str().and_then(|name| name.strip_suffix(PART_SUFFIX));
        if whole.is_some_and(|name| parse(name, cluster).is_some()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes all but the newest `keep`. Other files are not ours to touch.
fn prune(dir: &Path, cluster: u128, keep: usize) -> io::Result<()> {
    let own = own(dir, cluster)?;
    for (_, path) in &own[..own.len().saturating_sub(keep)] {
        fs::remove_file(path)?;
    }
    Ok(())
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
    use super::*;

    const CLUSTER: u128 = 0x0123_abcd_0000_0000_0000_0000_0000_0001;

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        let header =
            Header { cluster_id: Some(CLUSTER), taken_ms: 1_795_222_253_757, index: 42, ..Header::default() };
        let name = name(&header);
        assert_eq!(name, "dyad-0123abcd-20261121T005053Z-42.backup");
        assert_eq!(parse(&name, CLUSTER), Some(("20261121T005053Z".to_owned(), 42)));
        assert_eq!(parse(&name, 7), None, "of another cluster");
        for other in [
            "dyad-0123abcd-20261121T005053Z-42.backup.part",
            "dyad-0123abcd-20261121T005053Z-.backup",
            "dyad-0123abcd-20261121T005053Z-4x.backup",
            "dyad-0123abcd-20261121T00505Z-42.backup",
            "dyad-0123abcd-mine-42.backup",
            "my-dyad-0123abcd-20261121T005053Z-42.backup",
            "dyad-0123abcd.backup",
        ] {
            assert_eq!(parse(other, CLUSTER), None, "{other}");
        }
    }

    #[test]
    fn old_ones_go_and_what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let header =
            |taken_ms, index| Header { cluster_id: Some(CLUSTER), taken_ms, index, ..Header::default() };
        let names: Vec<String> = [(1_000, 5), (2_000, 6), (2_000, 7), (3_000, 8)]
            .map(|(ms, index)| name(&header(ms, index)))
            .into();
        let part = format!("{}.part", names[0]);
        let others = [
            "notes",
            "notes.part",
            "dyad-0123abcd-x.backup.part",
            "dyad-ffffffff-20261121T005053Z-42.backup",
            "dyad-0123abcd-x.backup",
        ];
        for name in names.iter().map(String::as_str).chain(others) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::write(dir.path().join(&part), "").unwrap();
        drop_parts(dir.path(), CLUSTER).unwrap();
        prune(dir.path(), CLUSTER, 2).unwrap();
        let there = |name: &str| dir.path().join(name).exists();
        assert_eq!(names.iter().map(|name| there(name)).collect::<Vec<_>>(), [false, false, true, true]);
        assert!(others.iter().all(|name| there(name)) && !there(&part));
    }

    #[test]
    fn a_backup_is_due_when_none_is_young_enough() {
        let dir = tempfile::tempdir().unwrap();
        let schedule = Schedule {
            every: Duration::from_secs(3600),
            keep: 3,
            dir: dir.path().join("b"),
            min_free: Some(0),
        };
        assert!(is_due(&schedule, CLUSTER, 5_000_000), "there is not even a directory");
        fs::create_dir(&schedule.dir).unwrap();
        let header = Header { cluster_id: Some(CLUSTER), taken_ms: 5_000_000, ..Header::default() };
        fs::write(schedule.dir.join(name(&header)), "").unwrap();
        for (now, due) in [(5_000_000, false), (8_599_000, false), (8_600_000, true), (1_000_000, true)] {
            assert_eq!(is_due(&schedule, CLUSTER, now), due, "{now}");
        }
        assert!(is_due(&schedule, 7, 5_000_000), "that one is of another cluster");
    }
}
