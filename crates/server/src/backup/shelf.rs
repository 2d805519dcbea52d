//! The directory of the backups that the clock makes: which are there, whether the next one is due, and which old ones go.
//!
//! What is newer is told by the index of the log: within a cluster it only grows, and clocks do not. By the time in the names a clock
//! that was ahead once would make every later backup an old one. The time only says when the next one is due, and what is of
//! the future does not count there.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use dyad_backup::{Header, PART_SUFFIX, Summary};
use dyad_cli::file::{Existing, Manner, Out, volume, write_whole};
use dyad_cli::{Exit, Failure};
use dyad_raft::reserve_bytes;
use dyad_types::date::timestamp;

/// Hex digits of the cluster's id in a name: enough to tell the clusters of one operator apart.
const PREFIX: usize = 8;
const BEGIN: &str = "dyad-";
const END: &str = ".backup";
/// What is written to see whether anything can be.
const PROBE: &str = ".dyad-probe";

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

/// A backup of the cluster that is there. The newest is the greatest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    index: u64,
    /// `20261121T005053Z`: the order of the texts is that of the moments.
    moment: String,
    path: PathBuf,
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
fn own(dir: &Path, cluster: u128) -> io::Result<Vec<Kept>> {
    let mut own = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some((moment, index)) = entry.file_name().to_str().and_then(|name| parse(name, cluster))
            && entry.file_type()?.is_file()
        {
            own.push(Kept { index, moment, path: entry.path() });
        }
    }
    own.sort();
    Ok(own)
}

/// The last success that the directory tells of: seconds since the epoch, and bytes.
pub(super) type Last = (u64, u64);

/// Whether the newest backup is so old that the next one is due. A directory that cannot be read has none: the attempt says why.
pub(super) fn is_due(schedule: &Schedule, cluster: u128, now_ms: u64) -> bool {
    let every = u64::try_from(schedule.every.as_millis()).unwrap_or(u64::MAX);
    let due = moment(now_ms.saturating_sub(every));
    by_time(schedule, cluster, now_ms).first().is_none_or(|kept| kept.moment <= due)
}

/// Reads the headers of backups until it comes to a success.
pub(super) fn last_success(schedule: &Schedule, cluster: u128, now_ms: u64) -> Option<Last> {
    by_time(schedule, cluster, now_ms).iter().find_map(|kept| last(&kept.path, now_ms))
}

/// The last one first, without those of the future.
fn by_time(schedule: &Schedule, cluster: u128, now_ms: u64) -> Vec<Kept> {
    let mut own = own(&schedule.dir, cluster).unwrap_or_default();
    let now = moment(now_ms);
    own.retain(|kept| kept.moment <= now);
    own.sort_by(|left, right| right.moment.cmp(&left.moment));
    own
}

/// `None` for what is no success: the backup of a member that heard no leader.
fn last(path: &Path, now_ms: u64) -> Option<Last> {
    dyad_cli::backup::open(path).ok().filter(|backup| backup.header().in_quorum)?;
    let found = fs::metadata(path).ok()?;
    let written = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Some((written.map_or(0, |at| at.as_secs()).min(now_ms / 1_000), found.len()))
}

/// Writes a backup with what `fill` gives, and removes those that are too many then.
///
/// # Errors
/// There is no backup. Those that were there are untouched.
pub(super) fn put(
    schedule: &Schedule,
    header: &Header,
    fill: impl FnOnce(&Path, &mut Out<'_>) -> Result<Summary, Failure>,
) -> Result<(PathBuf, Summary), String> {
    let (dir, cluster) = (&schedule.dir, header.cluster_id.unwrap_or(0));
    let of_dir = |error: io::Error| format!("{}: {error}", dir.display());
    let there = own(dir, cluster).map_err(of_dir)?;
    // Copies of the same state would push the others out.
    if let Some(same) = there.iter().find(|kept| kept.index == header.index && !header.in_quorum) {
        return Err(format!(
            "this member hears no leader, and what it has is in {} already",
            same.path.display()
        ));
    }
    told(dir, drop_parts(dir, cluster));
    // Those beyond the setting, if it has changed: to make room.
    told(dir, prune(dir, cluster, schedule.keep, None));
    let reserve = |total| reserve_bytes(schedule.min_free, total);
    let newest = there.last().and_then(|kept| fs::metadata(&kept.path).ok());
    check_room(dir, newest.map_or(0, |newest| newest.len()), reserve).map_err(of_dir)?;
    let path = dir.join(name(header));
    let manner = Manner { existing: Existing::Kept, mode: 0o600, reserve: &reserve };
    let summary = write_whole(&path, &manner, |out| fill(&path, out)).map_err(|failure| failure.message)?;
    // Only now: the old ones are what there is until the new one is whole.
    told(dir, prune(dir, cluster, schedule.keep, Some(&path)));
    Ok((path, summary))
}

/// A backup that would have to stop in the middle is not begun. With the data on the same disk each attempt would take room from the
/// writes of clients.
fn check_room(dir: &Path, last_bytes: u64, reserve: impl Fn(u64) -> u64) -> io::Result<()> {
    let (free, total) = volume(&File::open(dir)?)?;
    let least = reserve(total).saturating_mul(2);
    if free.saturating_sub(last_bytes) >= least {
        return Ok(());
    }
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let what = format!(
        "{} are free on this disk, the last backup has {}, and {} stay free",
        mib(free),
        mib(last_bytes),
        mib(least)
    );
    Err(io::Error::new(io::ErrorKind::StorageFull, what))
}

/// What is left behind is no reason to have no backup.
fn told(dir: &Path, tidied: io::Result<()>) {
    if let Err(error) = tidied {
        tracing::warn!("{}: old backups are not removed: {error}", dir.display());
    }
}

/// Removes what a process left that was killed while it wrote.
fn drop_parts(dir: &Path, cluster: u128) -> io::Result<()> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let whole = name.to_str().and_then(|name| name.strip_suffix(PART_SUFFIX));
        if whole.is_some_and(|name| parse(name, cluster).is_some()) {
            parts.push(entry.path());
        }
    }
    remove_all(&parts)
}

/// Removes all but the newest `keep`, and but the one that was `made`, whatever its index is: this member may have begun anew, and be
/// behind the one that wrote the others. Other files are not ours to touch.
fn prune(dir: &Path, cluster: u128, keep: usize, made: Option<&Path>) -> io::Result<()> {
    let own = own(dir, cluster)?;
    let old = &own[..own.len().saturating_sub(keep)];
    let old: Vec<PathBuf> =
        old.iter().map(|kept| kept.path.clone()).filter(|path| Some(&**path) != made).collect();
    remove_all(&old)
}

/// As many as can be. What is gone already is no error.
fn remove_all(paths: &[PathBuf]) -> io::Result<()> {
    let mut result = Ok(());
    for path in paths {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => result = result.and(Err(error)),
            _ => {}
        }
    }
    result
}

/// Makes the directory, and looks whether it can be written to. Only its own name is made: where its parent is missing, a disk may not
/// be mounted.
///
/// # Errors
/// `Exit::Settings` if no backup could ever be written. What may be over later is only told.
pub(super) fn prepare(dir: &Path) -> Result<(), Failure> {
    let probe = dir.join(PROBE);
    let prepared = || -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            made => made?,
        }
        remove_all(std::slice::from_ref(&probe))?;
        File::create_new(&probe)?;
        fs::remove_file(&probe)
    };
    let Err(error) = prepared() else { return Ok(()) };
    let Failure { exit, message } = Failure::io("write to", dir, &error);
    let message = format!("setting backup.dir: {message}");
    if exit == Exit::Settings {
        return Err(Failure::new(exit, message));
    }
    tracing::warn!("{message}");
    Ok(())
}

/// Longest wait for [`prepare`] at a start: a directory on a network may not answer, and the server has other work.
pub(super) const PREPARE_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: u128 = 0x0123_abcd_0000_0000_0000_0000_0000_0001;
    const HOUR: u64 = 3_600_000;
    /// 2026-11-21.
    const NOW: u64 = 1_795_222_253_757;

    fn header(taken_ms: u64, index: u64) -> Header {
        Header { cluster_id: Some(CLUSTER), taken_ms, index, in_quorum: true, ..Header::default() }
    }

    fn schedule(dir: &Path, keep: usize) -> Schedule {
        Schedule { every: Duration::from_secs(3600), keep, dir: dir.to_owned(), min_free: Some(0) }
    }

    fn done(_: &Path, _: &mut Out<'_>) -> Result<Summary, Failure> {
        Ok(Summary::default())
    }

    fn indexes(dir: &Path) -> Vec<u64> {
        own(dir, CLUSTER).unwrap().iter().map(|kept| kept.index).collect()
    }

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        let name = name(&header(NOW, 42));
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
        prune(dir.path(), CLUSTER, 2, None).unwrap();
        let there = |name: &str| dir.path().join(name).exists();
        assert_eq!(names.iter().map(|name| there(name)).collect::<Vec<_>>(), [false, false, true, true]);
        assert!(others.iter().all(|name| there(name)) && !there(&part));
    }

    #[test]
    fn a_backup_is_due_when_none_is_young_enough() {
        let dir = tempfile::tempdir().unwrap();
        let schedule = schedule(&dir.path().join("b"), 3);
        let is_due = |cluster, now| super::is_due(&schedule, cluster, now);
        assert!(is_due(CLUSTER, NOW), "there is not even a directory");
        fs::create_dir(&schedule.dir).unwrap();
        fs::write(schedule.dir.join(name(&header(NOW, 1))), "").unwrap();
        for (now, due) in [(NOW, false), (NOW + HOUR - 1_000, false), (NOW + HOUR, true)] {
            assert_eq!(is_due(CLUSTER, now), due, "{now}");
        }
        assert!(is_due(7, NOW), "that one is of another cluster");
    }

    /// What the clock says at each of the backups, one for each index: whatever it does, those of the highest indexes stay, the next one
    /// is not due at once, and it is due later.
    #[test]
    fn a_clock_that_is_wrong_for_a_while_costs_no_backups() {
        let day = 24 * HOUR;
        for clock in [
            [NOW, NOW + HOUR, NOW + 2 * HOUR + day, NOW + 3 * HOUR, NOW + 4 * HOUR, NOW + 5 * HOUR],
            [
                NOW,
                NOW + HOUR,
                NOW + 2 * HOUR - day,
                NOW + 3 * HOUR - day,
                NOW + 4 * HOUR - day,
                NOW + 5 * HOUR,
            ],
            [
                NOW + day,
                NOW + day + HOUR,
                NOW + day + 2 * HOUR,
                NOW + 3 * HOUR,
                NOW + 4 * HOUR,
                NOW + 5 * HOUR,
            ],
        ] {
            let dir = tempfile::tempdir().unwrap();
            let schedule = schedule(dir.path(), 3);
            for (index, now) in clock.into_iter().enumerate() {
                assert!(is_due(&schedule, CLUSTER, now), "{index} of {clock:?}");
                let (path, _) = put(&schedule, &header(now, index as u64), done).unwrap();
                assert!(path.exists(), "{index} of {clock:?}: it is there");
                assert!(!is_due(&schedule, CLUSTER, now + 10_000), "{index} of {clock:?}: one is there");
            }
            assert_eq!(indexes(dir.path()), [3, 4, 5], "{clock:?}");
        }
    }

    #[test]
    fn one_that_was_made_stays_even_if_its_member_is_behind() {
        let dir = tempfile::tempdir().unwrap();
        let schedule = schedule(dir.path(), 2);
        for index in [10, 11, 12, 3] {
            put(&schedule, &header(NOW + index * 1_000, index), done).unwrap();
        }
        assert_eq!(indexes(dir.path()), [3, 11, 12]);
        put(&schedule, &header(NOW + HOUR, 13), done).unwrap();
        assert_eq!(indexes(dir.path()), [12, 13]);
    }

    #[test]
    fn a_member_without_a_leader_makes_no_copies_of_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let schedule = schedule(dir.path(), 2);
        let alone = |hours| Header { in_quorum: false, ..header(NOW + hours * HOUR, 5) };
        put(&schedule, &header(NOW, 4), done).unwrap();
        put(&schedule, &alone(1), done).unwrap();
        for hours in 2..9 {
            let why = put(&schedule, &alone(hours), done).unwrap_err();
            assert!(why.contains("hears no leader"), "{why}");
        }
        assert_eq!(indexes(dir.path()), [4, 5]);
        put(&schedule, &header(NOW + 9 * HOUR, 5), done).unwrap();
    }

    struct NoRows;

    impl dyad_backup::Rows for NoRows {
        fn take(&mut self, _: &[u64]) -> io::Result<Vec<bytes::Bytes>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn only_a_backup_with_a_leader_is_a_success_that_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let schedule = schedule(dir.path(), 9);
        let state = dyad_state::CpState::default();
        let write = |header: Header| {
            let header = header.counting(&state);
            let fill = |path: &Path, out: &mut Out<'_>| {
                let written = dyad_backup::write(out, &header, &state, &mut NoRows);
                written.map_err(|error| Failure::io("write", path, &error))
            };
            put(&schedule, &header, fill).unwrap().1.bytes
        };
        write(Header { in_quorum: false, ..header(NOW, 1) });
        assert_eq!(last_success(&schedule, CLUSTER, NOW + 1_000), None);
        let bytes = write(header(NOW + 10_000, 2));
        write(Header { in_quorum: false, ..header(NOW + 20_000, 3) });
        // The file is written by the clock of this machine.
        let last = last_success(&schedule, CLUSTER, NOW + 30_000);
        assert!(last.is_some_and(|(at, of)| at <= NOW / 1_000 + 30 && of == bytes), "{last:?}");
    }

    #[test]
    fn what_cannot_be_tidied_up_is_no_reason_to_have_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        let schedule = schedule(dir.path(), 2);
        // A directory is not removed as a file is.
        let part = dir.path().join(format!("{}.part", name(&header(NOW, 1))));
        fs::create_dir(&part).unwrap();
        assert!(drop_parts(dir.path(), CLUSTER).is_err());
        put(&schedule, &header(NOW + 1_000, 2), done).unwrap();
        assert_eq!(indexes(dir.path()), [2]);
        let gone = [dir.path().join("gone"), part.clone(), dir.path().join("last")];
        fs::write(&gone[2], "").unwrap();
        assert_eq!(remove_all(&gone[..1]).map_err(|error| error.kind()), Ok(()), "somebody else removed it");
        assert!(remove_all(&gone).is_err() && !gone[2].exists(), "the others go all the same");
    }

    #[test]
    fn a_backup_that_would_not_fit_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (free, _) = volume(&File::open(dir.path()).unwrap()).unwrap();
        for (min_free, last_bytes, fits) in [
            (free / 4, 0, true),
            (free / 4, free / 20 * 13, false),
            (free / 20 * 13, 0, false),
            (0, free, true),
        ] {
            let checked = check_room(dir.path(), last_bytes, |_| min_free);
            assert_eq!(checked.is_ok(), fits, "{min_free} {last_bytes} of {free}: {checked:?}");
        }
        let schedule = Schedule { min_free: Some(free), ..schedule(dir.path(), 2) };
        let begun = |_: &Path, _: &mut Out<'_>| -> Result<Summary, Failure> { panic!("it is not begun") };
        let why = put(&schedule, &header(NOW, 1), begun).unwrap_err();
        assert!(why.contains("stay free") && fs::read_dir(dir.path()).unwrap().count() == 0, "{why}");
    }

    #[test]
    fn a_place_where_no_backup_can_ever_be_is_a_bad_setting() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("b");
        for _ in 0..2 {
            prepare(&dir).unwrap();
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing is left of the probe");
        }
        fs::write(root.path().join("file"), "").unwrap();
        for bad in ["missing/b", "file", "file/b"] {
            let failure = prepare(&root.path().join(bad)).unwrap_err();
            assert_eq!(failure.exit, Exit::Settings, "{bad}");
            assert!(failure.message.starts_with("setting backup.dir: cannot write to"), "{failure}");
        }
        assert!(!root.path().join("missing").exists(), "a disk may have to be mounted there");
    }
}
