//! Keeps a backup from filling the disk: the data may be on the same one, and persistent writes are refused when it is nearly
//! full.

use std::fs::File;
use std::io::{self, Write};

use dyad_raft::MIN_FREE_BYTES;

/// Bytes after which the disk is asked again.
const ASK_EVERY: u64 = 16 * 1024 * 1024;
/// Without a figure, a small disk keeps this part of itself free, as it does for the data.
const SHARE: u64 = 10;

/// Writes to a file while its disk has more than `least` bytes free, or more than the data's disk would need.
pub(super) struct Roomy<'a, W> {
    out: W,
    file: &'a File,
    least: Option<u64>,
    /// Bytes until the disk is asked.
    left: u64,
}

impl<'a, W: Write> Roomy<'a, W> {
    pub(super) fn new(out: W, file: &'a File, least: Option<u64>) -> Roomy<'a, W> {
        Roomy { out, file, least, left: 0 }
    }

    fn ask(&mut self) -> io::Result<()> {
        let stat = rustix::fs::fstatvfs(self.file)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        let least = self.least.unwrap_or_else(|| MIN_FREE_BYTES.min(total / SHARE));
        if free < least {
            let what = format!("{} MiB are free on this disk, {} MiB stay free", free >> 20, least >> 20);
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        self.left = ASK_EVERY;
        Ok(())
    }
}

impl<W: Write> Write for Roomy<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.ask()?;
        }
        let n = self.out.write(bytes)?;
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_nearly_full_takes_no_more() {
        let file = tempfile::tempfile().unwrap();
        let mut roomy = Roomy::new(Vec::new(), &file, Some(1));
        roomy.write_all(b"x").unwrap();
        assert_eq!(roomy.left, ASK_EVERY - 1);
        let refused = Roomy::new(Vec::new(), &file, Some(u64::MAX)).write_all(b"x").unwrap_err();
        assert!(refused.kind() == io::ErrorKind::StorageFull && refused.to_string().contains("stay free"));
    }
}
