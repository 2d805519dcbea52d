//! `dyad restore FILE --data-dir DIR`: makes the data directory of the one member of a new cluster out of a backup. It works in
//! the stead of a server, on a directory that has no store. A part of a backup goes into a running cluster instead, and
//! `dyad_cli::backup` does that.

use std::io;
use std::path::Path;

use bytes::Bytes;
use dyad_backup::{Header, ReadError, Reader};
use dyad_cli::backup::{self, bad, progress::Progress};
use dyad_cli::output::Output;
use dyad_cli::{Exit, Failure};
use dyad_raft::{Node, Position, RowsOf, refound as make_stores};
use dyad_types::date::timestamp;
use serde_json::json;

use crate::cli::RestoreFlags;
use crate::datadir::DataDir;
use crate::refound::{self, STANDALONE, Work};
use crate::settings::place;
use crate::wire::start_failure;

/// Makes the directory. The returned text says what is in it.
///
/// # Errors
/// `Exit::Refused` if the directory has a store, `Exit::InUse` if a server runs on it, `Exit::Corrupt` if the backup is not
/// whole: then the directory is as empty as it was.
pub fn restore(flags: &RestoreFlags) -> Result<String, Failure> {
    if flags.part.is_some() {
        if !flags.settings.is_empty() {
            let message = "a part of a backup goes into a running cluster: --server names it, and no --data-dir, --members, --advertise \
                           or --port";
            return Err(Failure::new(Exit::Settings, message));
        }
        backup::publish(&flags.file, &flags.remote, &flags.part)?;
        return Ok(String::new());
    }
    if flags.remote_given.0 {
        let message = "a whole backup becomes a data directory, and no server takes part: --server and --user are for a part \
                       of one, which --namespace or --config names";
        return Err(Failure::new(Exit::Settings, message));
    }
    let (data_dir, _, own) = place::data_dir_and_own(&flags.settings.inputs())?;
    let file = &flags.file;
    let mut reader = backup::open(file)?;
    let header = reader.header().clone();
    let data = DataDir::open(&data_dir)?;
    let node = own
        .as_ref()
        .map_or_else(|| Node::new(STANDALONE, STANDALONE), |own| Node::new(own.http(), own.cluster()));
    let work = Work::new(what(&header), ".set-aside", &node);
    match refound::half_done(&data) {
        Some(found) => found.check(&data, &work.what, Some(&node))?,
        None => {
            if let Some(store) = refound::store_in(&data) {
                let message = format!(
                    "{} exists: a backup is restored into a directory without a store; take another --data-dir, or move this one away",
                    store.display()
                );
                return Err(Failure::new(Exit::Refused, message));
            }
            refound::build(&data, &work, |dir, founding| fill(file, &mut reader, (dir, founding)), node)?;
        }
    }
    let done = refound::take_over(&data)?;
    if flags.remote.output == Output::Json {
        let result = json!({
            "file": file,
            "data_dir": data_dir,
            "member_id": done.member.to_string(),
            "index": header.index,
        });
        return Ok(format!("{result}\n"));
    }
    Ok(format!(
        "{} has the state of {}\nthe member's id is {}; it is the only member of a new cluster\n{}",
        data_dir.display(),
        work.what,
        done.member,
        note(&header),
    ))
}

/// One line that tells this backup from any other.
fn what(header: &Header) -> String {
    let cluster = header.cluster_id.map_or_else(|| "unknown".to_owned(), |id| format!("{id:032x}"));
    format!(
        "index {} of cluster {cluster}, from the backup that member {} gave at {}",
        header.index,
        header.member,
        timestamp(header.taken_ms)
    )
}

fn note(header: &Header) -> String {
    if header.in_quorum {
        return String::new();
    }
    format!(
        "the member that gave the backup heard no leader: its cluster may have had more after {}\n",
        timestamp(header.state_ms)
    )
}

fn fill<R: io::Read>(
    file: &Path,
    reader: &mut Reader<R>,
    (dir, founding): (&Path, &dyad_raft::Founding),
) -> Result<(), Failure> {
    let state = reader.state().map_err(|error| bad(file, &error))?;
    let header = reader.header().clone();
    let position = Position { term: header.term, leader: header.leader, index: header.index };
    let progress = Progress::new("restoring");
    let mut rows = FileRows { reader, failed: None, done: 0, all: header.contents, progress };
    let made = make_stores(dir, founding, (state, position), &mut rows);
    if let Some(error) = &rows.failed {
        return Err(bad(file, error));
    }
    made.map_err(|error| start_failure(&error))
}

/// The rows of the file. What is wrong with the file is kept in `failed`: it is not the fault of the disk of the store.
struct FileRows<'a, R> {
    reader: &'a mut Reader<R>,
    failed: Option<ReadError>,
    done: u64,
    all: u64,
    progress: Progress,
}

impl<R: io::Read> RowsOf for FileRows<'_, R> {
    fn next(&mut self) -> io::Result<Option<Vec<(u64, Bytes)>>> {
        match self.reader.rows() {
            Ok(Some(rows)) => {
                self.done += rows.len() as u64;
                self.progress.at(self.done, self.all, self.reader.offset());
                Ok(Some(rows.into_iter().map(|row| (row.revision.0, row.bytes.into())).collect()))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                let said = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
                self.failed = Some(error);
                Err(said)
            }
        }
    }
}
