//! Sends a whole snapshot from the leader to one follower. It is sent in chunks, received into a file, and checked
//! before it is used. The receiver then asks for the rows of contents that it does not have ([`super::rows`]).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dyad_proto::raft as pb;
use dyad_proto::raft::raft_client::RaftClient;
use dyad_state::CpState;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::Me;
use crate::machine::{Blank, Loaded, Snapshot, SnapshotDir, SnapshotFile, load};
use crate::space::{Purpose, Space};
use crate::types::Vote;
use crate::wire;

/// Bytes of one chunk.
const CHUNK: usize = 512 * 1024;
/// Chunks between the file and the connection.
const AHEAD: usize = 2;
/// A chunk that takes longer than this to be taken or to come ends the transfer.
const CHUNK_DEADLINE: Duration = Duration::from_secs(10);
/// After the last chunk the receiver checks, fetches rows, renames and installs. This is for what does not depend on the size, and
/// begins anew as long as rows are asked for.
const INSTALL_DEADLINE: Duration = Duration::from_secs(60);
/// What a receiver checks and installs at least in each second: it reads the file twice, digests and decodes it, and replaces its state.
const INSTALL_PACE: u64 = 8 * 1024 * 1024;

/// Sends the file; answers the receiver's vote.
pub(super) async fn send(
    client: &mut RaftClient<Channel>,
    (me, target): (&Me, u64),
    vote: Vote,
    file: SnapshotFile,
) -> Result<Vote, Status> {
    let (feed, parts) = mpsc::channel(AHEAD);
    let head = Some(me.head(target));
    let begin = pb::SnapshotBegin { head, vote: Some(wire::put_vote(&vote)), length: file.len };
    let limit = install_deadline(file.len);
    let call = client.snapshot(ReceiverStream::new(parts));
    tokio::pin!(call);
    let feeding = feed_parts(feed, begin, file);
    tokio::pin!(feeding);
    // The receiver may answer early: it has a higher vote, or refuses.
    let reply = tokio::select! {
        reply = &mut call => reply,
        fed = &mut feeding => {
            fed?;
            loop {
                let given = me.rows_given.load(Ordering::Relaxed);
                match tokio::time::timeout(limit, &mut call).await {
                    Ok(reply) => break reply,
                    Err(_) if me.rows_given.load(Ordering::Relaxed) != given => {}
                    Err(_) => {
                        let what = "the snapshot was sent but not installed in time";
                        return Err(Status::deadline_exceeded(what));
                    }
                }
            }
        }
    };
    wire::get_vote(reply?.into_inner().vote)
}

/// How long the receiver of so many bytes may take between two requests for rows, and until it has installed them.
fn install_deadline(length: u64) -> Duration {
    INSTALL_DEADLINE + Duration::from_secs(length / INSTALL_PACE)
}

async fn feed_parts(
    feed: mpsc::Sender<pb::SnapshotPart>,
    begin: pb::SnapshotBegin,
    file: SnapshotFile,
) -> Result<(), Status> {
    use pb::snapshot_part::Part;
    give(&feed, Part::Begin(begin)).await?;
    let mut offset = 0;
    while offset < file.len {
        let want = usize::try_from(file.len - offset).unwrap_or(CHUNK).min(CHUNK);
        let source = Arc::clone(&file.file);
        let chunk = tokio::task::spawn_blocking(move || read_chunk(&source, offset, want)).await;
        let chunk = chunk
            .map_err(|e| Status::internal(e.to_string()))?
            .map_err(|e| Status::internal(format!("{}: {e}", file.path.display())))?;
        offset += chunk.len() as u64;
        give(&feed, Part::Data(chunk)).await?;
    }
    Ok(())
}

fn read_chunk(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut chunk = BytesMut::zeroed(len);
    file.read_exact_at(&mut chunk, offset)?;
    Ok(chunk.freeze())
}

async fn give(feed: &mpsc::Sender<pb::SnapshotPart>, part: pb::snapshot_part::Part) -> Result<(), Status> {
    let part = pb::SnapshotPart { part: Some(part) };
    match tokio::time::timeout(CHUNK_DEADLINE, feed.send(part)).await {
        Ok(Ok(())) => Ok(()),
        // The receiver has answered: the call's own result says what.
        Ok(Err(_)) => std::future::pending().await,
        Err(_) => Err(Status::deadline_exceeded("the receiver takes no more of the snapshot")),
    }
}

/// A snapshot that arrived whole and was checked; its file goes with it unless it is installed.
pub(super) struct Received {
    pub(super) vote: Vote,
    pub(super) snapshot: Snapshot,
    /// The member that sent it.
    pub(super) from: u64,
    pub(super) state: CpState,
    _blank: Blank,
}

/// Receives a snapshot into the snapshot directory and checks digest, size and cluster.
pub(super) async fn receive(
    me: &Me,
    (dir, space): (&SnapshotDir, &Space),
    mut parts: Streaming<pb::SnapshotPart>,
) -> Result<Received, Status> {
    use pb::snapshot_part::Part;
    let Some(Part::Begin(begin)) = next(&mut parts).await? else {
        return Err(Status::invalid_argument("a snapshot begins with its begin message"));
    };
    me.check(begin.head.as_ref())?;
    let from = begin.head.as_ref().map_or(0, |head| head.from);
    let vote = wire::get_vote(begin.vote)?;
    // What it is of is in memory at its sender, so that only the disk bounds it.
    let room = usize::try_from(begin.length).map_err(|e| Status::invalid_argument(e.to_string()))?;
    space.take(Purpose::Last, room).map_err(Status::resource_exhausted)?;
    let blank = dir.blank().map_err(|e| Status::internal(format!("no file for a snapshot: {e}")))?;
    let disk = |e: io::Error| Status::internal(format!("{}: {e}", blank.path.display()));
    let mut length = 0;
    while let Some(part) = next(&mut parts).await? {
        let Part::Data(chunk) = part else {
            return Err(Status::invalid_argument("a second begin message"));
        };
        let offset = length;
        length += chunk.len() as u64;
        if length > begin.length {
            return Err(Status::invalid_argument("more bytes than announced"));
        }
        let file = Arc::clone(&blank.file);
        blocking(move || file.write_all_at(&chunk, offset)).await?.map_err(disk)?;
    }
    if length != begin.length {
        return Err(Status::invalid_argument(format!("{length} bytes of {} announced", begin.length)));
    }
    let file = Arc::clone(&blank.file);
    blocking(move || file.sync_all()).await?.map_err(disk)?;
    let handle = SnapshotFile::new(blank.path.clone(), Arc::clone(&blank.file)).map_err(disk)?;
    let reading = handle.clone();
    let loaded: Loaded = blocking(move || load(&reading))
        .await?
        .map_err(|e| Status::data_loss(format!("the snapshot arrived damaged: {e}")))?;
    let ours = *me.applied.cluster_id.read();
    if let (Some(ours), Some(theirs)) = (ours, loaded.header.cluster_id)
        && ours != theirs
    {
        return Err(Status::failed_precondition(format!(
            "a snapshot of cluster {theirs:032x}, not {ours:032x}"
        )));
    }
    let snapshot = Snapshot { meta: loaded.header.meta, snapshot: handle };
    Ok(Received { vote, snapshot, from, state: loaded.state, _blank: blank })
}

async fn next(parts: &mut Streaming<pb::SnapshotPart>) -> Result<Option<pb::snapshot_part::Part>, Status> {
    let message = tokio::time::timeout(CHUNK_DEADLINE, parts.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the sender sends no more of the snapshot"))??;
    match message {
        None => Ok(None),
        Some(pb::SnapshotPart { part: Some(part) }) => Ok(Some(part)),
        Some(_) => Err(Status::invalid_argument("an empty part of a snapshot")),
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Status::internal(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_snapshot_has_longer_to_be_installed() {
        assert_eq!(install_deadline(1_000), Duration::from_secs(60));
        assert_eq!(install_deadline(8 << 30), Duration::from_secs(60 + 1024));
    }
}
