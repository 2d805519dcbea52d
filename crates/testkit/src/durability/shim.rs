//! The control and log files of tests/shim/shim.c, one of each per member.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};

use crate::fleet::MEMBERS;

/// Bytes of a line: kind, begin, end.
const LINE: usize = 24;
/// The kind of a promise (fsync, fdatasync).
const PROMISE: u64 = 1;

/// What a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// As it really is.
    Good,
    /// Promises nothing until it is good again.
    Blocked,
    /// EIO.
    Broken,
    /// ENOSPC, for writes too.
    Full,
}

/// The preloaded library's files.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    directory: PathBuf,
}

/// CLOCK_MONOTONIC in nanoseconds: the shim's clock.
pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

impl Shim {
    /// Prepares the files; all disks are good.
    ///
    /// # Errors
    /// The library is not there.
    pub fn new(library: PathBuf) -> Result<Shim> {
        let library = library.canonicalize().with_context(|| format!("{}: make shim", library.display()))?;
        let directory = std::env::temp_dir().join(format!("dyad-shim-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let shim = Shim { library, directory };
        shim.set_all(Disk::Good)?;
        Ok(shim)
    }

    /// The environment that puts member `at` under control.
    pub fn environment(&self, at: usize) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.display().to_string();
        vec![
            ("LD_PRELOAD".into(), text(self.library.clone())),
            ("DYAD_SHIM_CONTROL".into(), text(self.control(at))),
            ("DYAD_SHIM_LOG".into(), text(self.log(at))),
            ("DYAD_SHIM_PATH".into(), "/raft/".into()),
        ]
    }

    /// From now on the disk of `at` does this.
    ///
    /// # Errors
    /// The file system's.
    pub fn set(&self, at: usize, disk: Disk) -> Result<()> {
        let letter = match disk {
            Disk::Good => "o",
            Disk::Blocked => "b",
            Disk::Broken => "e",
            Disk::Full => "n",
        };
        let next = self.directory.join(format!("{at}.next"));
        std::fs::write(&next, letter)?;
        Ok(std::fs::rename(next, self.control(at))?)
    }

    /// All disks do this.
    ///
    /// # Errors
    /// The file system's.
    pub fn set_all(&self, disk: Disk) -> Result<()> {
        (0..MEMBERS).try_for_each(|at| self.set(at, disk))
    }

    /// Calls that the shim saw of a member.
    pub fn calls(&self, at: usize) -> usize {
        std::fs::metadata(self.log(at)).map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(0) / LINE)
    }

    /// What the disk of `at` has promised.
    ///
    /// # Errors
    /// The log cannot be read or is torn.
    pub fn promises(&self, at: usize) -> Result<Promises> {
        let bytes = std::fs::read(self.log(at)).unwrap_or_default();
        if !bytes.len().is_multiple_of(LINE) {
            bail!("the shim's log of member {} is torn", at + 1);
        }
        let number = |line: &[u8], n: usize| {
            u64::from_le_bytes(line[n * 8..n * 8 + 8].try_into().expect("a line has three numbers"))
        };
        let lines = bytes.chunks_exact(LINE).map(|line| (number(line, 0), number(line, 1), number(line, 2)));
        Ok(Promises::new(
            lines.filter(|line| line.0 == PROMISE).map(|(_, begin, end)| (begin, end)).collect(),
        ))
    }

    /// Removes the files.
    pub fn close(self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("cannot remove {}: {error}", self.directory.display());
        }
    }

    fn control(&self, at: usize) -> PathBuf {
        self.directory.join(format!("{at}.control"))
    }

    fn log(&self, at: usize) -> PathBuf {
        self.directory.join(format!("{at}.log"))
    }
}

/// Promises of one disk, in a form that answers the question below.
#[derive(Debug, PartialEq, Eq)]
pub struct Promises {
    /// (begin, the earliest end of this and all later ones), by begin.
    lines: Vec<(u64, u64)>,
}

impl Promises {
    /// From (begin, end) of each.
    pub fn new(mut lines: Vec<(u64, u64)>) -> Promises {
        lines.sort_unstable();
        let mut earliest = u64::MAX;
        for line in lines.iter_mut().rev() {
            earliest = earliest.min(line.1);
            line.1 = earliest;
        }
        Promises { lines }
    }

    /// True if a promise lies wholly within these times. A write that was sent at `sent` can only be covered by a
    /// promise that began later, and may only be acknowledged after its end.
    pub fn any_within(&self, sent: u64, acknowledged: u64) -> bool {
        let first = self.lines.partition_point(|line| line.0 < sent);
        self.lines.get(first).is_some_and(|line| line.1 <= acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_counts_only_between_sending_and_acknowledgement() {
        let promises = Promises::new(vec![(30, 90), (10, 20), (40, 50)]);
        for (sent, acknowledged, covered) in
            [(5, 20, true), (10, 20, true), (11, 20, false), (11, 50, true), (41, 99, false), (5, 19, false)]
        {
            assert_eq!(promises.any_within(sent, acknowledged), covered, "{sent} to {acknowledged}");
        }
        assert!(!Promises::new(Vec::new()).any_within(0, u64::MAX));
    }
}
