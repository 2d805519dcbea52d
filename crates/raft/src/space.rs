//! Refuses writes before the disk is full, because a store that reached the end of its disk may not open again.
//!
//! There are two marks. Below the reserve the leader takes no new write; what ends something is still taken. Below a quarter of
//! the reserve a member takes no entry of the log at all. So of equal disks the leader's stops the writes, and a follower refuses
//! entries only if its own disk is the fuller one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dyad_proto::raft as pb;
use parking_lot::Mutex;

use crate::backend::{LogBackend, Volume};
use crate::config::MIN_FREE_BYTES;

/// How long an answer of the file system is believed.
const BELIEVED: Duration = Duration::from_millis(500);
/// A tenth of the volume is the reserve by default, if that is less than [`MIN_FREE_BYTES`].
const SHARE: u64 = 10;
/// This part of the reserve is the lower mark.
const LOWER: u64 = 4;
/// An entry is written to the log, and its content to the store of contents.
const COPIES: u64 = 2;

/// What is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new write of a client.
    Write,
    /// What ends something, and entries that the leader has taken already.
    Last,
}

/// The disk of a member's data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The bytes that are free. `None` if they are not known.
    pub free_bytes: Option<u64>,
    /// Below this many free bytes the leader refuses writes; 0 if nothing is refused.
    pub reserve_bytes: u64,
    pub room: DiskRoom,
    /// The file whose disk this is.
    pub file: String,
}

/// What still finds room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskRoom {
    All,
    /// Only removals, and entries that the leader has taken already.
    NoWrites,
    /// Nothing: this member takes no entries of the log.
    NoEntries,
}

impl DiskRoom {
    pub(crate) fn to_wire(self) -> pb::DiskRoom {
        match self {
            DiskRoom::All => pb::DiskRoom::All,
            DiskRoom::NoWrites => pb::DiskRoom::NoWrites,
            DiskRoom::NoEntries => pb::DiskRoom::NoEntries,
        }
    }

    /// `None` if a member does not tell.
    pub(crate) fn from_wire(room: pb::DiskRoom) -> Option<DiskRoom> {
        match room {
            pb::DiskRoom::Unspecified => None,
            pb::DiskRoom::All => Some(DiskRoom::All),
            pb::DiskRoom::NoWrites => Some(DiskRoom::NoWrites),
            pb::DiskRoom::NoEntries => Some(DiskRoom::NoEntries),
        }
    }

    /// The word that people see.
    pub fn word(self) -> &'static str {
        match self {
            DiskRoom::All => "all",
            DiskRoom::NoWrites => "no writes",
            DiskRoom::NoEntries => "no entries",
        }
    }
}

/// Bytes that stay free on a volume of `total` bytes: as the settings say, or by its size.
pub fn reserve_bytes(min_free: Option<u64>, total: u64) -> u64 {
    min_free.unwrap_or_else(|| MIN_FREE_BYTES.min(total / SHARE))
}

pub(crate) struct Space {
    backend: Arc<dyn LogBackend>,
    /// `None`: by the size of the volume.
    min_free: Option<u64>,
    last: Mutex<Option<Asked>>,
}

struct Asked {
    at: Instant,
    /// The answer, less what was admitted since.
    answer: Result<Option<Volume>, String>,
}

impl Space {
    pub(crate) fn new(backend: Arc<dyn LogBackend>, min_free: Option<u64>) -> Space {
        Space { backend, min_free, last: Mutex::new(None) }
    }

    /// Takes room for entries of so many bytes.
    ///
    /// # Errors
    /// There is none. The error names the file and the figures.
    pub(crate) fn take(&self, purpose: Purpose, bytes: usize) -> Result<(), String> {
        let needs = COPIES.saturating_mul(bytes as u64);
        self.with_volume(|volume| {
            let Some(volume) = volume.as_mut().map_err(|error| error.clone())? else { return Ok(()) };
            let mark = self.mark(purpose, volume.total);
            if mark > 0 && volume.free < mark.saturating_add(needs) {
                let (free, mark) = (Size(volume.free), Size(mark.saturating_add(needs)));
                return Err(format!(
                    "{}: {free} are free on this disk, {mark} are needed",
                    self.backend.file()
                ));
            }
            volume.free = volume.free.saturating_sub(needs);
            Ok(())
        })
    }

    /// Is the reserve left?
    ///
    /// # Errors
    /// The same as those of [`Space::take`].
    pub(crate) fn check(&self) -> Result<(), String> {
        self.take(Purpose::Write, 0)
    }

    pub(crate) fn disk(&self) -> Disk {
        let file = self.backend.file();
        self.with_volume(|volume| match volume {
            Ok(Some(volume)) => {
                let below = |purpose| volume.free < self.mark(purpose, volume.total);
                let room = match (below(Purpose::Write), below(Purpose::Last)) {
                    (_, true) => DiskRoom::NoEntries,
                    (true, false) => DiskRoom::NoWrites,
                    (false, false) => DiskRoom::All,
                };
                let reserve_bytes = self.mark(Purpose::Write, volume.total);
                Disk { free_bytes: Some(volume.free), reserve_bytes, room, file }
            }
            Ok(None) => Disk { free_bytes: None, reserve_bytes: 0, room: DiskRoom::All, file },
            // As a write would be told.
            Err(_) => Disk { free_bytes: None, reserve_bytes: 0, room: DiskRoom::NoEntries, file },
        })
    }

    fn mark(&self, purpose: Purpose, total: u64) -> u64 {
        let reserve = reserve_bytes(self.min_free, total);
        match purpose {
            Purpose::Write => reserve,
            Purpose::Last => reserve / LOWER,
        }
    }

    fn with_volume<T>(&self, work: impl FnOnce(&mut Result<Option<Volume>, String>) -> T) -> T {
        let mut last = self.last.lock();
        let asked = match last.take().filter(|asked| asked.at.elapsed() < BELIEVED) {
            Some(asked) => asked,
            None => {
                let answer = self.backend.volume().map_err(|e| format!("{}: {e}", self.backend.file()));
                Asked { at: Instant::now(), answer }
            }
        };
        work(&mut last.insert(asked).answer)
    }
}

/// A size as people read it. A small volume has a reserve of a few megabytes.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 10 << 20 { write!(f, "{} KiB", self.0 >> 10) } else { write!(f, "{} MiB", self.0 >> 20) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// What room a disk with these sizes has, and whether entries of so many bytes find it: as a write, and as the last.
    fn found(min_free: Option<u64>, free: u64, total: u64, bytes: usize) -> (DiskRoom, bool, bool) {
        let backend = Arc::new(crate::backend::MemBackend::with_volume(Volume { free, total }));
        let space = |purpose| Space::new(backend.clone(), min_free).take(purpose, bytes).is_ok();
        let room = Space::new(backend.clone(), min_free).disk().room;
        (room, space(Purpose::Write), space(Purpose::Last))
    }

    #[test]
    fn the_marks_by_the_size_of_the_volume() {
        use DiskRoom::{All, NoEntries, NoWrites};
        let large = 100_000 * MIB;
        for (min_free, free, total, bytes, want) in [
            (None, 512 * MIB, large, 0, (All, true, true)),
            (None, 512 * MIB - 1, large, 0, (NoWrites, false, true)),
            (None, 128 * MIB, large, 0, (NoWrites, false, true)),
            (None, 128 * MIB - 1, large, 0, (NoEntries, false, false)),
            (None, 512 * MIB, large, 1, (All, false, true)),
            (None, 10 * MIB, 100 * MIB, 0, (All, true, true)),
            (None, 10 * MIB - 1, 100 * MIB, 0, (NoWrites, false, true)),
            (None, 11 * MIB, 100 * MIB, MIB as usize, (All, false, true)),
            (None, 4 * MIB, 100 * MIB, MIB as usize, (NoWrites, false, false)),
            (Some(20 * MIB), 20 * MIB - 1, 100 * MIB, 0, (NoWrites, false, true)),
            (Some(0), 0, large, MIB as usize, (All, true, true)),
            (Some(u64::MAX), large, large, 0, (NoEntries, false, false)),
        ] {
            assert_eq!(found(min_free, free, total, bytes), want, "{min_free:?}, {free} of {total}, {bytes}");
        }
    }

    #[test]
    fn what_is_admitted_counts_until_the_disk_is_asked_again() {
        let backend = crate::backend::MemBackend::with_volume(Volume { free: 16 * MIB, total: 100 * MIB });
        let space = Space::new(Arc::new(backend), None);
        let megabyte = || space.take(Purpose::Write, MIB as usize);
        assert_eq!((megabyte(), megabyte(), megabyte()), (Ok(()), Ok(()), Ok(())));
        let refused = "memory: 10 MiB are free on this disk, 12 MiB are needed".to_owned();
        assert_eq!(megabyte(), Err(refused));
    }
}
