//! `dyad backup verify` and `dyad backup show`: both read all of the file, so that what they say is of a whole backup.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use dyad_backup::{Header, ReadError, Reader, Summary};
use dyad_state::CpState;
use serde_json::json;

use super::progress::Progress;
use super::shape;
use crate::exit::{Exit, Failure};
use crate::output::{Output, print};

/// What is read of the file at a time.
const BUFFER: usize = 256 * 1024;

/// Opens a backup and reads its header.
///
/// # Errors
/// `Exit::Settings` if the file cannot be opened, `Exit::Corrupt` if it does not begin as a backup does, `Exit::Newer` if this build
/// does not know its form, `Exit::Disk` if it cannot be read.
pub fn open(file: &Path) -> Result<Reader<BufReader<File>>, Failure> {
    let opened = File::open(file).map_err(|error| Failure::io("read", file, &error))?;
    Reader::open(BufReader::with_capacity(BUFFER, opened)).map_err(|error| bad(file, &error))
}

/// Says what is wrong with a backup, and where.
pub fn bad(file: &Path, error: &ReadError) -> Failure {
    match error {
        ReadError::Io(error) => Failure::io("read", file, error),
        newer @ ReadError::Newer { .. } => {
            Failure::new(Exit::Newer, format!("{}: {newer}; install a newer one", file.display()))
        }
        bad @ ReadError::Bad { .. } => {
            Failure::new(Exit::Corrupt, format!("{}: {bad}; this is not a whole backup", file.display()))
        }
    }
}

/// Reads all of a backup.
pub(super) fn read(file: &Path) -> Result<(Header, CpState, Summary), Failure> {
    let mut reader = open(file)?;
    let wrong = |error| bad(file, &error);
    let header = reader.header().clone();
    let mut progress = Progress::new("reading");
    let state = reader.state().map_err(wrong)?;
    let mut done = 0;
    while let Some(rows) = reader.rows().map_err(wrong)? {
        done += rows.len() as u64;
        progress.at(done, header.contents, reader.offset());
    }
    let summary = reader
        .summary()
        .ok_or_else(|| Failure::new(Exit::Corrupt, format!("{}: it has no end", file.display())))?;
    Ok((header, state, summary))
}

/// `dyad backup verify`.
///
/// # Errors
/// `Exit::Corrupt` if anything in it is not as it was written, or something on which the state relies is not there, and those of
/// [`open`].
pub fn verify(file: &Path, output: Output) -> Result<(), Failure> {
    let (header, _, summary) = read(file)?;
    match output {
        Output::Json => print(&format!(
            "{}\n",
            json!({ "file": file, "bytes": summary.bytes, "contents": summary.contents })
        )),
        Output::Text => print(&format!(
            "{}: whole, {} bytes, index {}, {} contents\n",
            file.display(),
            summary.bytes,
            header.index,
            summary.contents
        )),
    }
}

/// `dyad backup show`.
///
/// # Errors
/// As [`verify`].
pub fn show(file: &Path, output: Output) -> Result<(), Failure> {
    let (header, state, summary) = read(file)?;
    match output {
        Output::Json => print(&format!("{}\n", shape::shown(&header, &state, &summary))),
        Output::Text => print(&shape::shown_text(&header, &state, &summary)),
    }
}
