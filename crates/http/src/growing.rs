//! The bytes of an answer that is made of contents: they take their room while they grow, so that no answer is in memory for which
//! there is none.

use std::io::{self, Cursor, Seek, SeekFrom, Write};

use dyad_app::config::read::address;
use dyad_app::{App, Caller, Fault};
use dyad_types::{Full, Lease, Part};

/// By so much it grows at least, and by a half of itself.
const STEP: usize = 64 * 1024;

/// Writing never fails. What finds no room is dropped, and [`Growing::check`] says so.
#[derive(Debug)]
pub(crate) struct Growing {
    made: Cursor<Vec<u8>>,
    lease: Lease,
    full: Option<Full>,
}

impl Growing {
    /// Begins an answer of about so many bytes.
    ///
    /// # Errors
    /// There is no room for them.
    pub(crate) fn begin(app: &App, caller: &Caller, bytes: usize) -> Result<Growing, Fault> {
        let lease = app.budget.room(Part::Answers).take(address(caller), bytes)?;
        Ok(Growing { made: Cursor::new(Vec::with_capacity(bytes)), lease, full: None })
    }

    /// To be asked after each piece.
    ///
    /// # Errors
    /// There was no room for it.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        self.full.map_or(Ok(()), |full| Err(full.into()))
    }

    /// The bytes, and their room.
    ///
    /// # Errors
    /// There was no room for all of them.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, Option<Lease>), Fault> {
        self.check()?;
        Ok((self.made.into_inner(), Some(self.lease)))
    }

    fn reach(&mut self, end: usize) -> Result<(), Full> {
        let bytes = self.made.get_mut();
        let capacity = bytes.capacity();
        if end <= capacity {
            return Ok(());
        }
        let more = (end - capacity).max(capacity / 2).max(STEP);
        self.lease.grow(more)?;
        bytes.reserve_exact(capacity + more - bytes.len());
        Ok(())
    }
}

impl Write for Growing {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let end = self.made.position().saturating_add(piece.len() as u64);
        if self.full.is_none() {
            self.full = self.reach(usize::try_from(end).unwrap_or(usize::MAX)).err();
        }
        if self.full.is_none() {
            return self.made.write(piece);
        }
        self.made.set_position(end);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Growing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.made.seek(to)
    }
}
