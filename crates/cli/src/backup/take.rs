//! `dyad backup FILE`: takes a backup from the server on this machine into a file.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dyad_backup::hex;
use sha2::{Digest, Sha256};

use super::progress::Progress;
use super::shape;
use super::wire::{Begin, CHUNK, End, Head};
use crate::admin::{self, AdminRequest};
use crate::exit::{Exit, Failure};
use crate::file::{Existing, Manner, write_whole};
use crate::output::{Output, print};

/// The server sends nothing for so long only if it hangs: before the first chunk it reads some hundred thousand records, and its
/// disk may be busy.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest line: the header with its members.
const LINE_MAX: u64 = 1024 * 1024;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct TakeArgs {
    pub file: PathBuf,
    /// Replace a file that has the name.
    pub force: bool,
    pub output: Output,
    /// Bytes that stay free on a disk of so many bytes.
    pub reserve: fn(u64) -> u64,
}

/// `dyad backup FILE`.
///
/// # Errors
/// `Exit::Refused` if no server answers on the data directory's socket, or the backup was not completed; `Exit::Conflict` if the
/// file exists; `Exit::Disk` and `Exit::Settings` if it cannot be written.
pub fn take(data_dir: &Path, args: &TakeArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let existing = if args.force { Existing::Replaced } else { Existing::Kept };
    let manner = Manner { existing, mode: 0o600, reserve: &args.reserve };
    let (head, end) = write_whole(&args.file, &manner, |out| receive(data_dir, &args.file, out))?;
    let seconds = began.elapsed().as_secs_f64();
    match args.output {
        Output::Json => print(&format!("{}\n", shape::taken(&args.file, &head, &end, seconds))),
        Output::Text => print(&shape::taken_text(&args.file, &head, &end, seconds)),
    }
}

fn receive(data_dir: &Path, file: &Path, out: &mut impl Write) -> Result<(Head, End), Failure> {
    let cut = |error: io::Error| {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the server sends no more".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(Exit::Refused, format!("the backup was not completed: {why}"))
    };
    let refused = |why: &str| Failure::new(Exit::Refused, why);
    let stream = admin::begin(data_dir, &AdminRequest::Backup, SILENCE)?;
    let mut stream = BufReader::with_capacity(CHUNK, stream);
    let Begin { error, header } = line(&mut stream).map_err(cut)?;
    if let Some(error) = error {
        return Err(refused(&error));
    }
    let header = header.ok_or_else(|| refused("the server's answer is of another version"))?;
    let mut progress = Progress::new("backup");
    let (mut sha, mut digest, mut bytes) = (Sha256::new(), [0; 32], 0);
    let mut chunk = vec![0; CHUNK];
    let mut tail = Vec::with_capacity(2 * CHUNK);
    loop {
        let mut head = [0; 12];
        stream.read_exact(&mut head).map_err(cut)?;
        let [a, b, c, d, done @ ..] = head;
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len == 0 {
            break;
        }
        let piece = chunk.get_mut(..len).ok_or_else(|| refused("the server sends another form of chunks"))?;
        stream.read_exact(piece).map_err(cut)?;
        let written = out.write_all(piece);
        written.map_err(|error| Failure::io("write", file, &error))?;
        bytes += len as u64;
        // The digest at the end of the file is of everything before it.
        tail.extend_from_slice(piece);
        if let Some(sure) = tail.len().checked_sub(digest.len()) {
            sha.update(&tail[..sure]);
            tail.drain(..sure);
        }
        progress.at(u64::from_be_bytes(done), header.contents, bytes);
    }
    let end: End = line(&mut stream).map_err(cut)?;
    if let Some(error) = &end.error {
        return Err(refused(&format!("the backup was not completed: {error}")));
    }
    digest.copy_from_slice(&sha.finalize());
    if tail != digest || hex(&digest) != end.sha256 || bytes != end.bytes {
        return Err(refused("the backup did not arrive as it was sent: take it again"));
    }
    Ok((header, end))
}

fn line<T: serde::de::DeserializeOwned>(stream: &mut impl BufRead) -> io::Result<T> {
    let mut line = String::new();
    stream.take(LINE_MAX).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}
